"""A malicious gateway in front of honest nodes: every manipulation is noticed before anything is returned."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from attestation.canonical import canonical_json
from attestation.envelope import b64url, b64url_decode
from attestation.errors import CodedError
from enclave.wire.attestation import Presentation
from enclave.wire.message import decode_as, encode
from kms.client import Client, VerificationError
from kms.client.certified import CertifiedKey
from kms.client.errors import ClientError
from kms.dev.trust_files import restate
from tests.kms.client.hostile_gateway import HostileGateway, hostile_gateway
from tests.kms.cluster_fixture import RunningCluster

pytestmark = pytest.mark.cluster

OTHER_ADDRESS = "0x000000000000000000000000000000000000dEaD"

TRANSACTION = {
    "type": 2,
    "chain_id": 1,
    "nonce": 0,
    "max_fee_per_gas": "30000000000",
    "max_priority_fee_per_gas": "1000000000",
    "gas": "21000",
    "to": OTHER_ADDRESS,
    "value": "1000",
    "data": "0x",
    "access_list": [],
}


@pytest.fixture(scope="module")
def keys(cluster: RunningCluster) -> dict[str, CertifiedKey]:
    """Two EVM keys, an Ed25519 key and a decryption key, made through the honest gateway."""

    async def make() -> dict[str, CertifiedKey]:
        async with cluster.as_operator() as client:
            return {
                name: await client.keys.create(name, usage=usage, policy=cluster.policy)
                for name, usage in (("one", "evm"), ("two", "evm"), ("three", "generic"), ("four", "decrypt"))
            }

    return cluster.run(make())


@pytest.fixture
async def hostile(cluster: RunningCluster) -> AsyncIterator[tuple[HostileGateway, Client]]:
    """A lying gateway and an agent's client that talks to it."""
    async with hostile_gateway(cluster.dev.url) as (gateway, url), cluster.as_agent(url=url) as client:
        yield gateway, client


def _change(path_end: str, change: Callable[[dict[str, Any]], None]) -> Callable[[str, Any], Any]:
    """A rewrite of answers whose path ends so."""

    def rewrite(path: str, value: Any) -> Any:
        if path.endswith(path_end):
            change(value)
        return value

    return rewrite


def _certificate_body(record: dict[str, Any], **changes: Any) -> None:
    """Change the body of a record's certificate, keeping its signatures."""
    body = json.loads(b64url_decode(record["certificate"]["body"]))
    record["certificate"]["body"] = b64url(canonical_json(body | changes))


async def test_honest_answers_pass_through(
    hostile: tuple[HostileGateway, Client], keys: dict[str, CertifiedKey]
) -> None:
    """Without a manipulation the same client accepts everything through the same proxy."""
    gateway, client = hostile
    found = await client.keys.get(keys["one"].key)
    assert found.public_key == keys["one"].public_key
    signed = await client.sign.evm_transaction(found.key, TRANSACTION)
    assert signed.raw_transaction is not None
    assert any(path.endswith("/evidence") for _, path, _ in gateway.seen)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda record: record.update(public_key="02" + "11" * 32), "verify.public-key"),
        (lambda record: record["addresses"].update(evm=OTHER_ADDRESS), "verify.address"),
        (lambda record: record.update(policy="pol_" + "a" * 26), "verify.record"),
        (lambda record: record.update(key="key_" + "a" * 26), "verify.record"),
        (lambda record: record.update(shares_needed=3), "verify.record"),
        (lambda record: record.update(privacy_threshold=3), "verify.record"),
        (lambda record: _certificate_body(record, policy="pol_" + "a" * 26), "verify.certificate"),
        (lambda record: _certificate_body(record, usage="generic"), "verify.certificate"),
        (lambda record: record.pop("certificate"), "verify.malformed"),
        (lambda record: record["certificate"].update(signatures=[]), "verify.certificate"),
        (
            lambda record: record["certificate"].update(signatures=record["certificate"]["signatures"][:1]),
            "verify.certificate",
        ),
        (
            lambda record: record["certificate"].update(signatures=record["certificate"]["signatures"][:1] * 5),
            "verify.certificate",
        ),
    ],
    ids=[
        "public-key",
        "address",
        "policy",
        "key-id",
        "threshold",
        "privacy",
        "certified-policy",
        "certified-usage",
        "no-certificate",
        "no-signatures",
        "one-signature",
        "one-signature-five-times",
    ],
)
async def test_changed_key_records_are_noticed(
    hostile: tuple[HostileGateway, Client],
    keys: dict[str, CertifiedKey],
    change: Callable[[dict[str, Any]], None],
    code: str,
) -> None:
    """Each change to a key record ends in a verification error with its own code."""
    gateway, client = hostile
    gateway.rewrite_json = _change(f"/v1/keys/{keys['one'].key}", change)
    with pytest.raises(VerificationError) as caught:
        await client.keys.get(keys["one"].key)
    assert caught.value.code == code


