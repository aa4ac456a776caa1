"""What goes wrong at nodes stays there: requests succeed while an honest quorum is up, and fail closed otherwise."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from attestation.envelope import b64url, b64url_decode
from enclave.errors import RefusedError, VerdictError
from enclave.group.ed25519 import ED25519
from enclave.threshold.hpke import seal
from enclave.wire.decrypt import PartialReply
from enclave.wire.ecdsa import EcdsaMessage
from enclave.wire.message import Message
from enclave.wire.reconstruct import AssembleReply, SealedShare
from enclave.wire.signing import NonceCommitment, NoncesReply, SchnorrSignReply, SignReply
from kms.dev.machines import platform_id
from tests.kms.fabric import Fabric

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def keys(fabric: Fabric) -> dict[str, dict[str, Any]]:
    """One key of each kind."""
    return {
        "ed25519": await fabric.create_key(),
        "evm": await fabric.create_key(spec="secp256k1-ecdsa", usage="evm", custody="reconstruct"),
        "sealing": await fabric.create_key(spec="hpke-x25519", usage="decrypt"),
        "schnorr": await fabric.create_key(spec="secp256k1-schnorr", usage="generic"),
        "threshold": await fabric.create_key(spec="secp256k1-ecdsa", usage="evm", custody="threshold", shares_needed=2),
    }


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def honest_afterwards(fabric: Fabric) -> AsyncIterator[None]:
    """Each test begins with five honest, trusted nodes that nobody avoids."""
    yield
    for slot in fabric.slots:
        if slot not in fabric.nodes:
            await fabric.start_node(slot)
        fabric.corrupt(slot, None)
    await fabric.trusted(*fabric.slots)
    for link in fabric.gateway.fleet.links.values():
        link._suspect_until = 0.0


async def check_ed25519(fabric: Fabric, record: dict[str, Any], message: bytes) -> dict[str, Any]:
    """Sign, verify with OpenSSL, return the answer."""
    status, answer = await fabric.sign(record, message)
    assert status == 200, answer
    public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(record["public_key"]))
    public.verify(b64url_decode(answer["signature"]["ed25519"]), message)
    return dict(answer)


async def last_result(fabric: Fabric, request_id: str) -> dict[str, Any]:
    """The audit result of a request."""
    entries = await fabric.gateway.store.audit(after=0, limit=100_000)
    found = [json.loads(entry.body) for entry in entries if request_id.encode() in entry.body]
    return dict(found[-1])


def bad_share(verb: str, _request: Message, reply: Message) -> Message:
    """A share that is a scalar, but the wrong one."""
    if isinstance(reply, SchnorrSignReply):
        return SchnorrSignReply(share=b"\0" + os.urandom(31), nonce_point=reply.nonce_point)
    if isinstance(reply, SignReply):
        # Random, because two liars' small errors could cancel and make a right signature.
        return SignReply(share=os.urandom(31) + b"\0", group_commitment=reply.group_commitment)
    return reply


def bad_group_commitment(_verb: str, _request: Message, reply: Message) -> Message:
    """A right share with a lie about the group commitment."""
    if isinstance(reply, SignReply):
        return SignReply(share=reply.share, group_commitment=ED25519.base_mult_public(5))
    return reply


ORDER_TWO = b"\xec" + b"\xff" * 30 + b"\x7f"
BAD_COMMITMENTS: dict[str, Any] = {
    "hiding of mixed order": lambda n: NonceCommitment(n.nonce, ED25519.point_add(n.hiding, ORDER_TWO), n.binding),
    "binding off the curve": lambda n: NonceCommitment(n.nonce, n.hiding, b"\x02" + bytes(31)),
    "hiding cut short": lambda n: NonceCommitment(n.nonce, n.hiding[:31], n.binding),
}


def publishes(change: Any) -> Any:
    """A node whose nonce commitments are no points of the group."""

    def fault(_verb: str, _request: Message, reply: Message) -> Message:
        return (
            NoncesReply(nonces=[change(nonce) for nonce in reply.nonces]) if isinstance(reply, NoncesReply) else reply
        )

    return fault


def bad_partial(_verb: str, _request: Message, reply: Message) -> Message:
    """A partial decryption that is a point, but the wrong one."""
    if isinstance(reply, PartialReply) and reply.partial is not None:
        return PartialReply(partial=ED25519.point_add(reply.partial, ED25519.base_mult_public(1)))
    return reply


def bad_signature(_verb: str, _request: Message, reply: Message) -> Message:
    """An assembler that answers with something else than the signature."""
    if isinstance(reply, AssembleReply):
        return AssembleReply(signature=bytes(63) + b"\x01", recovery_id=reply.recovery_id)
    return reply


def bad_sealed_share(_verb: str, _request: Message, reply: Message) -> Message:
    """A released share whose ciphertext was altered."""
    if isinstance(reply, SealedShare) and reply.ciphertext:
        changed = bytes([reply.ciphertext[0] ^ 1]) + reply.ciphertext[1:]
        return SealedShare(slot=reply.slot, session=reply.session, counter=reply.counter, ciphertext=changed)
    return reply


def refuses(code: str) -> Any:
    """A node that refuses every use of a key."""

    def fault(verb: str, _request: Message, reply: Message) -> Message:
        if verb in ("sign", "release", "assemble", "partial", "ecdsa-start"):
            raise RefusedError("no", code=code)
        return reply

    return fault


async def test_bad_share_costs_its_sender_not_the_request(fabric: Fabric, keys: dict[str, dict[str, Any]]) -> None:
    """Whoever sends a wrong share is named and left out; the same request succeeds with others."""
    for slot in ("node-1", "node-2"):
        fabric.corrupt(slot, bad_share)
    culprits: set[str] = set()
    for number in range(6):
        answer = await check_ed25519(fabric, keys["ed25519"], b"%d" % number)
        assert not {"node-1", "node-2"} & set(answer["signers"])
        culprits |= set((await last_result(fabric, answer["request_id"])).get("culprits", []))
    assert culprits
    assert culprits <= {"node-1", "node-2"}


@pytest.mark.parametrize("change", BAD_COMMITMENTS.values(), ids=BAD_COMMITMENTS.keys())
async def test_bad_nonce_commitment_costs_its_sender_not_the_request(
    fabric: Fabric, keys: dict[str, dict[str, Any]], change: Any
) -> None:
    """Honest signers all refuse a set with such a commitment: its publisher is named, and others sign."""
    fabric.corrupt("node-2", publishes(change))
    pool = fabric.gateway.fleet.nonces("node-2", "ed25519")
    pool._ready.clear()
    culprits: set[str] = set()
    for number in range(8):
        answer = await check_ed25519(fabric, keys["ed25519"], b"c%d" % number)
        assert "node-2" not in answer["signers"]
        culprits |= set((await last_result(fabric, answer["request_id"])).get("culprits", []))
    assert culprits == {"node-2"}
    fabric.corrupt("node-2", None)
    pool._ready.clear()


async def test_bad_bip340_share_costs_its_sender(fabric: Fabric, keys: dict[str, dict[str, Any]]) -> None:
    """The same holds for BIP-340: the liar is left out and the signature comes."""
    fabric.corrupt("node-2", bad_share)
    for number in range(6):
        status, answer = await fabric.sign(keys["schnorr"], b"%d" % number)
        assert status == 200, answer
        assert "node-2" not in answer["signers"]


def bad_release(_verb: str, _request: Message, reply: Message) -> Message:
    """A last-round message of threshold ECDSA that is not what was computed; its signature is honest."""
    if isinstance(reply, EcdsaMessage) and reply.round == 4:
        changed = reply.payload[:-1] + bytes([reply.payload[-1] ^ 1])
        return msgspec.structs.replace(reply, payload=changed)
    return reply


@pytest.mark.parametrize("fault", [bad_release, refuses("policy.denied"), refuses("internal")])
async def test_threshold_ecdsa_goes_on_without_a_bad_signer(
    fabric: Fabric, keys: dict[str, dict[str, Any]], fault: Any
) -> None:
    """An attempt with a bad signer fails for all; fresh attempts with other sets succeed within the request."""
    fabric.corrupt("node-4", fault)
    for number in range(5):
        value = {"kind": "eip191", "message": b64url(b"%d" % number)}
        status, answer = await fabric.use(keys["threshold"], "sign", value)
        assert status == 200, answer
        assert "node-4" not in answer["signers"]


async def test_threshold_ecdsa_works_with_two_nodes_down(fabric: Fabric, keys: dict[str, dict[str, Any]]) -> None:
    """A quorum of three of five is enough; with three down the answer is an outage."""
    for slot in ("node-1", "node-5"):
        await fabric.stop_node(slot)
    status, answer = await fabric.use(keys["threshold"], "sign", {"kind": "eip191", "message": "AAAA"})
    assert status == 200, answer
    await fabric.stop_node("node-2")
    status, answer = await fabric.use(keys["threshold"], "sign", {"kind": "eip191", "message": "BBBB"})
    assert (status, answer["code"]) == (503, "quorum-unavailable")


async def test_lie_about_the_group_commitment_costs_nothing(fabric: Fabric, keys: dict[str, dict[str, Any]]) -> None:
    """What a signer says the group commitment is only saves work: wrong, it is computed here and nobody is blamed."""
    for slot in fabric.slots:
        fabric.corrupt(slot, bad_group_commitment)
    answer = await check_ed25519(fabric, keys["ed25519"], b"x")
    assert "culprits" not in await last_result(fabric, answer["request_id"])


async def test_node_caught_is_avoided_for_a_while(fabric: Fabric, keys: dict[str, dict[str, Any]]) -> None:
    """After one wrong share a node is not chosen while others can do the work."""
    fabric.corrupt("node-3", bad_share)
    for number in range(20):
        answer = await check_ed25519(fabric, keys["ed25519"], b"a%d" % number)
        if (await last_result(fabric, answer["request_id"])).get("culprits"):
            break
    fabric.corrupt("node-3", None)
    for number in range(10):
        answer = await check_ed25519(fabric, keys["ed25519"], b"b%d" % number)
        assert "node-3" not in answer["signers"]


async def test_three_liars_of_five_cannot_make_a_signature(fabric: Fabric, keys: dict[str, dict[str, Any]]) -> None:
    """Without a quorum of honest shares there is no answer but a refusal."""
    for slot in ("node-1", "node-2", "node-3"):
        fabric.corrupt(slot, bad_share)
    status, answer = await fabric.sign(keys["ed25519"], b"x")
    assert (status, answer["code"]) == (503, "quorum-unavailable")


async def test_one_refusing_node_does_not_deny_service(fabric: Fabric, keys: dict[str, dict[str, Any]]) -> None:
    """A refusal of one node alone is not believed: others are asked."""
    fabric.corrupt("node-1", refuses("policy.denied"))
    for number in range(6):
        answer = await check_ed25519(fabric, keys["ed25519"], b"%d" % number)
        assert "node-1" not in answer["signers"]


async def test_refusal_of_two_nodes_is_the_answer(fabric: Fabric, keys: dict[str, dict[str, Any]]) -> None:
    """What two nodes refuse alike is passed on with their code."""
    for slot in fabric.slots:
        fabric.corrupt(slot, refuses("policy.denied"))
    status, answer = await fabric.sign(keys["ed25519"], b"x")
    assert (status, answer["code"]) == (403, "policy.denied")


async def test_two_nodes_down_change_nothing(fabric: Fabric, keys: dict[str, dict[str, Any]]) -> None:
    """3-of-5 keys of every kind work with three nodes left, one of them an assembler."""
    for slot in ("node-1", "node-4"):
        await fabric.stop_node(slot)
    await check_ed25519(fabric, keys["ed25519"], b"still here")
    status, answer = await fabric.use(keys["evm"], "sign", {"kind": "eip191", "message": "AAAA"})
    assert status == 200, answer
    sealed = seal(bytes.fromhex(keys["sealing"]["public_key"]), b"still", b"")
    status, answer = await fabric.use(keys["sealing"], "decrypt", {"ciphertext": b64url(sealed)})
    assert (status, b64url_decode(answer["plaintext"])) == (200, b"still")


async def test_three_nodes_down_fail_closed_with_a_hint(fabric: Fabric, keys: dict[str, dict[str, Any]]) -> None:
    """Below the quorum the answer is 503 with Retry-After, and the same token works once nodes are back."""
    for slot in ("node-1", "node-2", "node-3"):
        await fabric.stop_node(slot)
    body = b'{"kind":"message","message":"AAAA"}'
    token = fabric.token("sign", f"{keys['ed25519']['key']}/1", body)
    path = f"/v1/keys/{keys['ed25519']['key']}/sign"
    status, content, headers = await fabric.send("POST", path, token=token, body=body)
    answer = json.loads(content)
    assert (status, answer["code"], headers["Retry-After"]) == (503, "quorum-unavailable", "2")
    assert "hint" in answer
    status, ready = await fabric.ask("GET", "/readyz")
    assert (status, ready["ready"], ready["trusting"]) == (503, False, 2)
    for slot in ("node-1", "node-2"):  # a restarted node needs three peers
        await fabric.start_node(slot)
    await fabric.trusted("node-1", "node-4", "node-5")
    status, content, _ = await fabric.send("POST", path, token=token, body=body)
    assert status == 200, content


async def test_node_lost_in_the_middle_costs_an_attempt_only(fabric: Fabric, keys: dict[str, dict[str, Any]]) -> None:
    """While nodes vanish under load, every request still gets its signature."""
    work = [asyncio.create_task(fabric.sign(keys["ed25519"], b"%d" % number)) for number in range(60)]
    await asyncio.sleep(0.01)
    await fabric.stop_node("node-2")
    await asyncio.sleep(0.01)
    await fabric.stop_node("node-5")
    answers = await asyncio.gather(*work)
    assert [status for status, _ in answers] == [200] * 60


async def test_silent_node_costs_one_timeout(
    fabric: Fabric, keys: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that takes requests and never answers is given up on inside the request, and avoided from then on."""
    monkeypatch.setattr("kms.fleet.signing.SIGN_TIMEOUT_S", 0.3)
    server, _ = fabric._servers["node-3"]
    work = server._work
    server._work = lambda: None  # type: ignore[method-assign]
    try:
        started = time.monotonic()
        for number in range(12):
            await check_ed25519(fabric, keys["ed25519"], b"%d" % number)
        assert time.monotonic() - started < 2.0  # twelve timeouts would be 3.6 s
    finally:
        server._work = work  # type: ignore[method-assign]
        server._is_scheduled = False
        for connection in list(server._connections.values()):
            server.wake(connection)


