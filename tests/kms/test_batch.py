"""POST /v1/batch among five honest nodes: each item for itself, checked by other libraries than the product's own."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from eth_account import Account
from eth_account.messages import encode_defunct

from attestation.canonical import canonical_json
from attestation.envelope import b64url, b64url_decode
from attestation.receipts.entry import Decision, parse_entry
from enclave.ids import new_id
from kms.ratelimit import RateLimiter
from tests.kms.fabric import Fabric

pytestmark = pytest.mark.asyncio(loop_scope="module")

SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
Item = dict[str, Any]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ed25519(fabric: Fabric) -> dict[str, Any]:
    """A 3-of-5 Ed25519 key."""
    return await fabric.create_key()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def others(fabric: Fabric) -> dict[str, dict[str, Any]]:
    """A key of every other scheme that signs or decrypts, by name."""
    return {
        "assembled": await fabric.create_key(spec="secp256k1-ecdsa", usage="evm", custody="reconstruct"),
        "threshold": await fabric.create_key(spec="secp256k1-ecdsa", usage="generic", shares_needed=2),
        "bip340": await fabric.create_key(spec="secp256k1-schnorr", usage="generic"),
        "sealing": await fabric.create_key(spec="hpke-x25519", usage="decrypt"),
    }


def signing(record: dict[str, Any], message: bytes, *, ref: str, kind: str = "message") -> Item:
    """An item that signs bytes."""
    body = {"kind": kind, "message": b64url(message)}
    return {"ref": ref, "verb": "sign", "key": f"{record['key']}/1", "body": body}


async def send(fabric: Fabric, items: Sequence[Item], *, token: str | None = None, **options: Any) -> tuple[int, Any]:
    """One batch of the agent."""
    body = canonical_json({"items": list(items)})
    return await fabric.ask("POST", "/v1/batch", token=token or fabric.token("batch", "*", body), body=body, **options)


def check(record: dict[str, Any], result: dict[str, Any], message: bytes) -> None:
    """An Ed25519 result verifies under OpenSSL."""
    public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(record["public_key"]))
    public.verify(b64url_decode(result["result"]["signature"]["ed25519"]), message)


async def test_every_item_is_answered_in_its_place(fabric: Fabric, ed25519: dict[str, Any]) -> None:
    """Sixteen messages under one token: sixteen signatures, in order, each under its own request id."""
    messages = [b"message %d" % number for number in range(16)]
    items = [signing(ed25519, message, ref=f"m{number}") for number, message in enumerate(messages)]
    body = canonical_json({"items": items})
    token = fabric.token("batch", "*", body)
    status, answer = await fabric.ask("POST", "/v1/batch", token=token, body=body)
    assert (status, answer["request_id"]) == (200, hashlib.sha256(token.encode()).hexdigest())
    for number, (message, result) in enumerate(zip(messages, answer["results"], strict=True)):
        assert (result["ref"], result["status"]) == (f"m{number}", 200)
        check(ed25519, result, message)
        expected = hashlib.sha256(token.encode() + number.to_bytes(4, "big")).hexdigest()
        assert result["request_id"] == result["result"]["request_id"] == expected


async def test_all_schemes_in_one_batch(
    fabric: Fabric, ed25519: dict[str, Any], others: dict[str, dict[str, Any]]
) -> None:
    """Every kind of key is used by an item as by a request of its own."""
    public = X25519PublicKey.from_public_bytes(bytes.fromhex(others["sealing"]["public_key"]))
    ciphertext = b64url(SUITE.encrypt(b"sealed", public))
    items = [
        signing(ed25519, b"one", ref="ed25519"),
        signing(others["assembled"], b"gm", ref="assembled", kind="eip191"),
        signing(others["threshold"], b"three", ref="threshold"),
        signing(others["bip340"], b"four", ref="bip340"),
        {"ref": "open", "verb": "decrypt", "key": f"{others['sealing']['key']}/1", "body": {"ciphertext": ciphertext}},
    ]
    status, answer = await send(fabric, items)
    assert status == 200, answer
    results = {result["ref"]: result for result in answer["results"]}
    assert {result["status"] for result in results.values()} == {200}, answer
    check(ed25519, results["ed25519"], b"one")
    made = results["assembled"]["result"]["signature"]
    vrs = (27 + made["y_parity"], int(made["r"], 16), int(made["s"], 16))
    assert Account.recover_message(encode_defunct(b"gm"), vrs=vrs) == others["assembled"]["addresses"]["evm"]
    assert b64url_decode(results["open"]["result"]["plaintext"]) == b"sealed"
    assert len(b64url_decode(results["bip340"]["result"]["signature"]["bip340"])) == 64
    assert set(results["threshold"]["result"]["signature"]) >= {"r", "s", "der"}


async def test_failed_items_stop_no_others(
    fabric: Fabric, ed25519: dict[str, Any], others: dict[str, dict[str, Any]]
) -> None:
    """What policy denies, what does not exist and what does not open is a problem in its place; the rest is done."""
    missing = {"key": new_id("key")}
    items = [
        signing(ed25519, b"good", ref="a"),
        {"ref": "b", "verb": "sign", "key": f"{ed25519['key']}/1", "body": {"kind": "jws", "claims": "e30"}},
        signing(missing, b"x", ref="c"),
        {"ref": "d", "verb": "decrypt", "key": f"{others['sealing']['key']}/1", "body": {"ciphertext": "AAAA"}},
        {"ref": "e", "verb": "sign", "key": f"{others['sealing']['key']}/1", "body": {"kind": "message"}},
        signing({"key": ed25519["key"]}, b"also good", ref="f"),
        {**signing(ed25519, b"x", ref="g"), "key": f"{ed25519['key']}/2"},
    ]
    status, answer = await send(fabric, items)
    assert status == 200, answer
    told = [(item["ref"], item["status"], item.get("problem", {}).get("code")) for item in answer["results"]]
    assert [entry[:2] for entry in told] == [
        ("a", 200), ("b", 403), ("c", 404), ("d", 422), ("e", 422), ("f", 200), ("g", 401),
    ]  # fmt: skip
    assert [entry[2] for entry in told[1:4]] == ["policy.denied", "not-found", "decrypt.failed"]
    assert told[6][2] == "token.resource"
    assert all(("result" in item) != ("problem" in item) for item in answer["results"])
    check(ed25519, answer["results"][5], b"also good")


async def test_one_item_of_another_agents_key_is_hidden(fabric: Fabric, ed25519: dict[str, Any]) -> None:
    """An agent that no rule speaks of gets the same for that item as for a key that is not there."""
    policy = new_id("pol")
    rules = [{"name": "other", "effect": "allow", "agents": [new_id("agt")], "kinds": ["message"]}]
    status, answer = await fabric.put(
        "PUT", f"/v1/policies/{policy}", fabric.policy_document(policy=policy, rules=rules)
    )
    assert status == 200, answer
    hidden = await fabric.create_key(policy=policy)
    items = [signing(ed25519, b"mine", ref="mine"), signing(hidden, b"theirs", ref="theirs")]
    _, answer = await send(fabric, items)
    assert [item["status"] for item in answer["results"]] == [200, 404]
    assert answer["results"][1]["problem"]["detail"] == "no such key, or none of yours"


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"items": []}, 422, "batch.count"),
        ({"items": [{"ref": "a"}] * 65}, 422, "batch.count"),
        ({"items": {}}, 400, "batch.malformed"),
        ({"items": [{}]}, 400, "batch.malformed"),
        ({"items": [], "more": 1}, 400, "batch.malformed"),
        ([], 400, "batch.malformed"),
    ],
)
async def test_malformed_batches_are_refused_whole(fabric: Fabric, change: Any, status: int, code: str) -> None:
    """A batch that is none is answered before any item is touched."""
    body = canonical_json(change)
    found, problem = await fabric.ask("POST", "/v1/batch", token=fabric.token("batch", "*", body), body=body)
    assert (found, problem["code"]) == (status, code)


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"verb": "export"}, 422, "batch.verb"),
        ({"verb": 1}, 422, "batch.verb"),
        ({"ref": ""}, 422, "batch.ref"),
        ({"ref": "x" * 65}, 422, "batch.ref"),
        ({"ref": None}, 422, "batch.ref"),
        ({"ref": "first"}, 422, "batch.ref"),
        ({"key": "*"}, 401, "token.resource"),
        ({"key": "key_a/1"}, 401, "token.resource"),
        ({"key": 0}, 400, "batch.malformed"),
        ({"body": "{}"}, 400, "batch.malformed"),
        ({"more": 1}, 400, "batch.malformed"),
    ],
)
async def test_one_malformed_item_refuses_the_batch(
    fabric: Fabric, ed25519: dict[str, Any], change: dict[str, Any], status: int, code: str
) -> None:
    """Unknown verbs and members, refs given twice and keys without a version: nothing is signed."""
    items = [signing(ed25519, b"one", ref="first"), signing(ed25519, b"two", ref="second") | change]
    found, problem = await send(fabric, items)
    assert (found, problem["code"]) == (status, code)


async def test_large_batches_are_refused(fabric: Fabric, ed25519: dict[str, Any]) -> None:
    """A body above the limit of batches, though below that of requests."""
    found, problem = await send(fabric, [signing(ed25519, bytes(200 << 10), ref="a")])
    assert (found, problem["code"]) == (413, "batch.too-large")


@pytest.mark.parametrize(("act", "resource"), [("sign", "*"), ("batch", "key")])
async def test_the_token_says_batch_and_everything(
    fabric: Fabric, ed25519: dict[str, Any], act: str, resource: str
) -> None:
    """Neither another act nor one key's resource will do."""
    items = [signing(ed25519, b"one", ref="a")]
    body = canonical_json({"items": items})
    token = fabric.token(act, f"{ed25519['key']}/1" if resource == "key" else resource, body)
    found, problem = await send(fabric, items, token=token)
    assert (found, problem["code"]) == (401, "token.act" if act == "sign" else "token.resource")


