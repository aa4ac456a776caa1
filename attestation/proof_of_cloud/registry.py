"""Keeping a registry: propose, sign with k of m members, restrict at once, restate.

Rules: listing, endorsing and reinstating wait for k members' signatures; revoking and freezing take effect
with the freshness key alone; nothing is ever removed. A directory that holds enough keys (a developer's)
settles every proposal by itself; a real one holds none or one, and members sign on their own machines.
Specification: specs/proof-of-cloud.md sections 5 and 6.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from attestation.errors import StatementError
from attestation.proof_of_cloud import proposal
from attestation.proof_of_cloud.checkpoint import Checkpoint, Role
from attestation.proof_of_cloud.entries import WHOLE_REGISTRY, Entry, Kind, line_prefix
from attestation.proof_of_cloud.keys import FRESHNESS, HeldKeys, public_bytes
from attestation.proof_of_cloud.log import MerkleLog
from attestation.proof_of_cloud.platform_id import PlatformId
from attestation.proof_of_cloud.registry_files import RegistryConfig, RegistryFiles, RegistryState
from attestation.proof_of_cloud.snapshot import RegistrySnapshot
from attestation.proof_of_cloud.standing import Standing, standing
from attestation.proof_of_cloud.statement import Method

STATEMENT_LIFETIME_S = 180 * 86_400
"""Half a year: long enough to audit a facility twice a year, short enough that a sold machine drops out."""


class Registry:
    """One registry directory; `init`, `development` or `open` it."""

    def __init__(self, directory: Path) -> None:
        self._files = RegistryFiles(directory)
        self.directory = directory
        self.keys = HeldKeys(directory / "keys")
        self.config = self._files.config()
        with self._files.locked():
            self._state = self._files.load()

    @classmethod
    def init(
        cls,
        directory: Path,
        *,
        origin: str,
        members: Mapping[str, bytes],
        threshold: int,
        freshness_key: bytes,
    ) -> Self:
        """An empty registry for these public keys; raises StatementError if one is already there."""
        config = RegistryConfig(origin=origin, members=dict(members), threshold=threshold, freshness_key=freshness_key)
        if (directory / "registry.json").exists():
            raise StatementError(f"a registry already exists at {directory}")
        directory.mkdir(parents=True, exist_ok=True)
        RegistryFiles(directory).write_config(config)
        return cls(directory)

    @classmethod
    def development(
        cls, directory: Path, *, now: int, origin: str = "registry.simulated", members: int = 3, threshold: int = 2
    ) -> Self:
        """A registry that holds all its members' keys itself and has a first, empty snapshot: for development."""
        keys = HeldKeys(directory / "keys")
        public = {name: keys.create(name) for name in (f"member-{number + 1}" for number in range(members))}
        freshness = keys.create(FRESHNESS)
        registry = cls.init(directory, origin=origin, members=public, threshold=threshold, freshness_key=freshness)
        registry.propose([], now)
        return registry

    @classmethod
    def open(cls, directory: Path) -> Self:
        """The registry at `directory`; raises StatementError if there is none."""
        return cls(directory)

    @property
    def size(self) -> int:
        """Lines in force."""
        return len(self._state.lines)

    @property
    def log(self) -> MerkleLog:
        """The Merkle tree over the lines in force."""
        return self._state.log

    @property
    def lines(self) -> Sequence[bytes]:
        """The lines in force."""
        return self._state.lines

    @property
    def proposed(self) -> Sequence[bytes]:
        """Lines waiting for signatures."""
        return self._state.proposed

    @property
    def proposal_signers(self) -> frozenset[str]:
        """Members who signed the proposal so far."""
        note = self._state.proposal
        return note.signers(self.config.members) if note else frozenset()

    def proposal_head(self) -> Checkpoint | None:
        """The head members are asked to sign, if there is one."""
        note = self._state.proposal
        return Checkpoint.parse(note, Role.MEMBERS) if note else None

    def add_platform(
        self,
        platform: PlatformId | bytes,
        *,
        provider: str,
        now: int,
        region: str = "",
        facility: str = "",
        method: Method = Method.PROVIDER_STATEMENT,
        evidence: Sequence[str] = (),
        issuer: str | None = None,
        lifetime_s: int = STATEMENT_LIFETIME_S,
    ) -> bool:
        """Propose a level-1 statement about `platform` (an id or its 32-byte commitment); see `propose`."""
        entry = Entry.of(
            {
                "commitment": _commitment(platform),
                "evidence": list(evidence),
                "expires_at": now + lifetime_s,
                "facility": facility,
                "issued_at": now,
                "issuer": issuer or next(iter(self.config.members)),
                "kind": Kind.STATEMENT.value,
                "level": 1 if method is not Method.OPERATOR_LIST else 0,
                "method": method.value,
                "provider": provider,
                "region": region,
            }
        )
        return self.propose([entry], now)

    def endorse(
        self,
        platform: PlatformId | bytes,
        *,
        issuer: str,
        method: Method,
        evidence: Sequence[str],
        now: int,
        lifetime_s: int = STATEMENT_LIFETIME_S,
    ) -> bool:
        """Propose raising a listed platform to level 2 (`witness`) or 3 (`physical-audit`); see `propose`.

        Raises StatementError (`proof-of-cloud.not-listed`) if it is not listed, (`.level`) if the issuer listed it.
        """
        listed = self.standing(platform, now).statement
        if listed is None:
            raise StatementError("only a listed platform can be endorsed", code="proof-of-cloud.not-listed")
        if listed.issuer == issuer:
            raise StatementError(f"{issuer} listed the platform itself: no second party", code="proof-of-cloud.level")
        entry = Entry.of(
            {
                "commitment": _commitment(platform),
                "evidence": list(evidence),
                "expires_at": now + lifetime_s,
                "issued_at": now,
                "issuer": issuer,
                "kind": Kind.ENDORSEMENT.value,
                "level": 3 if method is Method.PHYSICAL_AUDIT else 2,
                "method": method.value,
            }
        )
        return self.propose([entry], now)

    def revoke(self, platform: PlatformId | bytes, reason: str, now: int, *, issuer: str | None = None) -> bool:
        """Revoke at once with the freshness key, else propose it; returns whether it is in force."""
        return self._restrict(Kind.REVOCATION, _commitment(platform), reason, now, issuer)

    def freeze(
        self, reason: str, now: int, *, platform: PlatformId | bytes | None = None, issuer: str | None = None
    ) -> bool:
        """Suspend the whole registry, or one platform, at once with the freshness key, else propose it."""
        commitment = WHOLE_REGISTRY if platform is None else _commitment(platform)
        return self._restrict(Kind.FREEZE, commitment, reason, now, issuer)

    def reinstate(self, reason: str, now: int, *, platform: PlatformId | bytes | None = None) -> bool:
        """Propose clearing every restriction in force on `platform` (default: on the registry); see `propose`."""
        commitment = WHOLE_REGISTRY if platform is None else _commitment(platform)
        restrictions = self._standing(commitment, now).restrictions
        if not restrictions:
            raise StatementError("nothing to reinstate: no revocation or freeze is in force")
        entry = Entry.of(
            {
                "lifts": [item.sequence for item in restrictions],
                "commitment": commitment,
                "issued_at": now,
                "issuer": next(iter(self.config.members)),
                "kind": Kind.REINSTATEMENT.value,
                "reason": reason,
            }
        )
        return self.propose([entry], now)

    def propose(self, entries: Iterable[Entry], now: int) -> bool:
        """Add entries to the proposal; sign it with every member key held here; returns whether it is in force.

        Earlier signatures on the proposal are dropped, because they covered something else.
        """
        with self._writing() as state:
            lines = [*state.proposed, *(entry.line for entry in entries)]
            proposal.replace(self._files, self.config, state, lines, now)
            return self._settle_with_held_keys(state, now)

    def sign(
        self, member: str, key: Ed25519PrivateKey, now: int, *, signed_before: tuple[int, bytes] | None = None
    ) -> bool:
        """Add `member`'s signature to the proposal; returns whether it is now in force.

        Every line is parsed strictly first, from the one after `signed_before` on: size and root of the head
        this member signed last. Raises StatementError (`proof-of-cloud.signatures` for a foreign key,
        `.rollback` if the proposal does not extend that head).
        """
        if self.config.members.get(member) != public_bytes(key):
            raise StatementError(f"the key is not that of member {member}", code="proof-of-cloud.signatures")
        with self._writing() as state:
            if state.proposal is None:
                raise StatementError("there is no proposal to sign")
            proposal.review(state, signed_before)
            proposal.add_signature(self._files, state, member, key)
            return self._settle(state, now)

    def restate(self, now: int, key: Ed25519PrivateKey | None = None) -> None:
        """Sign size, root and time with the freshness key (held here, or given)."""
        with self._writing() as state:
            proposal.restate(self._files, self.config, state, key or self.keys.load(FRESHNESS), now)

    def snapshot(self) -> RegistrySnapshot:
        """The newest head with all lines it covers (not verified); raises StatementError if none was restated."""
        with self._files.locked():
            state = self._files.load()
        members, head = state.members_head(), state.freshness_head()
        if state.members is None or state.freshness is None or members is None or head is None:
            raise StatementError("nothing is published yet", hint="members sign, then the freshness key restates")
        if head.size < members.size:
            raise StatementError("the newest head does not cover what members signed", hint="restate the registry")
        log = b"".join(line + b"\n" for line in state.lines[: head.size])
        return RegistrySnapshot(members_note=state.members, freshness_note=state.freshness, log_bytes=log)

    def write_snapshot(self, path: Path) -> None:
        """Write the snapshot to `path`, whole or not at all."""
        temporary = path.with_name(f".{path.name}.new")
        temporary.write_bytes(self.snapshot().encode())
        temporary.replace(path)

    def verified_snapshot(self, now: int, max_age: int) -> RegistrySnapshot:
        """The snapshot, verified against this registry's own configuration."""
        config = self.config
        return self.snapshot().verify(
            config.members, config.threshold, config.freshness_key, now, max_age, origin=config.origin
        )

    def published(self) -> RegistrySnapshot:
        """The snapshot, verified but for its age: what a server hands out, however old."""
        snapshot = self.snapshot()
        config = self.config
        return snapshot.verify(
            config.members, config.threshold, config.freshness_key, snapshot.issued_at, 0, origin=config.origin
        )

    def version(self) -> object:
        """Changes whenever the published snapshot may have changed."""
        return self._files.stamp("freshness.note", "members.note")

    def standing(self, platform: PlatformId | bytes, now: int) -> Standing:
        """The standing by the lines in force."""
        return self._standing(_commitment(platform), now)

    def _standing(self, commitment: str, now: int) -> Standing:
        prefix = line_prefix(commitment)
        found = [(n, Entry.parse(line)) for n, line in enumerate(self._state.lines) if line.startswith(prefix)]
        return standing(found, now)

    def _restrict(self, kind: Kind, commitment: str, reason: str, now: int, issuer: str | None) -> bool:
        value: dict[str, Any] = {
            "commitment": commitment,
            "issued_at": now,
            "issuer": issuer or self.config.origin,
            "kind": kind.value,
            "reason": reason,
        }
        entry = Entry.of(value)
        if not self.keys.holds(FRESHNESS):
            return self.propose([entry], now)
        with self._writing() as state:
            proposal.restrict(self._files, self.config, state, entry, self.keys.load(FRESHNESS), now)
        return True

    @contextlib.contextmanager
    def _writing(self) -> Iterator[RegistryState]:
        with self._files.locked():
            self._state = self._files.load()
            yield self._state

    def _settle_with_held_keys(self, state: RegistryState, now: int) -> bool:
        for name in self.config.members:
            if self.keys.holds(name):
                proposal.add_signature(self._files, state, name, self.keys.load(name))
        return self._settle(state, now)

    def _settle(self, state: RegistryState, now: int) -> bool:
        if not proposal.settle(self._files, self.config, state):
            return False
        if self.keys.holds(FRESHNESS):
            proposal.restate(self._files, self.config, state, self.keys.load(FRESHNESS), now)
        return True


def _commitment(platform: PlatformId | bytes) -> str:
    return (platform.commitment if isinstance(platform, PlatformId) else platform).hex()
