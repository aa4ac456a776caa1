"""Conventions that all endpoints share: pages of problems, entity tags, limits told ahead, trace context."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from attestation.canonical import canonical_json
from attestation.envelope import Envelope
from enclave.documents import sign_document
from kms.conditions import check_match, etag, is_held
from kms.errors import PreconditionError, RequestError
from kms.problem_catalogue import FAMILIES, family_of
from kms.tracing import continued
from tests.kms.fabric import Fabric

ROOT = Path(__file__).parents[2]
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def codes_in_source() -> set[str]:
    """Every code that an error of nodes or gateway is raised with."""
    found = set()
    for package in ("enclave", "kms"):
        for path in (ROOT / package).rglob("*.py"):
            if "client" in path.parts or "cli" in path.parts or "dev" in path.parts or "policy_templates" in path.parts:
                continue
            found |= set(re.findall(r'code="([a-z][a-z0-9]*(?:[.-][a-z0-9-]+)*)"', path.read_text()))
    return found


def test_every_code_has_a_page() -> None:
    """No code of nodes or gateway is without a family, and no family is twice there."""
    assert [code for code in sorted(codes_in_source()) if family_of(code) is None] == []
    assert len({family.prefix for family in FAMILIES}) == len(FAMILIES)
    assert all(family.meaning and family.remedy for family in FAMILIES)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_problems_type_is_a_page(fabric: Fabric) -> None:
    """Whoever follows `type` reads what the code means and what to do."""
    status, problem = await fabric.ask("GET", "/v1/keys")
    assert status == 401
    async with fabric._session.get(fabric.url + problem["type"]) as answer:
        text = await answer.text()
        assert (answer.status, answer.content_type) == (200, "text/html")
    assert "token.missing" in text
    assert "Sign a fresh token" in text
    async with fabric._session.get(fabric.url + "/problems") as answer:
        assert "policy.*" in await answer.text()


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "path", ["/problems/no-such", "/problems/<script>", "/problems/%3Cb%3E.x", "/problems/" + "a" * 80]
)
async def test_unknown_codes_have_none(fabric: Fabric, path: str) -> None:
    """And nothing that is sent comes back as markup."""
    async with fabric._session.get(fabric.url + path) as answer:
        assert answer.status == 404
        assert "<b>" not in await answer.text()


@pytest.mark.asyncio(loop_scope="module")
async def test_what_is_held_is_not_sent_again(fabric: Fabric) -> None:
    """A GET has an entity tag; with it, the answer is 304 without a body, until the thing changes."""
    path = f"/v1/policies/{fabric.policy_id}"
    token = fabric.token("policies.get", fabric.policy_id, b"")
    headers = {"Authorization": f"Bearer {token}"}
    async with fabric._session.get(fabric.url + path, headers=headers) as answer:
        tag = answer.headers["ETag"]
        assert answer.headers["Cache-Control"] == "no-cache"
    for condition, status in ((tag, 304), (f'W/{tag}, "other"', 304), ("*", 304), ('"other"', 200), ("other", 400)):
        sent = headers | {"If-None-Match": condition}
        async with fabric._session.get(fabric.url + path, headers=sent) as answer:
            assert answer.status == status, condition
            assert bool(await answer.read()) == (status != 304)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_change_can_be_for_what_was_seen(fabric: Fabric) -> None:
    """If-Match with a stale tag is 412 and changes nothing; with the current one it goes through."""
    path = f"/v1/policies/{fabric.policy_id}"

    async def tag_now() -> str:
        headers = {"Authorization": f"Bearer {fabric.token('policies.get', fabric.policy_id, b'')}"}
        async with fabric._session.get(fabric.url + path, headers=headers) as answer:
            return str(answer.headers["ETag"])

    first = await tag_now()
    version = fabric.gateway.directory.policy(fabric.policy_id)[0].version  # type: ignore[index]
    document = fabric.policy_document(version=version + 1)
    for condition, expected in (('"stale"', 412), (first, 200)):
        body = canonical_json({"document": Envelope.parse(sign_document(document, fabric.operator)).to_json()})
        headers = {
            "Authorization": f"Bearer {fabric.operator_token('documents.put', document.subject, body)}",
            "If-Match": condition,
            "Content-Type": "application/json",
        }
        async with fabric._session.put(fabric.url + path, data=body, headers=headers) as answer:
            assert answer.status == expected, await answer.text()
        assert (await tag_now() == first) == (expected == 412)


@pytest.mark.asyncio(loop_scope="module")
async def test_limits_are_told_ahead(fabric: Fabric) -> None:
    """Every authorised answer says how much is left, refusals too."""
    for act in ("keys.list", "sign"):
        headers = {"Authorization": f"Bearer {fabric.token(act, '*', b'')}"}
        async with fabric._session.get(fabric.url + "/v1/keys", headers=headers) as answer:
            if act == "keys.list":
                assert re.fullmatch(r'"requests";q=\d+;w=\d+', answer.headers["RateLimit-Policy"])
                assert re.fullmatch(r'"requests";r=\d+;t=\d+', answer.headers["RateLimit"])
            else:
                assert "RateLimit" not in answer.headers  # nobody's: the token is not for this


@pytest.mark.asyncio(loop_scope="module")
async def test_a_trace_goes_on(fabric: Fabric) -> None:
    """The answer names the caller's trace and a span of its own."""
    async with fabric._session.get(fabric.url + "/livez", headers={"traceparent": TRACE}) as answer:
        told = answer.headers["traceresponse"]
    assert told[:36] == TRACE[:36]
    assert told[36:52] != TRACE[36:52]
    async with fabric._session.get(fabric.url + "/livez", headers={"traceparent": "00-xyz"}) as answer:
        assert "traceresponse" not in answer.headers


@pytest.mark.parametrize(
    ("header", "valid"),
    [
        (TRACE, True),
        ("cc" + TRACE[2:] + "-future", True),
        (TRACE + "-more", False),
        ("ff" + TRACE[2:], False),
        (TRACE.upper(), False),
        ("00-" + "0" * 32 + TRACE[35:], False),
        (TRACE[:36] + "0" * 16 + TRACE[52:], False),
        (TRACE[:-1], False),
        ("", False),
        ("x" * 200, False),
        (None, False),
    ],
)
def test_trace_headers_are_read_as_the_standard_says(header: str | None, valid: bool) -> None:
    """Version ff, zero ids, capitals and other lengths are none."""
    assert (continued(header) is not None) is valid


def test_conditions_compare_tags() -> None:
    """Strong for changes, weak for what is held; what is no list of tags is an error."""
    tag = etag(b"body")
    assert is_held(tag, f'"a", W/{tag}')
    assert not is_held(tag, None)
    check_match(tag, None)
    check_match(tag, f'"a", {tag}')
    check_match(tag, "*")
    for held, condition in ((tag, f"W/{tag}"), (None, "*"), (None, tag), (tag, '"a"')):
        with pytest.raises(PreconditionError):
            check_match(held, condition)
    for wrong in ("a", '"a" "b"', '"a",', "", '"' + "a" * 2000 + '"'):
        with pytest.raises(RequestError):
            check_match(tag, wrong)
