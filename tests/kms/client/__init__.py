"""Tests of kms.client."""
