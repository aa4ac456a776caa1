"""Rounds that a relay asks for twice: a node says one thing per round, or it would look like an equivocator."""

from __future__ import annotations

import pytest

from enclave.errors import RefusedError
from enclave.wire.ceremonies import CeremonyRound
from tests.enclave.ceremonies.driver import CeremonyWorld


@pytest.mark.parametrize("kind", ["refresh", "reshare"])
def test_a_round_asked_for_twice_has_one_answer(ready: CeremonyWorld, kind: str) -> None:
    """The second answer is the first, byte for byte, and the ceremony goes on."""
    key = ready.create_key()
    terms = {"nodes": tuple(ready.slots), "shares_needed": 3} if kind == "reshare" else {}
    start = ready.beginning(kind, key, **terms)
    messages = ready.begin(start)
    request = CeremonyRound(session=start.session, round=2, messages=messages)
    said = [ready.call(slot, "ceremony-round", request) for slot in start.participants]
    assert [ready.call(slot, "ceremony-round", request) for slot in start.participants] == said
    prepared = ready.round(start, 3, said)
    commit = CeremonyRound(session=start.session, round=4, messages=prepared)
    assert all(ready.call(slot, "ceremony-commit", commit).certificates for slot in start.participants)


def test_a_round_is_not_answered_for_other_messages(ready: CeremonyWorld) -> None:
    """Once a round is said, no other messages make a node say it differently."""
    key = ready.create_key()
    start = ready.beginning("refresh", key)
    messages = ready.begin(start)
    slot = start.participants[0]
    ready.call(slot, "ceremony-round", CeremonyRound(session=start.session, round=2, messages=messages))
    others = [*messages[:-1], messages[0]]
    with pytest.raises(RefusedError) as refused:
        ready.call(slot, "ceremony-round", CeremonyRound(session=start.session, round=2, messages=others))
    assert refused.value.code == "ceremony.session"
