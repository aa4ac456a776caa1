"""Policy files: {"name"?, "rules": [...], "budgets"?, "rate"?, "nonce_guard"?} or the list of rules alone."""

from __future__ import annotations

from typing import Any, BinaryIO

from kms.cli.failure import UsageError

LIMITS = ("budgets", "rate", "nonce_guard")
"""Members of a policy beside its rules."""


def read_policy(file: BinaryIO) -> dict[str, Any]:
    """The members of a policy file; raises UsageError."""
    value = read_object(file)
    if isinstance(value, list):
        value = {"rules": value}
    if (
        not isinstance(value, dict)
        or not isinstance(value.get("rules"), list)
        or set(value) - {"name", "rules", *LIMITS}
    ):
        raise UsageError(f'{file.name}: expected {{"name", "rules": [...], {", ".join(LIMITS)}}} or a list of rules')
    return value


def read_object(file: BinaryIO) -> Any:
    """Strict JSON of a file; raises UsageError."""
    from attestation.canonical import JSON_BYTES_MAX, parse_json
    from attestation.errors import DocumentError

    try:
        return parse_json(file.read(JSON_BYTES_MAX + 1))
    except DocumentError as error:
        raise UsageError(f"{file.name}: {error.detail}", hint=error.hint) from None
