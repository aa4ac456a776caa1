"""Proofs, openings in an enclave, rewrapping and data keys over HTTP, with honest and with lying nodes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from attestation.canonical import canonical_json
from attestation.envelope import b64url, b64url_decode
from enclave.group.ed25519 import ED25519
from enclave.handlers.decrypt import opened_info
from enclave.payload.decrypt import context_info
from enclave.threshold import opening
from enclave.wire.decrypt import PartialReply
from enclave.wire.message import Message
from tests.kms.fabric import Fabric

pytestmark = pytest.mark.asyncio(loop_scope="module")

SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
PLAINTEXT = b"the launch code"
OTHER_POINT = ED25519.base_mult_public(7)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sealing(fabric: Fabric) -> dict[str, Any]:
    """A 3-of-5 decryption key under a policy of its own, with another key to move to."""
    target = await fabric.create_key(spec="hpke-x25519", usage="decrypt")
    rules: list[dict[str, Any]] = [
        {"name": "reading", "effect": "allow", "kinds": ["decrypt"], "plaintext_to_gateway": "allow"},
        {"name": "moving", "effect": "allow", "kinds": ["rewrap"], "rewrap_to": [target["key"]]},
        {"name": "keys", "effect": "allow", "kinds": ["data_key"], "plaintext_to_gateway": "allow"},
    ]
    policy = "pol_" + "b" * 26
    status, answer = await fabric.put(
        "PUT", f"/v1/policies/{policy}", fabric.policy_document(policy=policy, rules=tuple(rules))
    )
    assert status == 200, answer
    record = await fabric.create_key(spec="hpke-x25519", usage="decrypt", policy=policy)
    return record | {"target": target}


def sealed(record: dict[str, Any], context: dict[str, str] | None = None) -> bytes:
    """What a stock sender makes."""
    public = X25519PublicKey.from_public_bytes(bytes.fromhex(record["public_key"]))
    return SUITE.encrypt(PLAINTEXT, public, info=context_info(context or {}))


def request_of(ciphertext: bytes, recipient: X25519PrivateKey | None = None, **members: Any) -> dict[str, Any]:
    """The members of a decrypt request."""
    to = {} if recipient is None else {"recipient": b64url(recipient.public_key().public_bytes_raw())}
    return {"ciphertext": b64url(ciphertext)} | to | members


def lie(_verb: str, _request: Message, reply: Message) -> Message:
    """Another point than the right one, with the right point's proof."""
    if isinstance(reply, PartialReply) and reply.partial is not None:
        return msgspec.structs.replace(reply, partial=OTHER_POINT)
    return reply


async def test_an_enclave_opens_for_the_recipient(fabric: Fabric, sealing: dict[str, Any]) -> None:
    """The gateway hands on what only the recipient can read; the opener's name is in the answer."""
    recipient = X25519PrivateKey.generate()
    body = request_of(sealed(sealing), recipient, opened_in_enclave="node-2")
    status, answer = await fabric.use(sealing, "decrypt", body)
    assert status == 200, answer
    assert ("plaintext" in answer, "partials" in answer, answer["opened_by"]) == (False, False, "node-2")
    info = opened_info(bytes.fromhex(answer["request_id"]), sealing["key"], "node-2")
    assert SUITE.decrypt(b64url_decode(answer["sealed"]), recipient, info=info) == PLAINTEXT


