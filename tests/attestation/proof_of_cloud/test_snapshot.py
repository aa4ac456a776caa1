"""Snapshots: every verification step alone, and no answer before verification."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from attestation.errors import StatementError
from attestation.proof_of_cloud.checkpoint import Checkpoint
from attestation.proof_of_cloud.entries import Entry
from attestation.proof_of_cloud.keys import FRESHNESS
from attestation.proof_of_cloud.log import MerkleLog
from attestation.proof_of_cloud.note import Note
from attestation.proof_of_cloud.registry import Registry
from attestation.proof_of_cloud.snapshot import MAGIC, RegistrySnapshot

from .conftest import DAY, MACHINE, NOW, OTHER, code_of, verified
from .test_entries import ENDORSEMENT, FREEZE, REINSTATEMENT, REVOCATION, STATEMENT

STRANGER = Ed25519PrivateKey.from_private_bytes(b"\x09" * 32)


def _verify(registry: Registry, snapshot: RegistrySnapshot, **changes: Any) -> RegistrySnapshot:
    config = registry.config
    arguments: dict[str, Any] = {
        "members": config.members,
        "threshold": config.threshold,
        "freshness_key": config.freshness_key,
        "now": NOW + 10,
        "max_age": DAY,
    }
    return snapshot.verify(**(arguments | changes))


def _sign_freshness(registry: Registry, head: Checkpoint) -> Note:
    return head.note().signed(registry.config.origin, registry.keys.load(FRESHNESS))


def _sign_members(registry: Registry, head: Checkpoint, *names: str) -> Note:
    note = head.note()
    for name in names:
        note = note.signed(name, registry.keys.load(name))
    return note


def _with_tail(registry: Registry, value: dict[str, Any]) -> RegistrySnapshot:
    """The published snapshot with one more line, signed by the freshness key alone."""
    snapshot = registry.snapshot()
    log = snapshot.log_bytes + Entry.of(value).line + b"\n"
    lines = log[:-1].split(b"\n")
    head = replace(snapshot.freshness, size=len(lines), root=MerkleLog(lines).root())
    return RegistrySnapshot(
        members_note=snapshot.members_note, freshness_note=_sign_freshness(registry, head), log_bytes=log
    )


def test_a_snapshot_verifies_and_answers(registry: Registry) -> None:
    """Through its file form: listed, with the provider, at level 1; others are not."""
    snapshot = verified(registry)
    assert snapshot.lookup(MACHINE.commitment).provider == "acme"
    assert snapshot.lookup(MACHINE.commitment).level == 1
    assert not snapshot.lookup(OTHER.commitment).listed
    assert (snapshot.size, snapshot.frozen, snapshot.issued_at) == (1, False, NOW)


def test_the_file_form_is_a_bijection(registry: Registry) -> None:
    """What parses writes back to the same bytes."""
    data = registry.snapshot().encode()
    assert RegistrySnapshot.parse(data).encode() == data


def test_an_empty_registry_verifies(tmp_path: Any) -> None:
    """No lines is a valid registry that lists nobody."""
    empty = Registry.development(tmp_path / "empty", now=NOW)
    assert not verified(empty).lookup(MACHINE.commitment).listed


@pytest.mark.parametrize("question", ["frozen", "log", "lookup", "line"])
def test_an_unverified_snapshot_answers_nothing(registry: Registry, question: str) -> None:
    """Asking before verifying is an error, not an answer."""
    snapshot = RegistrySnapshot.parse(registry.snapshot().encode())

    def ask() -> object:
        if question == "lookup":
            return snapshot.lookup(MACHINE.commitment)
        return snapshot.line(0) if question == "line" else getattr(snapshot, question)

    assert code_of(ask) == "signatures"


def test_a_failed_verification_leaves_it_unverified(registry: Registry) -> None:
    """A snapshot refused once does not answer afterwards."""
    snapshot = registry.snapshot()
    assert code_of(lambda: _verify(registry, snapshot, max_age=0, now=NOW + 10)) == "stale"
    assert not snapshot.verified
    assert code_of(lambda: snapshot.lookup(MACHINE.commitment)) == "signatures"


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:-1],
        lambda data: data + b"x",
        lambda data: data + b"\n",
        lambda data: b"x" + data,
        lambda data: data.replace(b"/v1", b"/v2", 1),
        lambda data: MAGIC + b"1 2\n",
        lambda data: MAGIC + b"0 0 0\n",
        lambda data: MAGIC + b"99999999999 0 0\n",
        lambda data: MAGIC,
        lambda data: b"",
    ],
)
def test_step_1_the_lengths_account_for_every_byte(registry: Registry, change: Any) -> None:
    """Anything cut off, added or misnamed is malformed."""
    assert code_of(lambda: RegistrySnapshot.parse(change(registry.snapshot().encode()))) == "malformed"


def test_step_1_the_last_line_ends(registry: Registry) -> None:
    """A log whose last newline is missing is malformed although its lengths add up."""
    snapshot = registry.snapshot()
    cut = RegistrySnapshot(
        members_note=snapshot.members_note,
        freshness_note=snapshot.freshness_note,
        log_bytes=snapshot.log_bytes[:-1] + b" ",
    )
    with pytest.raises(StatementError, match="newline"):
        RegistrySnapshot.parse(cut.encode())


@given(st.binary(max_size=400))
def test_step_1_any_bytes_are_a_typed_error(data: bytes) -> None:
    """Hostile bytes raise StatementError only."""
    for candidate in (data, MAGIC + data):
        with pytest.raises(StatementError):
            RegistrySnapshot.parse(candidate)


def test_step_2_one_registry(registry: Registry) -> None:
    """Heads of two registries do not make a snapshot, and neither does a registry not asked for."""
    snapshot = registry.snapshot()
    head = replace(snapshot.members, origin="other.example")
    mixed = RegistrySnapshot(
        members_note=_sign_members(registry, head, "member-1", "member-2"),
        freshness_note=snapshot.freshness_note,
        log_bytes=snapshot.log_bytes,
    )
    assert code_of(lambda: _verify(registry, mixed)) == "malformed"
    assert code_of(lambda: _verify(registry, registry.snapshot(), origin="other.example")) == "malformed"


def test_step_2_the_newest_head_covers_what_members_signed(registry: Registry) -> None:
    """A freshness head shorter than the members' is refused."""
    snapshot = registry.snapshot()
    head = replace(snapshot.freshness, size=0, root=MerkleLog().root())
    short = RegistrySnapshot(
        members_note=snapshot.members_note, freshness_note=_sign_freshness(registry, head), log_bytes=b""
    )
    assert code_of(lambda: _verify(registry, short)) == "malformed"


