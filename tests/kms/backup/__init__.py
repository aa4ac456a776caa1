"""Tests of kms.client.backup and `kms backup`."""
