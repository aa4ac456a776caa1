"""I7: whoever repeats a request that succeeded gets the identical response."""

from __future__ import annotations

from tests.simulation.facts import Facts


def watch(_facts: Facts) -> None:
    """Answers are kept by the clients' book."""


def finish(facts: Facts) -> None:
    """Compare all successful answers to one request at one gateway."""
    for request in facts.book.requests:
        answers = [answer for _, status, answer in request.answers if status == 200]
        if request.verb == "decrypt":
            # A plaintext is never kept, so the request is executed again: the same comes of it, by others maybe.
            answers = [answer["plaintext"] for answer in answers]
        if len(answers) > 1:
            facts.cluster.counters["identical request repeated"] += 1
        if any(answer != answers[0] for answer in answers):
            facts.violation("I7", f"a repeated request of {request.key} got another answer")
