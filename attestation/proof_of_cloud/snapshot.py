"""One registry as one file that verifies offline: two signed heads and every line of the log.

Verification, steps as in specs/proof-of-cloud.md section 7: (1) header and lengths, (2) heads, (3) Merkle
roots, (4) signatures of k members and of the freshness key, (5) the tail only restricts, (6) age,
(7) not older than, and not in conflict with, what was seen before.

A snapshot answers questions only after `verify`: an unverified one raises.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NoReturn, Self

from attestation.errors import StatementError
from attestation.proof_of_cloud.checkpoint import Checkpoint, Role
from attestation.proof_of_cloud.entries import RESTRICTIONS, WHOLE_REGISTRY, Entry, line_prefix
from attestation.proof_of_cloud.log import MerkleLog
from attestation.proof_of_cloud.note import NOTE_BYTES_MAX, Note
from attestation.proof_of_cloud.platform_id import COMMITMENT_BYTES
from attestation.proof_of_cloud.standing import Standing, standing

MAGIC = b"holdfast-registry-snapshot/v1\n"

SNAPSHOT_BYTES_MAX = 256 << 20
"""About 800 000 entries: beyond it a registry is split, not read."""

HEADER_BYTES_MAX = 64

CLOCK_SKEW_S = 300
"""How far in the future a head may be dated; as for vendors' collateral, clocks differ by seconds, not by minutes."""


