"""The project's own synthetic evidence: signed cases for every platform, reproducible byte for byte.

    python -m tests.vectors DIRECTORY     write every case and its INDEX.json
    python -m tests.vectors --update      write the digests in tests/vectors/INDEX.json anew

The private keys here protect nothing and are published on purpose.
"""
