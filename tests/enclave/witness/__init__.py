"""Witnesses: states that were put back, acknowledgements, cold starts."""