async def test_a_lying_node_is_named_by_the_opener_and_replaced(
    fabric: Fabric, sealing: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One node sends a wrong row: the opener proves it, the gateway tries others, the recipient gets the plaintext."""
    honest = opening.partial_point
    liar = fabric.nodes["node-4"].keys.get(sealing["key"], 1)
    lies: list[int] = []

    def lying(share: Any, index: int, ids: Any, enc: bytes) -> Any:
        if share is liar.share:
            lies.append(index)
            return honest(ED25519.random_scalar(), index, ids, enc)
        return honest(share, index, ids, enc)

    monkeypatch.setattr(opening, "partial_point", lying)
    recipient = X25519PrivateKey.generate()
    while not lies:  # until chance chose it
        body = request_of(sealed(sealing), recipient, opened_in_enclave="node-2")
        status, answer = await fabric.use(sealing, "decrypt", body)
        assert status == 200, answer
        assert "node-4" not in answer["signers"] or not lies
    assert fabric.gateway.fleet.links["node-4"].suspect
    monkeypatch.undo()


async def test_a_ciphertext_that_does_not_open_is_the_openers_answer(fabric: Fabric, sealing: dict[str, Any]) -> None:
    """Another context, a changed byte and a false header: one code for the caller."""
    recipient = X25519PrivateKey.generate()
    changed = bytearray(sealed(sealing))
    changed[-1] ^= 1
    for body in (
        request_of(sealed(sealing, {"a": "b"}), recipient, opened_in_enclave="node-1"),
        request_of(bytes(changed), recipient, opened_in_enclave="node-1"),
        request_of(b"HFSEAL1\0" + bytes(10), recipient, opened_in_enclave="node-1"),
    ):
        status, answer = await fabric.use(sealing, "decrypt", body)
        assert (status, answer["code"]) == (422, "decrypt.failed")


async def test_edge_proofs_name_the_liar(fabric: Fabric, sealing: dict[str, Any]) -> None:
    """With proofs in the request the gateway opens with whoever is honest, and knows who is not."""
    lies: list[str] = []

    def counted(verb: str, request: Message, reply: Message) -> Message:
        lies.append(verb)
        return lie(verb, request, reply)

    fabric.corrupt("node-3", counted)
    try:
        while "partial" not in lies:  # until chance chose it
            status, answer = await fabric.use(sealing, "decrypt", request_of(sealed(sealing), proofs=True))
            assert status == 200, answer
            assert b64url_decode(answer["plaintext"]) == PLAINTEXT
            assert "node-3" not in answer["signers"] or "partial" not in lies
        assert fabric.gateway.fleet.links["node-3"].suspect
    finally:
        fabric.corrupt("node-3", None)


async def test_edge_proofs_clear_the_nodes_of_a_bad_ciphertext(fabric: Fabric, sealing: dict[str, Any]) -> None:
    """Proofs that all hold end the request after one attempt."""
    changed = bytearray(sealed(sealing))
    changed[-1] ^= 1
    status, answer = await fabric.use(sealing, "decrypt", request_of(bytes(changed), proofs=True))
    assert (status, answer["code"]) == (422, "decrypt.failed")


async def test_excluded_nodes_are_not_asked(fabric: Fabric, sealing: dict[str, Any]) -> None:
    """`without` leaves the others; more than there are to spare is unavailable."""
    recipient = X25519PrivateKey.generate()
    for _ in range(4):
        body = request_of(sealed(sealing), recipient, without=["node-1", "node-5"])
        status, answer = await fabric.use(sealing, "decrypt", body)
        assert (status, answer["signers"]) == (200, ["node-2", "node-3", "node-4"])
    body = request_of(sealed(sealing), recipient, without=["node-1", "node-2", "node-5"])
    status, answer = await fabric.use(sealing, "decrypt", body)
    assert (status, answer["code"]) == (503, "quorum-unavailable")


async def test_an_opener_that_is_away(fabric: Fabric, sealing: dict[str, Any]) -> None:
    """Nobody takes the named node's place."""
    recipient = X25519PrivateKey.generate()
    await fabric.stop_node("node-5")
    try:
        body = request_of(sealed(sealing), recipient, opened_in_enclave="node-5")
        status, answer = await fabric.use(sealing, "decrypt", body)
        assert (status, answer["code"]) == (503, "quorum-unavailable")
    finally:
        await fabric.start_node("node-5")
        await fabric.trusted(*fabric.slots)


async def test_rewrap_moves_between_keys(fabric: Fabric, sealing: dict[str, Any]) -> None:
    """The answer is a ciphertext of the other key under the new context; the old one's permission does not open it."""
    target = sealing["target"]
    body = {
        "ciphertext": b64url(sealed(sealing)), "opened_in_enclave": "node-3", "to": target["key"],
        "to_context": {"tenant": "b"},
    }  # fmt: skip
    status, answer = await fabric.use(
        sealing, "rewrap", body, token=fabric.token("decrypt", f"{sealing['key']}/1", canonical_json(body))
    )
    assert status == 200, answer
    opened = {"ciphertext": answer["ciphertext"], "context": {"tenant": "b"}}
    status, plain = await fabric.use(target, "decrypt", opened)
    assert (status, b64url_decode(plain["plaintext"])) == (200, PLAINTEXT)
    status, plain = await fabric.use(sealing, "decrypt", opened)
    assert (status, plain["code"]) == (422, "decrypt.failed")


async def test_bodies_belong_to_their_endpoint(fabric: Fabric, sealing: dict[str, Any]) -> None:
    """A rewrap body is not decrypted and a decrypt body not rewrapped."""
    moving = {"ciphertext": b64url(sealed(sealing)), "opened_in_enclave": "node-3", "to": sealing["target"]["key"]}
    status, answer = await fabric.use(sealing, "decrypt", moving)
    assert (status, answer["code"]) == (400, "request.malformed")
    reading = request_of(sealed(sealing), X25519PrivateKey.generate(), opened_in_enclave="node-3")
    token = fabric.token("decrypt", f"{sealing['key']}/1", canonical_json(reading))
    status, answer = await fabric.use(sealing, "rewrap", reading, token=token)
    assert (status, answer["code"]) == (400, "request.malformed")


async def test_data_keys_over_http_need_a_rule(fabric: Fabric, sealing: dict[str, Any]) -> None:
    """With the rule the gateway makes one that opens again; without, it is denied; nothing of it is stored."""
    body = {"context": {"file": "1"}}

    async def ask(record: dict[str, Any]) -> tuple[int, Any]:
        token = fabric.token("encrypt", f"{record['key']}/1", canonical_json(body))
        return await fabric.use(record, "data-key", body, token=token)

    status, made = await ask(sealing)
    assert (status, len(b64url_decode(made["plaintext"]))) == (200, 32)
    status, plain = await fabric.use(sealing, "decrypt", {"ciphertext": made["ciphertext"], "context": {"file": "1"}})
    assert (status, plain["plaintext"]) == (200, made["plaintext"])
    assert b64url_decode(made["plaintext"]) not in fabric.database
    assert made["plaintext"].encode() not in fabric.database
    status, answer = await ask(sealing["target"])
    assert (status, answer["code"]) == (403, "policy.denied")
