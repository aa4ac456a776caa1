"""Identifiers and names: ids are random with a prefix that tells their kind, names are only labels."""

from __future__ import annotations

import base64
import os
import re
from typing import Any, NewType

from enclave.errors import CallerError

KeyId = NewType("KeyId", str)
AgentId = NewType("AgentId", str)
OperatorId = NewType("OperatorId", str)
PolicyId = NewType("PolicyId", str)
OperationId = NewType("OperationId", str)
Slot = NewType("Slot", str)
"""A place in the roster, such as `node-1`; a node runs in it."""

_ID = re.compile(r"(key|agt|opr|pol|op|sec|apr)_[a-z2-7]{26}")
_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
_MISTAKES = frozenset({"null", "undefined", "true", "false", "none", "nan"})


def new_id(prefix: str) -> str:
    """A fresh random id such as `key_` + 26 characters of base32 (128 bits)."""
    return prefix + "_" + base64.b32encode(os.urandom(16)).decode("ascii").rstrip("=").lower()


def check_id(value: Any, prefix: str) -> str:
    """`value` if it is an id with that prefix, else raises CallerError (`id.malformed`)."""
    if not isinstance(value, str) or not value.startswith(prefix + "_") or not _ID.fullmatch(value):
        raise CallerError(
            f"expected an id of the form {prefix}_ and 26 characters of base32",
            code="id.malformed",
            hint="ids are not names: list the resources to find the id",
        )
    return value


def check_name(value: Any) -> str:
    """`value` if it is a valid label, else raises CallerError (`name.malformed`).

    Numbers, booleans, null and the words programs print for a missing value are refused: frameworks
    that let them through gave all unnamed agents one identity.
    """
    if not isinstance(value, str) or not _NAME.fullmatch(value) or value in _MISTAKES:
        raise CallerError(
            "expected a name: a lower-case letter, then up to 62 letters, digits or hyphens",
            code="name.malformed",
            hint="names such as null, undefined, true or 123 usually mean an unset variable",
        )
    return value
