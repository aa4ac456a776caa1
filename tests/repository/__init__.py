"""Checks of the repository itself: locks, links, structure, README commands."""
