"""Threshold ECDSA and BIP-340 keys through HTTP: results that other libraries accept, and nodes that do not help."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from eth_account import Account

from attestation.canonical import canonical_json
from attestation.envelope import b64url, b64url_decode
from enclave.errors import AbortError
from enclave.group.secp256k1 import SECP256K1
from enclave.ids import new_id
from enclave.threshold.ecdsa.messages import Round1, Round2, Round3
from enclave.wire.ecdsa import EcdsaMessage, EcdsaRound, ecdsa_message_bytes
from enclave.wire.message import Message, decode_as, encode
from kms.dev.demo_steps import schnorr as reference
from tests.kms.fabric import Fabric, Fault

pytestmark = pytest.mark.asyncio(loop_scope="module")

FEES: dict[int, dict[str, Any]] = {
    0: {"gas_price": "2000000000"},
    1: {"gas_price": "2000000000", "access_list": [{"address": "0x" + "22" * 20, "storage_keys": ["0x" + "33" * 32]}]},
    2: {"max_fee_per_gas": "2000000000", "max_priority_fee_per_gas": "1", "access_list": []},
}
SIGHASH = bytes(range(32))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def evm(fabric: Fabric) -> dict[str, Any]:
    """An Ethereum key whose order says neither custody nor shares."""
    body = canonical_json({"name": "wallet", "spec": "secp256k1-ecdsa", "usage": "evm", "policy": fabric.policy_id})
    status, record = await fabric.ask(
        "POST", "/v1/keys", token=fabric.operator_token("keys.create", "*", body), body=body
    )
    assert status == 201, record
    return dict(record)


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def honest_afterwards(fabric: Fabric) -> AsyncIterator[None]:
    """Each test begins with five honest, trusted nodes that nobody avoids, and ends with nothing left at any."""
    yield
    for slot in fabric.slots:
        if slot not in fabric.nodes:
            await fabric.start_node(slot)
        fabric.corrupt(slot, None)
    await fabric.trusted(*fabric.slots)
    for link in fabric.gateway.fleet.links.values():
        link._suspect_until = 0.0


async def check_eip191(fabric: Fabric, record: dict[str, Any], text: bytes) -> dict[str, Any]:
    """Sign a personal message and recover the address with eth-account."""
    from eth_account.messages import encode_defunct

    status, answer = await fabric.use(record, "sign", {"kind": "eip191", "message": b64url(text)})
    assert status == 200, answer
    signature = answer["signature"]
    vrs = (27 + signature["y_parity"], int(signature["r"], 16), int(signature["s"], 16))
    assert Account.recover_message(encode_defunct(text), vrs=vrs) == record["addresses"]["evm"]
    return dict(answer)


async def nothing_is_left(fabric: Fabric) -> None:
    """Soon no node holds anything of any attempt: the gateway tells them when it gives up."""
    async with asyncio.timeout(2):
        while any(len(node.ecdsa) for node in fabric.nodes.values()):
            await asyncio.sleep(0.01)


async def test_ethereum_keys_are_threshold_keys(evm: dict[str, Any]) -> None:
    """An order that does not say gets custody threshold with T = 2, and the record says what that means."""
    assert (evm["custody"], evm["assemblers"]) == ("threshold", [])
    assert (evm["shares_needed"], evm["privacy_threshold"], evm["signing_quorum"]) == (2, 2, 3)


@pytest.mark.parametrize("number", sorted(FEES))
async def test_transactions_of_each_type_are_ready_to_broadcast(
    fabric: Fabric, evm: dict[str, Any], number: int
) -> None:
    """eth-account recovers the key's address from raw transactions of types 0, 1 and 2."""
    fields = {"type": number, "chain_id": 1, "nonce": 7 + number, "gas": 50000, "to": "0x" + "11" * 20, "value": "1000"}
    value = {"kind": "evm_transaction", "transaction": fields | {"data": "0x"} | FEES[number]}
    status, answer = await fabric.use(evm, "sign", value)
    assert status == 200, answer
    assert Account.recover_transaction(answer["signature"]["raw_transaction"]) == evm["addresses"]["evm"]
    assert len(answer["signers"]) == 3
    await nothing_is_left(fabric)