async def test_distrusted_member_is_left_out(fabric: Fabric, keys: dict[str, dict[str, Any]]) -> None:
    """When nodes refuse a set because of one member, the next set is without it, not without them."""

    def distrust(verb: str, request: Message, reply: Message) -> Message:
        members = [signer.slot for signer in getattr(request, "signers", []) if hasattr(signer, "slot")]
        if verb == "sign" and "node-5" in members:
            raise VerdictError("node-5: revoked", code="attestation-denied")
        if verb == "verdicts":
            rows = [row for row in reply.verdicts if row.slot != "node-5"]  # type: ignore[attr-defined]
            return type(reply)(verdicts=rows)
        return reply

    for slot in ("node-1", "node-2", "node-3", "node-4"):
        fabric.corrupt(slot, distrust)
    for number in range(8):
        answer = await check_ed25519(fabric, keys["ed25519"], b"%d" % number)
        assert "node-5" not in answer["signers"]


async def test_revoked_machine_stops_signing_within_seconds(fabric: Fabric, keys: dict[str, dict[str, Any]]) -> None:
    """A registry revocation reaches every node by itself: nobody signs with that machine, service goes on."""
    from kms.dev.trust_files import restate

    now = fabric.gateway.fleet.clock()
    fabric.registry.revoke(platform_id(fabric.authority, "node-4"), "stolen", now)
    restate(fabric.registry, fabric.layout)
    async with asyncio.timeout(5):
        while "node-4" in fabric.gateway.fleet.trusting():
            await asyncio.sleep(0.05)
    for number in range(6):
        answer = await check_ed25519(fabric, keys["ed25519"], b"%d" % number)
        assert "node-4" not in answer["signers"]
    _, nodes = await fabric.ask("GET", "/v1/nodes")
    verdicts = {node["slot"]: node["verdicts"] for node in nodes["nodes"]}
    assert verdicts["node-1"]["node-4"] == "attestation-denied"
    fabric.registry.reinstate("found", now + 1, platform=platform_id(fabric.authority, "node-4"))
    restate(fabric.registry, fabric.layout)


