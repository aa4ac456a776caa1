"""The roster versions a node holds: which is in force, which wait for activation, and what counts meanwhile.

Rules kept (specs/roster.md section 6): a version enters only as the signed successor of the newest held; its
restrictions count from then on, its relaxations from activation on; activation takes acknowledgements of n - s + 1
nodes of every key held here and of more than half of the slots, newly admitted code also its delay; all of it is
sealed, so that no restart forgets a restriction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from attestation.envelope import Envelope
from attestation.errors import CodedError
from enclave.certificate import KeyCertificate
from enclave.errors import RefusedError, StorageError
from enclave.roster import Roster
from enclave.roster_chain import Link
from enclave.roster_change import admits_code, is_restriction, restricted
from enclave.seal import SealedStore
from enclave.wire.message import decode_as, encode
from enclave.wire.rosters import PendingRoster, RosterAcknowledgement

PENDING_MAX = 16
"""Versions waiting for activation: each took an operators' quorum, so more means that something else is wrong."""

GRACE_S = 600
"""How long after a change the roster before it still counts in peers' evidence, in seconds: until every node has
shown itself anew, which a gateway arranges within seconds."""

T = TypeVar("T")

KIND, STATE = "roster", "roster-state"


class _Held(msgspec.Struct, frozen=True, kw_only=True):
    envelope: bytes
    received_at: int


class _State(msgspec.Struct, frozen=True, kw_only=True):
    active: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Version:
    roster: Roster
    received_at: int


