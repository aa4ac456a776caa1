"""Heartbeats: leases, time, restrictions, forks."""
