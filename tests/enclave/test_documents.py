"""Control documents: who may sign what, and how documents of one subject follow each other."""

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
from attestation.errors import CodedError, DocumentError, PolicyError
from enclave.documents import (
    Agent,
    Document,
    KeyState,
    PolicyDocument,
    parse_document,
    payload_type,
    sign_document,
    supersedes,
)
from enclave.errors import RefusedError
from enclave.signing_key import SigningKey
from tests.enclave.samples import (
    ADMIN,
    ADMIN_2,
    AGENT,
    AUDITOR,
    KEY,
    KEYS,
    NOW,
    POLICY,
    REGISTRAR,
    a_production_roster,
    a_roster,
    seeded_key,
)

ROSTER = a_roster()
RULE = {"name": "small", "effect": "allow", "kinds": ["message"]}


def an_agent(**changes: Any) -> Agent:
    """An active agent with one key."""
    values: dict[str, Any] = {
        "cluster": ROSTER.cluster_id,
        "agent": AGENT,
        "name": "trader",
        "keys": (seeded_key("agent").public,),
        "state": "active",
        "sequence": 1,
        "issued_at": NOW,
    }
    return Agent(**values | changes)


def a_policy(**changes: Any) -> PolicyDocument:
    """A policy of one rule."""
    values: dict[str, Any] = {
        "cluster": ROSTER.cluster_id,
        "policy": POLICY,
        "name": "daily",
        "version": 1,
        "rules": [RULE],
        "issued_at": NOW,
    }
    return PolicyDocument(**values | changes)


def a_state(**changes: Any) -> KeyState:
    """A key being disabled."""
    values: dict[str, Any] = {
        "cluster": ROSTER.cluster_id,
        "key": KEY,
        "state": "disabled",
        "sequence": 1,
        "issued_at": NOW,
    }
    return KeyState(**values | changes)


def read(document: Document, *operators: str) -> Document:
    """Sign and parse."""
    return parse_document(sign_document(document, *(KEYS[name] for name in operators or (ADMIN,))), ROSTER)


def code_of(document: Document, *operators: str, roster: Any = ROSTER) -> str:
    """The code with which a signed document is refused."""
    with pytest.raises((DocumentError, RefusedError)) as caught:
        parse_document(sign_document(document, *(KEYS[name] for name in operators)), roster)
    return caught.value.code


@pytest.mark.parametrize("document", [an_agent(), a_policy(), a_state()])
def test_a_document_reads_back_equal(document: Document) -> None:
    """Every kind survives signing and parsing; its digest identifies it whoever signed."""
    found = read(document)
    assert replace(found, digest=b"") == document
    assert found.digest == read(document, ADMIN, ADMIN_2).digest != b""


def test_roles_decide_who_may_sign() -> None:
    """Registrars sign agents only, auditors nothing, strangers nothing."""
    assert read(an_agent(), REGISTRAR).subject == AGENT
    for document in (a_policy(), a_state()):
        assert code_of(document, REGISTRAR) == "document.role"
    assert code_of(an_agent(), AUDITOR) == "document.role"
    assert code_of(an_agent()) == "envelope.signatures"
    stranger = sign_document(an_agent(), seeded_key("stranger"))
    with pytest.raises(DocumentError) as caught:
        parse_document(stranger, ROSTER)
    assert caught.value.code == "envelope.signatures"


def test_power_needs_the_quorum_and_restriction_one_signature() -> None:
    """In production one administrator disables and revokes; enabling and new policies take two."""
    roster = a_production_roster()
    cluster = roster.cluster_id

    def accepted(document: Document, *operators: str) -> Document:
        return parse_document(sign_document(document, *(KEYS[name] for name in operators)), roster)

    assert accepted(a_state(cluster=cluster), ADMIN)
    assert accepted(an_agent(cluster=cluster, state="revoked"), ADMIN)
    assert code_of(a_state(cluster=cluster, state="enabled"), ADMIN, roster=roster) == "document.quorum"
    assert code_of(a_policy(cluster=cluster), ADMIN, roster=roster) == "document.quorum"
    assert accepted(a_state(cluster=cluster, state="enabled"), ADMIN, ADMIN_2)
    assert accepted(a_policy(cluster=cluster), ADMIN, ADMIN_2)


def test_a_document_of_another_cluster_is_refused() -> None:
    """The cluster id inside the document has to be this one."""
    assert code_of(an_agent(cluster=bytes(32)), ADMIN) == "document.cluster"


def test_the_payload_type_is_part_of_the_signature() -> None:
    """Relabelling an agent document as a key state invalidates it."""
    envelope = json.loads(sign_document(an_agent(), KEYS[ADMIN]))
    envelope["payloadType"] = payload_type("key-state")
    with pytest.raises(DocumentError):
        parse_document(canonical_json(envelope), ROSTER)
    envelope["payloadType"] = "text/plain"
    with pytest.raises(DocumentError) as caught:
        parse_document(canonical_json(envelope), ROSTER)
    assert caught.value.code == "document.type"


def test_sequences_only_rise() -> None:
    """The same document again changes nothing; older, equal-numbered and foreign documents are refused."""
    first, second = read(a_state()), read(a_state(sequence=2, state="enabled"))
    assert supersedes(first, None)
    assert supersedes(second, first)
    assert not supersedes(first, read(a_state(), ADMIN_2))
    for new, held, code in (
        (first, second, "document.sequence"),
        (read(a_state(state="enabled")), first, "document.conflict"),
        (read(a_policy(version=2)), first, "document.conflict"),
    ):
        with pytest.raises(RefusedError) as caught:
            supersedes(new, held)
        assert caught.value.code == code


