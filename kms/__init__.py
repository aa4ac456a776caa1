"""How do agents and operators reach the nodes?  The untrusted front door: availability, ergonomics, audit."""
