"""Tests of enclave.backup."""
