"""The one state machine of all ceremonies at one participant: rounds, prepare, then commit or abort.

Steps (specs/ceremonies.md section 4):
1. start: the caller has verified the order and every participant; their boots and identity keys go into the facts;
2. rounds: exactly one message of each participant, signed under the identity of step 1; any failure ends the attempt;
3. prepare: results are sealed and on disk, then this node signs their statement; it never signs an abort after that;
4. commit: everyone's signature over the same statement; abort: one participant's signed abort;
5. after either, nothing of the attempt is left but what the certificate says.
Before step 3 the driver starts again under a new session id.  Whatever happens after it, any party may bring a
certificate, at any time, and repeat it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from enclave.ceremonies import messages as signed
from enclave.ceremonies.facts import Facts, Member, statement_of
from enclave.ceremonies.pending import ABORTED, COMMITTED, PREPARED, UNRESOLVED_S, Entry, PendingTable, Record
from enclave.ceremonies.proof import Proof
from enclave.ceremonies.steps import Agreed, Outcome, Result, Steps, Work
from enclave.errors import CallerError, PeerError, RefusedError
from enclave.identity import BootIdentity
from enclave.keys import HeldKey, KeyTable
from enclave.seal import SealedStore
from enclave.tokens import key_resource
from enclave.wire.attestation import Identity
from enclave.wire.ceremonies import ABORT_ROUND, CeremonyMessage, CeremonyStanding
from enclave.wire.message import encode

T = TypeVar("T")

LIVE_MAX = 16
"""Attempts at once: each holds some kilobytes of locked memory and costs milliseconds per key and round."""

LIFETIME_S = 600
"""Seconds from the order to the prepare."""

CLOCK_SPREAD_S_MAX = 10
"""Seconds by which participants' clocks may differ: twice the skew that tokens tolerate."""

PROOFS_MAX = 16
"""Proofs of culprits kept in memory until somebody asks for them."""


@dataclass(slots=True, kw_only=True)
class _Attempt:
    facts: Facts
    steps: Steps
    names: tuple[str, ...]
    """`key/version` of every key it is about."""
    expires_at: int
    halts: frozenset[str]
    """`key/version` of keys whose use pauses from the second round on."""
    times: dict[str, int] = field(default_factory=dict)
    sent: dict[int, CeremonyMessage] = field(default_factory=dict)
    heard: dict[int, list[CeremonyMessage]] = field(default_factory=dict)
    busy: bool = False
    ended: bool = False


