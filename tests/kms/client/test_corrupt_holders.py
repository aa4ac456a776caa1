"""Holders of a key that sign a false certificate with the gateway's help: what a client that knows the key notices."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import pytest_asyncio

from attestation.canonical import canonical_json
from attestation.envelope import b64url, b64url_decode
from enclave.certificate import certificate_bytes
from kms.client import Client, OperatorCredentials
from kms.client.certified import CertifiedKey
from kms.client.errors import VerificationError
from tests.kms.client.hostile_gateway import HostileGateway, hostile_gateway
from tests.kms.fabric import Fabric

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fabric(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fabric]:
    """Five nodes whose identity keys a test may misuse."""
    made = Fabric(tmp_path_factory.mktemp("fabric"))
    try:
        await made.start()
        yield made
    finally:
        await made.close()


@pytest_asyncio.fixture(loop_scope="module")
async def known(fabric: Fabric) -> AsyncIterator[tuple[HostileGateway, Client, CertifiedKey]]:
    """A client behind a lying gateway that has seen a 3-of-5 key."""
    record = await fabric.create_key()
    operator = OperatorCredentials.load(fabric.layout.operator_key)
    async with (
        hostile_gateway(fabric.url) as (gateway, url),
        Client.connect(fabric.layout.cluster_file, url=url, credentials=operator) as client,
    ):
        yield gateway, client, await client.keys.get(record["key"])


def forge(fabric: Fabric, record: dict[str, Any], slots: Sequence[str], **changes: Any) -> None:
    """Replace the certificate of a record by one that only `slots` signed."""
    body = canonical_json(json.loads(b64url_decode(record["certificate"]["body"])) | changes)
    signatures = []
    for slot in slots:
        identity = fabric.nodes[slot].identity
        signatures.append(
            {
                "slot": slot,
                "boot_counter": identity.public.boot_counter,
                "identity_key": b64url(identity.public.identity_key),
                "signature": b64url(identity.sign(certificate_bytes(body))),
            }
        )
    record["certificate"] = {"body": b64url(body), "signatures": signatures}
    for name in changes:
        record.pop(name, None)


def served(gateway: HostileGateway, fabric: Fabric, slots: Sequence[str], **changes: Any) -> None:
    """Have the gateway show the forged certificate wherever keys are shown."""

    def rewrite(path: str, answer: Any) -> Any:
        for record in answer.get("keys", [answer]) if path.startswith("/v1/keys") else []:
            forge(fabric, record, slots, **changes)
        return answer

    gateway.rewrite_json = rewrite


LOWERED = {"shares_needed": 2, "signing_quorum": 2, "privacy_threshold": 2}


async def test_a_lowered_threshold_is_noticed(
    fabric: Fabric, known: tuple[HostileGateway, Client, CertifiedKey]
) -> None:
    """Two of five cannot restate a 3-of-5 key as one that two may certify, neither alone nor in a list."""
    gateway, client, key = known
    served(gateway, fabric, ["node-1", "node-2"], **LOWERED)
    with pytest.raises(VerificationError) as caught:
        await client.keys.get(key.key)
    assert caught.value.code == "verify.certificate"
    with pytest.raises(VerificationError) as caught:
        _ = [item async for item in client.keys.list()]
    assert caught.value.code == "verify.certificate"
    assert (await client.keys.certified(key.key)).certificate.shares_needed == 3


async def test_another_public_key_is_noticed_even_from_a_quorum(
    fabric: Fabric, known: tuple[HostileGateway, Client, CertifiedKey]
) -> None:
    """Whoever knows the key is not shown another one, whoever signs it."""
    gateway, client, key = known
    other = key.certificate.nodes[0].public_share.hex()
    served(gateway, fabric, ["node-1", "node-2", "node-3"], public_key=other)
    with pytest.raises(VerificationError) as caught:
        await client.keys.get(key.key)
    assert caught.value.code == "verify.public-key"


async def test_a_list_is_certified_by_the_present_boots(
    fabric: Fabric, known: tuple[HostileGateway, Client, CertifiedKey]
) -> None:
    """After nodes rebooted, a new client that lists keys gets signatures of the identities it can verify."""
    _, _, key = known
    for slot in ("node-2", "node-3", "node-4"):
        await fabric.stop_node(slot)
        await fabric.start_node(slot)
    await fabric.trusted(*fabric.slots)
    operator = OperatorCredentials.load(fabric.layout.operator_key)
    async with Client.connect(fabric.layout.cluster_file, url=fabric.url, credentials=operator) as newcomer:
        assert key.key in [item.key async for item in newcomer.keys.list()]
