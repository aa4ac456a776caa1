"""One node's side of the exchange: make the own heartbeat, take in those of the others (specs/heartbeats.md).

Rules kept: a heartbeat counts only under the identity key that evidence accepted here binds to its slot and
boot; what costs nothing is checked before the signature; relays may drop, repeat and reorder as they like.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from enclave.errors import CallerError, RefusedError
from enclave.heartbeats.bounds import LEASE_S, REUSE_S
from enclave.heartbeats.clock import ClusterClock
from enclave.heartbeats.lease import Lease
from enclave.heartbeats.peers import Peers
from enclave.heartbeats.reading import read
from enclave.heartbeats.versions import Versions
from enclave.identity import BootIdentity, is_signed
from enclave.roster import Roster
from enclave.seal import SealedStore
from enclave.verdicts import VerdictTable
from enclave.wire.attestation import Identity
from enclave.wire.heartbeats import Heartbeat, SignedHeartbeat, heartbeat_bytes
from enclave.wire.message import encode
from enclave.witness.standing import Witness

LogHead = Callable[[], tuple[int, bytes]]
"""Size and root of this node's receipt log."""

ENDED = ("boot", "ended")
"""Where the counter of the last boot that held the lease and ended in order is sealed."""


class Heartbeats:
    """The exchange of one boot."""

    def __init__(
        self,
        *,
        roster: Roster,
        identity: BootIdentity,
        store: SealedStore,
        verdicts: VerdictTable,
        versions: Versions,
        monotonic: Callable[[], float],
        log_head: LogHead,
        witness: Witness,
        now: int,
    ) -> None:
        """`now` is this node's own clock at the start, Unix seconds.  Raises StorageError."""
        own = identity.public
        terms = roster.witness_terms
        self._roster = roster
        self._newest = roster
        self._identity = identity
        self._store = store
        self._verdicts = verdicts
        self._monotonic = monotonic
        self._log_head = log_head
        self._slots = {entry.slot for entry in roster.slots} - {own.slot}
        ended = store.get(*ENDED)
        self._clean = ended is not None and int.from_bytes(ended, "big") == own.boot_counter - 1
        self.peers = Peers(store, monotonic)
        self.lease = Lease(
            terms,
            monotonic,
            boot_counter=own.boot_counter,
            digest=hashlib.sha256(own.identity_key).digest(),
        )
        self.clock = ClusterClock(monotonic, own=now, peers_needed=terms.a)
        self.versions = versions
        self.witness = witness
        self._told = 0
        """Roster version that peers are known to hold."""
        self._sequence = 0
        self._last: SignedHeartbeat | None = None
        self._last_at = float("-inf")
        self._has_news = True

    def follow(self, roster: Roster, newest: Roster) -> None:
        """Work by another roster from now on; `newest` is the newest version held, in force or not."""
        self._roster, self._newest = roster, newest
        self._slots = {entry.slot for entry in roster.slots} - {self._identity.public.slot}
        self.lease.follow(roster.witness_terms)
        self.clock.count_on(roster.witness_terms.a)
        self.versions.follow(roster)
        self.witness.follow(roster)
        self._count_rosters()
        self._has_news = True

    def check_roster(self) -> None:
        """Raise RefusedError (`versions-behind`) while more peers than may lie hold a newer roster than this node."""
        if self._told > self._newest.version:
            raise RefusedError(
                f"peers hold roster version {self._told}, this node {self._newest.version}",
                code="versions-behind",
                hint="give this node the newest roster",
            )

    def beat(self, now: int) -> SignedHeartbeat:
        """This node's heartbeat at `now` (cluster time); asked again at once, the same, unless something was heard."""
        at = self._monotonic()
        self._agree(now)
        is_same = not self._has_news and not self.witness.is_behind
        if self._last is not None and is_same and 0 <= at - self._last_at < REUSE_S:
            return self._last
        own = self._identity.public
        self.witness.advance()
        self._sequence += 1
        log_size, log_root = self._log_head()
        # Noted before it is signed: a lease is counted from a moment that is certainly not later.
        self.lease.note_sent(self._sequence, log_size=log_size, log_root=log_root)
        directory = self.versions.directory
        heartbeat = Heartbeat(
            cluster=own.cluster,
            slot=own.slot,
            boot_counter=own.boot_counter,
            sequence=self._sequence,
            time=self.clock.own,
            clean=self._clean,
            log_size=log_size,
            log_root=log_root,
            roster_version=self._newest.version,
            roster_digest=self._newest.digest,
            registry=self.versions.registry,
            restrictions=len(directory.restrictions),
            restrictions_digest=directory.restrictions_digest,
            documents=self.versions.outgoing(newest for _, _, newest in self.peers.recent()),
            seen=self.peers.seen(lambda slot: self._identity_key(slot, now)),
            statement=self.witness.bytes,
            warm=self.witness.is_settled,
        )
        body = encode(heartbeat)
        signature = self._identity.sign(heartbeat_bytes(own.cluster, body))
        self._last = SignedHeartbeat(slot=own.slot, body=body, signature=signature)
        self._last_at, self._has_news = at, False
        return self._last

    def hear(self, signed: SignedHeartbeat, now: int) -> None:
        """Take in a peer's heartbeat; one that is not newer than what is known changes nothing.

        Raises WireError (`heartbeat.too-large`, `heartbeat.malformed`), CallerError (`heartbeat.slot`,
        `heartbeat.cluster`, `heartbeat.unattested`, `heartbeat.boot`, `heartbeat.signature`), and as Peers.take.
        """
        if signed.slot not in self._slots:
            raise CallerError("expected a heartbeat of another slot of the roster", code="heartbeat.slot")
        known = self.peers.get(signed.slot)
        if known is not None and known.signed == signed:
            return  # the relay repeats itself: not worth a signature check
        heartbeat = read(signed)
        identity = self._attested(heartbeat, now)
        if not is_signed(identity.identity_key, signed.signature, heartbeat_bytes(identity.cluster, signed.body)):
            raise CallerError("not signed by that boot's identity key", code="heartbeat.signature")
        if not self.peers.take(heartbeat, signed, identity.identity_key):
            return
        self._has_news = True
        own = self._identity.public.slot
        echo = next((echo for echo in heartbeat.seen if echo.slot == own), None)
        peer = self.peers.get(heartbeat.slot)
        assert peer is not None
        peer.made_after = self.lease.note_echo(heartbeat.slot, identity.identity_key, echo)
        if echo is not None and peer.made_after is not None:
            self.witness.hear(heartbeat.slot, echo, is_warm=heartbeat.warm)
        self.versions.hear(heartbeat, now)
        self._count_rosters()
        self._agree(now)

    def is_alive(self, identity: Identity) -> bool:
        """Whether that boot of a peer (or this node itself) made a heartbeat within the last ten seconds."""
        if identity.slot == self._identity.public.slot:
            return True
        return self.lease.hears(identity.slot, identity.identity_key)

    def end(self) -> None:
        """An orderly stop: the next boot need not wait for this one's lease.  Raises StorageError.

        Only where this boot was free to work, so that nothing older than it can still be at work either.
        """
        if self.lease.is_claimed:
            self._store.put(*ENDED, self._identity.public.boot_counter.to_bytes(8, "big"))
            self._store.commit()

    def _attested(self, heartbeat: Heartbeat, now: int) -> Identity:
        if heartbeat.cluster != self._roster.cluster_id:
            raise CallerError("a heartbeat of another cluster", code="heartbeat.cluster")
        identity = self._verdicts.attested(heartbeat.slot, now)
        if identity is None:
            raise CallerError("no evidence of this slot is accepted here", code="heartbeat.unattested")
        if heartbeat.boot_counter != identity.boot_counter:
            if heartbeat.boot_counter < identity.boot_counter:
                raise RefusedError("evidence of a newer boot is accepted here", code="heartbeat.older-boot")
            raise CallerError("a boot whose evidence was not seen", code="heartbeat.boot")
        return identity

    def _identity_key(self, slot: str, now: int) -> bytes | None:
        identity = self._verdicts.attested(slot, now)
        return identity.identity_key if identity is not None else None

    def _count_rosters(self) -> None:
        """The newest roster version that more peers name than may lie."""
        versions = sorted((newest.roster_version for _, _, newest in self.peers.recent()), reverse=True)
        faulty = self._roster.witness_terms.f
        self._told = versions[faulty] if len(versions) > faulty else 0

    def _agree(self, now: int) -> None:
        """Let the peers heard of late vote on the time."""
        at = self._monotonic()
        self.clock.agree(
            [
                # Its clock showed a time of that second when it signed, which was after what it echoes was made.
                (newest.time + at - peer.heard_at, newest.time + 1 + at - peer.made_after)
                for slot, peer, newest in self.peers.recent()
                if peer.made_after is not None
                and at - peer.made_after < LEASE_S
                and self._verdicts.attested(slot, now) is not None
            ]
        )
