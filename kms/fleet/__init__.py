"""How does the gateway work with its nodes?  It relays, chooses and counts; each node decides for itself."""
