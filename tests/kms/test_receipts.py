"""Receipts of every kind of decision, made by a cluster and verified without it; logs as auditors read them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from attestation.canonical import canonical_json
from attestation.envelope import b64url, b64url_decode
from attestation.merkle import leaf_hash, verify_consistency, verify_inclusion
from attestation.receipts.checkpoint import LogCheckpoint
from attestation.receipts.entry import Boot, Decision, parse_entry
from attestation.receipts.exported import entry_line, header_line, verify_exported
from attestation.verdict import Result
from enclave.ids import new_id
from enclave.signing_key import SigningKey
from enclave.threshold import hpke
from enclave.wire.message import Message
from enclave.wire.receipts import LogEntriesReply
from tests.kms.fabric import Fabric
from tests.kms.receipt_world import fetch, request_id_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

MESSAGE = b"pay the rent, and nothing else"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def keys(fabric: Fabric) -> dict[str, dict[str, Any]]:
    """One key of each kind."""
    fabric.gateway.heartbeats.interval_s = 0.3
    return {
        "ed25519": await fabric.create_key(),
        "bip340": await fabric.create_key(spec="secp256k1-schnorr", name="taproot"),
        "ecdsa": await fabric.create_key(spec="secp256k1-ecdsa", usage="evm", shares_needed=2, name="wallet"),
        "assembled": await fabric.create_key(
            spec="secp256k1-ecdsa", usage="evm", custody="reconstruct", shares_needed=3, name="assembled"
        ),
        "vault": await fabric.create_key(spec="hpke-x25519", usage="decrypt", name="vault"),
    }


async def used(fabric: Fabric, record: dict[str, Any], verb: str, value: dict[str, Any]) -> tuple[int, Any, str]:
    """One use by the agent: status, answer, request id."""
    body = canonical_json(value)
    token = fabric.token(verb, f"{record['key']}/1", body)
    status, answer = await fabric.use(record, verb, value, token=token)
    return status, answer, request_id_of(fabric, token, body)


@pytest.mark.parametrize("kind", ["ed25519", "bip340", "ecdsa", "assembled"])
async def test_a_signature_has_a_true_receipt(fabric: Fabric, keys: dict[str, dict[str, Any]], kind: str) -> None:
    """Each scheme's receipt proves who allowed what, by which rule, on whose evidence."""
    payload = "eip191" if kind in ("ecdsa", "assembled") else "message"
    status, answer, request_id = await used(fabric, keys[kind], "sign", {"kind": payload, "message": b64url(MESSAGE)})
    assert status == 200, answer
    verdict = (await fetch(fabric, request_id)).judge()
    assert verdict.result is Result.TRUSTED, [s for s in verdict.steps if s.code]
    facts = verdict.facts
    assert (facts["outcome"], facts["principal"], facts["rule"]) == ("allowed", fabric.agent_id, "messages")
    assert (facts["resource"], facts["policy"]) == (f"{keys[kind]['key']}/1", fabric.policy_id)
    assert facts["signers"] == answer["signers"]
    assert {node["slot"] for node in facts["nodes"]} >= set(answer["signers"]) - {facts["target"]}
    assert all(len(node["countersigned_by"]) >= fabric.roster.witness_terms.a for node in facts["nodes"])


async def test_an_ed25519_receipt_composes_the_signature(fabric: Fabric, keys: dict[str, dict[str, Any]]) -> None:
    """From what the nodes committed to follows the very signature, which another library verifies."""
    status, answer, request_id = await used(
        fabric, keys["ed25519"], "sign", {"kind": "message", "message": b64url(MESSAGE)}
    )
    assert status == 200
    receipt = await fetch(fabric, request_id)
    signature = receipt.judge(message=MESSAGE).facts["signature"]
    assert signature == answer["signature"]["ed25519"]
    Ed25519PublicKey.from_public_bytes(bytes.fromhex(keys["ed25519"]["public_key"])).verify(
        b64url_decode(signature), MESSAGE
    )
    assert receipt.judge(message=b"pay the casino").reasons == ("receipt.message",)


