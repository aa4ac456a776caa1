"""Approver documents: read strictly, let in by the policy's quorum, revoked by one, from the roster as well."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from attestation.canonical import canonical_json
from attestation.envelope import Envelope
from enclave.approvals.approver import Approver, roster_approver, roster_approver_id
from enclave.documents import check_not_ahead, parse_document, payload_type, sign_document, supersedes
from enclave.roster import Roster
from enclave.roster_principals import Approver as RosterApprover
from enclave.roster_principals import ApproverGroup
from enclave.signing_key import SigningKey
from tests.enclave.node.codes import code_of
from tests.enclave.samples import ADMIN, ADMIN_2, AUDITOR, KEYS, NOW, REGISTRAR, a_roster, an_id

ROSTER = a_roster()
KEY = SigningKey.generate()


def approver(**changes: Any) -> Approver:
    """A good document."""
    document = Approver(
        cluster=ROSTER.cluster_id,
        approver=an_id("apr"),
        name="ada",
        groups=("treasury", "operations"),
        keys=(KEY.public,),
        state="active",
        sequence=1,
        issued_at=NOW,
    )
    return replace(document, **changes)


def signed(value: dict[str, Any], *signers: SigningKey) -> bytes:
    """Any payload as an approver document."""
    envelope = Envelope.of(payload_type("approver"), value)
    for signer in signers:
        envelope = envelope.signed(signer.ed25519)
    return canonical_json(envelope.to_json())


def test_reads_what_was_signed() -> None:
    """Document and signed form are inverse."""
    envelope = sign_document(approver(), KEYS[ADMIN], KEYS[ADMIN_2])
    found = parse_document(envelope, ROSTER)
    assert found == approver(digest=found.digest)
    assert (found.kind, found.subject, found.restricts) == ("approver", an_id("apr"), False)


@pytest.mark.parametrize(
    "change",
    [
        {"approver": an_id("agt")},
        {"name": "null"},
        {"name": 5},
        {"groups": []},
        {"groups": ["Treasury"]},
        {"groups": ["true"]},
        {"groups": ["a", "a"]},
        {"groups": "treasury"},
        {"keys": []},
        {"keys": [{"alg": "EdDSA", "key": "AA"}]},
        {"keys": [{"alg": "HS256", "key": "A" * 43}]},
        {"keys": approver().payload()["keys"] * 2},
        {"state": "asleep"},
        {"sequence": 0},
        {"more": 1},
        {"type": "holdfast/agent/v1"},
    ],
    ids=repr,
)
def test_wrong_documents(change: dict[str, Any]) -> None:
    """Every member is checked."""
    envelope = signed(approver().payload() | change, KEYS[ADMIN], KEYS[ADMIN_2])
    assert code_of(parse_document, envelope, ROSTER) == "document.malformed"


def test_of_another_cluster() -> None:
    """A document is for one cluster."""
    envelope = sign_document(approver(cluster=bytes(32)), KEYS[ADMIN], KEYS[ADMIN_2])
    assert code_of(parse_document, envelope, ROSTER) == "document.cluster"


def test_letting_one_in_takes_the_policys_quorum() -> None:
    """Who lets approvers in could change the policy as well; revoking takes one administrator."""
    strict = a_roster(quorum={"roster": 2, "policy": 2})
    one = approver(cluster=strict.cluster_id)
    assert code_of(parse_document, sign_document(one, KEYS[ADMIN]), strict) == "document.quorum"
    assert code_of(parse_document, sign_document(one, KEYS[REGISTRAR]), strict) == "document.role"
    assert code_of(parse_document, sign_document(one, KEYS[AUDITOR]), strict) == "document.role"
    assert code_of(parse_document, sign_document(one, KEY), strict) == "envelope.signatures"
    assert parse_document(sign_document(one, KEYS[ADMIN], KEYS[ADMIN_2]), strict)
    assert parse_document(sign_document(replace(one, state="revoked"), KEYS[ADMIN]), strict).restricts


def test_a_revoked_approver_stays_revoked() -> None:
    """Revocation is final whatever the sequences are."""
    revoked = approver(state="revoked", sequence=1, digest=b"r")
    assert supersedes(revoked, approver(sequence=9, digest=b"a"))
    assert code_of(supersedes, approver(sequence=10, digest=b"a"), revoked) == "document.revoked"
    assert revoked.key(KEY.public.kid) is None
    check_not_ahead(approver(state="revoked", sequence=2**52), NOW)
    assert code_of(check_not_ahead, approver(sequence=2**52), NOW) == "document.from-future"


def _with_groups(*groups: ApproverGroup) -> Roster:
    return replace(ROSTER, approvers=groups)


def test_the_rosters_approvers_have_ids_made_of_their_keys() -> None:
    """One key in two groups is one person; another key is somebody else."""
    other = SigningKey.generate()
    member, stranger = RosterApprover(approver="ada", key=KEY.public), RosterApprover(approver="bob", key=other.public)
    groups = (
        ApproverGroup(group="treasury", members=(member, stranger)),
        ApproverGroup(group="operations", members=(member,)),
    )
    found = roster_approver(_with_groups(*groups), roster_approver_id(KEY.public))
    assert found is not None
    assert (found.name, found.groups, found.keys) == ("ada", ("treasury", "operations"), (KEY.public,))
    second = roster_approver(_with_groups(*groups), roster_approver_id(other.public))
    assert second is not None
    assert second.groups == ("treasury",)
    assert roster_approver(_with_groups(*groups), an_id("apr")) is None
