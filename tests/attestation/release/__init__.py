"""Tests of release manifests."""
