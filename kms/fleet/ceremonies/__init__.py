"""How does the gateway bring a ceremony to its end?  It relays, it decides nothing: nodes verify all they are given."""
