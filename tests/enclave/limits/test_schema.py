"""The published JSON Schema of limits says what their reader says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from attestation.errors import PolicyError
from enclave.limits.schema import limits_schema
from enclave.limits.terms import Limits
from tests.enclave.limits.kit import a_budget
from tests.enclave.limits.test_terms import ASSETS

PUBLISHED = Path(__file__).parents[3] / "specs" / "schemas" / "policy-limits.json"
VALIDATOR = Draft202012Validator(limits_schema())


def test_the_published_schema_is_current() -> None:
    """The file in specs is what the code generates, and it is a valid schema."""
    assert PUBLISHED.read_text() == json.dumps(limits_schema(), indent=1, sort_keys=True) + "\n"
    Draft202012Validator.check_schema(limits_schema())


def test_the_schema_accepts_full_limits() -> None:
    """Every asset, a rate and a guard."""
    budgets = [a_budget(name=f"b{number}", asset=asset, strict_against=1) for number, asset in enumerate(ASSETS)]
    value: dict[str, Any] = {"budgets": budgets, "rate": {"max": 1, "window_s": 1}, "nonce_guard": "off"}
    assert Limits.of(value["budgets"], value["rate"], value["nonce_guard"])
    VALIDATOR.validate(value)
    VALIDATOR.validate({})


@pytest.mark.parametrize(
    "value",
    [
        {"budgets": []},
        {"budgets": [a_budget(cap="0")]},
        {"budgets": [a_budget(cap="01")]},
        {"budgets": [a_budget(window="year")]},
        {"budgets": [a_budget(asset={"kind": "lamports", "chain_id": 1})]},
        {"budgets": [a_budget(strict_against=16)]},
        {"rate": {"max": 1}},
        {"rate": {"max": 0, "window_s": 1}},
        {"nonce_guard": "on "},
        {"budget": []},
    ],
    ids=repr,
)
def test_the_schema_refuses_what_the_reader_refuses(value: dict[str, Any]) -> None:
    """What does not read does not validate either."""
    assert not VALIDATOR.is_valid(value)
    if value.get("budgets"):
        with pytest.raises(PolicyError):
            Limits.of(value["budgets"], None, None)
