"""Adapters: what other sources say about a platform, as the one `Statement` type.

An adapter never claims more than its source proves; what the source leaves open is empty or noted.
"""
