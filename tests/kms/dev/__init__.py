"""Tests of kms.dev."""