async def test_a_batch_token_is_no_sign_token(fabric: Fabric, ed25519: dict[str, Any]) -> None:
    """Presented at a key's own path it is refused."""
    body = canonical_json({"kind": "message", "message": "AAAA"})
    found, problem = await fabric.use(ed25519, "sign", {"kind": "message", "message": "AAAA"},
                                      token=fabric.token("batch", "*", body))  # fmt: skip
    assert (found, problem["code"]) == (401, "token.act")


async def test_the_same_batch_again_is_the_stored_answer(fabric: Fabric, ed25519: dict[str, Any]) -> None:
    """Under its token or an Idempotency-Key a batch is executed once as a whole, and another one refused."""
    items = [signing(ed25519, b"once %d" % number, ref=str(number)) for number in range(3)]
    body = canonical_json({"items": items})
    token = fabric.token("batch", "*", body)
    first = await fabric.send("POST", "/v1/batch", token=token, body=body)
    again = await fabric.send("POST", "/v1/batch", token=token, body=body)
    assert (first[0], first[1], again[2].get("Idempotent-Replayed")) == (200, again[1], "true")
    headers = {"Idempotency-Key": "batch-1"}
    status, kept = await send(fabric, items, headers=headers)
    assert status == 200
    _, repeated = await send(fabric, items, headers=headers)
    assert repeated == kept
    status, problem = await send(fabric, items[:2], headers=headers)
    assert (status, problem["code"]) == (422, "idempotency.other-request")


