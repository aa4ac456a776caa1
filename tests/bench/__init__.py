"""Throughput, latency and CPU of a running cluster, beside the ceilings of the same run."""
