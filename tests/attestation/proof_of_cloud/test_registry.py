"""Keeping a registry: quorum, the freshness role's limits, interrupted writes, and two machines at once."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from attestation.errors import StatementError
from attestation.proof_of_cloud import proposal
from attestation.proof_of_cloud.entries import Entry
from attestation.proof_of_cloud.keys import FRESHNESS, HeldKeys, load_key, public_bytes
from attestation.proof_of_cloud.registry import Registry
from attestation.proof_of_cloud.registry_files import RegistryConfig, RegistryFiles
from attestation.proof_of_cloud.statement import Method

from .conftest import MACHINE, NOW, OTHER, code_of, verified
from .test_entries import ENDORSEMENT, REINSTATEMENT, REVOCATION, STATEMENT

MEMBERS = {name: Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32) for seed, name in enumerate("abc", 1)}
ONLINE = Ed25519PrivateKey.from_private_bytes(b"\x08" * 32)


@pytest.fixture
def offline(tmp_path: Path) -> Registry:
    """A registry that holds no keys, with a first head signed by a and b and restated."""
    registry = Registry.init(
        tmp_path / "offline",
        origin="registry.example",
        members={name: public_bytes(key) for name, key in MEMBERS.items()},
        threshold=2,
        freshness_key=public_bytes(ONLINE),
    )
    registry.propose([], NOW)
    registry.sign("a", MEMBERS["a"], NOW)
    registry.sign("b", MEMBERS["b"], NOW)
    registry.restate(NOW, ONLINE)
    return registry


def test_the_freshness_key_cannot_begin_a_registry(tmp_path: Path) -> None:
    """Before the members have signed a first head there is nothing to restate or to restrict."""
    public = {name: public_bytes(key) for name, key in MEMBERS.items()}
    registry = Registry.init(
        tmp_path / "new", origin="new.example", members=public, threshold=2, freshness_key=public_bytes(ONLINE)
    )
    files = RegistryFiles(registry.directory)
    with pytest.raises(StatementError, match="first head"):
        registry.restate(NOW, ONLINE)
    with pytest.raises(StatementError, match="first head"):
        proposal.restrict(files, registry.config, files.load(), Entry.of(REVOCATION), ONLINE, NOW)
    assert files.load().lines == []


def test_k_of_m_members_bring_a_proposal_into_force(offline: Registry) -> None:
    """Nothing is listed with one signature; with the second it is."""
    assert not offline.add_platform(MACHINE, provider="acme", now=NOW)
    assert not offline.sign("a", MEMBERS["a"], NOW)
    assert offline.proposal_signers == {"a"}
    assert not offline.standing(MACHINE, NOW).listed
    assert offline.sign("c", MEMBERS["c"], NOW)
    assert offline.standing(MACHINE, NOW).listed
    assert offline.proposed == []


def test_a_settled_proposal_is_published_by_a_restatement(offline: Registry) -> None:
    """Until the freshness key covers it, a new statement is not in any snapshot."""
    offline.add_platform(MACHINE, provider="acme", now=NOW)
    offline.sign("a", MEMBERS["a"], NOW)
    offline.sign("b", MEMBERS["b"], NOW)
    with pytest.raises(StatementError, match="does not cover"):
        offline.snapshot()
    offline.restate(NOW, ONLINE)
    assert verified(offline).lookup(MACHINE.commitment).listed


def test_a_member_cannot_sign_twice(offline: Registry) -> None:
    """The same member again adds nothing."""
    offline.add_platform(MACHINE, provider="acme", now=NOW)
    offline.sign("a", MEMBERS["a"], NOW)
    assert not offline.sign("a", MEMBERS["a"], NOW)


def test_only_a_members_own_key_signs(offline: Registry) -> None:
    """Another member's key, the freshness key and a stranger's name are refused."""
    offline.add_platform(MACHINE, provider="acme", now=NOW)
    for name, key in (("a", MEMBERS["b"]), ("a", ONLINE), ("z", MEMBERS["a"])):
        assert code_of(lambda name=name, key=key: offline.sign(name, key, NOW)) == "signatures"  # type: ignore[misc]


def test_signing_without_a_proposal_is_an_error(offline: Registry) -> None:
    """There is nothing to sign."""
    assert code_of(lambda: offline.sign("a", MEMBERS["a"], NOW)) == "malformed"


def test_a_changed_proposal_drops_earlier_signatures(offline: Registry) -> None:
    """A signature never carries over to lines its member has not seen."""
    offline.add_platform(MACHINE, provider="acme", now=NOW)
    offline.sign("a", MEMBERS["a"], NOW)
    offline.add_platform(OTHER, provider="acme", now=NOW)
    assert offline.proposal_signers == frozenset()


@pytest.mark.parametrize("value", [STATEMENT, ENDORSEMENT, REINSTATEMENT], ids=lambda value: value["kind"])
def test_the_freshness_key_cannot_list_endorse_or_reinstate(offline: Registry, value: dict[str, object]) -> None:
    """The online role's own code path refuses everything but restrictions."""
    files = RegistryFiles(offline.directory)
    state = files.load()
    entry = Entry.of(value)
    assert code_of(lambda: proposal.restrict(files, offline.config, state, entry, ONLINE, NOW)) == "signatures"
    assert files.load().lines == []


