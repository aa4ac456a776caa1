"""The node without its sockets: every verb as a function of state, request and time.

Rules kept: nothing is believed because of who relays it; time only moves forward; what a reply
acknowledges is committed to the store before the reply may leave (`commit`); hostile requests raise
CodedError and change nothing else.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from attestation.verifier import Verifier
from enclave.approvals.book import ApprovalBook
from enclave.backup.exporting import Exports
from enclave.boots import BootBook, boot_proof
from enclave.ceremonies import Ceremonies
from enclave.ceremonies.steps import Work, completed
from enclave.channel import Channels
from enclave.directory import Directory
from enclave.ecdsa_sessions import EcdsaSessions
from enclave.errors import StorageError, WireError
from enclave.federation import Federation
from enclave.group.secp256k1 import POINT_BYTES
from enclave.handlers import (
    approvals,
    attestation,
    backup,
    budgets,
    ceremony,
    decrypt,
    documents,
    ecdsa,
    evaluate,
    exports,
    heartbeats,
    imports,
    p256,
    receipts,
    reconstruct,
    rosters,
    schnorr,
    secrets,
    sign,
    witness,
)
from enclave.heartbeats.bounds import DRIFT_S_MAX, LEASE_S, boottime
from enclave.heartbeats.exchange import Heartbeats
from enclave.heartbeats.versions import Versions
from enclave.identity import BootIdentity
from enclave.keys import KeyTable
from enclave.ledger import Ledger
from enclave.limits.node_limits import NodeLimits
from enclave.limits.transfer import adopt
from enclave.nonces import NoncePool
from enclave.presentation import verifier_for
from enclave.quotes import QuoteBudget
from enclave.receipts.decisions import RECORDED, Journal, decided
from enclave.receipts.log import Receipts
from enclave.release_nonces import ReleaseNonces
from enclave.roster import Roster
from enclave.roster_chain import Link
from enclave.rosters import RosterBook
from enclave.seal import SealedStore
from enclave.tee import Tee
from enclave.threshold import bip340, frost
from enclave.verdicts import VerdictTable
from enclave.wire.attestation import EvidenceRequest, Presentation
from enclave.wire.message import Message
from enclave.witness.standing import Witness
from enclave.witness.waiting import VERBS as WITNESSED
from enclave.witness.waiting import witnessed

Handler = Callable[["NodeState", int, Any, int], Message | Work[Any]]

HANDLERS: dict[str, Handler] = {
    "status": attestation.status,
    "challenge": attestation.challenge,
    "evidence": attestation.evidence,
    "collateral": attestation.collateral,
    "registry": attestation.registry,
    "present": attestation.present,
    "verdicts": attestation.verdicts,
    "heartbeat": heartbeats.give,
    "heartbeats": heartbeats.take,
    "forks": heartbeats.forks,
    "clock-follow": heartbeats.follow_clock,
    "cold-start": witness.cold_start,
    "channel-open": reconstruct.channel_open,
    "channel-accept": reconstruct.channel_accept,
    "control": documents.control,
    "policy-activate": documents.activate,
    "roster": rosters.offer,
    "roster-status": rosters.status,
    "roster-activate": rosters.activate,
    "holdings": documents.holdings,
    "budgets": budgets.show,
    "ceremony-start": ceremony.start,
    "ceremony-round": ceremony.advance,
    "ceremony-commit": ceremony.commit,
    "ceremony-abort": ceremony.abort,
    "ceremony-discard": ceremony.discard,
    "ceremony-standing": ceremony.standing,
    "ceremony-proof": ceremony.proof,
    "certificate": documents.certificate,
    "nonces": sign.nonces,
    "sign": sign.sign,
    "schnorr-sign": schnorr.sign,
    "ecdsa-start": ecdsa.start,
    "ecdsa-round": ecdsa.advance,
    "ecdsa-abort": ecdsa.abort,
    "release": reconstruct.release,
    "assemble": reconstruct.assemble,
    "p256-release": p256.release,
    "p256-derive": p256.derive,
    "partial": decrypt.partial,
    "open": decrypt.open_inside,
    "secret-put": secrets.put,
    "secret-challenge": secrets.challenge,
    "secret-release": secrets.release,
    "evaluate": evaluate.answer,
    "park": approvals.park,
    "parked": approvals.parked,
    "approved": approvals.approved,
    "reject": approvals.reject,
    "cancel": approvals.cancel,
    "import-prepare": imports.prepare,
    "import-commit": imports.commit,
    "import-pending": imports.pending,
    "import-standing": imports.standing,
    "export": exports.export,
    "backup-export": backup.export,
    "restore-begin": backup.refuse,
    "restore-piece": backup.refuse,
    "restore-mnemonic": backup.refuse,
    "restore-standing": backup.refuse,
    "restore-documents": backup.refuse,
    "restore-end": backup.refuse,
    "log-entries": receipts.entries,
    "log-checkpoint": receipts.checkpoint,
}
"""Every verb of enclave.wire.verbs.VERBS."""


def _silent(_event: str, **_facts: object) -> None:
    """Where no log is attached."""


class NodeState:
    """One boot of one node."""

    def __init__(
        self,
        *,
        roster: Roster,
        rosters: Sequence[Link] = (),
        slot: str,
        store: SealedStore,
        tee: Tee,
        tls_spki: bytes,
        now: int,
        verifier: Verifier | None = None,
        log: Callable[..., None] = _silent,
        monotonic: Callable[[], float] = boottime,
    ) -> None:
        """Claim a boot counter, make fresh keys and load what is sealed.

        `rosters` continue `roster` to the newest of the configuration.
        `now` is the start in Unix seconds, rounded up: tokens issued before it are refused; `monotonic` gives
        seconds by a clock that nobody sets.  Raises
        StorageError, DocumentError (`roster.slot`).
        """
        self.rosters = RosterBook(store, roster, later=rosters, now=now)
        self.roster = self.rosters.effective
        """What decides now: the roster in force, less what a newer one held here takes away."""
        self.slot = self.roster.slot(slot).slot
        self.store = store
        self.tee = tee
        self.log = log
        self.started_at = now
        self.identity = BootIdentity(
            cluster=roster.cluster_id,
            slot=slot,
            boot_counter=store.next_boot(),
            roster_digest=self.rosters.active.digest,
            tls_spki=tls_spki,
        )
        self.boot_proof = boot_proof(store, self.identity)
        self.receipts = Receipts(self.identity, store, now=now)
        self.journal = Journal()
        self.verdicts = VerdictTable(
            roster=self.roster,
            verifier=verifier or verifier_for(self.roster),
            boots=BootBook(store),
            counts=self.rosters.counts,
        )
        self.directory = Directory(store, self.roster)
        self.verdicts.boots.enrolled = self.directory.enrolment
        self.directory.affects = lambda policy: any(True for _ in self.keys.under(policy))
        self.witness = Witness(store, tee, self.roster, slot=slot, boot_counter=self.identity.public.boot_counter)
        self.heartbeats = Heartbeats(
            roster=roster,
            identity=self.identity,
            store=store,
            verdicts=self.verdicts,
            versions=Versions(roster, self.directory, self.verdicts),
            monotonic=monotonic,
            log_head=self.receipts.head,
            witness=self.witness,
            now=now,
        )
        self.heartbeats.follow(self.roster, self.rosters.newest)
        self.verdicts.is_alive = self.heartbeats.is_alive
        self.verdicts.boots.replaced = self.heartbeats.peers.forget
        self._start_settled = False
        self.keys = KeyTable(store, slot)
        self.ceremonies = Ceremonies(self.identity, self.keys, store)
        self.channels = Channels(self.identity)
        self.ecdsa = EcdsaSessions(self.identity, self.channels)
        self.ledger = Ledger()
        self.approvals = ApprovalBook(store)
        self.asked_epoch = 0
        """The key epoch that the request being handled names; 0 for whatever this node has."""
        self.serving = 0
        """The gateway connection whose request is being handled."""
        self.limits = NodeLimits(store, slots=len(roster.slots))
        self.ceremonies.pending.recover(lambda table: adopt(self.limits, [table]))
        self.quotes = QuoteBudget()
        self.backups = Exports()
        self.release_nonces = ReleaseNonces()
        self._pools: dict[int, NoncePool[frost.NoncePair]] = {}
        self._schnorr_pools: dict[int, NoncePool[bip340.NoncePair]] = {}
        self._schnorr_nonces = bip340.NonceSource()
        attestation.restore(self, now)

    def handle(self, connection: int, verb: str, request: Message, now: int) -> Message:
        """The reply to one request of one gateway connection at `now` (Unix seconds).

        The reply may leave only after `commit`.  Raises CodedError; WireError for an unknown verb.
        """
        reply = self.begin(connection, verb, request, now)
        return reply if isinstance(reply, Message) else completed(reply)

    def begin(self, connection: int, verb: str, request: Message, now: int) -> Message | Work[Message]:
        """As `handle`, but long work comes back to be done bit by bit, between other requests."""
        self.serving = connection
        handler = HANDLERS.get(verb)
        if handler is None:
            raise WireError("unknown verb", code="wire.unknown-verb")
        self.asked_epoch = getattr(request, "epoch", 0)
        if verb in RECORDED:
            return decided(self, verb, handler, connection, request, self.tick(now))
        reply = handler(self, connection, request, self.tick(now))
        return witnessed(self, verb, request, reply) if verb in WITNESSED else reply

    def begin_evidence(self, request: EvidenceRequest, now: int) -> tuple[list[bytes], bytes]:
        """First half of verb `evidence` for callers that quote elsewhere: nonces and report data."""
        return attestation.begin_evidence(self, request, self.tick(now))

    def finish_evidence(self, nonces: list[bytes], evidence: bytes, now: int) -> Presentation:
        """Second half: the presentation around the quote."""
        return attestation.finish_evidence(self, nonces, evidence, self.tick(now))

    def follow_rosters(self, now: int) -> None:
        """Let what `rosters` holds decide from now on, everywhere in this node."""
        self.roster = self.rosters.effective
        self.identity.follow(self.rosters.active.digest)
        self.verdicts.follow(self.roster, now)
        self.directory.follow(self.roster)
        self.heartbeats.follow(self.roster, self.rosters.newest)
        self.limits.follow(len(self.roster.slots))

    def commit(self) -> None:
        """Make durable what the handled requests changed; raises StorageError, after which the node must stop."""
        self.store.commit()

    @property
    def federation(self) -> Federation:
        """Who may speak for agents beside their registered keys, under the newest roster."""
        return Federation(roster=self.roster, agent=self.directory.agent)

    def pool(self, connection: int) -> NoncePool[frost.NoncePair]:
        """The Ed25519 nonces of a connection."""
        pool = self._pools.get(connection)
        if pool is None:
            pool = self._pools[connection] = NoncePool(self.identity.public.boot_counter, frost.commit)
        return pool

    def schnorr_pool(self, connection: int) -> NoncePool[bip340.NoncePair]:
        """The BIP-340 nonces of a connection."""
        pool = self._schnorr_pools.get(connection)
        if pool is None:
            pool = NoncePool(self.identity.public.boot_counter, self._schnorr_commit)
            self._schnorr_pools[connection] = pool
        return pool

    def disconnect(self, connection: int) -> None:
        """Forget what was tied to a connection: its nonces, its signing attempts and the sessions opened for it."""
        for pool in (self._pools.pop(connection, None), self._schnorr_pools.pop(connection, None)):
            if pool is not None:
                pool.wipe()
        self.ecdsa.disconnect(connection)
        self.approvals.disconnect(connection)
        self.channels.disconnect(connection)
        self.verdicts.disconnect(connection)

    def close(self) -> None:
        """Wipe every secret in memory, let the next boot know that this one has ended, and close the store."""
        for connection in {*self._pools, *self._schnorr_pools}:
            self.disconnect(connection)
        self.ecdsa.wipe()
        self.ceremonies.wipe()
        self.keys.wipe()
        self.identity.wipe()
        with contextlib.suppress(StorageError):
            self.heartbeats.end()
        self.store.close()

    def tick(self, now: int) -> int:
        """The time to judge by, given this node's own clock: the cluster's, which never goes back, once it is known."""
        time = self.heartbeats.clock.now(now)
        self.ecdsa.expire(time)
        self.keys.expire(time)
        return time

    def settle_start(self) -> None:
        """Once the cluster's time is known: a node whose clock was wrong at its start takes its start from there.

        Tokens older than the start may have been executed by the boot before, so the bound must not be too early;
        what a relay can delay is added.
        """
        clock = self.heartbeats.clock
        if self._start_settled or not clock.is_agreed:
            return
        self._start_settled = True
        started_at = clock.started_at()
        if abs(started_at - self.started_at) > DRIFT_S_MAX:
            self.started_at = started_at + int(LEASE_S)

    def _schnorr_commit(self) -> tuple[bip340.NoncePair, bytes, bytes]:
        pair, public = self._schnorr_nonces.commit()
        return pair, public[:POINT_BYTES], public[POINT_BYTES:]
