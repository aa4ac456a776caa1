"""How lines come into force: a proposal collects members' signatures, a restriction needs only freshness.

The log in the directory only ever grows; a restriction that arrives while a proposal waits goes first, and
the proposal starts again on top of it.  Specification: specs/proof-of-cloud.md section 6.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from attestation.errors import StatementError
from attestation.proof_of_cloud.checkpoint import Checkpoint, Role
from attestation.proof_of_cloud.entries import RESTRICTIONS, Entry, Kind
from attestation.proof_of_cloud.keys import public_bytes
from attestation.proof_of_cloud.log import MerkleLog
from attestation.proof_of_cloud.registry_files import RegistryConfig, RegistryFiles, RegistryState


def replace(files: RegistryFiles, config: RegistryConfig, state: RegistryState, lines: list[bytes], now: int) -> None:
    """Make `lines` the proposal, without signatures."""
    log = state.log.copy()
    for line in lines:
        log.append(line)
    files.write_proposal(state, lines, _head(config, state, Role.MEMBERS, log, now).note())


def review(state: RegistryState, signed_before: tuple[int, bytes] | None = None) -> None:
    """What a member's machine checks before it signs: strict lines, sound references, an extended history.

    Raises StatementError (`proof-of-cloud.malformed`, `.rollback`).
    """
    lines = [*state.lines, *state.proposed]
    start = 0
    if signed_before is not None:
        start, root = signed_before
        if start > len(lines) or MerkleLog(lines[:start]).root() != root:
            raise StatementError("this member signed a different history before", code="proof-of-cloud.rollback")
    for number in range(start, len(lines)):
        entry = Entry.parse(lines[number])
        if entry.kind is Kind.REINSTATEMENT:
            _check_lifts(lines, number, entry)
    assert state.proposal is not None, "the caller looked"
    head = Checkpoint.parse(state.proposal, Role.MEMBERS)
    if (head.size, head.root) != (len(lines), MerkleLog(lines).root()):
        raise StatementError("the proposed head is not over these lines", code="proof-of-cloud.rollback")


def add_signature(files: RegistryFiles, state: RegistryState, member: str, key: Ed25519PrivateKey) -> None:
    """Sign the proposal's head as `member`."""
    assert state.proposal is not None, "the caller looked"
    files.write_proposal(state, state.proposed, state.proposal.signed(member, key))


def settle(files: RegistryFiles, config: RegistryConfig, state: RegistryState) -> bool:
    """Bring the proposal into force if k members have signed it; returns whether it is."""
    note = state.proposal
    if note is None or len(note.signers(config.members)) < config.threshold:
        return False
    files.write_head(state, Role.MEMBERS, note)
    files.append(state, state.proposed)
    files.write_proposal(state, [], None)
    return True


def restrict(
    files: RegistryFiles,
    config: RegistryConfig,
    state: RegistryState,
    entry: Entry,
    key: Ed25519PrivateKey,
    now: int,
) -> None:
    """Append a revocation or freeze and restate, with the freshness key alone; raises StatementError otherwise."""
    if entry.kind not in RESTRICTIONS:
        raise StatementError(
            f"the freshness key cannot add a {entry.kind}",
            code="proof-of-cloud.signatures",
            hint="propose it and collect the members' signatures",
        )
    _check_freshness(config, key)
    if state.members is None:
        raise StatementError("the members have not signed a first head yet")
    files.append(state, [entry.line])
    if state.proposal is not None:
        # It was built on a shorter log: its head, and the signatures under it, no longer fit.
        replace(files, config, state, list(state.proposed), now)
    restate(files, config, state, key, now)


def restate(
    files: RegistryFiles, config: RegistryConfig, state: RegistryState, key: Ed25519PrivateKey, now: int
) -> None:
    """Sign size, root and time with the freshness key; raises StatementError if the log holds an unsigned line."""
    _check_freshness(config, key)
    members = state.members_head()
    if members is None:
        raise StatementError("the members have not signed a first head yet")
    if state.log.root(members.size) != members.root:
        raise StatementError("the log does not hold what the members signed", code="proof-of-cloud.rollback")
    for line in state.lines[members.size :]:
        if Entry.parse(line).kind not in RESTRICTIONS:
            raise StatementError("the log holds a line the members did not sign", code="proof-of-cloud.signatures")
    head = _head(config, state, Role.FRESHNESS, state.log, now)
    files.write_head(state, Role.FRESHNESS, head.note().signed(config.origin, key))


def _check_freshness(config: RegistryConfig, key: Ed25519PrivateKey) -> None:
    if public_bytes(key) != config.freshness_key:
        raise StatementError("the key is not the freshness key", code="proof-of-cloud.signatures")


def _check_lifts(lines: Sequence[bytes], number: int, entry: Entry) -> None:
    for cleared in entry.value["lifts"]:
        target = Entry.parse(lines[cleared]) if cleared < number else None
        if target is None or target.kind not in RESTRICTIONS or target.commitment != entry.commitment:
            raise StatementError(f"line {number} reinstates line {cleared}, which restricts nothing it speaks of")


def _head(config: RegistryConfig, state: RegistryState, role: Role, log: MerkleLog, now: int) -> Checkpoint:
    heads = [head for head in (state.members_head(), state.freshness_head()) if head is not None]
    sequence = max([now * 1000, *(head.sequence + 1 for head in heads)])
    return Checkpoint(origin=config.origin, size=len(log), root=log.root(), role=role, sequence=sequence, time=now)