async def test_a_decryption_has_a_true_receipt(fabric: Fabric, keys: dict[str, dict[str, Any]]) -> None:
    """Partials sealed to a recipient are committed to, and nothing of the plaintext is in the receipt."""
    secret = b"nobody is to read this in a log"
    sealed = hpke.seal(bytes.fromhex(keys["vault"]["public_key"]), secret, b"")
    recipient = X25519PrivateKey.generate().public_key().public_bytes_raw()
    value = {"ciphertext": b64url(sealed), "context": {}, "recipient": b64url(recipient)}
    status, answer, request_id = await used(fabric, keys["vault"], "decrypt", value)
    assert status == 200, answer
    receipt = await fetch(fabric, request_id)
    verdict = receipt.judge()
    assert (verdict.result, verdict.facts["verbs"]) == (Result.TRUSTED, ["partial"])
    assert secret not in receipt.data
    assert b64url(secret).encode()[4:-4] not in receipt.data


async def test_a_refusal_has_a_true_receipt(fabric: Fabric, keys: dict[str, dict[str, Any]]) -> None:
    """What the nodes refused is logged with the code and the policy that said so, and proven alike."""
    status, answer, request_id = await used(
        fabric, keys["ecdsa"], "sign", {"kind": "digest", "digest": b64url(bytes(32))}
    )
    assert (status, answer["code"]) == (403, "policy.denied")
    verdict = (await fetch(fabric, request_id)).judge()
    assert verdict.result is Result.TRUSTED, [s for s in verdict.steps if s.code]
    assert (verdict.facts["outcome"], verdict.facts["codes"]) == ("refused", ["policy.denied"])
    assert (verdict.facts["policy"], verdict.facts["policy_version"]) == (fabric.policy_id, 1)
    assert verdict.facts["signature"] is None


async def test_a_key_order_has_a_true_receipt(fabric: Fabric, keys: dict[str, dict[str, Any]]) -> None:
    """The operator's order for a key is a decision of every participant."""
    body = fabric.order(name="receipted")
    token = fabric.operator_token("keys.create", "*", body)
    status, _ = await fabric.ask("POST", "/v1/keys", token=token, body=body)
    assert status == 201
    verdict = (await fetch(fabric, request_id_of(fabric, token, body), as_operator=True)).judge()
    assert verdict.result is Result.TRUSTED, [s for s in verdict.steps if s.code]
    assert (verdict.facts["principal"], verdict.facts["verbs"]) == (fabric.operator_id, ["ceremony-start"])
    assert set(verdict.facts["signers"]) == set(fabric.slots)


async def test_receipts_are_for_their_principal_and_auditors(fabric: Fabric, keys: dict[str, dict[str, Any]]) -> None:
    """Another agent is told what one is told who asks for a request that never was; an administrator sees it."""
    status, _, request_id = await used(fabric, keys["ed25519"], "sign", {"kind": "message", "message": b64url(MESSAGE)})
    assert status == 200
    await fetch(fabric, request_id)
    await fetch(fabric, request_id, as_operator=True)
    other_id, other = new_id("agt"), SigningKey.generate()
    document = fabric.agent_document(agent=other_id, name="neighbour", keys=(other.public,))
    assert (await fabric.put("POST", "/v1/agents", document))[0] == 200
    answers = []
    for wanted in (request_id, "ab" * 32):
        token = fabric.token("receipts.get", wanted, b"", issuer=other_id, signer=other)
        status, answer = await fabric.ask("GET", f"/v1/receipts/{wanted}", token=token)
        answers.append((status, {name: item for name, item in answer.items() if name != "request_id"}))
    assert answers[0] == answers[1]
    assert answers[0][0] == 404