class Ceremonies:
    """The attempts of one node, and what became of them."""

    def __init__(self, identity: BootIdentity, keys: KeyTable, store: SealedStore) -> None:
        self._identity = identity
        self._keys = keys
        self.pending = PendingTable(store, keys)
        self.pending.forget_refusals(identity.public.boot_counter)
        self._live: dict[bytes, _Attempt] = {}
        self._sessions: set[bytes] = set()
        self._proofs: dict[bytes, Proof] = {}
        self._halted: dict[str, bytes] = {}
        """`key/version` -> session of the running reshare that has told its limits."""

    # --- rounds --------------------------------------------------------------------------------------

    def check_startable(self, session: bytes, names: Sequence[str], now: int) -> None:
        """Raise CallerError or RefusedError (`ceremony.session`, `ceremony.busy`, `ceremony.unresolved`)."""
        self._expire(now)
        if not 16 <= len(session) <= 64:
            raise CallerError("expected a session id of 16 to 64 bytes", code="ceremony.session")
        if session in self._sessions or self._state(session) != "unknown":
            raise RefusedError("session id was used before", code="ceremony.session", hint="choose a fresh one")
        self.pending.check_free(names)
        if len(self._live) >= LIVE_MAX:
            raise RefusedError(f"{LIVE_MAX} ceremonies are running", code="ceremony.busy", hint="retry shortly")

    def start(
        self,
        facts: Facts,
        steps: Steps,
        names: Sequence[str],
        now: int,
        *,
        halts: Iterable[str] = (),
    ) -> Work[CeremonyMessage]:
        """Round 1, after `check_startable`."""
        attempt = _Attempt(
            facts=facts,
            steps=steps,
            names=tuple(names),
            expires_at=now + LIFETIME_S,
            halts=frozenset(halts),
        )
        self._sessions.add(facts.session)
        self._live[facts.session] = attempt
        try:
            payload = yield from self._guarded(attempt, steps.first())
        except BaseException:
            self.end(facts.session)
            raise
        return self._say(attempt, 1, signed.clock(now) + payload)

    def advance(self, session: bytes, number: int, messages: list[CeremonyMessage], now: int) -> Work[CeremonyMessage]:
        """The rounds up to the prepare, from everyone's messages of the round before; any failure ends the attempt.

        Raises PeerError (with culprits where a proof is kept), AbortError, CallerError, RefusedError.
        """
        self._expire(now)
        record = self.pending.get(session)
        if record is not None and number == record.prepare_round:
            return _repeat(record, messages)
        attempt = self._live.get(session)
        if attempt is None:
            raise CallerError("no running ceremony of that session", code="ceremony.unknown")
        if attempt.busy:
            raise RefusedError("the session is at work", code="ceremony.busy", hint="wait for its answer")
        if number not in range(2, attempt.steps.prepare_round + 1):
            raise CallerError(f"expected round 2 to {attempt.steps.prepare_round}", code="ceremony.order")
        if number in attempt.sent:
            return _said_before(attempt, number, messages)
        try:
            payloads = self._payloads(attempt, messages, number - 1, now)
            self._halted.update(dict.fromkeys(attempt.halts, session))
            if number < attempt.steps.prepare_round:
                work = attempt.steps.following(number, payloads)
                return self._say(attempt, number, (yield from self._guarded(attempt, work)))
            agreed = Agreed(
                time=max(attempt.times.values()),
                transcript=lambda inner: attempt.facts.transcript(inner, attempt.times),
            )
            outcome = yield from self._guarded(attempt, attempt.steps.finish(payloads, agreed))
            try:
                return self._prepare(attempt, outcome, messages, now)
            finally:
                outcome.wipe()
        except PeerError as error:
            raise self._accusation(attempt, error) from None
        finally:
            if attempt.ended or number not in attempt.sent:
                self.end(session)

    def members(self, session: bytes) -> tuple[Member, ...]:
        """The attested identities a running ceremony is bound to; empty if it is not running."""
        attempt = self._live.get(session)
        return attempt.facts.members if attempt is not None else ()

    def end(self, session: bytes) -> None:
        """End an attempt that has not prepared and wipe what it held."""
        attempt = self._live.pop(session, None)
        if attempt is not None:
            attempt.ended = True
            for name in attempt.halts:
                self._halted.pop(name, None)
            if not attempt.busy:
                attempt.steps.wipe()

    # --- certificates --------------------------------------------------------------------------------

    def commit(self, session: bytes, messages: list[CeremonyMessage], now: int) -> Work[list[HeldKey]]:
        """The keys held under a commit certificate; repeating it changes nothing.

        Raises PeerError (`ceremony.transcript` when participants prepared different things, `ceremony.messages`),
        CallerError (`ceremony.unknown`), RefusedError (`key.epoch`).
        """
        record = self.pending.get(session)
        if record is None:
            if self.pending.finished(session) is None:
                raise CallerError("no prepared ceremony of that session", code="ceremony.unknown")
            return self._keys.made_by(session)
        payloads = signed.read(messages, session, record.prepare_round, record.members)
        if any(payload != record.statement for payload in payloads.values()):
            # Whoever said different things to different nodes cannot be named from one node's view.
            raise PeerError(
                "participants did not all see the same messages: nothing ever changes by this session",
                code="ceremony.transcript",
            )
        yield from self.pending.commit(session, messages, now)
        return self._keys.made_by(session)

    def abort(self, session: bytes) -> CeremonyMessage:
        """This node's signed word that it never prepares the session; on disk before it is given.

        Raises RefusedError (`ceremony.prepared`, `ceremony.committed`) once it has prepared.
        """
        if not 16 <= len(session) <= 64:
            raise CallerError("expected a session id of 16 to 64 bytes", code="ceremony.session")
        state = self._state(session)
        if state in (PREPARED, COMMITTED):
            raise RefusedError(f"this node has {state} the session", code=f"ceremony.{state}")
        given = self.pending.refusal(session)
        if given is not None:
            return given
        self.end(session)
        self._sessions.add(session)
        message = signed.say(self._identity, session, ABORT_ROUND, b"")
        self.pending.refuse(session, message)
        return message

    def discard(self, session: bytes, message: CeremonyMessage, attested: Mapping[str, Identity]) -> None:
        """Take an abort certificate; `attested` are identities trusted now.

        Raises PeerError (`ceremony.messages`), RefusedError (`ceremony.committed`).
        """
        record = self.pending.get(session)
        if record is None:
            if self.pending.finished(session) is not None:
                raise RefusedError("this node has committed the session", code="ceremony.committed")
            self.end(session)
            return
        signed.check_abort(message, session, record.members, attested)
        if record.state == COMMITTED:
            raise RefusedError("this node has committed the session", code="ceremony.committed")
        self.pending.discard(session, message)

    def standing(self, session: bytes) -> CeremonyStanding:
        """How far a session got here, with what others need to end it."""
        record, state = self.pending.get(session), self._state(session)
        if record is not None:
            return CeremonyStanding(
                state=state,
                kind=record.kind,
                prepared_at=record.prepared_at,
                participants=[member.slot for member in record.members],
                keys=[entry.name for entry in record.entries],
                certificate=[record.message] if state == PREPARED else list(record.certificate),
            )
        finished, refusal = self.pending.finished(session), self.pending.refusal(session)
        if finished is not None:
            return CeremonyStanding(
                state=state, kind=finished.kind, keys=finished.names, certificate=finished.certificate
            )
        return CeremonyStanding(state=state, certificate=[refusal] if refusal is not None else [])

    def proof(self, session: bytes) -> bytes:
        """Proof of the culprit this node named in a session, or nothing."""
        found = self._proofs.get(session)
        return encode(found) if found is not None else b""

    def check_resolved(self, key: str, version: int, now: int) -> None:
        """Raise RefusedError for a key that must not be used now.

        `ceremony-unresolved`: nobody has resolved its prepared ceremony in time; `key.resharing`: its nonces and
        budgets are on their way to other nodes.
        """
        name = key_resource(key, version)
        record = self.pending.holder(key, version)
        if record is not None and now - record.prepared_at > UNRESOLVED_S:
            raise RefusedError(
                "a ceremony of this key is prepared, and neither its commit nor its abort has come",
                code="ceremony-unresolved",
                hint="gateways bring the certificate by themselves once the missing participant is back",
            )
        if name in self._halted or (record is not None and name in record.halts):
            raise RefusedError("the key moves to other nodes", code="key.resharing", hint="retry in a moment")

    def wipe(self) -> None:
        """End every attempt: the node is stopping."""
        for session in list(self._live):
            self.end(session)

    # --- inside --------------------------------------------------------------------------------------

    def _prepare(
        self, attempt: _Attempt, outcome: Outcome, messages: list[CeremonyMessage], now: int
    ) -> CeremonyMessage:
        facts = attempt.facts
        entries = list(_entries(outcome.results))
        statement = statement_of(facts.session, outcome.transcript, [entry.body for entry in entries])
        number = attempt.steps.prepare_round
        message = signed.say(self._identity, facts.session, number, statement)
        record = Record(
            session=facts.session,
            kind=facts.kind,
            state=PREPARED,
            prepared_at=now,
            activates_at=max(attempt.times.values()),
            members=list(facts.members),
            prepare_round=number,
            statement=statement,
            inputs=signed.digest_of(messages),
            message=message,
            entries=entries,
            extras=dict(outcome.extras),
            halts=sorted(attempt.halts),
        )
        self.pending.prepare(record, outcome)
        self.end(facts.session)
        return message

    def _payloads(self, attempt: _Attempt, messages: list[CeremonyMessage], number: int, now: int) -> dict[str, bytes]:
        payloads = signed.read(messages, attempt.facts.session, number, attempt.facts.members)
        own = self._identity.public.slot
        if number not in attempt.sent or payloads[own] != attempt.sent[number].payload:
            raise PeerError("own message was altered on the way", code="ceremony.messages")
        attempt.heard[number] = messages
        payloads = signed.in_context(payloads, attempt.facts.context)
        if number > 1:
            return payloads
        attempt.times, payloads = signed.clocks(payloads)
        if any(abs(time - now) > CLOCK_SPREAD_S_MAX for time in attempt.times.values()):
            raise RefusedError(
                f"participants' clocks differ by more than {CLOCK_SPREAD_S_MAX} s", code="clock-skew", hint="fix them"
            )
        return payloads

    def _guarded(self, attempt: _Attempt, work: Work[T]) -> Work[T]:
        """`work`, stopped and wiped once the attempt is over while it pauses."""
        attempt.busy = True
        try:
            while True:
                try:
                    next(work)
                except StopIteration as stop:
                    value: T = stop.value
                    return value
                yield
                if attempt.ended:
                    raise CallerError("the ceremony was ended meanwhile", code="ceremony.unknown")
        finally:
            attempt.busy = False
            work.close()
            if attempt.ended:
                attempt.steps.wipe()

    def _accusation(self, attempt: _Attempt, error: PeerError) -> PeerError:
        """The error with its culprits only where a proof can be shown to anyone."""
        if not error.culprits:
            return error
        complaint = b""
        if error.code in ("share.invalid", "share.unreadable"):
            complaint = attempt.steps.complaint()
            if not complaint:
                return PeerError(error.detail, code=error.code)
        while len(self._proofs) >= PROOFS_MAX:
            del self._proofs[next(iter(self._proofs))]
        self._proofs[attempt.facts.session] = Proof.of(
            attempt.facts,
            attempt.heard,
            accuser=self._identity.public.slot,
            complaint=complaint,
            culprit=error.culprits[0],
            code=error.code,
        )
        return error

    def _say(self, attempt: _Attempt, number: int, payload: bytes) -> CeremonyMessage:
        message = signed.say(self._identity, attempt.facts.session, number, attempt.facts.context + payload)
        attempt.sent[number] = message
        return message

    def _state(self, session: bytes) -> str:
        record = self.pending.get(session)
        if record is not None:
            return record.state
        if self.pending.finished(session) is not None:
            return COMMITTED
        if self.pending.refusal(session) is not None:
            return ABORTED
        return "running" if session in self._live else "unknown"

    def _expire(self, now: int) -> None:
        for session in [session for session, attempt in self._live.items() if attempt.expires_at < now]:
            self.end(session)


def _entries(results: Sequence[Result]) -> list[Entry]:
    entries, position = [], 0
    for result in results:
        fact = result.certificate
        entries.append(
            Entry(
                key=fact.key,
                version=fact.version,
                source_epoch=result.source_epoch,
                effect=result.effect,
                position=position if result.share is not None else -1,
                body=result.body,
                commitments=list(result.commitments),
            )
        )
        position += result.share is not None
    return entries


def _repeat(record: Record, messages: list[CeremonyMessage]) -> CeremonyMessage:
    """The same answer to the same messages, also after a restart."""
    if signed.digest_of(messages) != record.inputs:
        raise RefusedError("session has prepared on other messages", code="ceremony.session")
    return record.message


def _said_before(attempt: _Attempt, number: int, messages: list[CeremonyMessage]) -> CeremonyMessage:
    """One message per round, however often it is asked for: two would make this node an equivocator."""
    if signed.digest_of(messages) != signed.digest_of(attempt.heard[number - 1]):
        raise RefusedError("the round was answered for other messages", code="ceremony.session")
    return attempt.sent[number]