def test_revocation_is_for_good() -> None:
    """No later document, whoever signs it, makes a revoked agent active again."""
    revoked = read(an_agent(sequence=2, state="revoked"))
    assert supersedes(revoked, read(an_agent()))
    with pytest.raises(RefusedError) as caught:
        supersedes(read(an_agent(sequence=3)), revoked)
    assert caught.value.code == "document.revoked"


def test_a_revocation_counts_whatever_its_number() -> None:
    """It is final, so arriving late, or behind a higher number, must not void it."""
    held = read(an_agent(sequence=9))
    for sequence in (1, 9, 10):
        assert supersedes(read(an_agent(sequence=sequence, state="revoked")), held)
    other = read(a_state(state="disabled"))
    with pytest.raises(RefusedError) as caught:
        supersedes(read(an_agent(sequence=9, state="revoked")), other)
    assert caught.value.code == "document.conflict"


def test_a_revoked_agent_has_no_keys() -> None:
    """Key lookups answer only for active agents and exact key ids."""
    agent = an_agent()
    kid = agent.keys[0].kid
    assert agent.key(kid) == agent.keys[0]
    assert agent.key("other") is None
    assert replace(agent, state="revoked").key(kid) is None


def test_a_policy_with_an_unknown_condition_cannot_be_made_or_read() -> None:
    """A misspelt member is an error when a policy is written and when it arrives."""
    bad = RULE | {"evm_value_max": "1"}
    with pytest.raises(PolicyError):
        a_policy(rules=[bad])
    envelope = Envelope.of(payload_type("policy"), a_policy().payload() | {"rules": [bad]}).signed(KEYS[ADMIN].ed25519)
    with pytest.raises(PolicyError) as caught:
        parse_document(canonical_json(envelope.to_json()), ROSTER)
    assert caught.value.code == "policy.malformed"


def signed(kind: str, payload: dict[str, Any]) -> bytes:
    """Any payload under a real signature."""
    return canonical_json(Envelope.of(payload_type(kind), payload).signed(KEYS[ADMIN].ed25519).to_json())


AGENT_KEY = an_agent().payload()["keys"][0]


@pytest.mark.parametrize(
    ("document", "changes"),
    [
        (an_agent(), {"type": "holdfast/agent/v2"}),
        (an_agent(), {"agent": KEY}),
        (an_agent(), {"agent": "agt_1"}),
        (an_agent(), {"name": "null"}),
        (an_agent(), {"name": 5}),
        (an_agent(), {"keys": []}),
        (an_agent(), {"keys": [AGENT_KEY, AGENT_KEY]}),
        (an_agent(), {"keys": [AGENT_KEY | {"alg": "HS256"}]}),
        (an_agent(), {"keys": [AGENT_KEY | {"alg": "ES256"}]}),
        (an_agent(), {"keys": [AGENT_KEY | {"use": "sig"}]}),
        (an_agent(), {"state": "paused"}),
        (an_agent(), {"sequence": 0}),
        (an_agent(), {"sequence": True}),
        (an_agent(), {"roles": ["admin"]}),
        (a_policy(), {"policy": AGENT}),
        (a_policy(), {"rules": {}}),
        (a_policy(), {"rules": [RULE] * 257}),
        (a_policy(), {"version": 1.0}),
        (a_state(), {"state": "deleted"}),
        (a_state(), {"key": "*"}),
    ],
)
def test_one_wrong_member_makes_a_document_malformed(document: Document, changes: dict[str, Any]) -> None:
    """Unknown, mistyped and out-of-range members are refused although the signature is right."""
    try:
        envelope = signed(document.kind, document.payload() | changes)
    except DocumentError:
        # A fraction cannot even be written canonically.
        envelope = b"{}"
    with pytest.raises(CodedError) as caught:
        parse_document(envelope, ROSTER)
    assert caught.value.code in {"document.malformed", "envelope.malformed"}


@given(st.binary(max_size=200))
def test_hostile_bytes_only_raise_our_errors(data: bytes) -> None:
    """Any bytes given as a document raise one of this project's errors."""
    with pytest.raises(CodedError):
        parse_document(data, ROSTER)


SIMPLE = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
ANY_VALUE = SIMPLE | st.lists(st.integers() | st.dictionaries(st.text(max_size=3), st.none()))
MEMBERS = st.sampled_from(["agent", "keys", "rules", "state", "sequence", "name", "x"])


@given(st.sampled_from([an_agent(), a_policy(), a_state()]), st.dictionaries(MEMBERS, ANY_VALUE, min_size=1))
def test_hostile_members_only_raise_our_errors(document: Document, changes: dict[str, Any]) -> None:
    """Signed documents with any values parse or raise one of this project's errors."""
    with contextlib.suppress(CodedError):
        parse_document(signed(document.kind, document.payload() | changes), ROSTER)


def test_an_agent_may_have_keys_of_every_algorithm() -> None:
    """One agent's directory entry can mix the three algorithms."""
    keys = tuple(SigningKey.generate(name).public for name in ("EdDSA", "ES256", "ES256K"))
    found = read(an_agent(keys=keys), REGISTRAR)
    assert isinstance(found, Agent)
    assert found.keys == keys
