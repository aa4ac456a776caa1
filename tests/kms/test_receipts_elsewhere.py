"""Receipts of what goes further than one round: openings in an enclave, released secrets."""

from __future__ import annotations

import asyncio

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from attestation.canonical import canonical_json
from attestation.envelope import b64url
from attestation.receipts.entry import Decision, parse_entry
from attestation.verdict import Result
from enclave.threshold import hpke
from kms.client import Client
from tests.kms.fabric import Fabric
from tests.kms.receipt_world import fetch, request_id_of
from tests.kms.test_secrets import CONTENT, POLICY, Workload, agent, operator, workload

__all__ = ["agent", "operator", "workload"]

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_an_opening_has_a_true_receipt(fabric: Fabric) -> None:
    """The signers gave their partials to the opener that the request named, and the opener says that it opened."""
    record = await fabric.create_key(spec="hpke-x25519", usage="decrypt")
    sealed = hpke.seal(bytes.fromhex(record["public_key"]), b"opened elsewhere", b"")
    recipient = b64url(X25519PrivateKey.generate().public_key().public_bytes_raw())
    value = {"ciphertext": b64url(sealed), "context": {}, "recipient": recipient, "opened_in_enclave": "node-2"}
    body = canonical_json(value)
    token = fabric.token("decrypt", f"{record['key']}/1", body)
    status, answer = await fabric.use(record, "decrypt", value, token=token)
    assert status == 200, answer
    verdict = (await fetch(fabric, request_id_of(fabric, token, body))).judge()
    assert verdict.result is Result.TRUSTED, [step for step in verdict.steps if step.code]
    assert (verdict.facts["target"], "open" in verdict.facts["verbs"]) == ("node-2", True)


async def test_a_release_has_a_true_receipt(
    fabric: Fabric, operator: Client, agent: Client, workload: Workload
) -> None:
    """Each node that released its share of a secret to a workload says so, with the policy that let it."""
    stored = await operator.secrets.put("receipted", CONTENT, policy=POLICY)
    assert await agent.secrets.release(stored.secret, workload.quote) == CONTENT
    node = fabric.nodes["node-1"]
    async with asyncio.timeout(5):
        while True:
            page = node.receipts.page(node.identity.public.boot_counter, 0, 1000).entries
            found = [entry for entry in map(parse_entry, page) if isinstance(entry, Decision)]
            mine = [entry for entry in found if entry.verb == "secret-release" and entry.outcome == "allow"]
            if mine:
                break
            await asyncio.sleep(0.1)
    receipt = await fetch(fabric, mine[0].request_id.hex())
    verdict = receipt.judge()
    assert verdict.result is Result.TRUSTED, [step for step in verdict.steps if step.code]
    assert (verdict.facts["resource"], verdict.facts["policy"]) == (f"{stored.secret}/1", POLICY)
    assert len(verdict.facts["nodes"]) >= 3
    assert b64url(CONTENT).encode()[:-2] not in receipt.data