def test_step_3_every_line_is_covered(registry: Registry) -> None:
    """A changed byte, a dropped line and an added line each miss the signed root."""
    registry.add_platform(OTHER, provider="acme", now=NOW)
    snapshot = registry.snapshot()
    log = snapshot.log_bytes
    for other in (log.replace(b"acme", b"acne", 1), log[: log.index(b"\n") + 1], log + log):
        forged = RegistrySnapshot(
            members_note=snapshot.members_note, freshness_note=snapshot.freshness_note, log_bytes=other
        )
        assert code_of(lambda forged=forged: _verify(registry, forged)) == "malformed"  # type: ignore[misc]


def test_step_3_the_newest_head_counts_its_lines(registry: Registry) -> None:
    """A signed head that states another number of lines than there are is refused, although its root fits."""
    snapshot = registry.snapshot()
    note = _sign_freshness(registry, replace(snapshot.freshness, size=2))
    forged = RegistrySnapshot(members_note=snapshot.members_note, freshness_note=note, log_bytes=snapshot.log_bytes)
    with pytest.raises(StatementError, match="expected 2 registry lines, found 1"):
        _verify(registry, forged)


def test_step_3_the_tail_is_covered(registry: Registry) -> None:
    """A revocation changed on the way misses the newest root, although the members' lines are intact."""
    registry.revoke(MACHINE, "stolen", NOW + 1)
    snapshot = registry.snapshot()
    forged = RegistrySnapshot(
        members_note=snapshot.members_note,
        freshness_note=snapshot.freshness_note,
        log_bytes=snapshot.log_bytes.replace(b"stolen", b"healed"),
    )
    with pytest.raises(StatementError, match="newest head's root"):
        _verify(registry, forged)


