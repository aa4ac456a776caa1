"""Tests of waiting requests through the gateway and the client library."""
