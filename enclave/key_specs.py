"""What kinds of keys exist: algorithm, allowed usages and custodies, and how many nodes each needs.

Usage is fixed at creation so that a signature for one purpose is never valid for another.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

SHARES_NEEDED_MIN = 2
"""Below two, one node would hold the key."""

NODES_MAX = 16
"""Most nodes of one key: distributed key generation grows with the square."""

ASSEMBLERS_MAX = 8
"""Most enclaves that may see one key while using it."""

ASSEMBLERS_DEFAULT = 2
"""Assemblers of a `reconstruct` key whose order names none: one to work, one to take over."""

SHARES_NEEDED_DEFAULT = 3
SHARES_NEEDED_DOUBLED = 2
"""T of an order that does not say: 3 of 5, or a quorum of 3 of 5 where signing takes 2T - 1 nodes."""


class Custody(StrEnum):
    """Where the private key can exist."""

    THRESHOLD = "threshold"
    RECONSTRUCT = "reconstruct"
    RELEASE = "release"


class Origin(StrEnum):
    """Where a private key comes from."""

    GENERATED = "generated"
    """By the nodes: it was never in one place."""
    IMPORTED = "imported"
    """By a client that had the whole key once, and may have it still."""


class Usage(StrEnum):
    """What a key may be used for."""

    EVM = "evm"
    SOLANA = "solana"
    BITCOIN = "bitcoin"
    GENERIC = "generic"
    DECRYPT = "decrypt"
    SECRET = "secret"  # noqa: S105 - a usage


P256 = "p256-ecdsa"
"""Spec whose private key is derived from the shared scalar inside an assembler."""

ECDSA_SPECS = frozenset({"secp256k1-ecdsa", P256})
"""Specs that sign digests by ECDSA."""

OPAQUE_SECRET = "opaque-secret"  # noqa: S105 - the name of a kind of key
"""Spec of what is released to attested workloads: uploaded by a client, never ordered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySpec:
    """One kind of key."""

    name: str
    group: str
    """Group of the key generation: `ed25519` or `secp256k1`."""
    usages: tuple[Usage, ...]
    custodies: tuple[Custody, ...]
    public_key_bytes: int
    """Size in the certificate; 0 where it is stated beside it."""
    point_bytes: int
    """Size of a public share."""
    quorum_is_doubled: bool = False
    """Whether custody `threshold` needs 2T - 1 signers (honest-majority ECDSA)."""
    is_ordered: bool = True
    """Whether nodes make it on an order; a secret is uploaded instead."""
    id_prefix: str = "key"

    def signing_quorum(self, custody: Custody, shares_needed: int) -> int:
        """How many nodes take part in one use of the key (an assembler not counted)."""
        if custody is Custody.THRESHOLD and self.quorum_is_doubled:
            return 2 * shares_needed - 1
        return shares_needed

    def shares_needed_default(self, custody: Custody) -> int:
        """T of an order that does not say."""
        if custody is Custody.THRESHOLD and self.quorum_is_doubled:
            return SHARES_NEEDED_DOUBLED
        return SHARES_NEEDED_DEFAULT


SPECS: dict[str, KeySpec] = {
    spec.name: spec
    for spec in (
        KeySpec(
            name="ed25519",
            group="ed25519",
            usages=(Usage.SOLANA, Usage.GENERIC),
            custodies=(Custody.THRESHOLD,),
            public_key_bytes=32,
            point_bytes=32,
        ),
        KeySpec(
            name="secp256k1-ecdsa",
            group="secp256k1",
            usages=(Usage.EVM, Usage.BITCOIN, Usage.GENERIC),
            custodies=(Custody.THRESHOLD, Custody.RECONSTRUCT),
            public_key_bytes=33,
            point_bytes=33,
            quorum_is_doubled=True,
        ),
        KeySpec(
            name="secp256k1-schnorr",
            group="secp256k1",
            usages=(Usage.BITCOIN, Usage.GENERIC),
            custodies=(Custody.THRESHOLD,),
            public_key_bytes=33,
            point_bytes=33,
        ),
        KeySpec(
            name="hpke-x25519",
            group="ed25519",
            usages=(Usage.DECRYPT,),
            custodies=(Custody.THRESHOLD,),
            public_key_bytes=32,
            point_bytes=32,
        ),
        KeySpec(
            name=P256,
            group="ed25519",
            usages=(Usage.GENERIC,),
            custodies=(Custody.RECONSTRUCT,),
            public_key_bytes=0,
            point_bytes=32,
        ),
        KeySpec(
            name=OPAQUE_SECRET,
            group="ed25519",
            usages=(Usage.SECRET,),
            custodies=(Custody.RELEASE,),
            public_key_bytes=32,
            point_bytes=32,
            is_ordered=False,
            id_prefix="sec",
        ),
    )
}
"""Every kind of key by name."""

ORDERED_SPECS = tuple(spec.name for spec in SPECS.values() if spec.is_ordered)
"""Kinds that a key order can name."""


def privacy_threshold(custody: Custody, shares_needed: int) -> int:
    """How many nodes must collude, or break, to learn the key."""
    return 1 if custody is Custody.RECONSTRUCT else shares_needed
