"""Tests of the node: its store, its table of verdicts, its ceremonies and every use of a share."""
