"""What this node has heard of each peer: its newest boot, that boot's one identity, its newest heartbeat.

Rules kept (specs/heartbeats.md section 3): a boot counter never goes back and has one identity key, across
restarts of this node too; a heartbeat replaces only an earlier one of its boot; an author that signs two
that no honest node signs is not listened to again in that boot, and the two are kept as proof.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from enclave.errors import EnclaveError, PeerError, RefusedError, StorageError, WireError
from enclave.heartbeats.bounds import LEASE_S
from enclave.heartbeats.forks import is_fork
from enclave.seal import SealedStore
from enclave.wire.heartbeats import ForkProof, Heartbeat, Seen, SignedHeartbeat
from enclave.wire.message import Message, decode_as, encode
from enclave.witness.statement import Statement
from enclave.witness.statement import read as read_statement

HEARD = "heard"
"""Kind of the sealed rows: per slot the newest boot and its identity."""

KEPT = "witnessed"
"""Kind of the sealed rows: per slot its newest witness statement."""

FORK = "fork-proof"
"""Kind of the sealed proofs, by slot."""


class _Heard(Message, frozen=True):
    boot_counter: int
    identity: bytes


@dataclass(slots=True, kw_only=True)
class Peer:
    """One slot's newest boot as this node knows it."""

    boot_counter: int
    identity: bytes
    """SHA-256 of its identity key."""
    older_until: float
    """Until when (monotonic) a lease this node gave to an older boot may run."""
    own_until: float
    """Until when a lease this node gave to this boot may run."""
    heard_at: float = float("-inf")
    made_after: float | None = None
    """When (monotonic) this node made what the newest heartbeat echoes; None if it echoes nothing."""
    newest: Heartbeat | None = None
    signed: SignedHeartbeat | None = None
    is_forked: bool = False