async def test_three_signatures_are_enough(
    hostile: tuple[HostileGateway, Client], keys: dict[str, CertifiedKey]
) -> None:
    """A certificate with exactly T of its five signatures counts: the boundary of the test above."""
    gateway, client = hostile
    gateway.rewrite_json = _change(
        f"/v1/keys/{keys['one'].key}",
        lambda record: record["certificate"].update(signatures=record["certificate"]["signatures"][:3]),
    )
    assert len((await client.keys.get(keys["one"].key)).signers) == 3


async def test_only_verified_signers_are_named(
    hostile: tuple[HostileGateway, Client], keys: dict[str, CertifiedKey]
) -> None:
    """A slot whose signature does not verify is not listed among those who certified the key."""
    gateway, client = hostile

    def spoil(record: dict[str, Any]) -> None:
        record["certificate"]["signatures"][4]["signature"] = b64url(bytes(64))

    gateway.rewrite_json = _change(f"/v1/keys/{keys['one'].key}", spoil)
    assert (await client.keys.get(keys["one"].key)).signers == ("node-1", "node-2", "node-3", "node-4")


async def test_another_keys_record_is_noticed(
    hostile: tuple[HostileGateway, Client], keys: dict[str, CertifiedKey]
) -> None:
    """A genuine record of another key does not pass for the one that was asked for."""
    gateway, client = hostile
    other: dict[str, Any] = {}

    def swap(path: str, value: Any) -> Any:
        if path.endswith(keys["two"].key):
            other.update(value)
        return other if path.endswith(keys["one"].key) else value

    gateway.rewrite_json = swap
    await client.keys.get(keys["two"].key)
    with pytest.raises(VerificationError) as caught:
        await client.keys.get(keys["one"].key)
    assert caught.value.code == "verify.resource"


async def test_created_key_must_be_the_one_ordered(cluster: RunningCluster, keys: dict[str, CertifiedKey]) -> None:
    """Answering an order with another key's genuine certificate is noticed."""
    async with hostile_gateway(cluster.dev.url) as (gateway, url), cluster.as_operator(url=url) as client:
        genuine: dict[str, Any] = {}

        def swap(path: str, value: Any) -> Any:
            if path.endswith(keys["two"].key):
                genuine.update(value)
            return genuine if path == "/v1/keys" else value

        gateway.rewrite_json = swap
        await client.keys.get(keys["two"].key)
        with pytest.raises(VerificationError) as caught:
            await client.keys.create("fresh-wallet", usage="evm", policy=cluster.policy)
        assert caught.value.code == "verify.order"


async def test_another_cluster_is_noticed(cluster: RunningCluster) -> None:
    """A client that pinned another cluster id refuses this cluster's roster."""
    pinned = replace(cluster.file.trust, cluster_id=bytes(32))
    async with Client.connect(url=cluster.dev.url, trust=pinned) as client:
        with pytest.raises(VerificationError) as caught:
            await client.verify()
    assert caught.value.code == "verify.cluster"


async def test_simulated_root_needs_its_own_pin(cluster: RunningCluster) -> None:
    """The cluster id alone does not make a client accept simulated hardware."""
    async with Client.connect(url=cluster.dev.url, cluster_id=cluster.file.trust.cluster_id.hex()) as client:
        with pytest.raises(VerificationError) as caught:
            await client.verify()
    assert caught.value.code == "verify.simulated-root"


async def test_changed_roster_is_noticed(hostile: tuple[HostileGateway, Client]) -> None:
    """A roster with a changed payload fails its signatures."""
    gateway, client = hostile

    def change(value: dict[str, Any]) -> None:
        payload = json.loads(b64url_decode(value["payload"]))
        payload["slots"][0]["platform"] = "11" * 32
        value["payload"] = b64url(canonical_json(payload))

    gateway.rewrite_json = _change("/v1/roster", change)
    with pytest.raises(VerificationError) as caught:
        await client.verify()
    assert caught.value.code == "verify.roster"