async def test_a_batch_with_a_plaintext_is_not_stored(fabric: Fabric, others: dict[str, dict[str, Any]]) -> None:
    """One decrypted item makes the whole answer one that nobody keeps; a retry opens it again."""
    public = X25519PublicKey.from_public_bytes(bytes.fromhex(others["sealing"]["public_key"]))
    ciphertext = b64url(SUITE.encrypt(b"never on disk: 7f1c", public))
    item = {"ref": "a", "verb": "decrypt", "key": f"{others['sealing']['key']}/1", "body": {"ciphertext": ciphertext}}
    body = canonical_json({"items": [item]})
    token = fabric.token("batch", "*", body)
    for _ in range(2):
        status, content, headers = await fabric.send("POST", "/v1/batch", token=token, body=body)
        assert (status, headers["Cache-Control"], "Idempotent-Replayed" in headers) == (200, "no-store", False)
        plaintext = b64url(b"never on disk: 7f1c").encode()
        assert plaintext in content
    assert plaintext not in fabric.database


async def test_a_budget_crossed_in_the_middle(fabric: Fabric) -> None:
    """Of sixteen items under a cap of ten, nodes sign as many as the cap lets them and refuse each of the others."""
    policy = new_id("pol")
    rules = [{"name": "messages", "effect": "allow", "agents": [fabric.agent_id], "kinds": ["message"]}]
    budget = {"name": "daily", "asset": {"kind": "requests"}, "window": "day", "cap": "10", "per": "key"}
    document = fabric.policy_document(policy=policy, rules=rules, budgets=[budget])
    status, answer = await fabric.put("PUT", f"/v1/policies/{policy}", document)
    assert status == 200, answer
    key = await fabric.create_key(policy=policy)
    messages = [b"%d" % number for number in range(16)]
    status, answer = await send(fabric, [signing(key, text, ref=text.decode()) for text in messages])
    assert status == 200
    statuses = [result["status"] for result in answer["results"]]
    assert 4 <= statuses.count(200) <= 10
    assert {result["problem"]["code"] for result in answer["results"] if "problem" in result} == {"budget.exceeded"}
    for text, result in zip(messages, answer["results"], strict=True):
        if result["status"] == 200:
            check(key, result, text)


