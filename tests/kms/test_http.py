"""The HTTP surface: who may ask, how bodies are read, how refusals look, what is hidden, and what repeats."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any

import pytest
import pytest_asyncio
from openapi_spec_validator import validate

from attestation.canonical import canonical_json
from attestation.envelope import Envelope, b64url, b64url_decode
from enclave.documents import sign_document
from enclave.ids import new_id
from enclave.roster import Roster
from enclave.signing_key import SigningKey
from enclave.wire.attestation import Presentation
from enclave.wire.message import decode_as
from kms.audit import Entry, verify_chain
from kms.openapi import describe
from kms.problems import Problem
from kms.ratelimit import RateLimiter
from kms.routes import ENDPOINTS
from tests.kms.fabric import Fabric

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def key(fabric: Fabric) -> dict[str, Any]:
    """A 3-of-5 Ed25519 key."""
    return await fabric.create_key()


async def refusal(
    fabric: Fabric, method: str, path: str, **options: Any
) -> tuple[int, dict[str, Any], Mapping[str, str]]:
    """A refused exchange, once it has the shape every refusal has."""
    status, content, headers = await fabric.send(method, path, **options)
    problem = json.loads(content)
    assert headers["Content-Type"].startswith("application/problem+json")
    assert set(problem) <= set(Problem.__struct_fields__)
    assert problem["status"] == status
    assert problem["type"] == f"/problems/{problem['code']}"
    assert problem["request_id"] == headers["X-Request-Id"]
    assert problem["title"]
    assert problem["detail"]
    return status, problem, headers


# --- public ------------------------------------------------------------------------------------------


async def test_root_names_the_cluster(fabric: Fabric) -> None:
    """Anyone can see which cluster this is, and fetch the roster its id comes from."""
    status, answer = await fabric.ask("GET", "/v1")
    assert (status, answer["cluster_id"]) == (200, fabric.roster.cluster_id.hex())
    _, envelope, _ = await fabric.send("GET", "/v1/roster")
    assert Roster.parse(envelope).cluster_id.hex() == answer["cluster_id"]


async def test_collateral_and_registry_are_passed_on(fabric: Fabric) -> None:
    """Clients get the very bytes the operator keeps beside the gateway."""
    _, answer = await fabric.ask("GET", "/v1/collateral")
    assert answer["blobs"] == [b64url(path.read_bytes()) for path in sorted(fabric.layout.collateral.iterdir())]
    _, snapshot, _ = await fabric.send("GET", "/v1/registry")
    assert snapshot == fabric.layout.snapshot.read_bytes()


async def test_evidence_answers_the_clients_nonce(fabric: Fabric) -> None:
    """Each client finds its own nonce in the evidence, and clients at the same time share one quote."""
    nonces = [bytes([number]) * 32 for number in range(8)]
    answers = await asyncio.gather(
        *(fabric.ask("GET", f"/v1/nodes/node-1/evidence?nonce={b64url(nonce)}") for nonce in nonces)
    )
    presentations = [decode_as(Presentation, b64url_decode(answer["presentation"])) for _, answer in answers]
    assert all(nonce in found.nonces for nonce, found in zip(nonces, presentations, strict=True))
    assert len({found.evidence for found in presentations}) < len(nonces)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/nodes/node-1/evidence", 400, "request.nonce"),
        ("/v1/nodes/node-1/evidence?nonce=AAAA", 400, "request.nonce"),
        ("/v1/nodes/node-9/evidence?nonce=" + "A" * 43, 404, "not-found"),
        ("/v1/nodes?verbose=1", 400, "request.query"),
        ("/v2", 404, "not-found"),
        ("/", 404, "not-found"),
    ],
)
async def test_wrong_public_requests_are_refused(fabric: Fabric, path: str, status: int, code: str) -> None:
    """Unknown paths, slots, parameters and malformed nonces have their codes."""
    found, problem, _ = await refusal(fabric, "GET", path)
    assert (found, problem["code"]) == (status, code)


async def test_evidence_is_rate_limited(fabric: Fabric) -> None:
    """A quote is work: a flood of requests for them is told to wait."""
    path = f"/v1/nodes/node-2/evidence?nonce={'A' * 43}"
    answers = await asyncio.gather(*(fabric.send("GET", path) for _ in range(40)))
    limited = [headers for status, _, headers in answers if status == 429]
    assert limited
    assert all("Retry-After" in headers for headers in limited)


async def test_wrong_method_names_the_right_one(fabric: Fabric) -> None:
    """405 says what is allowed."""
    status, problem, _ = await refusal(fabric, "DELETE", "/v1/keys")
    assert (status, problem["code"]) == (405, "method.not-allowed")
    assert "GET" in problem["detail"]


async def test_health_and_readiness(fabric: Fabric) -> None:
    """A process that answers is alive, one whose nodes trust each other is ready."""
    assert (await fabric.ask("GET", "/livez")) == (200, {"alive": True})
    status, answer = await fabric.ask("GET", "/readyz")
    assert (status, answer["ready"], answer["trusting"]) == (200, True, 5)


async def test_request_id_is_kept_or_made(fabric: Fabric) -> None:
    """A client's request id comes back; a malformed one is replaced."""
    _, _, headers = await fabric.send("GET", "/livez", headers={"X-Request-Id": "trace-0001"})
    assert headers["X-Request-Id"] == "trace-0001"
    _, _, headers = await fabric.send("GET", "/livez", headers={"X-Request-Id": "a b"})
    assert headers["X-Request-Id"].startswith("req-")


