"""The roster: signatures, succession, production rules, and refusal of everything not understood."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attestation.canonical import canonical_json
from attestation.envelope import Envelope
from attestation.errors import AttestationError, DocumentError
from enclave.roster import PAYLOAD_TYPE, Environment, OperatorEntry, Role, Roster
from tests.enclave.samples import (
    ADMIN,
    ADMIN_2,
    AUDITOR,
    KEYS,
    NOW,
    REGISTRAR,
    a_production_roster,
    a_roster,
    a_slot,
    an_id,
    seeded_key,
)


def signed(payload: dict[str, Any], *operators: str) -> bytes:
    """Any payload under real signatures."""
    envelope = Envelope.of(PAYLOAD_TYPE, payload)
    for operator in operators or (ADMIN,):
        envelope = envelope.signed(KEYS[operator].ed25519)
    return canonical_json(envelope.to_json())


def refused(envelope: bytes, **options: Any) -> str:
    """The code with which a roster is refused."""
    with pytest.raises(DocumentError) as caught:
        Roster.parse(envelope, **options)
    return caught.value.code


def test_a_signed_roster_reads_back_equal() -> None:
    """Parsing a signed roster yields the same values; its digest is the cluster id."""
    roster = a_roster()
    found = Roster.parse(roster.sign(KEYS[ADMIN]))
    assert found == roster
    assert found.cluster_id == found.digest
    assert found.configuration == found.digest + bytes(16)
    assert found.slot("node-2").port == 9002


def test_slots_and_operators_are_found_by_name_and_key() -> None:
    """Lookups answer exactly; an operator's key counts only for that operator."""
    roster = a_roster()
    kid = KEYS[AUDITOR].kid
    entry = roster.operator(kid)
    assert entry is not None
    assert entry.operator == AUDITOR
    assert roster.operator_key(AUDITOR, kid) == KEYS[AUDITOR].public
    assert roster.operator_key(ADMIN, kid) is None
    assert roster.operator("nobody") is None
    for name in ("node-9", "0", "1", "null", ""):
        with pytest.raises(DocumentError) as caught:
            roster.slot(name)
        assert caught.value.code == "roster.slot"


def test_only_administrators_count() -> None:
    """Signatures of registrar and auditor do not make a roster."""
    payload = a_roster().payload()
    assert refused(signed(payload, REGISTRAR, AUDITOR)) == "roster.signatures"
    assert Roster.parse(signed(payload, ADMIN_2))


def test_a_quorum_of_two_needs_two_different_administrators() -> None:
    """One administrator's signature, even listed twice, does not meet a quorum of two."""
    payload = a_roster(quorum={"roster": 2}).payload()
    envelope = json.loads(signed(payload, ADMIN))
    envelope["signatures"] *= 2
    assert refused(canonical_json(envelope)) == "roster.signatures"
    assert Roster.parse(signed(payload, ADMIN, ADMIN_2))


def test_a_changed_payload_loses_its_signatures() -> None:
    """Changing one byte of a signed roster is refused."""
    roster = a_roster()
    envelope = json.loads(roster.sign(KEYS[ADMIN]))
    envelope["payload"] = json.loads(signed(replace(roster, created_at=1).payload()))["payload"]
    assert refused(canonical_json(envelope)) == "roster.signatures"


def test_another_payload_type_is_refused() -> None:
    """A roster's bytes signed as another kind of document are no roster."""
    envelope = Envelope.of("application/vnd.holdfast.policy+json", a_roster().payload()).signed(KEYS[ADMIN].ed25519)
    assert refused(canonical_json(envelope.to_json())) == "envelope.type"


def successor(old: Roster, **changes: Any) -> Roster:
    """The next version of `old`."""
    values = {"version": old.version + 1, "cluster": old.cluster_id, "previous": old.digest, "created_at": NOW}
    return replace(old, **values | changes)


def test_a_successor_keeps_the_cluster_id() -> None:
    """Version 2, signed by the quorums of both versions, continues the cluster."""
    old = a_roster()
    new = successor(old, slots=old.slots[:4])
    found = Roster.parse(new.sign(KEYS[ADMIN]), previous=old)
    assert found.cluster_id == old.cluster_id
    assert found.digest != old.digest
    third = successor(found)
    assert Roster.parse(third.sign(KEYS[ADMIN]), previous=found).cluster_id == old.cluster_id


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 3},
        {"cluster": bytes(32)},
        {"previous": bytes(32)},
        {"created_at": NOW - 2000},
    ],
)
def test_a_successor_that_does_not_continue_is_refused(changes: dict[str, Any]) -> None:
    """A skipped version, another cluster, another predecessor or an earlier time break the chain."""
    old = a_roster()
    assert refused(successor(old, **changes).sign(KEYS[ADMIN]), previous=old) == "roster.chain"


def test_the_environment_never_changes() -> None:
    """A development cluster cannot become production by a new roster version."""
    old = a_roster()
    new = successor(a_production_roster(), cluster=old.cluster_id, previous=old.digest)
    assert refused(new.sign(KEYS[ADMIN], KEYS[ADMIN_2]), previous=old) == "roster.chain"


