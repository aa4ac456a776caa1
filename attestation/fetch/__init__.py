"""How does an auditor get current collateral?  The only part of this package that opens sockets.

Nothing fetched is believed: each document is verified under the pinned roots before it is stored,
and again by whoever reads it.  A transport can therefore delay, and nothing else.
"""
