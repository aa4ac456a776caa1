"""How do several nodes use one key that none of them has?  Secret sharing, key generation and threshold protocols."""