async def test_old_evidence_is_noticed(hostile: tuple[HostileGateway, Client]) -> None:
    """Evidence recorded earlier does not answer this client's fresh nonces."""
    gateway, client = hostile
    recorded: dict[str, bytes] = {}

    def replay(path: str, content: bytes) -> bytes:
        return recorded.setdefault(path, content) if path.endswith("/evidence") else content

    gateway.rewrite_bytes = replay
    await client.look()
    view = await client.look()
    assert {check.error.code for check in view.nodes.values() if check.error} == {"presentation.nonce"}
    with pytest.raises(VerificationError) as caught:
        await client.verify()
    assert caught.value.code == "verify.no-node"


async def test_swapped_identity_key_is_noticed(hostile: tuple[HostileGateway, Client]) -> None:
    """An identity key of the gateway's own in place of a node's does not fit that node's evidence."""
    gateway, client = hostile

    def change(value: dict[str, Any]) -> None:
        presentation = decode_as(Presentation, b64url_decode(value["presentation"]))
        identity = type(presentation.identity)(
            **{name: getattr(presentation.identity, name) for name in presentation.identity.__struct_fields__}
            | {"identity_key": bytes(31) + b"\x01"}
        )
        forged = Presentation(identity=identity, nonces=presentation.nonces, evidence=presentation.evidence)
        value["presentation"] = b64url(encode(forged))

    gateway.rewrite_json = _change("/evidence", change)
    view = await client.look()
    assert {check.error.code for check in view.nodes.values() if check.error} == {"presentation.report-data"}


async def test_one_node_cannot_stand_for_all(hostile: tuple[HostileGateway, Client]) -> None:
    """Genuine evidence of one node under the other slots' names counts for that one node only."""
    gateway, client = hostile
    gateway.redirect = lambda path: "/v1/nodes/node-1/evidence" if path.endswith("/evidence") else path
    view = await client.look()
    assert [slot for slot, check in view.nodes.items() if check.standing] == ["node-1"]
    assert {check.error.code for check in view.nodes.values() if check.error} == {"verify.slot"}


async def test_older_registry_is_noticed(cluster: RunningCluster) -> None:
    """A registry snapshot older than one this client saw is refused, so a revocation cannot be taken back."""
    async with hostile_gateway(cluster.dev.url) as (gateway, url), cluster.as_agent(url=url) as client:
        old = await client.caller.transport.send("GET", "/v1/registry")
        restate(cluster.dev.registry, cluster.dev.layout)
        while await client.caller.transport.send("GET", "/v1/registry") == old:
            await asyncio.sleep(0.1)
        await client.verify()
        gateway.rewrite_bytes = lambda path, content: old if path == "/v1/registry" else content
        with pytest.raises(VerificationError) as caught:
            await client.verify(again=True)
    assert caught.value.code == "verify.registry"


@pytest.mark.parametrize("name", ["one", "three"])
async def test_changed_signatures_are_noticed(
    hostile: tuple[HostileGateway, Client], keys: dict[str, CertifiedKey], name: str
) -> None:
    """A signature with one bit changed is never returned."""
    gateway, client = hostile

    def change(value: dict[str, Any]) -> None:
        signature = value["signature"]
        if "ed25519" in signature:
            raw = bytearray(b64url_decode(signature["ed25519"]))
            raw[5] ^= 1
            signature["ed25519"] = b64url(bytes(raw))
        else:
            signature["s"] = f"{int(signature['s'].removeprefix('0x'), 16) ^ 1:064x}"

    gateway.rewrite_json = _change("/sign", change)
    kind = client.sign.eip191 if name == "one" else client.sign.message
    with pytest.raises(VerificationError) as caught:
        await kind(keys[name].key, b"pay nobody")
    assert caught.value.code == "verify.signature"


async def test_signature_of_another_request_is_noticed(
    hostile: tuple[HostileGateway, Client], keys: dict[str, CertifiedKey]
) -> None:
    """A genuine signature of the same key over an earlier request does not pass for this one."""
    gateway, client = hostile
    recorded: list[Any] = []

    def replay(path: str, value: Any) -> Any:
        if not path.endswith("/sign"):
            return value
        recorded.append(value)
        return recorded[0]

    gateway.rewrite_json = replay
    await client.sign.message(keys["three"].key, b"first")
    with pytest.raises(VerificationError) as caught:
        await client.sign.message(keys["three"].key, b"second")
    assert caught.value.code == "verify.signature"


