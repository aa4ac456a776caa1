"""P-256 keys in their assembler, up to the document that OpenSSL takes over and from its answers on.

OpenSSL's own work on the key is counted by callgrind instead (tests/ct/openssl_counts.py).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from enclave.errors import AbortError
from enclave.group import ED25519
from enclave.secret import Secret
from enclave.threshold import p256, shamir
from tests.ct.prepared import Case, Prepared

KEY, VERSION = "key_1", 1
DIGEST = bytes(range(32))


def p256_cases() -> Iterator[tuple[str, Case]]:
    """Every (name, case)."""
    yield "p256.derive_public", derive_public
    yield "p256.sign_p256", sign
    yield "p256.sign_p256, wrong public key", sign_for_another_key


def derive_public() -> Prepared:
    """Joining the scalar, drawing the private key, its public half."""
    shares, group_key, public_shares = _shares()
    return Prepared(
        secrets=list(shares.values()),
        call=lambda: p256.derive_public(
            shares=shares, group_key=group_key, public_shares=public_shares, key=KEY, version=VERSION
        ),
    )


def sign() -> Prepared:
    """The same, then one signature, verified before it leaves."""
    return _signing(stated=None)


def sign_for_another_key() -> Prepared:
    """An assembler that finds that the derived key is not the stated one."""
    return _signing(stated=bytes([2]) + bytes(32))


def _signing(stated: bytes | None) -> Prepared:
    shares, group_key, public_shares = _shares()
    public_key = stated or p256.derive_public(
        shares=shares, group_key=group_key, public_shares=public_shares, key=KEY, version=VERSION
    )

    def run() -> None:
        with contextlib.suppress(AbortError) if stated else contextlib.nullcontext():
            p256.sign_p256(
                shares=shares,
                group_key=group_key,
                public_shares=public_shares,
                public_key=public_key,
                key=KEY,
                version=VERSION,
                digest=DIGEST,
            )

    return Prepared(secrets=list(shares.values()), call=run)


def _shares() -> tuple[dict[int, Secret], bytes, dict[int, bytes]]:
    shares, commitments = shamir.split(ED25519, ED25519.random_scalar(), 2, (1, 2, 3))
    used = {i: shares[i] for i in (1, 3)}
    return used, commitments[0], {i: ED25519.base_mult(share) for i, share in used.items()}