# --- the description -----------------------------------------------------------------------------------


async def test_openapi_document_is_valid_and_complete(fabric: Fabric) -> None:
    """The served description is OpenAPI 3.1, names every endpoint, and says which answers prove nothing."""
    status, document = await fabric.ask("GET", "/openapi.json")
    assert status == 200
    validate(document)
    assert document == json.loads(json.dumps(describe(ENDPOINTS)))
    described = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert described == {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS}
    assert "gateway's word only" in document["paths"]["/v1/nodes"]["get"]["description"]


async def test_answers_have_the_described_members(fabric: Fabric, key: dict[str, Any]) -> None:
    """What the server sends has exactly the members the description requires or allows."""
    document = describe(ENDPOINTS)
    schema = document["components"]["schemas"]["KeyRecordJson"]
    assert set(key) == set(schema["properties"])
    _, signed = await fabric.sign(key, b"x")
    schema = document["components"]["schemas"]["Signed"]
    assert set(signed) == set(schema["properties"])


# --- tokens ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "code", "word"),
    [
        (None, "token.missing", "Authorization"),
        ("Basic YWxpY2U6c2VjcmV0", "token.missing", "Authorization"),
        ("Bearer null", "token.missing", "not set"),
        ("Bearer undefined", "token.missing", "not set"),
        ("Bearer", "token.missing", "not set"),
        ("Bearer abc", "token.malformed", ""),
        ("Bearer a.b.c", "token.malformed", ""),
    ],
)
async def test_missing_and_malformed_tokens(
    fabric: Fabric, key: dict[str, Any], header: str | None, code: str, word: str
) -> None:
    """401 with WWW-Authenticate; a variable that was never set gets a hint of its own."""
    headers = {"Authorization": header} if header else {}
    status, problem, sent = await refusal(fabric, "POST", f"/v1/keys/{key['key']}/sign", body=b"{}", headers=headers)
    assert (status, problem["code"]) == (401, code)
    assert sent["WWW-Authenticate"].startswith("Bearer")
    assert word in problem.get("hint", "")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"signer": SigningKey.generate()}, "token.unknown-key"),
        ({"issuer": "agt_" + "a" * 26}, "token.unknown-key"),
        ({"now": int(time.time()) - 120}, "token.expired"),
        ({"now": int(time.time()) + 3600}, "token.from-future"),
        ({"act": "decrypt"}, "token.act"),
        ({"resource": "key_" + "a" * 26 + "/1"}, "token.resource"),
        ({"method": "GET"}, "token.request"),
        ({"url": "/v1/keys/other/sign"}, "token.request"),
    ],
)
async def test_tokens_for_something_else(
    fabric: Fabric, key: dict[str, Any], changes: dict[str, Any], code: str
) -> None:
    """A token of another signer, time, act, resource or path does not serve here."""
    body = b'{"kind":"message","message":"AAAA"}'
    claims = {"act": "sign", "resource": f"{key['key']}/1"} | changes
    token = fabric.token(claims.pop("act"), claims.pop("resource"), body, **claims)
    status, problem, _ = await refusal(fabric, "POST", f"/v1/keys/{key['key']}/sign", token=token, body=body)
    assert (status, problem["code"]) == (401, code)