async def test_lying_assembler_is_replaced(fabric: Fabric, keys: dict[str, dict[str, Any]]) -> None:
    """A signature that does not recover the key is thrown away and the other assembler asked."""
    fabric.corrupt("node-1", bad_signature)
    for _ in range(4):
        status, answer = await fabric.use(keys["evm"], "sign", {"kind": "eip191", "message": "AAAA"})
        assert status == 200, answer


async def test_spoilt_share_is_replaced(fabric: Fabric, keys: dict[str, dict[str, Any]]) -> None:
    """A released share that does not open at the assembler costs an attempt, not the request."""
    fabric.corrupt("node-3", bad_sealed_share)
    for number in range(6):
        value = {"kind": "eip191", "message": b64url(b"%d" % number)}
        status, answer = await fabric.use(keys["evm"], "sign", value)
        assert status == 200, answer


async def test_lost_sessions_are_opened_again(fabric: Fabric, keys: dict[str, dict[str, Any]]) -> None:
    """Assemblers that forgot every session get new ones inside the request."""
    for node in fabric.nodes.values():
        node.channels._inbound.clear()
        node.channels._outbound.clear()
    status, answer = await fabric.use(keys["evm"], "sign", {"kind": "eip191", "message": "AAAA"})
    assert status == 200, answer


