"""Every operation of the OpenAPI document with requests made from it: no defects, and only answers it describes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from kms.endpoint import Endpoint
from kms.openapi import describe
from kms.routes import ENDPOINTS
from tests.kms.openapi_world import OpenApiWorld, endpoint_of

SCHEMA: Any = schemathesis.openapi.from_dict(describe(ENDPOINTS))
OPERATIONS = {f"{one.ok().method.upper()} {one.ok().path}": one.ok() for one in SCHEMA.get_all_operations()}

STREAMS = frozenset({"GET /v1/events"})
"""Operations whose answer does not end."""

UNAVAILABLE = frozenset({"receipt.pending", "attestation-unavailable", "evidence.rate"})
"""Codes of answers 503 that a healthy cluster gives, too."""

EXAMPLES = 12
"""Requests per operation and pass: sixty operations in three passes within a minute."""

CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

BOUNDED = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenApiWorld]:
    """Five nodes and a gateway, with keys."""
    made = OpenApiWorld(tmp_path_factory.mktemp("openapi"))
    yield made
    made.close()


def test_every_endpoint_is_in_the_document() -> None:
    """Routing and document come from the same list, so nothing is served that is not described."""
    assert set(OPERATIONS) == {f"{endpoint.method} {endpoint.path}" for endpoint in ENDPOINTS}


@pytest.mark.parametrize("name", sorted(set(OPERATIONS) - STREAMS))
@pytest.mark.parametrize("signed", [True, False], ids=["signed", "anonymous"])
@pytest.mark.filterwarnings("ignore:Do not use the `random` module")
def test_answers_are_as_described(world: OpenApiWorld, name: str, signed: bool) -> None:
    """With a token over exactly the request, so that handlers are reached, and without one."""
    operation = OPERATIONS[name]
    endpoint = endpoint_of(operation.method, operation.path)
    seen: set[int] = set()

    @BOUNDED
    @given(case=operation.as_strategy(), data=st.data())
    def fuzz(case: Any, data: st.DataObject) -> None:
        params = _params(world, case, data)
        good = world.good(endpoint, params)
        if good is not None and data.draw(st.booleans()):
            case.body = good
        response = world.send(case.as_transport_kwargs(base_url=world.url), endpoint, params, signed=signed)
        seen.add(response.status_code)
        if response.status_code != 503 or response.json().get("code") not in UNAVAILABLE:
            case.validate_response(response, checks=[not_a_server_error])
        case.validate_response(response, checks=CHECKS)
        if not signed and endpoint.act is not None:
            assert 400 <= response.status_code < 500

    fuzz()
    if signed and _is_served(world, endpoint):
        assert endpoint.status in seen, seen


@pytest.mark.parametrize("name", sorted(name for name, one in OPERATIONS.items() if one.body and name not in STREAMS))
@pytest.mark.filterwarnings("ignore:Do not use the `random` module")
def test_bodies_that_are_not_as_described_are_refused(world: OpenApiWorld, name: str) -> None:
    """Whatever a body has too much, too little or of another type: a problem with a status below 500, signed or not."""
    operation = OPERATIONS[name]
    endpoint = endpoint_of(operation.method, operation.path)

    @BOUNDED
    @given(case=operation.as_strategy(GenerationMode.NEGATIVE), data=st.data())
    def fuzz(case: Any, data: st.DataObject) -> None:
        params = _params(world, case, data)
        response = world.send(case.as_transport_kwargs(base_url=world.url), endpoint, params, signed=True)
        assert response.status_code < 500, response.text
        case.validate_response(response, checks=CHECKS)

    fuzz()


def _params(world: OpenApiWorld, case: Any, data: st.DataObject) -> dict[str, str]:
    """Half of the path parameters name something that exists."""
    params = dict(case.path_parameters or {})
    for name in params:
        existing = world.existing(name)
        if existing and data.draw(st.booleans()):
            params[name] = data.draw(st.sampled_from(existing))
    case.path_parameters = params
    return params


def _is_served(world: OpenApiWorld, endpoint: Endpoint) -> bool:
    """Whether some of the requests must have succeeded: those with a good body do."""
    first = {name: world.existing(name)[0] for name in ("key", "policy") if f"{{{name}}}" in endpoint.path}
    return world.good(endpoint, first) is not None
