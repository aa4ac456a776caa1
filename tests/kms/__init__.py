"""Tests of the gateway, the client and the commands."""