async def test_token_covers_the_exact_body(fabric: Fabric, key: dict[str, Any]) -> None:
    """One changed byte of the body and the token does not fit."""
    body = b'{"kind":"message","message":"AAAA"}'
    token = fabric.token("sign", f"{key['key']}/1", body)
    path = f"/v1/keys/{key['key']}/sign"
    status, problem, _ = await refusal(fabric, "POST", path, token=token, body=body + b" ")
    assert (status, problem["code"]) == (401, "token.body")


async def test_agents_do_not_make_keys_and_operators_do_not_use_them(fabric: Fabric, key: dict[str, Any]) -> None:
    """Roles are apart: 403 either way."""
    body = fabric.order()
    status, problem, _ = await refusal(
        fabric, "POST", "/v1/keys", token=fabric.token("keys.create", "*", body), body=body
    )
    assert (status, problem["code"]) == (403, "role.missing")
    body = b'{"kind":"message","message":"AAAA"}'
    token = fabric.operator_token("sign", f"{key['key']}/1", body)
    status, problem, _ = await refusal(fabric, "POST", f"/v1/keys/{key['key']}/sign", token=token, body=body)
    assert (status, problem["code"]) == (403, "role.missing")


async def test_revoked_agent_is_locked_out(fabric: Fabric) -> None:
    """After its revocation an agent's token is of an unknown key, and no later document brings it back."""
    signer, agent = SigningKey.generate(), new_id("agt")
    document = fabric.agent_document(agent=agent, keys=(signer.public,))
    assert (await fabric.put("POST", "/v1/agents", document))[0] == 200
    listing = fabric.token("keys.list", "*", b"", issuer=agent, signer=signer)
    assert (await fabric.ask("GET", "/v1/keys", token=listing))[0] == 200
    revoked = fabric.agent_document(agent=agent, keys=(signer.public,), state="revoked", sequence=2)
    assert (await fabric.put("POST", f"/v1/agents/{agent}/revoke", revoked))[0] == 200
    listing = fabric.token("keys.list", "*", b"", issuer=agent, signer=signer)
    status, problem, _ = await refusal(fabric, "GET", "/v1/keys", token=listing)
    assert (status, problem["code"]) == (401, "token.unknown-key")
    again = fabric.agent_document(agent=agent, keys=(signer.public,), sequence=3)
    status, answer = await fabric.put("POST", "/v1/agents", again)
    assert (status, answer["code"]) == (409, "document.revoked")


