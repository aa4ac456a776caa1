"""What does it take to run a whole cluster on one machine?  For a checkout only; no wheel carries it.

Five node processes, their simulated machines, a demo registry and the gateway, all on loopback and
all running the production code paths: only the root of trust is simulated, and says so.
"""
