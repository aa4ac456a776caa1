"""Drafts of the next roster: edits that name what they change, and refusals of those that change nothing."""

from __future__ import annotations

import pytest

from attestation.errors import CodedError, DocumentError
from enclave.roster import Role, Roster
from enclave.roster_slots import slot_payload
from kms.client import roster_draft as make
from tests.enclave.samples import ADMIN_2, NOW, a_roster, a_slot

OLD = a_roster()
CODE, NEXT = "ab" * 48, "cd" * 48


def drafted(*edits: make.Edit) -> Roster:
    """The roster a draft says."""
    return make.read_draft(make.draft(OLD, list(edits), now=NOW))


def test_a_draft_continues_the_roster_it_edits() -> None:
    """Version, predecessor, cluster and time follow; it carries no signature and does not pass for a signed roster."""
    envelope = make.draft(OLD, [make.quorum("policy", 2)], now=NOW)
    draft = make.read_draft(envelope)
    OLD.require_successor(draft)
    assert (draft.version, draft.created_at, draft.quorum_for("policy")) == (2, NOW, 2)
    with pytest.raises(DocumentError) as caught:
        type(OLD).parse(envelope, previous=OLD)
    assert caught.value.code == "roster.signatures"


def test_each_edit_changes_what_it_names() -> None:
    """Slots, code, operators, common terms, delay and any member by a merge patch."""
    assert len(drafted(make.remove_slot("node-5")).slots) == 4
    assert drafted(make.add_slot(slot_payload(a_slot(6)))).slot("node-6").port == 9006
    assert drafted(make.code("all", "mrtd", NEXT, allow=True)).slot("node-3").measurements["mrtd"] == {CODE, NEXT}
    one = drafted(make.code("node-1", "mrtd", NEXT, allow=True), make.code("node-1", "mrtd", CODE, allow=False))
    assert (one.slot("node-1").measurements["mrtd"], one.slot("node-2").measurements["mrtd"]) == (
        frozenset({NEXT}),
        frozenset({CODE}),
    )
    assert ADMIN_2 not in {entry.operator for entry in drafted(make.remove_operator(ADMIN_2)).operators}
    assert drafted(make.accept_common("operator", accept=True)).diversity.accept_common == {"operator", "provider"}
    assert drafted(make.accept_common("provider", accept=False)).diversity.accept_common == frozenset()
    assert drafted(make.upgrade_delay(60)).upgrade_delay == 60
    patched = drafted(make.merge({"limits": {"keys": 7}, "refresh": {"interval_s": 7200, "spread_s": 60}}))
    assert patched.limits == {"keys": 7}
    assert patched.refresh is not None
    assert Role.ADMIN in patched.operators[0].roles


@pytest.mark.parametrize(
    "edit",
    [
        make.remove_slot("node-9"),
        make.remove_operator("opr_nobody"),
        make.code("all", "mrtd", CODE, allow=True),
        make.code("node-9", "mrtd", NEXT, allow=True),
        make.code("all", "rtmr9", NEXT, allow=True),
        make.quorum("roster", 1),
        make.accept_common("provider", accept=True),
        make.merge({}),
    ],
)
def test_an_edit_that_changes_nothing_is_refused(edit: make.Edit) -> None:
    """A misspelt name must never pass for a change that was made."""
    with pytest.raises(CodedError) as caught:
        drafted(edit)
    assert caught.value.code == "client.roster-edit"


@pytest.mark.parametrize(
    "edit",
    [
        make.code("all", "mrtd", CODE, allow=False),
        make.quorum("roster", 9),
        make.merge({"environment": "production"}),
        make.merge({"unknown": 1}),
        make.merge({"slots": None}),
    ],
)
def test_a_draft_that_breaks_a_rule_is_refused(edit: make.Edit) -> None:
    """Drafts pass every rule of a roster but signatures."""
    with pytest.raises(CodedError) as caught:
        drafted(edit)
    assert caught.value.code.startswith("roster.")
