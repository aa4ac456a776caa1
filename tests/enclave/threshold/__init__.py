"""Tests of secret sharing and the threshold protocols."""
