"""Bundles of a node's shares for custodians, and the one-shot process that gives them back (specs/backup.md)."""
