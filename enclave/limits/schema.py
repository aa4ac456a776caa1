"""The JSON Schema of a policy's limits, for editors and other languages (specs/schemas/policy-limits.json)."""

from __future__ import annotations

from typing import Any

from enclave.key_specs import NODES_MAX
from enclave.limits.terms import BUDGETS_MAX, GUARDS, PER, RATE_MAX, RATE_WINDOW_S_MAX
from enclave.limits.windows import WINDOWS
from enclave.policy.assets import amount_assets
from enclave.policy.kinds import KINDS


def limits_schema() -> dict[str, Any]:
    """The schema of the members `budgets`, `rate` and `nonce_guard` (JSON Schema 2020-12)."""
    budget = _object(
        required=("name", "asset", "window", "cap", "per"),
        name={"type": "string", "pattern": "^[a-z][a-z0-9-]{0,62}$"},
        asset={"oneOf": _assets()},
        window={"enum": list(WINDOWS)},
        cap={"type": "string", "pattern": "^[1-9][0-9]{0,77}$"},
        per={"enum": list(PER)},
        strict_against={"type": "integer", "minimum": 0, "maximum": NODES_MAX - 1},
    )
    rate = _object(
        required=("max", "window_s"),
        max={"type": "integer", "minimum": 1, "maximum": RATE_MAX},
        window_s={"type": "integer", "minimum": 1, "maximum": RATE_WINDOW_S_MAX},
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Holdfast policy limits",
        **_object(
            required=(),
            budgets={"type": "array", "items": budget, "minItems": 1, "maxItems": BUDGETS_MAX},
            rate=rate,
            nonce_guard={"enum": list(GUARDS)},
        ),
    }


def _assets() -> list[dict[str, Any]]:
    kinds = {"type": "array", "items": {"enum": sorted(KINDS)}, "minItems": 1, "maxItems": len(KINDS)}
    return [*amount_assets(), _object(required=("kind",), kind={"const": "requests"}, kinds=kinds)]


def _object(*, required: tuple[str, ...], **members: Any) -> dict[str, Any]:
    value = {"type": "object", "properties": members, "additionalProperties": False}
    return value | {"required": list(required)} if required else value