async def test_a_runaway_principal_is_slowed_down_alone(fabric: Fabric, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond its rate a principal gets 429 and when to come back; others are served."""
    monkeypatch.setattr(fabric.gateway.admissions, "limiter", RateLimiter(per_second=0.01, burst=2))
    for expected in (200, 200, 429):
        status, _, headers = await fabric.send("GET", "/v1/keys", token=fabric.token("keys.list", "*", b""))
        assert status == expected
    assert int(headers["Retry-After"]) >= 1
    assert (await fabric.ask("GET", "/v1/keys", token=fabric.operator_token("keys.list", "*", b"")))[0] == 200


async def test_an_agent_numbered_beyond_the_clock_is_not_kept(fabric: Fabric) -> None:
    """The gateway refuses, before storing it, what no later document could replace."""
    signer, agent = SigningKey.generate(), new_id("agt")
    document = fabric.agent_document(agent=agent, keys=(signer.public,), sequence=2**53 - 1)
    status, answer = await fabric.put("POST", "/v1/agents", document)
    assert (status, answer["code"]) == (400, "document.from-future")
    document = fabric.agent_document(agent=agent, keys=(signer.public,))
    assert (await fabric.put("POST", "/v1/agents", document))[0] == 200


# --- bodies -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "request.malformed"),
        (b"{", 400, "json.malformed"),
        (b"\xff\xfe", 400, "json.malformed"),
        (b'{"name":"a","name":"b"}', 400, "json.duplicate-key"),
        (b'{"shares_needed":1.5}', 400, "json.number"),
        (b'{"shares_needed":9007199254740992}', 400, "json.number"),
        (b'{"shares_needed":NaN}', 400, "json.number"),
        (b"[" * 100 + b"]" * 100, 400, "json.too-deep"),
        (b'{"name":"a"}', 400, "request.malformed"),
        (b"[]", 400, "request.malformed"),
        (b'{"labels":"' + b"x" * (1 << 20) + b'"}', 413, "request.too-large"),
    ],
)
async def test_strict_json(fabric: Fabric, body: bytes, status: int, code: str) -> None:
    """Every ambiguity in a body is refused with its code before anything is done."""
    token = fabric.operator_token("keys.create", "*", body)
    found, problem, _ = await refusal(fabric, "POST", "/v1/keys", token=token, body=body)
    assert (found, problem["code"]) == (status, code)


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"colour": "red"}, 400, "request.malformed"),
        ({"name": 7}, 400, "request.malformed"),
        ({"name": "undefined"}, 400, "name.malformed"),
        ({"spec": "rsa"}, 422, "order.spec"),
        ({"shares_needed": 1}, 422, "order.shares-needed"),
        ({"shares_needed": 6}, 422, "order.shares-needed"),
        ({"nodes": ["node-1", "node-9"]}, 422, "order.nodes"),
        ({"policy": "pol_" + "a" * 26}, 422, "order.policy"),
        ({"assemblers": ["node-1"]}, 422, "order.assemblers"),
    ],
)
async def test_impossible_orders(fabric: Fabric, changes: dict[str, Any], status: int, code: str) -> None:
    """An order that cannot be carried out names what is wrong with it."""
    body = fabric.order(**changes)
    token = fabric.operator_token("keys.create", "*", body)
    found, problem, _ = await refusal(fabric, "POST", "/v1/keys", token=token, body=body)
    assert (found, problem["code"]) == (status, code)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ({"kind": "message"}, "payload.malformed"),
        ({"kind": "message", "message": "AAAA", "hint": 1}, "payload.malformed"),
        ({"kind": "telegram", "message": "AAAA"}, "payload.kind"),
        ({"kind": "eip191", "message": "AAAA"}, "payload.usage"),
        ({"kind": "message", "message": "AAAA", "not_after": 1}, "request.not-after"),
    ],
)
async def test_impossible_payloads(fabric: Fabric, key: dict[str, Any], value: dict[str, Any], code: str) -> None:
    """A payload this key cannot sign is refused without asking a node."""
    status, answer = await fabric.use(key, "sign", value)
    assert status in (400, 422)
    assert answer["code"] == code


async def test_encoded_and_superfluous_bodies(fabric: Fabric, key: dict[str, Any]) -> None:
    """A compressed body, and a body where none belongs, are refused."""
    path = f"/v1/keys/{key['key']}"
    status, problem, _ = await refusal(fabric, "GET", path, token=fabric.token("keys.get", key["key"], b"x"), body=b"x")
    assert (status, problem["code"]) == (400, "request.body")
    status, problem, _ = await refusal(
        fabric, "POST", path + "/sign", body=b"x", headers={"Content-Encoding": "compress"}
    )
    assert (status, problem["code"]) == (400, "request.encoding")


# --- what is hidden -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["", "/sign", "/decrypt", "/encrypt", "/verify", "/public-key"])
async def test_hidden_and_missing_keys_answer_alike(fabric: Fabric, verb: str) -> None:
    """An agent cannot tell another's key from one that does not exist."""
    policy = new_id("pol")
    rules = [{"name": "others", "effect": "allow", "agents": [new_id("agt")], "kinds": ["message"]}]
    document = fabric.policy_document(policy=policy, rules=rules)
    assert (await fabric.put("PUT", f"/v1/policies/{policy}", document))[0] == 200
    hidden = await fabric.create_key(name="hidden", policy=policy)
    answers = []
    for name in (hidden["key"], "key_" + "a" * 26, "nonsense"):
        method = "POST" if verb in ("/sign", "/decrypt", "/encrypt", "/verify") else "GET"
        body = b'{"kind":"message","message":"AAAA"}' if method == "POST" else b""
        act = verb.strip("/") if method == "POST" else "keys.get"
        resource = f"{name}/1" if act in ("sign", "decrypt") else name
        token = fabric.token(act, resource, body)
        status, problem, _ = await refusal(fabric, method, f"/v1/keys/{name}{verb}", token=token, body=body)
        answers.append((status, problem["code"], problem["detail"]))
    assert set(answers) == {(404, "not-found", answers[0][2])}
    _, page = await fabric.ask("GET", "/v1/keys?limit=200", token=fabric.token("keys.list", "*", b""))
    assert hidden["key"] not in [record["key"] for record in page["keys"]]
    _, page = await fabric.ask("GET", "/v1/keys?limit=200", token=fabric.operator_token("keys.list", "*", b""))
    assert hidden["key"] in [record["key"] for record in page["keys"]]
    token = fabric.token("policies.get", policy, b"")
    assert (await fabric.ask("GET", f"/v1/policies/{policy}", token=token))[0] == 404


async def test_agent_sees_itself_only(fabric: Fabric) -> None:
    """The list of agents is whole for operators and a list of one for an agent."""
    assert (await fabric.put("POST", "/v1/agents", fabric.agent_document(agent=new_id("agt"))))[0] == 200
    _, mine = await fabric.ask("GET", "/v1/agents", token=fabric.token("agents.list", "*", b""))
    assert [entry["agent"] for entry in mine["agents"]] == [fabric.agent_id]
    _, everyone = await fabric.ask("GET", "/v1/agents", token=fabric.operator_token("agents.list", "*", b""))
    assert len(everyone["agents"]) >= 2


# --- documents ------------------------------------------------------------------------------------------------


async def test_policy_versions_only_rise(fabric: Fabric) -> None:
    """An older version is stale, another document of the same version a conflict; the same one again is fine."""
    policy = new_id("pol")
    second = fabric.policy_document(policy=policy, version=2)
    path = f"/v1/policies/{policy}"
    assert (await fabric.put("PUT", path, second))[0] == 200
    assert (await fabric.put("PUT", path, second))[0] == 200
    for wrong in (
        fabric.policy_document(policy=policy, version=1),
        fabric.policy_document(policy=policy, version=2, name="other"),
    ):
        status, answer = await fabric.put("PUT", path, wrong)
        assert (status, answer["code"]) == (409, "document.stale")
    status, answer = await fabric.ask("GET", path, token=fabric.operator_token("policies.get", policy, b""))
    assert (status, answer["version"]) == (200, 2)


async def test_unsigned_and_misplaced_documents(fabric: Fabric, key: dict[str, Any]) -> None:
    """A stranger's document, and one at another's address, are refused."""
    document = fabric.agent_document(agent=new_id("agt"))
    body = canonical_json({"document": Envelope.parse(sign_document(document, SigningKey.generate())).to_json()})
    token = fabric.operator_token("documents.put", document.subject, body)
    status, problem, _ = await refusal(fabric, "POST", "/v1/agents", token=token, body=body)
    assert (status, problem["code"]) == (403, "envelope.signatures")
    status, answer = await fabric.put(
        "POST", f"/v1/keys/{'key_' + 'a' * 26}/disable", fabric.key_state(key["key"], "disabled", 9)
    )
    assert (status, answer["code"]) == (400, "document.subject")
    status, answer = await fabric.put(
        "POST", f"/v1/keys/{key['key']}/enable", fabric.key_state(key["key"], "disabled", 9)
    )
    assert (status, answer["code"]) == (400, "document.state")


# --- repeats ----------------------------------------------------------------------------------------------------


async def test_idempotency_key_binds_one_request(fabric: Fabric, key: dict[str, Any]) -> None:
    """Under one key: the same body gets the same bytes with a fresh token, another body 422."""
    path, header = f"/v1/keys/{key['key']}/sign", {"Idempotency-Key": "purchase-1"}
    bodies = [b'{"kind":"message","message":"AAAA"}', b'{"kind":"message","message":"BBBB"}']
    answers = []
    for body in (bodies[0], bodies[0], bodies[1]):
        token = fabric.token("sign", f"{key['key']}/1", body)
        answers.append(await fabric.send("POST", path, token=token, body=body, headers=header))
    assert answers[0][0] == 200
    assert answers[0][1] == answers[1][1]
    assert answers[2][0] == 422
    assert json.loads(answers[2][1])["code"] == "idempotency.other-request"


async def test_request_in_flight_is_told_apart(fabric: Fabric, key: dict[str, Any]) -> None:
    """Of two identical requests at once one is carried out and the other gets 409, then the answer."""
    body = b'{"kind":"message","message":"CCCC"}'
    path, header = f"/v1/keys/{key['key']}/sign", {"Idempotency-Key": "purchase-2"}
    tokens = [fabric.token("sign", f"{key['key']}/1", body) for _ in range(2)]
    answers = await asyncio.gather(
        *(fabric.send("POST", path, token=token, body=body, headers=header) for token in tokens)
    )
    assert sorted(status for status, _, _ in answers) in ([200, 409], [200, 200])
    if 409 in [status for status, _, _ in answers]:
        codes = [json.loads(content).get("code") for status, content, _ in answers if status == 409]
        assert codes == ["idempotency.in-flight"]
    status, content, _ = await fabric.send("POST", path, token=tokens[0], body=body, headers=header)
    done = next(content for status, content, _ in answers if status == 200)
    assert (status, content) == (200, done)


async def test_malformed_idempotency_key(fabric: Fabric, key: dict[str, Any]) -> None:
    """A key of 200 characters is no key."""
    body = b'{"kind":"message","message":"AAAA"}'
    token = fabric.token("sign", f"{key['key']}/1", body)
    status, problem, _ = await refusal(
        fabric, "POST", f"/v1/keys/{key['key']}/sign", token=token, body=body, headers={"Idempotency-Key": "x" * 200}
    )
    assert (status, problem["code"]) == (400, "idempotency.key")


# --- audit ------------------------------------------------------------------------------------------------------


async def test_every_use_has_intent_and_result(fabric: Fabric, key: dict[str, Any]) -> None:
    """The served chain verifies, and holds exactly one intent and one result of a request, refused ones included."""
    _, signed = await fabric.sign(key, b"audited")
    entries: list[Entry] = []
    while True:
        after = entries[-1].sequence if entries else 0
        path = f"/v1/audit?after={after}&limit=1000"
        _, page = await fabric.ask("GET", path, token=fabric.operator_token("audit.read", "*", b""))
        if not page["entries"]:
            break
        entries += [Entry.from_json(item) for item in page["entries"]]
    verify_chain(entries)
    mine = [json.loads(entry.body) for entry in entries if signed["request_id"].encode() in entry.body]
    assert [entry["kind"] for entry in mine] == ["intent", "result"]
    assert (mine[0]["act"], mine[1]["status"], mine[1]["signers"]) == ("sign", 200, signed["signers"])


async def test_audit_is_for_auditors(fabric: Fabric) -> None:
    """An agent does not read it."""
    status, problem, _ = await refusal(fabric, "GET", "/v1/audit", token=fabric.token("audit.read", "*", b""))
    assert (status, problem["code"]) == (403, "role.missing")


@pytest.mark.parametrize("query", ["after=-1", "after=x", "limit=0", "limit=1001", "after=1&after=2"])
async def test_audit_pages_are_bounded(fabric: Fabric, query: str) -> None:
    """Numbers outside their range are refused, not clipped."""
    token = fabric.operator_token("audit.read", "*", b"")
    status, _, _ = await refusal(fabric, "GET", f"/v1/audit?{query}", token=token)
    assert status == 400
