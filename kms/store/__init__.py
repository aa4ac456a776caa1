"""What does the gateway remember?  Documents, keys, responses to repeat, and the audit chain; never a secret."""