async def test_lying_partial_does_not_stop_decryption(fabric: Fabric, keys: dict[str, dict[str, Any]]) -> None:
    """With one liar among five a third set at the latest is honest."""
    fabric.corrupt("node-2", bad_partial)
    public = bytes.fromhex(keys["sealing"]["public_key"])
    for number in range(8):
        sealed = seal(public, b"%d" % number, b"")
        status, answer = await fabric.use(keys["sealing"], "decrypt", {"ciphertext": b64url(sealed)})
        assert status == 200, answer
        assert b64url_decode(answer["plaintext"]) == b"%d" % number


@pytest.mark.parametrize(
    "spoil",
    [
        lambda sealed: bytes([sealed[0] ^ 1]) + sealed[1:],
        lambda sealed: sealed[:-1] + bytes([sealed[-1] ^ 1]),
        lambda sealed: sealed[:-1],
        lambda sealed: sealed[:40],
        lambda sealed: sealed[:20],
        lambda sealed: bytes(32) + sealed[32:],
        lambda sealed: b"\xff" * 32 + sealed[32:],
        lambda sealed: sealed + b"x",
    ],
)
async def test_every_decryption_failure_answers_alike(
    fabric: Fabric, keys: dict[str, dict[str, Any]], spoil: Any
) -> None:
    """Whatever is wrong with a ciphertext, status, code and detail are the same."""
    sealed = seal(bytes.fromhex(keys["sealing"]["public_key"]), b"plaintext", b"")
    status, answer = await fabric.use(keys["sealing"], "decrypt", {"ciphertext": b64url(spoil(sealed))})
    assert (status, answer["code"], answer["detail"]) == (422, "decrypt.failed", "ciphertext does not open")


