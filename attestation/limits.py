"""Every size limit of evidence and collateral in one place, with its unit and the reason for the number.

Rule: a limit is checked before anything of that size is parsed or allocated.
"""

from __future__ import annotations

QUOTE_BYTES_MAX = 16 * 1024
"""One Intel quote: real ones have 4.6 to 5.1 kB, padded buffers 8000 bytes."""

QE_AUTH_BYTES_MAX = 1024
"""Quoting enclave authentication data: 32 bytes on every real quote, 65535 allowed by the format."""

CERTIFICATE_BYTES_MAX = 8 * 1024
"""One DER certificate: the largest real one (AMD) has 1.7 kB."""

PEM_CHAIN_BYTES_MAX = 16 * 1024
"""A PEM chain of three Intel certificates has 3.7 kB."""

CRL_BYTES_MAX = 1024 * 1024
"""One revocation list: Intel's largest so far has 5 kB; room for 20 000 entries."""

CRL_ENTRIES_MAX = 32_768
"""Entries of one revocation list: bounds the time to read it (about 50 ms)."""

SIGNED_JSON_BYTES_MAX = 256 * 1024
"""One TCB info or enclave identity: real ones stay below 20 kB."""

BLOB_BYTES_MAX = 2 * 1024 * 1024
"""One collateral file or bundle of any kind: a bundle holds two CRLs in hex and two JSON texts."""

COLLATERAL_ITEMS_MAX = 4096
"""Items of one collateral set: years of history of every platform family fit."""

COLLATERAL_BYTES_MAX = 64 * 1024 * 1024
"""Total bytes of one collateral set."""

TCB_LEVELS_MAX = 256
"""Levels of one TCB info or identity: real ones have at most 25."""

TDX_MODULES_MAX = 64
"""Module identities of one TCB info: real ones have at most 3."""

ADVISORIES_MAX = 256
"""Advisories of one level: real ones have at most 30."""

TIME_MAX = 253_402_300_799
"""9999-12-31T23:59:59Z: the latest instant X.509 and RFC 3339 can write."""

CACHE_ENTRIES_MAX = 256
"""Entries of each verifier cache: more platforms than one cluster has, a few MB at most."""
