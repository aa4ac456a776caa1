"""Decryption inside an enclave, measured like the rest: points and plaintext stay in the arena."""

from __future__ import annotations

from collections.abc import Iterator

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from enclave.group import ED25519
from enclave.secret import Secret
from enclave.threshold import hpke, opening, shamir
from tests.ct.prepared import Case, Prepared

IDS = (1, 3)
INFO = b"context"
PLAINTEXT = bytes(range(1, 65))
P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P


def opening_cases() -> Iterator[tuple[str, Case]]:
    """Every (name, case)."""
    yield "opening.partial_point", partial_point
    yield "opening.open_and_reseal", open_and_reseal
    yield "opening.culprits", culprits


def partial_point() -> Prepared:
    """A node's point and the row it travels in."""
    shares, _, sealed = _sealed()

    def run() -> None:
        with opening.partial_point(shares[1], 1, IDS, sealed[: hpke.ENC_BYTES]) as point:
            opening.row_of(point, bytes(opening.PROOF_BYTES)).wipe()

    return Prepared(secrets=[shares[1]], call=run)


def open_and_reseal() -> Prepared:
    """From points to the plaintext sealed again."""
    shares, public_key, sealed = _sealed()
    enc, ciphertext = sealed[: hpke.ENC_BYTES], sealed[hpke.ENC_BYTES :]
    points = [opening.partial_point(shares[i], i, IDS, enc) for i in IDS]
    recipient = X25519PrivateKey.generate().public_key().public_bytes_raw()
    return Prepared(
        secrets=points,
        call=lambda: opening.open_and_reseal(
            points,
            enc=enc,
            ciphertext=ciphertext,
            public_key=public_key,
            info=INFO,
            recipient=recipient,
            recipient_info=b"to the recipient",
        ),
    )


def culprits() -> Prepared:
    """The search for a wrong row."""
    shares, _, sealed = _sealed()
    enc = sealed[: hpke.ENC_BYTES]
    row = opening.row_of(opening.partial_point(shares[1], 1, IDS, enc), hpke.prove_partial(shares[1], 1, IDS, enc))
    public_shares = {1: ED25519.base_mult(shares[1])}
    return Prepared(
        secrets=[row], call=lambda: opening.culprits({1: row}, ids=IDS, enc=enc, public_shares=public_shares)
    )


def _sealed() -> tuple[dict[int, Secret], bytes, bytes]:
    """A ciphertext for which libsodium's decoding of the result takes its shorter way, so that counts repeat."""
    shares, commitments = shamir.split(ED25519, ED25519.random_scalar(), 2, (1, 2, 3))
    public_key = hpke.public_key_x25519(commitments[0])
    while True:
        sealed = hpke.seal(public_key, PLAINTEXT, INFO)
        partials = [hpke.partial(shares[i], i, IDS, sealed[: hpke.ENC_BYTES]) for i in IDS]
        if _decodes_at_once(ED25519.point_add(*partials)):
            return shares, public_key, sealed


def _decodes_at_once(point: bytes) -> bool:
    """Whether the first square root of RFC 8032 section 5.1.3 step 3 is the right one."""
    y = int.from_bytes(point, "little") & (2**255 - 1)
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P)
    return v * x * x % P == u
