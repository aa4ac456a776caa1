"""Tests of requests that wait for people."""