class Peers:
    """All slots but this node's own."""

    def __init__(self, store: SealedStore, monotonic: Callable[[], float]) -> None:
        """Load what was acknowledged before; raises StorageError if it does not have its form."""
        self._store = store
        self._monotonic = monotonic
        self._peers: dict[str, Peer] = {}
        self.proofs: dict[str, ForkProof] = {}
        self._kept: dict[str, tuple[Statement, bytes]] = {}
        # Who was echoed in the last moments of the boot before this one is not known any more.
        until = monotonic() + LEASE_S
        try:
            for slot, value in store.items(HEARD):
                heard = decode_as(_Heard, value)
                self._peers[slot] = Peer(
                    boot_counter=heard.boot_counter, identity=heard.identity, older_until=until, own_until=until
                )
            for slot, value in store.items(KEPT):
                self._keep(slot, value)
            for slot, value in store.items(FORK):
                self.proofs[slot] = decode_as(ForkProof, value)
        except WireError:
            raise StorageError("a sealed record does not have its form", code="storage.form") from None

    def get(self, slot: str) -> Peer | None:
        """What is known of a slot."""
        return self._peers.get(slot)

    def forget(self, slot: str) -> None:
        """Let any boot of a slot be the next one: an operator enrolled a machine whose disk counts anew.

        The lease that the run before it may hold is waited for as ever.
        """
        peer = self._peers.get(slot)
        if peer is not None:
            peer.boot_counter, peer.identity, peer.newest, peer.signed = 0, b"", None, None
            peer.is_forked = False
        if self._kept.pop(slot, None) is not None:
            self._store.delete(KEPT, slot)

    def take(self, heartbeat: Heartbeat, signed: SignedHeartbeat, identity_key: bytes) -> bool:
        """Take in a heartbeat whose signature was verified; False if it says nothing new.

        Raises RefusedError (`heartbeat.older-boot`, `heartbeat.twin`), PeerError (`heartbeat.forked`).
        """
        digest = hashlib.sha256(identity_key).digest()
        peer = self._peers.get(heartbeat.slot)
        if peer is None or heartbeat.boot_counter > peer.boot_counter:
            peer = self._acknowledge(heartbeat, digest, peer)
        elif heartbeat.boot_counter < peer.boot_counter:
            raise RefusedError("a newer boot of this slot was acknowledged", code="heartbeat.older-boot")
        elif digest != peer.identity:
            raise RefusedError("this boot was acknowledged under another identity", code="heartbeat.twin")
        if peer.is_forked:
            raise _forked(heartbeat.slot)
        if peer.newest is not None:
            assert peer.signed is not None
            if is_fork(peer.newest, peer.signed.body, heartbeat, signed.body):
                self._condemn(peer, ForkProof(identity_key=identity_key, first=peer.signed, second=signed))
                raise _forked(heartbeat.slot)
            if heartbeat.sequence <= peer.newest.sequence:
                return False
        peer.newest, peer.signed, peer.heard_at = heartbeat, signed, self._monotonic()
        peer.own_until = peer.heard_at + LEASE_S
        # A node that does not know itself whether its state is the newest has nothing to say about it.
        if heartbeat.warm and self._keep(heartbeat.slot, heartbeat.statement):
            self._store.put(KEPT, heartbeat.slot, heartbeat.statement)
        return True

    def recent(self) -> Iterator[tuple[str, Peer, Heartbeat]]:
        """Slots heard within ten seconds, with their newest heartbeats."""
        after = self._monotonic() - LEASE_S
        for slot, peer in self._peers.items():
            if peer.newest is not None and not peer.is_forked and peer.heard_at > after:
                yield slot, peer, peer.newest

    def seen(self, identity_of: Callable[[str], bytes | None]) -> list[Seen]:
        """What this node echoes; `identity_of` gives the identity key of a slot whose evidence counts now."""
        at = self._monotonic()
        echoes = []
        for slot, peer, newest in self.recent():
            key = identity_of(slot)
            if key is None or hashlib.sha256(key).digest() != peer.identity:
                continue
            echoes.append(
                Seen(
                    slot=slot,
                    boot_counter=peer.boot_counter,
                    identity=peer.identity,
                    sequence=newest.sequence,
                    log_size=newest.log_size,
                    log_root=newest.log_root,
                    wait_ms=max(0, int((peer.older_until - at) * 1000) + 1) if peer.older_until > at else 0,
                    kept_counter=self._kept[slot][0].counter if slot in self._kept else 0,
                    kept=self._kept[slot][1] if slot in self._kept and not newest.warm else b"",
                )
            )
        return echoes

    def kept(self) -> dict[str, Statement]:
        """The newest witness statement of every peer that made one."""
        return {slot: statement for slot, (statement, _) in self._kept.items()}

    def _keep(self, slot: str, data: bytes) -> bool:
        """Remember a statement if it is newer; of two with one counter the first stays."""
        statement = read_statement(data)
        if statement is None:
            return False
        held = self._kept.get(slot)
        if held is not None and (statement.incarnation, statement.counter) <= (held[0].incarnation, held[0].counter):
            return False
        self._kept[slot] = (statement, data)
        return True

    def _acknowledge(self, heartbeat: Heartbeat, identity: bytes, older: Peer | None) -> Peer:
        """A boot not heard before: from here on no older one is echoed, which is on disk before anybody learns it."""
        until = float("-inf")
        if older is not None and not heartbeat.clean:
            until = max(older.older_until, older.own_until)
        peer = Peer(boot_counter=heartbeat.boot_counter, identity=identity, older_until=until, own_until=float("-inf"))
        self._peers[heartbeat.slot] = peer
        row = _Heard(boot_counter=heartbeat.boot_counter, identity=identity)
        self._store.put(HEARD, heartbeat.slot, encode(row))
        return peer

    def _condemn(self, peer: Peer, proof: ForkProof) -> None:
        peer.is_forked = True
        self.proofs[proof.first.slot] = proof
        self._store.put(FORK, proof.first.slot, encode(proof))


def _forked(slot: str) -> EnclaveError:
    return PeerError(f"{slot} contradicted itself in two heartbeats", culprits=[slot], code="heartbeat.forked")