def test_step_3_the_members_root_is_over_the_same_lines(registry: Registry) -> None:
    """Freshness alone cannot replace a line the members signed: their root no longer fits."""
    snapshot = registry.snapshot()
    log = Entry.of(STATEMENT).line + b"\n"
    head = replace(snapshot.freshness, root=MerkleLog([log[:-1]]).root())
    forged = RegistrySnapshot(
        members_note=snapshot.members_note, freshness_note=_sign_freshness(registry, head), log_bytes=log
    )
    assert code_of(lambda: _verify(registry, forged)) == "malformed"


def test_step_4_fewer_than_k_members_are_not_enough(registry: Registry) -> None:
    """One valid signature of two needed is refused; a stranger's does not help."""
    snapshot = registry.snapshot()
    note = _sign_members(registry, snapshot.members, "member-1").signed("member-2", STRANGER)
    forged = RegistrySnapshot(members_note=note, freshness_note=snapshot.freshness_note, log_bytes=snapshot.log_bytes)
    assert code_of(lambda: _verify(registry, forged)) == "signatures"


def test_step_4_one_member_twice_is_one_member(registry: Registry) -> None:
    """A repeated signature line counts once."""
    snapshot = registry.snapshot()
    note = _sign_members(registry, snapshot.members, "member-1")
    twice = replace(note, signatures=note.signatures * 2)
    forged = RegistrySnapshot(members_note=twice, freshness_note=snapshot.freshness_note, log_bytes=snapshot.log_bytes)
    assert code_of(lambda: _verify(registry, forged)) == "signatures"


def test_step_4_the_freshness_key_must_sign(registry: Registry) -> None:
    """A newest head signed by anybody else is refused, also by a member."""
    snapshot = registry.snapshot()
    for key in (STRANGER, registry.keys.load("member-1")):
        note = snapshot.freshness.note().signed(registry.config.origin, key)
        forged = RegistrySnapshot(members_note=snapshot.members_note, freshness_note=note, log_bytes=snapshot.log_bytes)
        assert code_of(lambda forged=forged: _verify(registry, forged)) == "signatures"  # type: ignore[misc]


def test_step_4_the_roles_are_apart(registry: Registry) -> None:
    """A freshness key among the members, two members with one key, or k of nobody: no such rule exists."""
    members = registry.config.members
    freshness = registry.config.freshness_key
    wrong: list[dict[str, Any]] = [
        {"members": {**members, "x": freshness}},
        {"members": {**members, "x": members["member-1"]}},
        {"threshold": 0},
        {"threshold": 4},
        {"members": {}, "threshold": 1},
    ]
    for changes in wrong:
        assert code_of(lambda changes=changes: _verify(registry, registry.snapshot(), **changes)) == "signatures"  # type: ignore[misc]


@pytest.mark.parametrize("value", [STATEMENT, ENDORSEMENT, REINSTATEMENT], ids=lambda value: value["kind"])
def test_step_5_the_freshness_key_cannot_list_endorse_or_reinstate(registry: Registry, value: dict[str, Any]) -> None:
    """A line that members did not sign and that does more than restrict is refused."""
    assert code_of(lambda: _verify(registry, _with_tail(registry, value))) == "signatures"