async def test_wrong_context_is_the_same_failure(fabric: Fabric, keys: dict[str, dict[str, Any]]) -> None:
    """An encryption context that was not given at sealing does not open anything."""
    sealed = b64url(seal(bytes.fromhex(keys["sealing"]["public_key"]), b"plaintext", b""))
    status, answer = await fabric.use(keys["sealing"], "decrypt", {"ciphertext": sealed, "context": {"a": "b"}})
    assert (status, answer["code"], answer["detail"]) == (422, "decrypt.failed", "ciphertext does not open")


async def test_new_key_needs_all_its_nodes(fabric: Fabric) -> None:
    """An order whose node is away is refused by name, and works for the nodes that are there."""
    await fabric.stop_node("node-5")
    body = fabric.order(name="early")
    token = fabric.operator_token("keys.create", "*", body)
    status, answer = await fabric.ask("POST", "/v1/keys", token=token, body=body)
    assert (status, answer["code"]) == (503, "ceremony-unavailable")
    assert "node-5" in answer["detail"]
    record = await fabric.create_key(name="late", nodes=["node-1", "node-2", "node-3", "node-4"])
    assert record["nodes"] == ["node-1", "node-2", "node-3", "node-4"]


async def test_documents_reach_a_node_that_was_away(fabric: Fabric) -> None:
    """What was signed while a node was down is there when it is back, restrictions first of all."""
    record = await fabric.create_key(name="watched")
    await fabric.stop_node("node-1")
    document = fabric.key_state(record["key"], "disabled", 1)
    status, answer = await fabric.put("POST", f"/v1/keys/{record['key']}/disable", document)
    assert (status, answer["unreached"]) == (202, ["node-1"])
    await fabric.start_node("node-1")
    await fabric.trusted(*fabric.slots)
    assert not fabric.nodes["node-1"].directory.is_enabled(record["key"])


async def test_commit_reaches_a_participant_that_missed_it(fabric: Fabric) -> None:
    """A node that lost the commit activates its share when it is back, from the gateway's kept copy."""

    original = fabric.nodes["node-2"].ceremonies.commit
    fabric.nodes["node-2"].ceremonies.commit = _fail  # type: ignore[method-assign]
    record = await fabric.create_key(name="missed")
    assert len(record["certificate"]["signatures"]) == 4
    assert len(fabric.nodes["node-2"].keys.sessions) == 1
    fabric.nodes["node-2"].ceremonies.commit = original  # type: ignore[method-assign]
    await fabric.stop_node("node-2")
    await fabric.start_node("node-2")
    await fabric.trusted(*fabric.slots)
    assert fabric.nodes["node-2"].keys.sessions == []
    assert fabric.nodes["node-2"].keys.get(record["key"], 1).certificate.key == record["key"]


def _fail(*_: object) -> bytes:
    raise RefusedError("the disk was busy", code="ceremony.busy")
