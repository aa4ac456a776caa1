"""Child keys of a shared key by public addition: every holder computes its part alone, no ceremony.

secp256k1 follows BIP-32's public derivation, so that any wallet library recomputes the addresses; edwards25519 has no
such standard and uses the same shape under its own hash.  Only non-hardened steps exist, since hardened ones need the
whole secret (specs/derivation.md).  Decryption keys have no children: their partials would open for the parent.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from enclave.errors import CallerError
from enclave.group import Group
from enclave.secret import Secret

CHAIN_CODE_BYTES = 32
STEP_MAX = 2**31 - 1
"""BIP-32: larger numbers mean hardened derivation."""
DEPTH_MAX = 16
"""Most steps in a path: BIP-44 uses five; bounds the work of one request."""

_ED25519_TAG = b"holdfast/derive/ed25519/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A derived public key, its chain code, and the scalar that was added to the parent."""

    public_key: bytes
    chain_code: bytes
    tweak: int
    """Sum of all steps; add it to every share and every public share."""


def derive(group: Group, public_key: bytes, chain_code: bytes, path: Sequence[int]) -> Child:
    """The child at `path` from the key itself; an empty path is the key.

    Raises CallerError (`path.invalid`), also for the one step in about 2^127 that does not exist.
    """
    if len(path) > DEPTH_MAX or any(not 0 <= step <= STEP_MAX for step in path):
        raise CallerError(
            f"a path has at most {DEPTH_MAX} steps from 0 to {STEP_MAX}",
            code="path.invalid",
            hint="hardened steps (') do not exist for shared keys",
        )
    if len(chain_code) != CHAIN_CODE_BYTES:
        raise CallerError("a chain code has 32 bytes", code="path.invalid")
    group.validate_point(public_key)
    tweak = 0
    for step in path:
        added, chain_code = _step(group, public_key, chain_code, step)
        public_key = group.point_add(public_key, group.base_mult_public(added))
        tweak = (tweak + added) % group.order
    return Child(public_key=public_key, chain_code=chain_code, tweak=tweak)


def parse_path(text: str) -> tuple[int, ...]:
    """`m/0/5` as steps; raises CallerError (`path.invalid`)."""
    root, *steps = text.split("/")
    if root != "m" or len(steps) > DEPTH_MAX or not all(s.isascii() and s.isdigit() and len(s) <= 10 for s in steps):
        raise CallerError("expected a path such as m/0/5", code="path.invalid")
    numbers = tuple(int(step) for step in steps)
    if any(str(n) != s or n > STEP_MAX for n, s in zip(numbers, steps, strict=True)):
        raise CallerError("a path has plain numbers below 2^31", code="path.invalid")
    return numbers


def format_path(path: Sequence[int]) -> str:
    """Steps as text: `m`, `m/0/5`."""
    return "/".join(["m", *map(str, path)])


def child_share(group: Group, share: Secret, tweak: int) -> Secret:
    """This holder's share of the child; the parent's share stays the caller's."""
    if tweak == 0:
        return share.duplicate()
    with group.scalar_from_public(tweak) as addend:
        return group.add(share, addend)


def child_point(group: Group, point: bytes, tweak: int) -> bytes:
    """Public key or public share of the child."""
    return point if tweak == 0 else group.point_add(point, group.base_mult_public(tweak))


def _step(group: Group, public_key: bytes, chain_code: bytes, step: int) -> tuple[int, bytes]:
    data = public_key + step.to_bytes(4, "big")
    if group.name == "secp256k1":
        digest = hmac.digest(chain_code, data, "sha512")
        added = int.from_bytes(digest[:32], "big")
        chain_code = digest[32:]
    else:
        # 64 bytes for the scalar, so that it is uniform; a second hash for the chain code.
        added = int.from_bytes(hmac.digest(chain_code, _ED25519_TAG + b"\x00" + data, "sha512"), "little") % group.order
        chain_code = hmac.digest(chain_code, _ED25519_TAG + b"\x01" + data, "sha512")[:CHAIN_CODE_BYTES]
    if not 0 < added < group.order:
        raise CallerError("this step does not exist, take the next", code="path.invalid")
    return added, chain_code
