"""The whole cluster in one process on a seeded event loop: real nodes and gateways, simulated everything below."""