async def test_items_that_need_people_say_so(fabric: Fabric) -> None:
    """An item that policy wants approved is refused with the code for it and a hint to send it alone."""
    policy = new_id("pol")
    rules = [
        {"name": "asked", "effect": "allow", "agents": [fabric.agent_id], "kinds": ["message"],
         "approvals": {"group": "treasurers", "minimum": 1}},
        {"name": "free", "effect": "allow", "agents": [fabric.agent_id], "kinds": ["eip191"]},
    ]  # fmt: skip
    status, answer = await fabric.put(
        "PUT", f"/v1/policies/{policy}", fabric.policy_document(policy=policy, rules=rules)
    )
    assert status == 200, answer
    key = await fabric.create_key(policy=policy)
    status, answer = await send(fabric, [signing(key, b"x", ref="a")])
    assert (status, answer["results"][0]["status"]) == (200, 409)
    problem = answer["results"][0]["problem"]
    assert (problem["code"], "of its own" in problem["hint"]) == ("approval.required", True)
    _, listed = await fabric.ask("GET", "/v1/operations", token=fabric.token("operations.get", "*", b""))
    assert listed["operations"] == []


async def test_items_have_receipts_of_their_own(fabric: Fabric, ed25519: dict[str, Any]) -> None:
    """Under its own request id each item has a receipt whose decisions name its key; the batch's id has none."""
    _, answer = await send(fabric, [signing(ed25519, b"logged", ref="a"), signing(ed25519, b"too", ref="b")])
    for result in answer["results"]:
        request_id = result["request_id"]
        async with asyncio.timeout(10):
            while True:
                token = fabric.token("receipts.get", request_id, b"")
                status, receipt = await fabric.ask("GET", f"/v1/receipts/{request_id}", token=token)
                if status == 200:  # until the nodes' leaves are fetched nobody knows of them
                    break
                await asyncio.sleep(0.2)
        assert receipt["request_id"] == request_id
        leaves = [parse_entry(b64url_decode(leaf["entry"])) for log in receipt["logs"] for leaf in log["leaves"]]
        found = [leaf for leaf in leaves if isinstance(leaf, Decision)]
        assert {(leaf.request_id.hex(), leaf.resource) for leaf in found} == {(request_id, f"{ed25519['key']}/1")}
    token = fabric.token("receipts.get", answer["request_id"], b"")
    status, _ = await fabric.ask("GET", f"/v1/receipts/{answer['request_id']}", token=token)
    assert status == 404


async def test_a_batch_counts_as_many_requests(
    fabric: Fabric, ed25519: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One larger than what is left is served, and its sender waits for the rest of it to flow back."""
    limiter = RateLimiter(per_second=0.5, burst=10)
    monkeypatch.setattr(fabric.gateway.admissions, "limiter", limiter)
    status, answer = await send(fabric, [signing(ed25519, b"%d" % n, ref=str(n)) for n in range(16)])
    assert (status, {result["status"] for result in answer["results"]}) == (200, {200})
    status, _, headers = await fabric.send("GET", "/v1/keys", token=fabric.token("keys.list", "*", b""))
    assert status == 429
    assert 12 <= int(headers["Retry-After"]) <= 14  # six below zero and one to have, at two seconds each