async def test_many_requests_at_once(fabric: Fabric, evm: dict[str, Any]) -> None:
    """Interleaved attempts do not disturb each other."""
    answers = await asyncio.gather(*(check_eip191(fabric, evm, b"%d" % number) for number in range(24)))
    assert {slot for answer in answers for slot in answer["signers"]} == set(fabric.slots)
    await nothing_is_left(fabric)


async def test_a_quorum_of_one_less_is_unavailable(fabric: Fabric, evm: dict[str, Any]) -> None:
    """Two nodes down change nothing; with three down the request fails closed, although two would know the key."""
    for slot in ("node-1", "node-2"):
        await fabric.stop_node(slot)
    assert set((await check_eip191(fabric, evm, b"x"))["signers"]) == {"node-3", "node-4", "node-5"}
    await fabric.stop_node("node-3")
    status, answer = await fabric.use(evm, "sign", {"kind": "eip191", "message": "AAAA"})
    assert (status, answer["code"]) == (503, "quorum-unavailable")
    await nothing_is_left(fabric)


def signed_again(fabric: Fabric, slot: str, message: EcdsaMessage, payload: bytes) -> EcdsaMessage:
    """The message a corrupt node makes of an honest one."""
    changed = msgspec.structs.replace(message, payload=payload)
    return msgspec.structs.replace(changed, signature=fabric.nodes[slot].identity.sign(ecdsa_message_bytes(changed)))


def spoils(fabric: Fabric, slot: str, number: int, change: Callable[[bytes], bytes]) -> Fault:
    """A node that spoils its payload of one round and signs it."""

    def fault(_verb: str, _request: Message, reply: Message) -> Message:
        if isinstance(reply, EcdsaMessage) and reply.round == number:
            return signed_again(fabric, slot, reply, change(reply.payload))
        return reply

    return fault


def _rows(payload: bytes) -> bytes:
    return encode(Round1({index: bytes(len(row)) for index, row in decode_as(Round1, payload).sealed.items()}))


def _masked(payload: bytes) -> bytes:
    told = decode_as(Round2, payload)
    return encode(Round2(told.echo, told.nonce_share, (int.from_bytes(told.masked, "big") ^ 1).to_bytes(32, "big")))


def _check(payload: bytes) -> bytes:
    told = decode_as(Round3, payload)
    return encode(Round3(told.echo, SECP256K1.point_add(told.check_share, SECP256K1.base_mult_public(1))))


@pytest.mark.parametrize(
    ("number", "change"), [(1, _rows), (2, _masked), (3, _check), (4, lambda payload: payload[:-1] + b"\x01")]
)
async def test_one_spoiler_costs_attempts_not_requests(
    fabric: Fabric, evm: dict[str, Any], number: int, change: Callable[[bytes], bytes]
) -> None:
    """Whatever round one node spoils, and nobody can be named for it, three attempts reach a set without it."""
    fabric.corrupt("node-2", spoils(fabric, "node-2", number, change))
    for turn in range(4):
        answer = await check_eip191(fabric, evm, b"%d" % turn)
        assert "node-2" not in answer["signers"]
        for link in fabric.gateway.fleet.links.values():
            link._suspect_until = 0.0
    await nothing_is_left(fabric)


async def test_malformed_payloads_name_their_signer(fabric: Fabric, evm: dict[str, Any]) -> None:
    """Two honest nodes that name the same signer for a payload without form are believed."""
    fabric.corrupt("node-4", spoils(fabric, "node-4", 2, lambda _payload: b"\xc0"))
    for turn in range(12):
        await check_eip191(fabric, evm, b"%d" % turn)
        if fabric.gateway.fleet.links["node-4"].suspect:
            break
    assert fabric.gateway.fleet.links["node-4"].suspect


