"""Does the HTTP API give what other people's tools accept?  Real processes, plain HTTP, foreign libraries."""
