"""Is the arithmetic on secrets constant-time?  Measured on the production functions by valgrind, not argued.

Two instruments.  memcheck: secrets are marked undefined, so every branch and every address that depends on one
is an error; each function must stay at zero or at its entry in residues.json.  callgrind: a primitive must execute
the same number of instructions for every secret.  Known-bad controls run along: a run that misses one is void
(specs/constant-time.md).
"""