@pytest.mark.parametrize("value", [REVOCATION, FREEZE], ids=lambda value: value["kind"])
def test_step_5_the_freshness_key_can_restrict(registry: Registry, value: dict[str, Any]) -> None:
    """The same construction with a revocation or freeze verifies and counts."""
    found = _verify(registry, _with_tail(registry, value)).lookup(MACHINE.commitment)
    assert found.revoked or found.frozen


def test_step_6_maximum_age(registry: Registry) -> None:
    """At the maximum age a snapshot verifies, a second later it is stale."""
    assert _verify(registry, registry.snapshot(), now=NOW + DAY).verified
    assert code_of(lambda: _verify(registry, registry.snapshot(), now=NOW + DAY + 1)) == "stale"


@pytest.mark.parametrize("change", [{"time": NOW + 311}, {"sequence": (NOW + 311) * 1000}])
def test_step_6_nothing_comes_from_the_future(registry: Registry, change: dict[str, int]) -> None:
    """A head dated, or numbered, more than five minutes ahead is refused: a stolen key cannot use up the numbers."""
    snapshot = registry.snapshot()
    note = _sign_freshness(registry, replace(snapshot.freshness, **change))
    forged = RegistrySnapshot(members_note=snapshot.members_note, freshness_note=note, log_bytes=snapshot.log_bytes)
    assert code_of(lambda: _verify(registry, forged)) == "malformed"


def test_step_7_an_older_snapshot_is_refused(registry: Registry) -> None:
    """Row 107: after a newer one was seen, the older one is a rollback although it is otherwise fine."""
    old = verified(registry)
    registry.revoke(MACHINE, "stolen", NOW + 1)
    new = verified(registry, previous=old)
    assert code_of(lambda: _verify(registry, old, previous=new)) == "rollback"
    assert _verify(registry, old).verified


def test_step_7_the_same_snapshot_again_is_fine(registry: Registry) -> None:
    """Receiving what was seen before is not a rollback."""
    assert verified(registry, previous=verified(registry)).verified


def test_step_7_two_heads_with_one_number_are_refused(registry: Registry) -> None:
    """An equal sequence with another content is a fork."""
    seen = verified(registry)
    forged = _with_tail(registry, REVOCATION)
    assert forged.sequence == seen.sequence
    assert code_of(lambda: _verify(registry, forged, previous=seen)) == "rollback"


def test_step_7_history_cannot_be_rewritten(registry: Registry) -> None:
    """Even members and freshness together cannot drop a revocation a verifier has seen."""
    before = registry.snapshot()
    registry.revoke(MACHINE, "stolen", NOW + 1)
    seen = verified(registry)
    other = Entry.of(REVOCATION | {"commitment": OTHER.commitment.hex()}).line
    lines = [before.log_bytes[:-1], other]
    size_and_root: dict[str, Any] = {"size": 2, "root": MerkleLog(lines).root()}
    forged = RegistrySnapshot(
        members_note=_sign_members(registry, replace(before.members, **size_and_root), "member-1", "member-2"),
        freshness_note=_sign_freshness(registry, replace(seen.freshness, sequence=seen.sequence + 1, **size_and_root)),
        log_bytes=b"".join(line + b"\n" for line in lines),
    )
    assert not _verify(registry, forged).lookup(MACHINE.commitment).revoked
    assert code_of(lambda: _verify(registry, forged, previous=seen)) == "rollback"


def test_step_7_a_shorter_log_is_refused(registry: Registry) -> None:
    """A newer sequence over fewer lines has lost something."""
    before = registry.snapshot()
    registry.revoke(MACHINE, "stolen", NOW + 1)
    seen = verified(registry)
    head = replace(before.freshness, sequence=seen.sequence + 1, time=seen.issued_at)
    forged = RegistrySnapshot(
        members_note=before.members_note,
        freshness_note=_sign_freshness(registry, head),
        log_bytes=before.log_bytes,
    )
    assert code_of(lambda: _verify(registry, forged, previous=seen)) == "rollback"