async def pages(fabric: Fabric, slot: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Newest head and all leaves of a node's log, as an auditor reads them."""
    token = fabric.operator_token("audit.read", "*", b"")
    status, head = await fabric.ask("GET", f"/v1/log/checkpoint?slot={slot}", token=token)
    assert status == 200, head
    leaves: list[dict[str, Any]] = []
    while len(leaves) < head["size"]:
        path = f"/v1/log/entries?slot={slot}&start={len(leaves)}&limit=7"
        status, page = await fabric.ask("GET", path, token=token)
        assert status == 200, page
        leaves += page["entries"]
    return head, leaves[: head["size"]]


async def test_an_auditor_rebuilds_a_whole_log(fabric: Fabric, keys: dict[str, dict[str, Any]]) -> None:
    """All leaves lead to the node's signed head; inclusion and consistency proofs verify."""
    head, leaves = await pages(fabric, "node-1")
    lines = [header_line("node-1", head["boot_counter"], head["note"].encode())]
    lines += [entry_line(leaf["index"], b64url_decode(leaf["entry"]), bytes.fromhex(leaf["hash"])) for leaf in leaves]
    attested = fabric.nodes["node-1"].identity.public.identity_key
    found = verify_exported(b"".join(lines), identity_key=attested)
    assert found.outcomes["allow"] > 3
    signed = LogCheckpoint.verified(head["note"].encode(), attested)
    token = fabric.operator_token("audit.read", "*", b"")
    for query in ("index=1", "index=2", f"old={signed.size - 2}", "old=1"):
        _, answer = await fabric.ask("GET", f"/v1/log/proof?slot=node-1&size={signed.size}&{query}", token=token)
        path = [b64url_decode(item) for item in answer["proof"]]
        name, number = query.split("=")
        if name == "index":
            leaf = leaf_hash(b64url_decode(leaves[int(number)]["entry"]))
            verify_inclusion(leaf, int(number), signed.size, path, signed.root)
        else:
            tree = fabric.gateway.logs.store
            log = tree.newest("node-1")
            assert log is not None
            old_root = await fabric.gateway.logs.run(tree.tree(log.log).root, int(number))
            verify_consistency(int(number), old_root, signed.size, signed.root, path)


async def test_logs_are_for_auditors(fabric: Fabric, keys: dict[str, dict[str, Any]]) -> None:
    """An agent reads nobody's log."""
    for name in ("checkpoint", "entries", "proof"):
        token = fabric.token("audit.read", "*", b"")
        status, answer = await fabric.ask("GET", f"/v1/log/{name}?slot=node-1", token=token)
        assert (status, answer["code"]) == (403, "role.missing")


async def test_leaves_hold_no_content(fabric: Fabric, keys: dict[str, dict[str, Any]]) -> None:
    """No message, body digest, token or share is in any leaf of any node."""
    message = b"a low-entropy text: buy 100"
    body = canonical_json({"kind": "message", "message": b64url(message)})
    token = fabric.token("sign", f"{keys['ed25519']['key']}/1", body)
    status, _ = await fabric.use(keys["ed25519"], "sign", json.loads(body), token=token)
    assert status == 200
    import hashlib

    hidden = [message, b64url(message).encode(), token.encode()[:60], token.rpartition(".")[2].encode()]
    hidden += [hashlib.sha256(message).digest(), hashlib.sha256(body).digest()]
    for node in fabric.nodes.values():
        text = b"".join(node.receipts.page(node.identity.public.boot_counter, 0, 1000).entries)
        assert not [item for item in hidden if item in text]


async def test_the_next_boot_names_what_was_countersigned(fabric: Fabric, keys: dict[str, dict[str, Any]]) -> None:
    """A log's first leaf commits to the newest countersigned head kept of the boot before."""
    node = fabric.nodes["node-5"]
    before = node.identity.public.boot_counter
    async with asyncio.timeout(15):
        while node.receipts.uncountersigned == node.receipts.size:
            await asyncio.sleep(0.1)
    await fabric.stop_node("node-5")
    await fabric.start_node("node-5")
    fresh = fabric.nodes["node-5"]
    first = parse_entry(fresh.receipts.page(fresh.identity.public.boot_counter, 0, 1).entries[0])
    assert isinstance(first, Boot)
    assert (first.boot_counter, first.previous_boot) == (before + 1, before)
    stored = fabric.gateway.logs.store
    log = stored.log("node-5", before)
    assert log is not None
    assert 0 < first.previous_size <= log.size
    assert await fabric.gateway.logs.run(stored.tree(log.log).root, first.previous_size) == first.previous_root
    await fabric.trusted(*fabric.slots)


async def test_the_gateway_keeps_its_head_in_the_checkpoints(fabric: Fabric, keys: dict[str, dict[str, Any]]) -> None:
    """A node's checkpoint carries a hash of the gateway's audit chain, so neither can be rewritten alone."""
    await used(fabric, keys["ed25519"], "sign", {"kind": "message", "message": b64url(MESSAGE)})
    await asyncio.sleep(2.5)
    head, _ = await pages(fabric, "node-1")
    signed, _ = LogCheckpoint.parse(head["note"].encode())
    entries = await fabric.gateway.store.audit(after=0, limit=1000)
    assert signed.gateway_head in {entry.hash for entry in entries}


async def test_every_decision_of_a_request_is_a_leaf(fabric: Fabric, keys: dict[str, dict[str, Any]]) -> None:
    """Each signer has exactly one leaf for one FROST signature."""
    status, answer, request_id = await used(
        fabric, keys["ed25519"], "sign", {"kind": "message", "message": b64url(MESSAGE)}
    )
    assert status == 200
    for slot, node in fabric.nodes.items():
        page = node.receipts.page(node.identity.public.boot_counter, 0, 1000).entries
        found = [entry for entry in map(parse_entry, page) if isinstance(entry, Decision)]
        mine = [entry for entry in found if entry.request_id.hex() == request_id]
        assert len(mine) == (1 if slot in answer["signers"] else 0)


async def test_a_decision_lost_in_a_restart_is_said_to_be_lost(fabric: Fabric, keys: dict[str, dict[str, Any]]) -> None:
    """A node that restarts before its peers countersigned: no receipt, and a code that says why."""
    await fabric.gateway.heartbeats.close()
    record_slots = fabric.slots[:3]
    for slot in fabric.slots[3:]:
        await fabric.stop_node(slot)
    try:
        status, answer = await fabric.sign(keys["ed25519"], MESSAGE)
        assert status == 200, answer
        await fabric.gateway.logs.turn()
        for slot in record_slots:
            await fabric.stop_node(slot)
    finally:
        fabric.gateway.heartbeats.start()
        for slot in fabric.slots:
            if slot not in fabric.nodes:
                await fabric.start_node(slot)
        await fabric.trusted(*fabric.slots)
    async with asyncio.timeout(20):
        while True:
            token = fabric.token("receipts.get", answer["request_id"], b"")
            _, told = await fabric.ask("GET", f"/v1/receipts/{answer['request_id']}", token=token)
            if told["code"] != "receipt.pending":
                break
            await asyncio.sleep(0.2)
    assert told["code"] == "receipt.lost"


async def test_the_gateway_calls_a_fork_by_its_name(fabric: Fabric, keys: dict[str, dict[str, Any]]) -> None:
    """Entries that do not lead to the head their node signed: an alarm that names it, and no receipt from them."""

    slot = fabric.slots[0]

    def fault(verb: str, _request: Message, reply: Message) -> Message:
        if isinstance(reply, LogEntriesReply) and reply.entries:
            return msgspec.structs.replace(reply, entries=[*reply.entries[:-1], reply.entries[-1] + b"!"])
        return reply

    fabric.corrupt(slot, fault)
    try:
        async with asyncio.timeout(15):
            while not fabric.gateway.logs.forks:
                await fabric.sign(keys["ed25519"], MESSAGE)
                await asyncio.sleep(0.3)
    finally:
        fabric.corrupt(slot, None)
    node = fabric.nodes[slot].identity.public
    (named, note), *others = fabric.gateway.logs.forks.items()
    assert (named, others) == ((slot, node.boot_counter), [])
    assert LogCheckpoint.verified(note, node.identity_key).slot == slot