def test_the_freshness_key_revokes_at_once(offline: Registry) -> None:
    """A revocation counts without any member, and the registry keeps verifying."""
    files = RegistryFiles(offline.directory)
    proposal.restrict(files, offline.config, files.load(), Entry.of(REVOCATION), ONLINE, NOW)
    assert verified(Registry.open(offline.directory)).lookup(MACHINE.commitment).revoked


def test_a_members_key_cannot_restrict_or_restate(offline: Registry) -> None:
    """The online role is its own key's alone."""
    files = RegistryFiles(offline.directory)
    entry = Entry.of(REVOCATION)
    key = MEMBERS["a"]
    assert code_of(lambda: proposal.restrict(files, offline.config, files.load(), entry, key, NOW)) == "signatures"
    assert code_of(lambda: offline.restate(NOW, key)) == "signatures"


def test_a_restatement_refuses_lines_the_members_did_not_sign(offline: Registry) -> None:
    """A statement smuggled into the log file is never restated."""
    with (offline.directory / "log.jsonl").open("ab") as file:
        file.write(Entry.of(STATEMENT).line + b"\n")
    assert code_of(lambda: offline.restate(NOW, ONLINE)) == "signatures"


def test_a_restatement_refuses_a_changed_log(registry: Registry) -> None:
    """A line edited on disk no longer leads to the members' root."""
    path = registry.directory / "log.jsonl"
    path.write_bytes(path.read_bytes().replace(b"acme", b"acne"))
    assert code_of(lambda: registry.restate(NOW + 1)) == "rollback"


def test_a_revocation_overtakes_a_waiting_proposal(registry: Registry, tmp_path: Path) -> None:
    """The restriction goes first and the proposal is rebuilt on top of it, unsigned."""
    (registry.keys.directory / "member-2.pem").rename(tmp_path / "away-2.pem")
    (registry.keys.directory / "member-3.pem").rename(tmp_path / "away-3.pem")
    assert not registry.add_platform(OTHER, provider="acme", now=NOW + 1)
    assert registry.proposal_signers == {"member-1"}
    assert registry.revoke(MACHINE, "stolen", NOW + 2)
    assert registry.proposal_signers == frozenset()
    assert registry.sign("member-1", load_key(registry.keys.directory / "member-1.pem"), NOW + 3) is False
    assert registry.sign("member-2", load_key(tmp_path / "away-2.pem"), NOW + 3)
    found = verified(registry)
    assert found.lookup(MACHINE.commitment).revoked
    assert found.lookup(OTHER.commitment).listed


def test_without_the_freshness_key_a_revocation_is_a_proposal(offline: Registry) -> None:
    """A directory that holds no key only proposes."""
    assert not offline.revoke(MACHINE, "stolen", NOW)
    assert len(offline.proposed) == 1