def test_step_7_another_registry_does_not_follow(registry: Registry) -> None:
    """The same lines and keys under another registry's name do not succeed this one."""
    seen = verified(registry)
    registry.restate(NOW + 1)
    snapshot, origin = registry.snapshot(), "other.example"
    head = replace(snapshot.freshness, origin=origin).note().signed(origin, registry.keys.load(FRESHNESS))
    other = RegistrySnapshot(
        members_note=_sign_members(registry, replace(snapshot.members, origin=origin), "member-1", "member-2"),
        freshness_note=head,
        log_bytes=snapshot.log_bytes,
    )
    assert _verify(registry, other).origin == origin
    assert code_of(lambda: _verify(registry, other, previous=seen)) == "rollback"


@pytest.mark.parametrize("change", [{"sequence": -1}, {"time": -1}])
def test_step_7_neither_number_nor_time_goes_back(registry: Registry, change: dict[str, int]) -> None:
    """With the same lines, a lower sequence or an earlier time alone is a rollback."""
    registry.restate(NOW + 1)
    seen = verified(registry)
    (name, step), head = change.popitem(), registry.snapshot().freshness
    changed: dict[str, Any] = {"sequence": head.sequence + 1, name: getattr(head, name) + step}
    older = RegistrySnapshot(
        members_note=registry.snapshot().members_note,
        freshness_note=_sign_freshness(registry, replace(head, **changed)),
        log_bytes=registry.snapshot().log_bytes,
    )
    assert _verify(registry, older).verified
    assert code_of(lambda: _verify(registry, older, previous=seen)) == "rollback"


def test_step_7_the_members_head_does_not_go_back(registry: Registry) -> None:
    """An older members' head under a newer freshness head would turn signed lines into unsigned ones."""
    before = registry.snapshot()
    registry.revoke(MACHINE, "stolen", NOW + 1)
    registry.propose([], NOW + 2)
    seen = verified(registry)
    registry.restate(NOW + 3)
    mixed = RegistrySnapshot(
        members_note=before.members_note,
        freshness_note=registry.snapshot().freshness_note,
        log_bytes=registry.snapshot().log_bytes,
    )
    assert _verify(registry, mixed).verified
    assert code_of(lambda: _verify(registry, mixed, previous=seen)) == "rollback"


def test_a_freeze_of_the_whole_registry_shows(registry: Registry) -> None:
    """`frozen` follows a freeze and its reinstatement."""
    registry.freeze("incident", NOW + 1)
    assert verified(registry).frozen
    registry.reinstate("over", NOW + 2)
    assert not verified(registry).frozen


def test_a_commitment_is_found_only_where_it_is_the_subject(registry: Registry) -> None:
    """A commitment quoted as evidence elsewhere does not list its platform."""
    registry.add_platform(OTHER, provider="acme", now=NOW, evidence=[("cd" * 32)])
    assert not verified(registry).lookup(bytes.fromhex("cd" * 32)).listed


def test_a_wrong_length_commitment_is_refused(registry: Registry) -> None:
    """Looking up a prefix is an error: row 106, prefixes never match."""
    snapshot = verified(registry)
    assert code_of(lambda: snapshot.lookup(MACHINE.commitment[:16])) == "malformed"


def test_lines_are_found_in_order_among_many(registry: Registry) -> None:
    """First, middle and last lines of one platform are all seen."""
    for number in range(20):
        registry.add_platform(bytes([number]) * 32, provider="acme", now=NOW)
    registry.revoke(MACHINE, "one", NOW + 1)
    registry.add_platform(OTHER, provider="acme", now=NOW + 2)
    registry.revoke(MACHINE, "two", NOW + 3)
    found = verified(registry).lookup(MACHINE.commitment)
    assert [(item.sequence, item.reason) for item in found.restrictions] == [(21, "one"), (23, "two")]


def test_a_full_audit_reads_every_line(registry: Registry) -> None:
    """`entries` parses each line strictly."""
    registry.revoke(MACHINE, "stolen", NOW + 1)
    assert [entry.kind for entry in verified(registry).entries()] == ["statement", "revocation"]