def test_a_later_version_alone_is_refused() -> None:
    """Version 2 without version 1 proves nothing about who may sign it."""
    assert refused(successor(a_roster()).sign(KEYS[ADMIN])) == "roster.chain"


def test_new_administrators_cannot_install_themselves() -> None:
    """A successor signed only by the operators it brings along is refused by the old quorum."""
    old = a_roster()
    intruder = seeded_key("intruder")
    entry = OperatorEntry(operator=an_id("opr", 9), name="x", key=intruder.public.key, roles=frozenset({Role.ADMIN}))
    new = successor(old, operators=(*old.operators, entry))
    assert refused(new.sign(intruder), previous=old) == "roster.signatures"
    assert Roster.parse(new.sign(KEYS[ADMIN]), previous=old)


def test_a_production_roster_is_accepted() -> None:
    """The production form of the cluster parses with two signatures, and not with one."""
    roster = a_production_roster()
    assert Roster.parse(roster.sign(KEYS[ADMIN], KEYS[ADMIN_2])).environment is Environment.PRODUCTION
    assert refused(signed(roster.payload(), ADMIN)) == "roster.signatures"


POC = a_roster().proof_of_cloud
MEMBER = dict(list(POC.members.items())[:1])


@pytest.mark.parametrize(
    "changes",
    [
        {"simulated_roots": (b"\x30\x00",)},
        {"appraisal": {"allowed_roots": ["intel", "simulated"]}},
        {"appraisal": {"allowed_roots": ["custom"]}},
        {"appraisal": {"allow_debug": True}},
        {"appraisal": {"allow_zero_measurements": True}},
        {"quorum": {"roster": 1}},
        {"quorum": {"roster": 2, "policy": 1}},
        {"quorum": {"roster": 2, "key-state": 1}},
        {"quorum": {"roster": 2, "reshare": 1}},
        {"upgrade_delay_s": 72 * 3600 - 1},
        {"slots": a_production_roster().slots[:4]},
        {"proof_of_cloud": replace(POC, level=0)},
        {"proof_of_cloud": replace(POC, threshold=1)},
        {"proof_of_cloud": replace(POC, members=MEMBER, threshold=1)},
        *(
            {"slots": (a_slot(1, url=f"tls://{host}:8443"), *a_production_roster().slots[1:])}
            for host in (
                "127.0.0.1",
                "127.8.8.8",
                "localhost",
                "node.localhost",
                "0.0.0.0",
                "[::1]",
                "[::]",
                "[::ffff:127.0.0.1]",
                "169.254.1.1",
            )
        ),
    ],
)
def test_production_refuses_what_exists_for_development(changes: dict[str, Any]) -> None:
    """Each development facility alone makes a production roster invalid."""
    payload = a_production_roster(**changes).payload()
    assert refused(signed(payload, ADMIN, ADMIN_2)) == "roster.production"


def edit(path: str, value: Any) -> dict[str, Any]:
    """A valid payload with one member changed; `DROP` removes it."""
    payload: dict[str, Any] = json.loads(json.dumps(a_roster().payload()))
    *steps, last = path.split("/")
    target: Any = payload
    for step in steps:
        target = target[int(step) if step.isdigit() else step]
    if value is DROP:
        del target[last]
    else:
        target[int(last) if last.isdigit() else last] = value
    return payload