class RosterBook:
    """The versions of one node; `effective` is what decides."""

    def __init__(self, store: SealedStore, first: Roster, *, later: Sequence[Link] = (), now: int) -> None:
        """`first` and `later` are the configuration's verified chain; what is sealed continues it.

        A node that holds nothing takes the whole configured chain as in force: it has no share that could be
        used too early, and its peers judge it by their own rosters.  To them it acknowledges what it found
        configured as received now, whatever date operators wrote: a wiped disk shortens nobody's delay.

        Raises StorageError if what is sealed does not continue the configuration, DocumentError for a chain that
        does not continue what is sealed.
        """
        self._store = store
        self._versions: dict[int, _Version] = {first.version: _Version(roster=first, received_at=now)}
        self._active = first.version
        self._grace: dict[bytes, int] = {}
        """Digest of a roster that was in force -> until when evidence may still name it, Unix seconds."""
        for link in later:
            self._versions[link.roster.version] = _Version(roster=link.roster, received_at=now)
        sealed = self._load()
        state = store.get(STATE, "")
        if state is None:
            self._active = max(self._versions) if not sealed else first.version
        else:
            self._active = max(first.version, _decode(_State, state).active)
        if self._active not in self._versions:
            raise StorageError("the roster in force is neither sealed nor configured", code="storage.form")
        for link in later:
            if str(link.roster.version) not in sealed:
                self._seal(link.roster.version, link.envelope, now)
        if state is None or _decode(_State, state).active != self._active:
            self._seal_state()
        self._settle(now)

    # --- what counts ---------------------------------------------------------------------------------

    @property
    def active(self) -> Roster:
        """The version in force: its digest is in this node's evidence."""
        return self._versions[self._active].roster

    @property
    def newest(self) -> Roster:
        """The newest version held."""
        return self._versions[max(self._versions)].roster

    @property
    def effective(self) -> Roster:
        """What the version in force and every one after it allow; equal to `active` when nothing waits."""
        roster = self.active
        for version in sorted(self._versions):
            if version > self._active:
                roster = restricted(roster, self._versions[version].roster)
        return roster

    def digests(self, now: int) -> frozenset[bytes]:
        """Roster digests that count in a peer's evidence now: in force, waiting, and for a while those before."""
        held = {entry.roster.digest for version, entry in self._versions.items() if version >= self._active}
        return frozenset(held | {digest for digest, until in self._grace.items() if now <= until})

    def counts(self, digest: bytes, now: int) -> bool:
        """Whether `digest` is among `digests`; quick for the one in force."""
        return digest == self.active.digest or digest in self.digests(now)

    def pending(self) -> list[PendingRoster]:
        """Versions that wait, oldest first."""
        return [
            PendingRoster(
                version=version,
                digest=entry.roster.digest,
                received_at=entry.received_at,
                not_before=entry.received_at + self._delay(entry.roster),
            )
            for version, entry in sorted(self._versions.items())
            if version > self._active
        ]

    def held(self, version: int) -> tuple[Roster, int]:
        """A version held and when it came; raises RefusedError (`roster.unknown`)."""
        entry = self._versions.get(version)
        if entry is None:
            raise RefusedError(f"this node does not hold roster version {version}", code="roster.unknown")
        return entry.roster, entry.received_at

    # --- what changes it -----------------------------------------------------------------------------

    def offer(self, envelope: bytes, now: int) -> tuple[Roster, bool]:
        """Take a version; returns it and whether it is new here.  Durable after the store's next commit.

        Raises DocumentError (`roster.chain`, `roster.signatures`, `roster.malformed`, ...), RefusedError
        (`roster.rollback`, `roster.full`).
        """
        newest = self.newest
        version = _version_of(envelope)
        if version is not None and version <= newest.version:
            held = self._versions.get(version)
            if held is not None and Roster.from_payload(Envelope.parse(envelope).value()).digest == held.roster.digest:
                return held.roster, False
            raise RefusedError(
                f"this node holds version {newest.version} and another roster as version {version}, or none",
                code="roster.rollback",
            )
        roster = Roster.parse(envelope, previous=newest)
        if len(self.pending()) >= PENDING_MAX:
            raise RefusedError(f"{PENDING_MAX} versions wait for activation", code="roster.full")
        self._versions[roster.version] = _Version(roster=roster, received_at=now)
        self._seal(roster.version, envelope, now)
        self._settle(now)
        return roster, True

    def activate(
        self,
        version: int,
        digest: bytes,
        acknowledgements: Iterable[RosterAcknowledgement],
        *,
        keys: Iterable[KeyCertificate],
        is_genuine: Callable[[RosterAcknowledgement], bool],
        now: int,
    ) -> bool:
        """Put a version in force; returns whether that changed anything.  Durable after the store's next commit.

        `is_genuine` tells whether an acknowledgement is signed by a node trusted here now.  Raises RefusedError:
        `roster.unknown`, `activation.digest`, `activation.delay`, `activation.quorum`.
        """
        roster, _ = self.held(version)
        if roster.digest != digest:
            raise RefusedError("the certificate is for another roster of that version", code="activation.digest")
        if version <= self._active:
            return False
        wanted = {ack.slot: ack for ack in acknowledgements if (ack.version, ack.digest) == (version, digest)}
        genuine = [ack for ack in wanted.values() if is_genuine(ack)]
        delay = self._delay(roster)
        counted = {ack.slot for ack in genuine if ack.received_at + delay <= now}
        try:
            check_quorum(counted, slots=[entry.slot for entry in self.active.slots], keys=keys)
        except RefusedError:
            if len(counted) < len(genuine):
                soonest = sorted(ack.received_at + delay for ack in genuine)[len(counted)] - now
                raise RefusedError(
                    f"newly admitted code waits {delay} s: {soonest} s are left", code="activation.delay"
                ) from None
            raise
        self._set_active(version, now)
        return True

    # --- inside --------------------------------------------------------------------------------------

    def _delay(self, roster: Roster) -> int:
        return self.active.upgrade_delay if admits_code(self.active, roster) else 0

    def _settle(self, now: int) -> None:
        """Versions that only restrict are in force at once."""
        while (following := self._versions.get(self._active + 1)) is not None:
            if not is_restriction(self.active, following.roster):
                return
            self._set_active(following.roster.version, now)

    def _set_active(self, version: int, now: int) -> None:
        self._grace[self.active.digest] = now + GRACE_S
        self._active = version
        self._seal_state()
        self._settle(now)

    def _load(self) -> set[str]:
        """Continue the configured chain by what is sealed; returns the versions sealed."""
        sealed = sorted(((int(name), _decode(_Held, value)) for name, value in self._store.items(KIND)))
        for version, held in sealed:
            known = self._versions.get(version)
            previous = self._versions.get(version - 1)
            if previous is None:
                continue  # the configuration starts later than what is sealed
            try:
                roster = Roster.parse(held.envelope, previous=previous.roster)
            except CodedError as error:
                raise StorageError(
                    f"sealed roster {version} does not continue the configured one: {error.code}", code="storage.form"
                ) from None
            if known is not None and known.roster.digest != roster.digest:
                raise StorageError(
                    f"the configuration names another roster as version {version} than is sealed",
                    code="roster.chain",
                    hint="two rosters of one version were signed: ask the operators which one counts",
                )
            self._versions[version] = _Version(roster=roster, received_at=held.received_at)
        return {str(version) for version, _ in sealed}

    def _seal(self, version: int, envelope: bytes, now: int) -> None:
        self._versions[version] = _Version(roster=self._versions[version].roster, received_at=now)
        self._store.put(KIND, str(version), encode(_Held(envelope=envelope, received_at=now)))

    def _seal_state(self) -> None:
        self._store.put(STATE, "", encode(_State(active=self._active)))


def check_quorum(counted: set[str], *, slots: Sequence[str], keys: Iterable[KeyCertificate]) -> None:
    """Whether what these slots know is known in every set of signers: n - s + 1 nodes of each key, and most slots.

    Raises RefusedError (`activation.quorum`).
    """
    most = len(slots) // 2 + 1
    if len(counted & set(slots)) < most:
        raise RefusedError(
            f"{len(counted & set(slots))} of the {len(slots)} nodes hold it, {most} are needed",
            code="activation.quorum",
        )
    for key in keys:
        holders = {entry.slot for entry in key.nodes}
        needed = len(holders) - key.signing_quorum + 1
        if len(counted & holders) < needed:
            raise RefusedError(
                f"{len(counted & holders)} nodes of {key.key} hold it, {needed} are needed", code="activation.quorum"
            )


def _version_of(envelope: bytes) -> int | None:
    value = Envelope.parse(envelope).value()
    version = value.get("version") if isinstance(value, dict) else None
    return version if type(version) is int else None


def _decode(kind: type[T], value: bytes) -> T:
    try:
        return decode_as(kind, value)
    except CodedError:
        raise StorageError("a sealed roster does not have its form", code="storage.form") from None
