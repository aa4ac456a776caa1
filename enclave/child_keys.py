"""A key's child at a path, as the same facts its certificate states of the key: public key, chain code, public shares.

Nothing is stored and no ceremony runs: node, gateway and client compute the child alike from the certificate, and each
holder adds the path's scalar to its share for one signature (specs/derivation.md).  Decryption keys have no children,
and shares of `reconstruct` keys are joined for the certified key only: both are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache

from enclave.certificate import KeyCertificate, NodeShare
from enclave.errors import CallerError
from enclave.group import GROUPS
from enclave.key_specs import Custody, Usage
from enclave.secret import Secret
from enclave.threshold.derive import child_point, child_share, derive

CHILDREN_CACHED_MAX = 4096
"""Children kept in memory, about 2 KiB each: a wallet's busy addresses are computed once."""

Path = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildKey:
    """A key at a path; for the empty path the key itself."""

    path: Path
    facts: KeyCertificate
    """The certificate's facts with the child's public key, chain code and public shares: computed, not signed."""
    tweak: int
    """Public scalar that leads from the certified key to the child; 0 for the key itself."""


def child_of(certificate: KeyCertificate, path: Path) -> ChildKey:
    """The child at `path`; raises CallerError (`derive.refused`, `path.invalid`)."""
    if not path:
        return ChildKey(path=(), facts=certificate, tweak=0)
    return _child(certificate, path)


@contextmanager
def share_of(share: Secret, child: ChildKey) -> Iterator[Secret]:
    """A holder's share of the child for the length of a `with` block; the certified key's share stays as it is."""
    if child.tweak == 0:
        yield share
        return
    with child_share(GROUPS[child.facts.kind.group], share, child.tweak) as derived:
        yield derived


@lru_cache(maxsize=CHILDREN_CACHED_MAX)
def _child(certificate: KeyCertificate, path: Path) -> ChildKey:
    if certificate.usage is Usage.DECRYPT:
        raise CallerError(
            "decryption keys have no children",
            code="derive.refused",
            hint="partial results of parent and child open each other's ciphertexts; make another key",
        )
    if certificate.custody is not Custody.THRESHOLD:
        raise CallerError(f"keys of custody {certificate.custody} have no children", code="derive.refused")
    group = GROUPS[certificate.kind.group]
    child = derive(group, certificate.public_key, certificate.chain_code, path)
    nodes = tuple(
        NodeShare(slot=node.slot, index=node.index, public_share=child_point(group, node.public_share, child.tweak))
        for node in certificate.nodes
    )
    facts = replace(certificate, public_key=child.public_key, chain_code=child.chain_code, nodes=nodes)
    return ChildKey(path=path, facts=facts, tweak=child.tweak)