DROP = object()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("type", "holdfast/roster/v2"),
        ("version", 0),
        ("version", True),
        ("version", "1"),
        ("environment", "test"),
        ("created_at", -1),
        ("slots", []),
        ("slots", None),
        ("slots/0", {}),
        ("slots/0/slot", "Node-1"),
        ("slots/0/slot", "null"),
        ("slots/0/slot", 1),
        ("slots/1/slot", "node-1"),
        ("slots/1/url", "tls://127.0.0.1:9001"),
        ("slots/0/url", "http://127.0.0.1:9001"),
        ("slots/0/url", "tls://127.0.0.1"),
        ("slots/0/url", "tls://127.0.0.1:99999"),
        ("slots/0/url", "tls://user@127.0.0.1:1"),
        ("slots/0/url", "tls://127.0.0.1:1/path"),
        ("slots/0/operator", an_id("opr", 20)),
        ("slots/0/platform", "00" * 32),
        ("slots/0/platform", "AB" * 32),
        ("slots/0/platform", "ab" * 31),
        ("slots/1/platform", a_slot(1).platform.hex()),
        ("slots/0/measurements", {}),
        ("slots/0/measurements", {"mrtd": []}),
        ("slots/0/measurements", {"mrtd": {}}),
        ("slots/0/measurements", {"mrtd": ["abab"]}),
        ("slots/0/measurements", {"mrtd": ["ab" * 65]}),
        ("slots/0/measurements", {"mrtd": ["AB" * 48]}),
        ("slots/0/measurements", {"MRTD": ["ab" * 48]}),
        ("slots/0/measurements", {"mrtd": ["ab" * 48, "ab" * 48]}),
        ("slots/0/failure_domain", {"planet": "mars"}),
        ("slots/0/extra", 1),
        ("operators", []),
        ("operators/0/key", "AAAA"),
        ("operators/0/key", "A" * 43),
        ("operators/0/roles", ["root"]),
        ("operators/0/roles", []),
        ("operators/0/roles", ["admin", "admin"]),
        ("operators/1/operator", ADMIN),
        ("operators/0/operator", "admin"),
        ("quorum", {}),
        ("quorum", {"roster": 0}),
        ("quorum", {"roster": 3}),
        ("quorum", {"roster": 1, "everything": 1}),
        ("quorum", {"roster": True}),
        ("proof_of_cloud/registry/threshold", 3),
        ("proof_of_cloud/registry/threshold", 0),
        ("proof_of_cloud/registry/members", {}),
        ("proof_of_cloud/registry/members", {"a": "AAAA", "b": "AAAB"}),
        ("proof_of_cloud/registry/members", {"a": "A" * 43, "b": "A" * 43}),
        ("proof_of_cloud/registry/members", {"a": None, "b": 1}),
        ("proof_of_cloud/registry/freshness_key", ""),
        ("proof_of_cloud/max_age_s", 0),
        ("proof_of_cloud/level", -1),
        ("simulated_roots", DROP),
        ("simulated_root", "MAA"),
        ("diversity", None),
        ("diversity", DROP),
        ("diversity/0/dimension", "planet"),
        ("diversity/0/max", 0),
        ("diversity/0/max", True),
        ("diversity/0/max", 65),
        ("diversity/0/share", 1),
        ("diversity", [{"dimension": "region", "max": 1}, {"dimension": "region", "max": 2}]),
        ("diversity", [{"dimension": "platform", "max": 2}]),
        ("accept_common", None),
        ("accept_common", DROP),
        ("accept_common", ["region"]),
        ("accept_common", ["platform"]),
        ("accept_common", ["operator", "operator"]),
        ("limits", {"x": -1}),
        ("limits", {"x": True}),
        ("extra", None),
        ("cluster", "00" * 32),
    ],
)
def test_one_wrong_member_makes_a_roster_malformed(path: str, value: Any) -> None:
    """Unknown, missing, mistyped, repeated and out-of-range members are refused, although the signature is right."""
    assert refused(signed(edit(path, value))) == "roster.malformed"


@pytest.mark.parametrize(
    "roots",
    [
        None,
        "MAA",
        [0],
        [""],
        ["MA="],
        ["A" * 10924],
        ["MAA", "MAA"],
        ["MAA", "MAE", "MAI", "MAM", "MAQ", "MAU"],
    ],
)
def test_malformed_simulated_roots_are_refused(roots: Any) -> None:
    """Roots are at most five distinct certificates, also where the appraisal would accept simulated evidence."""
    payload = a_roster(appraisal={"allowed_roots": ["simulated"]}).payload()
    assert Roster.parse(signed(payload | {"simulated_roots": ["MAA", "MAE", "MAI", "MAM", "MAQ"]}))
    assert refused(signed(payload | {"simulated_roots": roots})) == "roster.malformed"


def test_simulated_roots_keep_their_order() -> None:
    """One root per vendor is read back as it was signed; none at all is fine, too."""
    several = a_roster(simulated_roots=(b"2", b"1"), appraisal={"allowed_roots": ["simulated"]})
    assert Roster.parse(signed(several.payload())).simulated_roots == (b"2", b"1")
    assert Roster.parse(signed(a_roster(appraisal={"allowed_roots": ["simulated"]}).payload())).simulated_roots == ()


def test_a_simulated_root_needs_an_appraisal_that_takes_it() -> None:
    """A roster that names a root its own appraisal refuses is a mistake."""
    roots = (b"0",)
    assert refused(signed(a_roster(simulated_roots=roots).payload())) == "roster.malformed"
    assert Roster.parse(signed(a_roster(simulated_roots=roots, appraisal={"allowed_roots": ["simulated"]}).payload()))


def test_one_machine_in_two_slots_is_refused() -> None:
    """Row 105: the same commitment under two slots, URLs and operators is one machine, and no roster."""
    payload = a_roster().payload()
    payload["slots"][1]["operator"] = ADMIN_2
    assert Roster.parse(signed(payload))
    payload["slots"][1]["platform"] = payload["slots"][0]["platform"]
    assert refused(signed(payload)) == "roster.malformed"


def test_two_operators_cannot_share_one_key() -> None:
    """One person under two ids must not meet a quorum of two."""
    payload = a_roster().payload()
    payload["operators"][1]["key"] = payload["operators"][0]["key"]
    assert refused(signed(payload)) == "roster.malformed"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.binary(max_size=300))
def test_hostile_bytes_only_raise_our_errors(data: bytes) -> None:
    """Any bytes given as a roster raise one of this project's errors."""
    with pytest.raises(AttestationError):
        Roster.parse(data)


@given(st.sampled_from(sorted(a_roster().payload())), json_values)
def test_hostile_members_only_raise_our_errors(name: str, value: Any) -> None:
    """A signed roster with any JSON value in any place parses or raises one of this project's errors."""
    payload = a_roster().payload() | {name: value}
    with contextlib.suppress(AttestationError):
        Roster.parse(signed(payload))
