"""Freeze and credential documents: form, signers, succession."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from attestation.errors import DocumentError
from enclave.documents import Document, check_not_ahead, parse_document, reread_document, sign_document, supersedes
from enclave.errors import RefusedError
from enclave.restrictions import CredentialRevocation, Freeze, Scope, is_target
from enclave.signing_key import SigningKey
from tests.enclave.samples import (
    ADMIN,
    ADMIN_2,
    AGENT,
    AUDITOR,
    KEY,
    KEYS,
    NOW,
    REGISTRAR,
    a_production_roster,
    a_roster,
    seeded_key,
)

ROSTER = a_roster()
OWN = seeded_key("agent's own")


def a_freeze(scope: Scope = Scope.CLUSTER, target: str | None = None, **changes: Any) -> Freeze:
    """A freeze of the whole cluster unless told otherwise."""
    freeze = Freeze(cluster=ROSTER.cluster_id, scope=scope, target=target, state="frozen", sequence=1, issued_at=NOW)
    return replace(freeze, **changes)


def a_revocation(**changes: Any) -> CredentialRevocation:
    """The agent's own key taken back."""
    values: dict[str, Any] = {"agent": AGENT, "credential": OWN.kid, "sequence": 1, "issued_at": NOW}
    return CredentialRevocation(**{"cluster": ROSTER.cluster_id} | values | changes)


def code_of(document: Document, *signers: SigningKey, roster: Any = ROSTER, **options: Any) -> str:
    """The code with which a signed document is refused."""
    with pytest.raises((DocumentError, RefusedError)) as caught:
        parse_document(sign_document(document, *signers), roster, **options)
    return caught.value.code


@pytest.mark.parametrize(
    "document",
    [
        a_freeze(),
        a_freeze(Scope.AGENT, AGENT),
        a_freeze(Scope.KEY, KEY, state="thawed"),
        a_freeze(Scope.CHAIN, "evm:1"),
        a_freeze(Scope.CHAIN, "solana"),
        a_revocation(),
    ],
)
def test_a_document_reads_back_equal(document: Document) -> None:
    """Every scope survives signing and parsing."""
    assert replace(parse_document(sign_document(document, KEYS[ADMIN]), ROSTER), digest=b"") == document


@pytest.mark.parametrize(
    ("scope", "target"),
    [
        (Scope.CLUSTER, KEY),
        (Scope.AGENT, None),
        (Scope.AGENT, KEY),
        (Scope.KEY, AGENT),
        (Scope.KEY, "key_x"),
        (Scope.CHAIN, None),
        (Scope.CHAIN, "evm"),
        (Scope.CHAIN, "evm:0"),
        (Scope.CHAIN, "evm:01"),
        (Scope.CHAIN, "1"),
        (Scope.CHAIN, "solana:1"),
    ],
)
def test_a_scope_names_its_own_kind_of_thing(scope: Scope, target: str | None) -> None:
    """A freeze that would stop nothing is refused instead of taken."""
    assert not is_target(scope, target)
    assert code_of(a_freeze(scope, target), KEYS[ADMIN]) == "document.malformed"


def test_one_administrator_freezes_and_the_quorum_thaws() -> None:
    """In production one signature stops, and one signature alone lets nothing go."""
    roster = a_production_roster()
    for scope, target in ((Scope.CLUSTER, None), (Scope.AGENT, AGENT), (Scope.KEY, KEY), (Scope.CHAIN, "evm:1")):
        frozen = a_freeze(scope, target, cluster=roster.cluster_id)
        thawed = replace(frozen, state="thawed", sequence=2)
        assert parse_document(sign_document(frozen, KEYS[ADMIN]), roster)
        assert code_of(thawed, KEYS[ADMIN], roster=roster) == "document.quorum"
        assert parse_document(sign_document(thawed, KEYS[ADMIN], KEYS[ADMIN_2]), roster)


def test_only_administrators_freeze() -> None:
    """Registrars and auditors cannot stop the cluster."""
    assert code_of(a_freeze(), KEYS[REGISTRAR]) == "document.role"
    assert code_of(a_freeze(), KEYS[AUDITOR]) == "document.role"
    assert code_of(a_freeze(), OWN) == "envelope.signatures"


def test_a_freeze_leaves_room_for_the_thaw() -> None:
    """Who may freeze alone cannot number so high that nothing follows."""
    with pytest.raises(RefusedError) as caught:
        check_not_ahead(a_freeze(sequence=2**53 - 1), NOW)
    assert caught.value.code == "document.from-future"
    check_not_ahead(a_freeze(sequence=NOW * 1000), NOW)


def test_an_old_thaw_does_not_undo_a_later_freeze() -> None:
    """Sequences rise per scope: a thaw kept by a relay is worthless."""
    frozen = parse_document(sign_document(a_freeze(sequence=3), KEYS[ADMIN]), ROSTER)
    thawed = parse_document(sign_document(a_freeze(sequence=2, state="thawed"), KEYS[ADMIN]), ROSTER)
    with pytest.raises(RefusedError) as caught:
        supersedes(thawed, frozen)
    assert caught.value.code == "document.sequence"


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "ES256K"])
def test_an_agent_takes_its_own_credential_back(algorithm: str) -> None:
    """Any key of the agent that counts signs it, with its own algorithm."""
    own, other = SigningKey.generate(algorithm), SigningKey.generate(algorithm)
    document = a_revocation(credential=other.kid)
    registered = {AGENT: [own.public, other.public]}
    envelope = sign_document(document, own)
    assert parse_document(envelope, ROSTER, agents=lambda agent: registered.get(agent, []))
    assert code_of(document, own) == "envelope.signatures"  # nobody's key but an operator's counts without a directory
    assert code_of(document, own, agents=lambda _: [other.public]) == "envelope.signatures"
    assert code_of(document, own, agents=lambda _: [own.public]) == "envelope.signatures"  # no key of this agent
    assert reread_document(envelope, ROSTER)  # taken once, it stays whatever becomes of the agent's keys


def test_agents_sign_nothing_else() -> None:
    """An agent's signature freezes nothing, however its keys are registered."""
    for document in (a_freeze(), a_freeze(Scope.AGENT, AGENT)):
        assert code_of(document, OWN, agents=lambda _: [OWN.public]) == "envelope.signatures"


def test_registrars_take_credentials_back() -> None:
    """One registrar or administrator is enough; auditors are not."""
    for operator in (REGISTRAR, ADMIN):
        assert parse_document(sign_document(a_revocation(), KEYS[operator]), ROSTER)
    assert code_of(a_revocation(), KEYS[AUDITOR]) == "document.role"


def test_a_credential_stays_revoked() -> None:
    """No later document about it replaces the first: there is no word that gives it back."""
    first, later = (
        parse_document(sign_document(a_revocation(sequence=number), KEYS[ADMIN]), ROSTER) for number in (1, 2)
    )
    for new, held in itertools.permutations((first, later), 2):
        assert not supersedes(new, held)
    malformed = sign_document(a_revocation(credential="short"), KEYS[ADMIN])
    with pytest.raises(DocumentError) as caught:
        parse_document(malformed, ROSTER)
    assert caught.value.code == "document.malformed"