def test_a_member_refuses_to_sign_a_different_history(offline: Registry) -> None:
    """What a member signed before must be a prefix of what it signs next."""
    offline.add_platform(MACHINE, provider="acme", now=NOW)
    head = offline.proposal_head()
    assert head is not None
    offline.sign("a", MEMBERS["a"], NOW, signed_before=(0, offline.log.root(0)))
    for wrong in ((1, b"\x00" * 32), (5, head.root)):
        assert code_of(lambda wrong=wrong: offline.sign("b", MEMBERS["b"], NOW, signed_before=wrong)) == "rollback"  # type: ignore[misc]
    assert offline.sign("b", MEMBERS["b"], NOW, signed_before=(1, head.root))


def test_a_member_refuses_a_malformed_line(offline: Registry) -> None:
    """A proposal edited on disk is read strictly before it is signed."""
    offline.add_platform(MACHINE, provider="acme", now=NOW)
    path = offline.directory / "proposal.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"level":1', b'"level": 1'))
    assert code_of(lambda: offline.sign("a", MEMBERS["a"], NOW)) == "malformed"


def test_a_member_refuses_lines_other_than_the_proposed_head(offline: Registry) -> None:
    """Well-formed lines that the head does not cover are not signed."""
    offline.add_platform(MACHINE, provider="acme", now=NOW)
    path = offline.directory / "proposal.jsonl"
    path.write_bytes(path.read_bytes().replace(b"acme", b"evil"))
    assert code_of(lambda: offline.sign("a", MEMBERS["a"], NOW)) == "rollback"


@pytest.mark.parametrize("lifts", [[0], [7]], ids=["not a restriction", "not there"])
def test_a_member_refuses_a_reinstatement_of_nothing(offline: Registry, lifts: list[int]) -> None:
    """A reinstatement must number an earlier restriction of the same platform."""
    offline.propose([Entry.of(STATEMENT), Entry.of(REINSTATEMENT | {"lifts": lifts})], NOW)
    assert code_of(lambda: offline.sign("a", MEMBERS["a"], NOW)) == "malformed"


def test_reinstating_nothing_is_an_error(registry: Registry) -> None:
    """There must be a restriction in force."""
    with pytest.raises(StatementError, match="nothing to reinstate"):
        registry.reinstate("why not", NOW)


def test_reinstatement_through_the_quorum(registry: Registry) -> None:
    """Revoke, list again (still revoked), reinstate (clear): the whole story verifies."""
    registry.revoke(MACHINE, "stolen", NOW + 1)
    registry.add_platform(MACHINE, provider="acme", now=NOW + 2)
    assert verified(registry).lookup(MACHINE.commitment).revoked
    registry.reinstate("found and reset", NOW + 3, platform=MACHINE)
    found = verified(registry).lookup(MACHINE.commitment)
    assert found.listed
    assert not found.revoked


def test_endorsing_needs_a_listing_and_a_second_party(registry: Registry) -> None:
    """Nobody endorses the unlisted, or their own statement."""

    def endorse(platform: object, issuer: str) -> object:
        assert platform in (MACHINE, OTHER)
        chosen = MACHINE if platform == MACHINE else OTHER
        return registry.endorse(chosen, issuer=issuer, method=Method.WITNESS, evidence=["ab" * 32], now=NOW)

    assert code_of(lambda: endorse(OTHER, "member-2")) == "not-listed"
    assert code_of(lambda: endorse(MACHINE, "member-1")) == "level"
    assert endorse(MACHINE, "member-2")


def test_sequences_always_grow(registry: Registry) -> None:
    """Restating twice in one second, or with a clock gone back, still gives higher numbers."""
    numbers = []
    for now in (NOW + 5, NOW + 5, NOW + 3):
        registry.restate(now)
        numbers.append(registry.snapshot().sequence)
    assert numbers == sorted(set(numbers))


def test_a_half_written_line_is_cut(registry: Registry) -> None:
    """A crash in the middle of an append loses only that line."""
    with (registry.directory / "log.jsonl").open("ab") as file:
        file.write(b'{"commitment":"ab')
    again = Registry.open(registry.directory)
    assert again.size == 1
    again.revoke(MACHINE, "stolen", NOW + 1)
    assert verified(again).lookup(MACHINE.commitment).revoked


