"""Proof that a node contradicted itself: two heartbeats of one boot, both signed by it (specs/heartbeats.md section 7).

A proof needs nothing but the two messages and the identity key that the author's evidence binds, so anyone can
verify it, offline and later.
"""

from __future__ import annotations

from enclave.errors import PeerError, WireError
from enclave.heartbeats.reading import read
from enclave.identity import is_signed
from enclave.wire.heartbeats import ForkProof, Heartbeat, heartbeat_bytes


def is_fork(one: Heartbeat, one_body: bytes, other: Heartbeat, other_body: bytes) -> bool:
    """Whether no honest node signs both: one number twice, two logs of one length, or a log that became shorter."""
    if (one.slot, one.boot_counter) != (other.slot, other.boot_counter):
        return False
    if one.sequence == other.sequence:
        return one_body != other_body
    earlier, later = (one, other) if one.sequence < other.sequence else (other, one)
    if earlier.log_size == later.log_size:
        return earlier.log_root != later.log_root
    return earlier.log_size > later.log_size


def verify_fork(proof: ForkProof, *, cluster: bytes) -> str:
    """The slot that the proof convicts; raises PeerError (`fork.unproven`) if it proves nothing."""
    try:
        first, second = read(proof.first), read(proof.second)
    except WireError:
        raise PeerError("not two heartbeats", code="fork.unproven") from None
    signed = all(
        is_signed(proof.identity_key, item.signature, heartbeat_bytes(cluster, item.body))
        for item in (proof.first, proof.second)
    )
    if not signed or first.cluster != cluster or not is_fork(first, proof.first.body, second, proof.second.body):
        raise PeerError("the two heartbeats do not contradict each other under that key", code="fork.unproven")
    return first.slot