class RegistrySnapshot:
    """A parsed snapshot; call `verify` before anything else."""

    __slots__ = (
        "_found",
        "_lines",
        "_log",
        "_verified",
        "freshness",
        "freshness_note",
        "log_bytes",
        "members",
        "members_note",
    )

    def __init__(self, *, members_note: Note, freshness_note: Note, log_bytes: bytes) -> None:
        self.members_note = members_note
        self.freshness_note = freshness_note
        self.members = Checkpoint.parse(members_note, Role.MEMBERS)
        """The head k members signed."""
        self.freshness = Checkpoint.parse(freshness_note, Role.FRESHNESS)
        """The newest head, signed by the freshness key."""
        self.log_bytes = log_bytes
        self._lines: list[bytes] = []
        self._log: MerkleLog | None = None
        self._found: dict[str, tuple[tuple[int, Entry], ...]] = {}
        self._verified = False

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Steps 1 and 2's form; raises StatementError (`proof-of-cloud.malformed`)."""
        if len(data) > SNAPSHOT_BYTES_MAX:
            raise StatementError(f"expected a snapshot of at most {SNAPSHOT_BYTES_MAX} bytes, found {len(data)}")
        if not data.startswith(MAGIC):
            raise StatementError("expected a registry snapshot, version 1")
        end = data.find(b"\n", len(MAGIC), len(MAGIC) + HEADER_BYTES_MAX)
        words = data[len(MAGIC) : end].split(b" ") if end > 0 else []
        if len(words) != 3 or not all(_is_length(word) for word in words):
            raise StatementError("expected three lengths in the snapshot header")
        members, freshness, log = (int(word) for word in words)
        start = end + 1
        if members > NOTE_BYTES_MAX or freshness > NOTE_BYTES_MAX or start + members + freshness + log != len(data):
            raise StatementError("the lengths in the snapshot header do not add up")
        log_bytes = data[start + members + freshness :]
        if log_bytes and not log_bytes.endswith(b"\n"):
            raise StatementError("expected a newline after the last registry line")
        return cls(
            members_note=Note.parse(data[start : start + members]),
            freshness_note=Note.parse(data[start + members : start + members + freshness]),
            log_bytes=log_bytes,
        )

    def encode(self) -> bytes:
        """The file."""
        return self.assembled(self.members_note.encode(), self.freshness_note.encode(), self.log_bytes)

    @staticmethod
    def assembled(members: bytes, freshness: bytes, log_bytes: bytes) -> bytes:
        """The file of two encoded notes and the lines they cover, kept apart by whoever keeps many heads of one log."""
        header = b"%d %d %d\n" % (len(members), len(freshness), len(log_bytes))
        return MAGIC + header + members + freshness + log_bytes

    def verify(
        self,
        members: Mapping[str, bytes],
        threshold: int,
        freshness_key: bytes,
        now: int,
        max_age: int,
        *,
        origin: str | None = None,
        previous: RegistrySnapshot | None = None,
    ) -> Self:
        """Check everything and return this snapshot, ready to be asked.

        `members` maps names to raw Ed25519 keys; `now` is Unix seconds, `max_age` seconds. Raises
        StatementError: `proof-of-cloud.` `malformed`, `signatures`, `stale`, `rollback`.
        """
        check_roles(members, threshold, freshness_key)
        self._check_heads(origin)
        self._check_roots()
        self._check_signatures(members, threshold, freshness_key)
        self._check_tail()
        self._check_age(now, max_age)
        if previous is not None:
            self.check_follows(previous)
        self._verified = True
        return self

    @property
    def sequence(self) -> int:
        """Publication number: strictly increasing, about the time in milliseconds."""
        return self.freshness.sequence

    @property
    def root(self) -> bytes:
        """Merkle root over all lines, 32 bytes."""
        return self.freshness.root

    @property
    def size(self) -> int:
        """Number of lines."""
        return self.freshness.size

    @property
    def issued_at(self) -> int:
        """When the freshness key restated the head (Unix seconds)."""
        return self.freshness.time

    @property
    def origin(self) -> str:
        """Name of the registry."""
        return self.freshness.origin

    @property
    def verified(self) -> bool:
        """Whether `verify` has succeeded."""
        return self._verified

    @property
    def frozen(self) -> bool:
        """Whether the whole registry is suspended; raises StatementError if not verified or unreadable."""
        return self._standing(WHOLE_REGISTRY, self.issued_at).frozen

    @property
    def log(self) -> MerkleLog:
        """The Merkle tree over the lines, for proofs; available after `verify`."""
        self._require_verified()
        assert self._log is not None
        return self._log

    def lookup(self, commitment: bytes, *, now: int | None = None) -> Standing:
        """The standing of a platform at `now` (default: when the snapshot was issued).

        Raises StatementError if the snapshot is not verified or a line about the platform is malformed.
        """
        if len(commitment) != COMMITMENT_BYTES:
            raise StatementError(f"expected a commitment of {COMMITMENT_BYTES} bytes, found {len(commitment)}")
        return self._standing(commitment.hex(), self.issued_at if now is None else now)

    def line(self, number: int) -> bytes:
        """Line `number`, without its newline; raises StatementError if not verified, IndexError outside."""
        self._require_verified()
        return self._lines[number]

    def entries(self) -> Iterator[Entry]:
        """Every line, strictly parsed: the slow, complete audit. Raises StatementError at the first bad one."""
        return (Entry.parse(line) for line in _split(self.log_bytes))

    def check_follows(self, previous: RegistrySnapshot) -> None:
        """Step 7: raises StatementError (`proof-of-cloud.rollback`) if this is older than `previous` or rewrites it."""
        old, new = previous.freshness, self.freshness
        if new.origin != old.origin:
            _rollback(f"expected registry {old.origin}, found {new.origin}")
        if new.sequence < old.sequence or new.time < old.time:
            _rollback(f"sequence {new.sequence} is older than {old.sequence}, which was seen before")
        if new.sequence == old.sequence and (new.size, new.root) != (old.size, old.root):
            _rollback(f"two different heads with sequence {new.sequence}")
        if new.size < old.size:
            _rollback(f"expected at least {old.size} lines, found {new.size}")
        assert self._log is not None, "roots are checked first"
        if self._log.root(old.size) != old.root:
            _rollback("the log was rewritten: what was seen before is not a prefix of it")
        if self.members.size < previous.members.size:
            _rollback("the members' head is older than the one seen before")

    def _check_heads(self, origin: str | None) -> None:
        if self.members.origin != self.freshness.origin or origin not in (None, self.freshness.origin):
            raise StatementError(f"expected one registry name, found {self.members.origin} and {self.freshness.origin}")
        if self.members.size > self.freshness.size:
            raise StatementError("the members' head covers more lines than the newest head")

    def _check_roots(self) -> None:
        lines = _split(self.log_bytes)
        if len(lines) != self.freshness.size:
            raise StatementError(f"expected {self.freshness.size} registry lines, found {len(lines)}")
        log = MerkleLog(lines)
        if log.root() != self.freshness.root:
            raise StatementError("the lines do not lead to the newest head's root")
        if log.root(self.members.size) != self.members.root:
            raise StatementError("the lines do not lead to the members' root")
        self._lines, self._log = lines, log

    def _check_signatures(self, members: Mapping[str, bytes], threshold: int, freshness_key: bytes) -> None:
        found = len(self.members_note.signers(members))
        if found < threshold:
            raise StatementError(
                f"expected {threshold} valid member signatures, found {found}", code="proof-of-cloud.signatures"
            )
        if not self.freshness_note.signers({self.freshness.origin: freshness_key}):
            raise StatementError("the newest head is not signed by the freshness key", code="proof-of-cloud.signatures")

    def _check_tail(self) -> None:
        for number in range(self.members.size, self.freshness.size):
            kind = Entry.parse(self._lines[number]).kind
            if kind not in RESTRICTIONS:
                raise StatementError(
                    f"line {number} is a {kind} that the members did not sign",
                    code="proof-of-cloud.signatures",
                    hint="the freshness key alone can only revoke and freeze",
                )

    def _check_age(self, now: int, max_age: int) -> None:
        for head in (self.freshness, self.members):
            if head.time > now + CLOCK_SKEW_S or head.sequence > (now + CLOCK_SKEW_S) * 1000:
                raise StatementError("a registry head is dated in the future", code="proof-of-cloud.malformed")
        check_age(self, now, max_age)

    def _standing(self, commitment: str, now: int) -> Standing:
        self._require_verified()
        if commitment not in self._found:
            # One scan per platform and snapshot: the lines found never change.
            self._found[commitment] = tuple((n, Entry.parse(self._lines[n])) for n in self._find(commitment))
        return standing(self._found[commitment], now)

    def _find(self, commitment: str) -> Iterator[int]:
        """Numbers of the lines about `commitment`, in order."""
        prefix = line_prefix(commitment)
        log = self.log_bytes
        if log.startswith(prefix):
            yield 0
        at = log.find(b"\n" + prefix)
        number, counted = 0, 0
        while at >= 0:
            number += log.count(b"\n", counted, at + 1)
            counted = at + 1
            yield number
            at = log.find(b"\n" + prefix, counted)

    def _require_verified(self) -> None:
        if not self._verified:
            raise StatementError(
                "a registry snapshot was asked before it was verified", code="proof-of-cloud.signatures"
            )


