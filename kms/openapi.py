"""GET /openapi.json: the API described from the very types that read requests and write answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from attestation import __version__
from kms.endpoint import Answer, Context, Endpoint
from kms.problems import CONTENT_TYPE, Problem, encode

_PARAMETER = re.compile(r"\{([a-z_]+)\}")

TAGS = {
    "cluster": "The cluster and its nodes.",
    "documents": "Signed agents and policies.",
    "keys": "Keys and their certificates.",
    "use": "Use of keys.",
    "operations": "What is still to come of requests answered 202.",
    "audit": "The audit chain.",
    "health": "For supervisors and load balancers.",
}

INFORMATIVE = "This answer is the gateway's word only; nothing in it is proven by node signatures."


def describe(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """The OpenAPI 3.1 document of `endpoints`."""
    types = [kind for endpoint in endpoints for kind in (endpoint.request, endpoint.reply) if kind is not None]
    schemas, components = msgspec.json.schema_components([*types, Problem], ref_template="#/components/schemas/{name}")
    known = iter(schemas)
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        request = next(known) if endpoint.request is not None else None
        reply = next(known) if endpoint.reply is not None else None
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, request, reply)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Holdfast",
            "version": __version__,
            "description": "Keys held as shares by attested enclave nodes; used under the agent's own signed request.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "requestToken": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "holdfast-request+jwt",
                    "description": "A token signed by the agent or operator over exactly this request.",
                }
            },
            "responses": {
                "Problem": {
                    "description": "A refusal or failure (RFC 9457).",
                    "content": {CONTENT_TYPE: {"schema": next(known)}},
                }
            },
        },
    }


def endpoint_for(endpoints: Sequence[Endpoint]) -> Endpoint:
    """The endpoint that serves the description."""
    document = encode(describe(endpoints))

    async def show(context: Context) -> Answer:
        assert context.method == "GET"
        return Answer(body=document)

    return Endpoint(
        method="GET", path="/openapi.json", summary="This description", handler=show, act=None, tag="health"
    )


def _operation(endpoint: Endpoint, request: Any, reply: Any) -> dict[str, Any]:
    description = f"Token act: `{endpoint.act}`." if endpoint.act is not None else "No token needed."
    if endpoint.informative:
        description += " " + INFORMATIVE
    operation: dict[str, Any] = {
        "operationId": endpoint.operation,
        "summary": endpoint.summary,
        "description": description,
        "tags": [endpoint.tag],
        "security": [] if endpoint.act is None else [{"requestToken": []}],
        "parameters": [*_path_parameters(endpoint), *_query_parameters(endpoint)],
        "responses": {
            str(endpoint.status): {
                "description": "Done.",
                "content": {endpoint.media: {"schema": reply if reply is not None else _untyped(endpoint)}},
            },
            "default": {"$ref": "#/components/responses/Problem"},
        },
    }
    if endpoint.may_wait:
        operation["responses"]["202"] = {
            "description": "People have to approve it first.",
            "headers": {"Location": {"schema": {"type": "string"}, "description": "Where the operation is."}},
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/OperationJson"}}},
        }
        operation["parameters"].append(
            {
                "name": "Prefer",
                "in": "header",
                "required": False,
                "schema": {"type": "string"},
                "description": "wait=N: wait up to N seconds, at most 20, for the operation to end.",
            }
        )
    if request is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": request}}}
        operation["parameters"].append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "schema": {"type": "string", "minLength": 1, "maxLength": 128},
                "description": "The same key and body get the identical response; without it the token is the key.",
            }
        )
    return operation


def _untyped(endpoint: Endpoint) -> dict[str, Any]:
    return {"type": "object"} if endpoint.media == "application/json" else {"type": "string"}


def _path_parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1, "maxLength": 64}}
        for name in _PARAMETER.findall(endpoint.path)
    ]


def _query_parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    return [
        {
            "name": item.name,
            "in": "query",
            "required": item.required,
            "schema": dict(item.schema),
            "description": item.description,
        }
        for item in endpoint.parameters
    ]
