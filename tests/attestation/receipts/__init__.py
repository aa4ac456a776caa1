"""Formats of logs and receipts, without any enclave code."""
