"""Tests of proof of cloud."""
