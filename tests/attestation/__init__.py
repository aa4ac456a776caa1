"""Tests of the attestation package."""