def test_an_interrupted_settlement_is_finished(registry: Registry, tmp_path: Path) -> None:
    """A crash after the members' head was written and before the log was: opening completes it."""
    files = RegistryFiles(registry.directory)
    state = files.load()
    proposal.replace(files, registry.config, state, [Entry.of(STATEMENT | {"commitment": "cd" * 32}).line], NOW)
    for name in ("member-1", "member-2"):
        proposal.add_signature(files, state, name, registry.keys.load(name))
    assert state.proposal is not None
    (registry.directory / "members.note").write_bytes(state.proposal.encode())
    again = Registry.open(registry.directory)
    assert again.size == 2
    assert again.proposed == []
    again.restate(NOW + 1)
    assert verified(again).lookup(bytes.fromhex("cd" * 32)).listed


def test_two_handles_see_each_others_changes(registry: Registry) -> None:
    """Every change reads the directory again under a lock."""
    second = Registry.open(registry.directory)
    registry.revoke(MACHINE, "stolen", NOW + 1)
    second.add_platform(OTHER, provider="acme", now=NOW + 2)
    assert second.size == 3
    assert verified(second).lookup(MACHINE.commitment).revoked


def test_reading_while_another_process_writes(registry: Registry) -> None:
    """Snapshots taken during a burst of revocations are each complete and verify."""

    def write() -> None:
        other = Registry.open(registry.directory)
        for number in range(12):
            other.revoke(bytes([number]) * 32, "burst", NOW + 1)

    writer = threading.Thread(target=write)
    writer.start()
    sizes = [verified(registry).size for _ in range(12)]
    writer.join()
    assert sizes == sorted(sizes)
    assert verified(registry).size == 13


def test_a_registry_is_never_made_over_another(registry: Registry) -> None:
    """`init` and `development` refuse a directory in use, and keys are never overwritten."""
    assert code_of(lambda: Registry.development(registry.directory, now=NOW)) == "malformed"
    config = registry.config
    again = {"origin": "x", "members": dict(config.members), "threshold": 2, "freshness_key": config.freshness_key}
    assert code_of(lambda: Registry.init(registry.directory, **again)) == "malformed"  # type: ignore[arg-type]


def test_opening_nothing_is_a_typed_error(tmp_path: Path) -> None:
    """No registry.json, no registry."""
    assert code_of(lambda: Registry.open(tmp_path)) == "malformed"


def test_private_keys_are_private(registry: Registry) -> None:
    """Key files are readable by their owner only."""
    files = list(registry.keys.directory.iterdir())
    assert len(files) == 4
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


@pytest.mark.parametrize(
    "change",
    [
        (b'"threshold":2', b'"threshold":0'),
        (b'"threshold":2', b'"threshold":4'),
        (b'"threshold":2', b'"threshold":true'),
        (b'"threshold":2', b'"threshold":2,"more":1'),
        (b"holdfast/registry/v1", b"holdfast/registry/v2"),
        (b'"origin":"registry.simulated"', b'"origin":"has space"'),
        (b'"origin":"registry.simulated"', b'"origin":"member-1"'),
    ],
)
def test_a_configuration_is_read_strictly(registry: Registry, change: tuple[bytes, bytes]) -> None:
    """Impossible thresholds, unknown members and bad names are refused."""
    data = registry.config.encode()
    assert RegistryConfig.parse(data) == registry.config
    assert change[0] in data
    with pytest.raises(StatementError):
        RegistryConfig.parse(data.replace(*change))


def test_snapshots_are_written_whole(registry: Registry, tmp_path: Path) -> None:
    """The file holds exactly the snapshot and leaves nothing beside it."""
    registry.write_snapshot(tmp_path / "snapshot")
    assert (tmp_path / "snapshot").read_bytes() == registry.snapshot().encode()
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["snapshot"]


def test_a_foreign_key_file_is_refused(tmp_path: Path) -> None:
    """Something that is not an Ed25519 PEM is a typed error."""
    (tmp_path / "x.pem").write_text("not a key")
    keys = HeldKeys(tmp_path)
    assert code_of(lambda: keys.load("x")) == "malformed"
    assert code_of(lambda: keys.load(FRESHNESS)) == "malformed"
