"""Tests of the enclave package."""
