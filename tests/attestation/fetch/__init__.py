"""Tests of `attest fetch`, all against the loopback interface."""