async def test_a_liar_cannot_frame_an_honest_node(fabric: Fabric, evm: dict[str, Any]) -> None:
    """One node's word that another is guilty does not get that one quarantined as proven."""

    def frames(verb: str, request: Message, reply: Message) -> Message:
        if verb == "ecdsa-round" and isinstance(request, EcdsaRound):
            from enclave.errors import PeerError

            culprits = [message.slot for message in request.messages if message.slot != "node-2"]
            raise PeerError("they did it", culprits=culprits, code="ceremony.malformed")
        return reply

    fabric.corrupt("node-2", frames)
    blamed: list[str] = []
    for slot, link in fabric.gateway.fleet.links.items():
        link.note_misbehaviour = lambda slot=slot: blamed.append(slot)  # type: ignore[method-assign,misc]
    for turn in range(4):
        await check_eip191(fabric, evm, b"%d" % turn)
    assert blamed == []
    for link in fabric.gateway.fleet.links.values():
        del link.note_misbehaviour


async def test_everybody_aborting_is_unavailable(fabric: Fabric, evm: dict[str, Any]) -> None:
    """Without any good set the request fails closed after three attempts."""

    def aborts(verb: str, _request: Message, reply: Message) -> Message:
        if verb == "ecdsa-round":
            raise AbortError("no")
        return reply

    for slot in ("node-1", "node-2", "node-3"):
        fabric.corrupt(slot, aborts)
    status, answer = await fabric.use(evm, "sign", {"kind": "eip191", "message": "AAAA"})
    assert (status, answer["code"]) == (503, "quorum-unavailable")
    for slot in ("node-1", "node-2", "node-3"):
        fabric.corrupt(slot, None)
    await nothing_is_left(fabric)


async def test_a_lost_session_between_nodes_costs_one_attempt(fabric: Fabric, evm: dict[str, Any]) -> None:
    """A node that forgot its sessions says so; the gateway opens new ones and goes on."""
    for node in fabric.nodes.values():
        node.channels._inbound.clear()
        node.channels._outbound.clear()
    await check_eip191(fabric, evm, b"again")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def taproot(fabric: Fabric) -> dict[str, Any]:
    """A Taproot key under a policy that allows blind signatures."""
    policy = new_id("pol")
    rule = {"name": "blind", "effect": "allow", "agents": [fabric.agent_id], "kinds": ["digest", "message"]}
    document = fabric.policy_document(policy=policy, rules=[rule | {"digest": "allow"}])
    status, answer = await fabric.put("PUT", f"/v1/policies/{policy}", document)
    assert status == 200, answer
    return await fabric.create_key(name="coins", spec="secp256k1-schnorr", usage="bitcoin", policy=policy)


async def test_taproot_signatures_hold_under_the_key_in_the_address(fabric: Fabric, taproot: dict[str, Any]) -> None:
    """Sighash and message verify in plain integers under the output key that the P2TR address shows."""
    output = reference.key_of(taproot["addresses"]["bitcoin"])
    message = reference.tagged("Holdfast/message", b"hello")
    for value, signed in (
        ({"kind": "bitcoin_sighash", "sighash": b64url(SIGHASH)}, SIGHASH),
        ({"kind": "message", "message": b64url(b"hello")}, message),
    ):
        status, answer = await fabric.use(taproot, "sign", value)
        assert status == 200, answer
        signature = b64url_decode(answer["signature"]["bip340"])
        assert reference.verify(output, signature, signed)
        assert not reference.verify(bytes.fromhex(taproot["public_key"])[1:], signature, signed)
        status, verdict = await fabric.use(taproot, "verify", {"payload": value, "signature": answer["signature"]})
        assert (status, verdict["valid"]) == (200, True)


async def test_taproot_key_forms_agree(fabric: Fabric, taproot: dict[str, Any]) -> None:
    """The bitcoin form is the address; raw is the certified internal key."""
    for name, expected in (("bitcoin", taproot["addresses"]["bitcoin"]), ("raw", taproot["public_key"])):
        path = f"/v1/keys/{taproot['key']}/public-key?format={name}"
        status, answer = await fabric.ask("GET", path, token=fabric.token("keys.get", taproot["key"], b""))
        assert (status, answer["public_key"]) == (200, expected)


async def test_sighashes_need_a_policy_for_digests(fabric: Fabric) -> None:
    """Where policy allows messages only, a sighash is refused."""
    record = await fabric.create_key(name="careful", spec="secp256k1-schnorr", usage="bitcoin")
    status, answer = await fabric.use(record, "sign", {"kind": "bitcoin_sighash", "sighash": b64url(SIGHASH)})
    assert (status, answer["code"]) == (403, "policy.denied")
