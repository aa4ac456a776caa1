"""The published JSON Schema says what the reader of policies says, as far as a schema can."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from attestation.errors import PolicyError
from enclave.policy import Policy
from enclave.policy.schema import policy_schema
from tests.enclave.make_vectors import SCHEMA, schema_text
from tests.enclave.policy.test_rules import FULL, MEMBERS, WRONG, json_values

VALIDATOR = Draft202012Validator(policy_schema())

BEYOND_A_SCHEMA = (
    "the rule is not about",
    "checksum",
    "base58",
    "two different times",
    "required member is absent",
    "this mint is named twice",
    "cannot look at two chains",
    "keep one",
    "distinct",
    "expected a name",
)
"""Refusals that span members or compute something."""


def test_the_published_schema_is_current() -> None:
    """The file in specs is what the code generates, and it is a valid schema."""
    assert SCHEMA.read_text() == schema_text()
    Draft202012Validator.check_schema(policy_schema())


def test_the_schema_accepts_a_full_policy() -> None:
    """A policy with every member validates."""
    assert Policy.of(FULL)
    VALIDATOR.validate(json.loads(json.dumps(FULL)))


@pytest.mark.parametrize("rule", WRONG, ids=repr)
def test_the_schema_refuses_what_the_reader_refuses(rule: Any) -> None:
    """Every wrong rule fails the schema too, unless only computation can tell."""
    with pytest.raises(PolicyError) as caught:
        Policy.of([rule])
    if not any(words in caught.value.detail for words in BEYOND_A_SCHEMA):
        assert not VALIDATOR.is_valid([rule])


@given(st.dictionaries(MEMBERS, json_values), st.sampled_from(["allow", "deny"]))
def test_what_the_reader_accepts_validates(members: dict[str, Any], effect: str) -> None:
    """No rule is accepted by the reader and refused by the schema."""
    rule = {"name": "a", "effect": effect, "kinds": ["evm_transaction", "solana_message"]} | members
    try:
        Policy.of([rule])
    except PolicyError:
        return
    VALIDATOR.validate([rule])
