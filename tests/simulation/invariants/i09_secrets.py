"""I9: secrets never leave their type: none is in a log line, an error, an answer to a client or the trace."""

from __future__ import annotations

import base64
import json

from tests.simulation.facts import Facts
from tests.simulation.invariants.secrets import sealed_roots, shares


def watch(_facts: Facts) -> None:
    """The observer keeps what nodes say."""


def finish(facts: Facts) -> None:
    """Search everything people can read, in every spelling."""
    observer = facts.cluster.observer
    answers = [json.dumps(answer) for request in facts.book.requests for _, _, answer in request.answers]
    text = "\n".join([*observer.logged, *observer.trace, *answers])
    secrets = [share for group in shares(facts).values() for share in group.values()] + sealed_roots(facts)
    for secret in secrets:
        spellings = (
            secret.hex(),
            secret.hex().upper(),
            base64.urlsafe_b64encode(secret).decode().rstrip("="),
            base64.b64encode(secret).decode().rstrip("="),
            str(int.from_bytes(secret, "big")),
            str(int.from_bytes(secret, "little")),
            repr(secret)[2:-1],
        )
        if any(spelling in text for spelling in spellings):
            facts.violation("I9", "a secret is in a log, an error or an answer")
