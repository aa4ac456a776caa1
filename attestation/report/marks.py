"""The words and shapes of results: never told by colour alone."""

from __future__ import annotations

from attestation.report.markup import Markup, element
from attestation.verdict import Outcome, Result

WORDS = {Result.TRUSTED: "TRUSTED", Result.UNTRUSTED: "NOT TRUSTED", Result.INDETERMINATE: "CANNOT TELL"}
_KINDS = {Result.TRUSTED: "pass", Result.UNTRUSTED: "fail", Result.INDETERMINATE: "unclear"}
_SIGNS = {"pass": "✓", "fail": "✕", "unclear": "?", "skipped": "·"}


def kind_of(result: Result) -> str:
    """The style class of a result."""
    return _KINDS[result]


def result_badge(result: Result) -> Markup:
    """Sign and word of a verdict."""
    return _badge(_KINDS[result], WORDS[result].capitalize())


def outcome_badge(outcome: Outcome) -> Markup:
    """Sign and word of a step."""
    return _badge(outcome.value, outcome.value)


def sign_of(result: Result) -> str:
    """The sign alone."""
    return _SIGNS[_KINDS[result]]


def _badge(kind: str, word: str) -> Markup:
    return element("span", element("span", _SIGNS[kind] + " ", aria_hidden="true"), word, class_=f"badge {kind}")
