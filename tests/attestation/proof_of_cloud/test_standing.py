"""Standing: sticky revocation, exact reinstatement, endorsement by a second party, expiry."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attestation.proof_of_cloud.entries import Entry
from attestation.proof_of_cloud.standing import Standing, standing

from .conftest import NOW
from .test_entries import ENDORSEMENT, FREEZE, REINSTATEMENT, REVOCATION, STATEMENT


def _standing(*values: dict[str, Any], now: int = NOW + 5) -> Standing:
    return standing(enumerate(Entry.of(value) for value in values), now)


def test_nothing_said_is_not_listed() -> None:
    """An unknown platform is neither listed nor restricted."""
    found = _standing()
    assert (found.listed, found.revoked, found.frozen, found.level) == (False, False, False, 0)


def test_a_statement_lists() -> None:
    """Provider, region and level come from the statement."""
    found = _standing(STATEMENT)
    assert (found.listed, found.level, found.provider, found.region) == (True, 1, "acme", "eu")


@pytest.mark.parametrize("now", [NOW - 1, NOW + 9])
def test_outside_its_interval_a_statement_counts_for_nothing(now: int) -> None:
    """Before it is issued and from its expiry on, the platform is not listed."""
    assert not _standing(STATEMENT, now=now).listed


def test_a_later_statement_replaces_an_earlier() -> None:
    """The newest statement decides provider and region."""
    assert _standing(STATEMENT, STATEMENT | {"provider": "other"}).provider == "other"


def test_a_later_statement_never_clears_a_revocation() -> None:
    """Revocation is sticky: listing the machine again changes nothing about it."""
    found = _standing(STATEMENT, REVOCATION, STATEMENT, STATEMENT)
    assert found.revoked
    assert found.listed
    assert found.restrictions[0].sequence == 1
    assert (found.reason, found.restrictions[0].issued_at) == ("stolen", NOW)


def test_a_reinstatement_clears_what_it_numbers() -> None:
    """Only an explicit reinstatement lifts a revocation."""
    found = _standing(STATEMENT, REVOCATION, REINSTATEMENT | {"lifts": [1]})
    assert not found.revoked
    assert found.reinstated
    assert found.reason is None


def test_a_reinstatement_clears_nothing_else() -> None:
    """A revocation it does not number stays: two revocations need both numbers."""
    assert _standing(STATEMENT, REVOCATION, REVOCATION, REINSTATEMENT | {"lifts": [1]}).revoked


def test_a_reinstatement_clears_nothing_later() -> None:
    """Numbering a line that comes after it has no effect."""
    assert _standing(STATEMENT, REINSTATEMENT | {"lifts": [2]}, REVOCATION).revoked


def test_a_machine_can_be_revoked_again() -> None:
    """A revocation after a reinstatement holds."""
    assert _standing(STATEMENT, REVOCATION, REINSTATEMENT | {"lifts": [1]}, REVOCATION).revoked


def test_a_freeze_is_not_a_revocation() -> None:
    """A frozen platform is listed, frozen, and says why."""
    found = _standing(STATEMENT, FREEZE)
    assert (found.frozen, found.revoked, found.reason) == (True, False, "incident")


def test_an_endorsement_raises_the_level() -> None:
    """A second party's evidence makes level 2; its method and digests are shown."""
    found = _standing(STATEMENT, ENDORSEMENT | {"issuer": "bob"})
    assert found.level == 2
    assert found.statement is not None
    assert found.statement.method == "witness"


def test_an_issuer_cannot_endorse_itself() -> None:
    """The same party twice is one party."""
    assert _standing(STATEMENT, ENDORSEMENT).level == 1


def test_an_expired_endorsement_raises_nothing() -> None:
    """When the endorsement ends, the level falls back to the statement's."""
    short = ENDORSEMENT | {"issuer": "bob", "expires_at": NOW + 3}
    assert _standing(STATEMENT, short, now=NOW + 2).level == 2
    assert _standing(STATEMENT, short, now=NOW + 4).level == 1


def test_an_endorsement_without_a_statement_lists_nothing() -> None:
    """Endorsements support a statement; alone they are nothing."""
    assert not _standing(ENDORSEMENT | {"issuer": "bob"}).listed


def test_a_new_statement_starts_without_endorsements() -> None:
    """An endorsement of the old place does not carry over to the new one."""
    assert _standing(STATEMENT, ENDORSEMENT | {"issuer": "bob"}, STATEMENT | {"region": "us"}).level == 1


@given(st.lists(st.sampled_from(["statement", "revocation", "freeze", "endorsement"]), max_size=12))
def test_without_reinstatement_restrictions_only_accumulate(kinds: list[str]) -> None:
    """Whatever else is written, a revocation or freeze without a reinstatement stays."""
    values = {"statement": STATEMENT, "revocation": REVOCATION, "freeze": FREEZE, "endorsement": ENDORSEMENT}
    found = _standing(*(values[kind] for kind in kinds))
    assert found.revoked == ("revocation" in kinds)
    assert found.frozen == ("freeze" in kinds)
    assert len(found.restrictions) == kinds.count("revocation") + kinds.count("freeze")
