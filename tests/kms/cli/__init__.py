"""Tests of kms.cli."""
