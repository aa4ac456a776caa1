"""Random and malformed requests at every endpoint get a problem document, never a server error."""

from __future__ import annotations

import json
import random
import string
from typing import Any

import pytest

from kms.openapi import describe
from kms.routes import ENDPOINTS
from tests.kms.fabric import Fabric

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROUNDS = 12
"""Bodies per endpoint: the whole test stays below a few seconds; a longer campaign raises it."""

WORDS: list[Any] = [
    None,
    True,
    0,
    -1,
    2**53 - 1,
    2**63,
    1.5,
    "",
    "null",
    "\x00",
    "é",
    "\ud7ff",
    "A" * 300,
    [],
    {},
    [[]],
]
NAMES = ["x", "key_" + "b" * 26, "%00", "node-1", "é"]
VALUES = ["", "1", "-1", "x", "A" * 43, "%ff", "raw", "bitcoin"]


def value_for(schema: dict[str, Any], document: dict[str, Any], chance: random.Random, depth: int = 0) -> Any:
    """Something that mostly fits a schema: hostile enough to go deep."""
    if chance.random() < 0.15 or depth > 5:
        return chance.choice(WORDS)
    if "$ref" in schema:
        return value_for(document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document, chance, depth)
    for alternatives in ("anyOf", "oneOf"):
        if alternatives in schema:
            return value_for(chance.choice(schema[alternatives]), document, chance, depth + 1)
    if "enum" in schema:
        return chance.choice(schema["enum"])
    if "const" in schema:
        return schema["const"]
    kind = schema.get("type")
    if kind == "object":
        members = schema.get("properties", {})
        found = {
            name: value_for(inner, document, chance, depth + 1)
            for name, inner in members.items()
            if name in schema.get("required", ()) or chance.random() < 0.5
        }
        if chance.random() < 0.1:
            found[chance.choice(["extra", "__proto__", ""])] = 1
        return found
    if kind == "array":
        return [value_for(schema.get("items", {}), document, chance, depth + 1) for _ in range(chance.randrange(3))]
    if kind == "integer":
        return chance.choice([0, 1, 3, -5, 21000, 2**53])
    return "".join(chance.choices(string.ascii_letters + string.digits + "-_", k=chance.choice([0, 4, 43, 64])))


ENDING = [endpoint for endpoint in ENDPOINTS if endpoint.media != "text/event-stream"]
"""Endpoints whose answers end (test_events.py has the other one)."""


@pytest.mark.parametrize("endpoint", ENDING, ids=lambda item: item.operation)
async def test_hostile_requests_never_break_the_server(fabric: Fabric, endpoint: Any) -> None:
    """Whatever comes with a valid token, the answer is a success or a typed refusal below 500."""
    chance = random.Random(endpoint.operation)
    document = describe(ENDPOINTS)
    described = document["paths"][endpoint.path][endpoint.method.lower()]
    signing = await fabric.create_key(name="target") if "{key}" in endpoint.path else None
    for number in range(ROUNDS):
        body = b""
        if "requestBody" in described:
            schema = described["requestBody"]["content"]["application/json"]["schema"]
            body = json.dumps(value_for(schema, document, chance)).encode()
            if chance.random() < 0.1:
                body = bytes(chance.randrange(256) for _ in range(40))
        path = endpoint.path
        for name in ("key", "agent", "policy", "slot"):
            known = signing["key"] if name == "key" and signing and number % 2 else None
            path = path.replace(
                "{" + name + "}", known or chance.choice(["x", "key_" + "b" * 26, "%00", "node-1", "é"])
            )
        query = "".join(
            f"&{item['name']}={chance.choice(VALUES)}" for item in described["parameters"] if item["in"] == "query"
        )
        token = None
        if endpoint.act is not None:
            resource = chance.choice(
                ["*", f"{signing['key']}/1", signing["key"]] if signing else ["*", fabric.policy_id]
            )
            maker = fabric.operator_token if number % 3 == 0 else fabric.token
            token = maker(str(endpoint.act), resource, body)
        status, content, headers = await fabric.send(
            endpoint.method, path + ("?" + query[1:] if query else ""), token=token, body=body
        )
        assert status < 500, (path, body, content)
        if status >= 400:
            assert headers["Content-Type"].startswith("application/problem+json")
            assert json.loads(content)["code"]
