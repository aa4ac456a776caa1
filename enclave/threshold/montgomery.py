"""Between X25519 public keys and the prime-order Edwards group: how a shared scalar answers a Montgomery point.

Rules kept (specs/threshold-decryption.md section 3): only public values pass here; what a standard sender never
makes (twist points, small orders, non-canonical encodings) is refused.  Source: RFC 7748 section 4.1.
"""

from __future__ import annotations

from enclave.errors import AbortError, CallerError
from enclave.group.ed25519 import ED25519

KEY_BYTES = 32
_P = 2**255 - 19
_BASE = ED25519.base_mult_public(1)
COFACTOR_DOUBLINGS = 3


def public_key_x25519(group_public_key: bytes) -> bytes:
    """The X25519 public key of the secret 8 * s, where s is the shared scalar behind `group_public_key`.

    Eight times, because X25519 secrets are multiples of the cofactor.  Raises CallerError (`point.invalid`).
    """
    ED25519.validate_point(group_public_key)
    return to_montgomery(_eightfold(group_public_key))


def to_montgomery(point: bytes) -> bytes:
    """The u-coordinate (32 bytes) of a point of the group.  Raises CallerError (`point.invalid`)."""
    return ED25519.to_x25519(point)


def eightfold_point(u: bytes) -> tuple[bytes, bool]:
    """(8 * P, True) for the point P with Montgomery u-coordinate `u` and even x; (a stand-in, False) if there is none.

    A point always comes back, so that the caller's work does not depend on the answer.
    """
    try:
        return _eightfold(_to_edwards(u)), True
    except (AbortError, CallerError):
        return _eightfold(_BASE), False


def _eightfold(point: bytes) -> bytes:
    for _ in range(COFACTOR_DOUBLINGS):
        point = ED25519.point_add(point, point)
    return point


def _to_edwards(u: bytes) -> bytes:
    x = int.from_bytes(u, "little")
    if len(u) != KEY_BYTES or x >= _P or x == _P - 1:
        raise CallerError("not a canonical Montgomery point", code="point.invalid")
    y = (x - 1) * pow(x + 1, -1, _P) % _P
    return y.to_bytes(KEY_BYTES, "little")
