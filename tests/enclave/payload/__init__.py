"""Payload parsing."""