def check_age(snapshot: RegistrySnapshot, now: int, max_age: int) -> None:
    """Raises StatementError (`proof-of-cloud.stale`) if the newest head is older than `max_age` seconds."""
    age = now - snapshot.issued_at
    if age > max_age:
        raise StatementError(
            f"the registry was restated {age} s ago, expected at most {max_age} s",
            code="proof-of-cloud.stale",
            hint="fetch a newer snapshot",
        )


def check_roles(members: Mapping[str, bytes], threshold: int, freshness_key: bytes) -> None:
    """Raises StatementError (`proof-of-cloud.signatures`) for a set of keys that would not mean k of m."""
    if not 1 <= threshold <= len(members):
        raise StatementError(
            f"expected a threshold from 1 to {len(members)}, found {threshold}", code="proof-of-cloud.signatures"
        )
    if len(set(members.values())) != len(members):
        raise StatementError("two registry members share one key", code="proof-of-cloud.signatures")
    if freshness_key in members.values():
        raise StatementError("the freshness key is also a member's key", code="proof-of-cloud.signatures")


def _split(log_bytes: bytes) -> list[bytes]:
    return log_bytes[:-1].split(b"\n") if log_bytes else []


def _is_length(word: bytes) -> bool:
    return word.isdigit() and len(word) <= 10 and (word == b"0" or not word.startswith(b"0"))


def _rollback(detail: str) -> NoReturn:
    raise StatementError(detail, code="proof-of-cloud.rollback", hint="keep the newer snapshot")
