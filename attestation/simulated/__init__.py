"""A development authority that signs fresh evidence in the vendors' real formats, under its own root.

Never part of a release: only `kms dev` and the tests import it.  The production verifier runs
unchanged on what it makes; only the pinned root differs, and production policy refuses that root.
"""