async def test_changed_raw_transaction_is_noticed(
    hostile: tuple[HostileGateway, Client], keys: dict[str, CertifiedKey]
) -> None:
    """A raw transaction other than the signed one is not handed to a caller who would broadcast it."""
    gateway, client = hostile

    def change(value: dict[str, Any]) -> None:
        holder = value if "raw_transaction" in value else value["signature"]
        holder["raw_transaction"] = holder["raw_transaction"][:-2] + "ff"

    gateway.rewrite_json = _change("/sign", change)
    with pytest.raises(VerificationError) as caught:
        await client.sign.evm_transaction(keys["one"].key, TRANSACTION)
    assert caught.value.code == "verify.transaction"


async def test_changed_partial_results_are_noticed(
    hostile: tuple[HostileGateway, Client], keys: dict[str, CertifiedKey]
) -> None:
    """A partial decryption that is not sealed for this request is refused."""
    gateway, client = hostile
    sealed = await client.decryption.encrypt(keys["four"].key, b"secret")

    def swap(value: dict[str, Any]) -> None:
        partials = value["partials"]
        partials[0]["sealed"], partials[1]["sealed"] = partials[1]["sealed"], partials[0]["sealed"]

    gateway.rewrite_json = _change("/decrypt", swap)
    with pytest.raises(VerificationError) as caught:
        await client.decryption.decrypt(keys["four"].key, sealed)
    assert caught.value.code == "verify.partial"


async def test_too_few_partial_results_are_noticed(
    hostile: tuple[HostileGateway, Client], keys: dict[str, CertifiedKey]
) -> None:
    """Fewer partial results than the key needs end in a clear error, not in wrong plaintext."""
    gateway, client = hostile
    sealed = await client.decryption.encrypt(keys["four"].key, b"secret")
    gateway.rewrite_json = _change("/decrypt", lambda value: value["partials"].pop())
    with pytest.raises(VerificationError) as caught:
        await client.decryption.decrypt(keys["four"].key, sealed)
    assert caught.value.code == "verify.partial"


async def test_plaintext_never_passes_the_gateway(
    hostile: tuple[HostileGateway, Client], keys: dict[str, CertifiedKey]
) -> None:
    """Neither answer of an encrypt-decrypt round holds the plaintext, in any usual encoding."""
    gateway, client = hostile
    secret = b"correct horse battery staple"
    sealed = await client.decryption.encrypt(keys["four"].key, secret, context={"purpose": "test"})
    assert await client.decryption.decrypt(keys["four"].key, sealed, context={"purpose": "test"}) == secret
    everything = b"".join(content for _, _, content in gateway.seen)
    for form in (secret, secret.hex().encode(), base64.b64encode(secret), b64url(secret).encode()):
        assert form not in everything


async def test_rewritten_policy_is_noticed(cluster: RunningCluster, hostile: tuple[HostileGateway, Client]) -> None:
    """A policy document with changed rules fails its operator's signature."""
    gateway, client = hostile

    def change(value: dict[str, Any]) -> None:
        payload = json.loads(b64url_decode(value["document"]["payload"]))
        payload["rules"][0]["evm"]["value_max"] = "9" * 30
        value["document"]["payload"] = b64url(canonical_json(payload))

    gateway.rewrite_json = _change(cluster.policy, change)
    with pytest.raises(CodedError) as caught:
        await client.policies.get(cluster.policy, roster=await client.roster())
    assert caught.value.code == "envelope.signatures"


async def test_skipping_attestation_is_visible(cluster: RunningCluster, keys: dict[str, CertifiedKey]) -> None:
    """With insecure_skip_attestation no evidence is asked for, and the result says so."""
    async with (
        hostile_gateway(cluster.dev.url) as (gateway, url),
        cluster.as_agent(url=url, insecure_skip_attestation=True) as client,
    ):
        found = await client.keys.get(keys["one"].key)
        assert not found.attested
        assert not any(path.endswith("/evidence") for _, path, _ in gateway.seen)
    assert keys["one"].attested


def test_every_client_error_says_whether_to_retry() -> None:
    """Each error class of the client states whether trying again may help."""
    classes = [ClientError, *ClientError.__subclasses__()]
    assert all(isinstance(kind.unavailable, bool) for kind in classes)
