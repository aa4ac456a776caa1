"""Nitro attestation documents."""
