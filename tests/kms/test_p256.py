"""P-256 keys through HTTP and the client: made, used, shown in the forms other tools read."""

from __future__ import annotations

from typing import Any

import jwt
import msgspec
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from attestation.envelope import b64url, b64url_decode
from enclave.certificate import KeyCertificate
from enclave.derived_key import derived_key_bytes
from enclave.group.ed25519 import ED25519
from enclave.wire.documents import CertificateSignature
from enclave.wire.message import Message
from enclave.wire.reconstruct import AssembleReply
from kms.client import AgentCredentials, Client, OperatorCredentials
from kms.client.errors import ClientError
from kms.client.trust import TrustAnchors
from tests.kms.fabric import Fabric

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def record(fabric: Fabric) -> dict[str, Any]:
    """A P-256 key with two assemblers."""
    return await fabric.create_key(spec="p256-ecdsa", usage="generic", custody="reconstruct")


def connect(fabric: Fabric, *, as_agent: bool) -> Client:
    """A client of the fabric's gateway."""
    trust = TrustAnchors(cluster_id=fabric.roster.cluster_id, simulated_roots=fabric.roster.simulated_roots)
    credentials = (
        AgentCredentials(issuer=fabric.agent_id, key=fabric.agent)
        if as_agent
        else OperatorCredentials(issuer=fabric.operator_id, key=fabric.operator)
    )
    return Client.connect(url=fabric.url, trust=trust, credentials=credentials)


async def public_key(fabric: Fabric, record: dict[str, Any], form: str) -> Any:
    """The key in one of its forms."""
    token = fabric.operator_token("keys.get", record["key"], b"")
    status, answer = await fabric.ask("GET", f"/v1/keys/{record['key']}/public-key?format={form}", token=token)
    assert status == 200, answer
    return answer["public_key"]


async def test_openssl_verifies_under_the_shown_key(fabric: Fabric, record: dict[str, Any]) -> None:
    """The DER signature over a message, the key as PEM; there is no recovery id to show."""
    status, answer = await fabric.sign(record, b"hello")
    assert status == 200, answer
    assert "y_parity" not in answer["signature"]
    public = load_pem_public_key((await public_key(fabric, record, "pem")).encode())
    assert isinstance(public, ec.EllipticCurvePublicKey)
    public.verify(b64url_decode(answer["signature"]["der"]), b"hello", ec.ECDSA(hashes.SHA256()))


async def test_a_jws_library_reads_the_key(fabric: Fabric, record: dict[str, Any]) -> None:
    """PyJWT verifies r || s, as tokens have it, under the key as JWK."""
    async with connect(fabric, as_agent=True) as client:
        signed = await client.sign.message(record["key"], b"hello")
    assert signed.p256 is not None
    key = jwt.PyJWK(await public_key(fabric, record, "jwk") | {"alg": "ES256"})
    assert key.Algorithm.verify(b"hello", key.key, signed.p256.compact)
    assert not key.Algorithm.verify(b"other", key.key, signed.p256.compact)


async def test_client_makes_and_lists_it(fabric: Fabric) -> None:
    """The public key is what attested assemblers state, and verified before it is shown."""
    async with connect(fabric, as_agent=False) as client:
        made = await client.keys.create("signer", usage="generic", spec="p256-ecdsa", policy=fabric.policy_id)
        assert (made.certificate.custody, made.certificate.privacy_threshold, len(made.public_key)) == (
            "reconstruct", 1, 33,
        )  # fmt: skip
        assert made.key in [key.key async for key in client.keys.list()]


async def test_verify_tells_right_from_wrong(fabric: Fabric, record: dict[str, Any]) -> None:
    """The endpoint's own check, for the right and another message."""
    _, answer = await fabric.sign(record, b"hello")
    found = []
    for message in (b"hello", b"other"):
        payload = {"kind": "message", "message": b64url(message)}
        value = {"payload": payload, "signature": answer["signature"]}
        found.append((await fabric.use(record, "verify", value))[1]["valid"])
    assert found == [True, False]


async def test_a_lying_assembler_is_replaced(fabric: Fabric, record: dict[str, Any]) -> None:
    """A signature that does not verify never leaves the gateway."""

    def lie(_verb: str, _request: Message, reply: Message) -> Message:
        return msgspec.structs.replace(reply, signature=bytes(64)) if isinstance(reply, AssembleReply) else reply

    fabric.corrupt("node-1", lie)
    try:
        for _ in range(4):
            status, answer = await fabric.sign(record, b"hello")
            assert status == 200, answer
    finally:
        fabric.corrupt("node-1", None)


async def test_one_liar_among_the_holders_does_not_spoil_a_new_key(
    fabric: Fabric, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A holder that seals another scalar to the assemblers is named by them, and others are asked."""
    channels = fabric.nodes["node-4"].channels
    honest = channels.seal

    def lying(connection: int, receiver: Any, _share: Any, *rest: Any) -> Any:
        return honest(connection, receiver, ED25519.random_scalar(), *rest)

    monkeypatch.setattr(channels, "seal", lying)
    for number in range(4):
        made = await fabric.create_key(spec="p256-ecdsa", custody="reconstruct", name=f"spoilt-{number}")
        stated = [item["slot"] for item in made["certificate"]["signatures"] if "derived_key" in item]
        assert stated == ["node-1", "node-2"]


async def test_contradicting_assemblers_make_no_key(fabric: Fabric) -> None:
    """Nobody is shown one of two public keys."""
    other = bytes.fromhex("036b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296")

    def lie(verb: str, _request: Message, reply: Message) -> Message:
        if verb == "certificate" and isinstance(reply, CertificateSignature):
            return msgspec.structs.replace(reply, derived_key=other)
        return reply

    fabric.corrupt("node-1", lie)
    try:
        body = fabric.order(spec="p256-ecdsa", custody="reconstruct", name="contradicted")
        token = fabric.operator_token("keys.create", "*", body)
        status, answer = await fabric.ask("POST", "/v1/keys", token=token, body=body)
        assert (status, answer["code"]) == (502, "certificate.derived-key")
        async with connect(fabric, as_agent=False) as client:
            assert "contradicted" not in [key.certificate.name async for key in client.keys.list()]
    finally:
        fabric.corrupt("node-1", None)


async def test_a_changed_statement_is_noticed(
    fabric: Fabric, record: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway cannot put its own public key beside the certificate."""
    async with connect(fabric, as_agent=True) as client:
        honest = client.caller.send

        async def lying(method: str, path: str, **options: Any) -> Any:
            answer = await honest(method, path, **options)
            for item in answer["certificate"]["signatures"]:
                if "derived_key" in item:
                    item["derived_key"] = b64url(b"\2" + bytes(31) + b"\5")
            return answer

        monkeypatch.setattr(client.caller, "send", lying)
        with pytest.raises(ClientError) as caught:
            await client.keys.get(record["key"])
        assert caught.value.code == "verify.certificate"


async def test_a_restated_key_is_noticed_by_who_knows_it(
    fabric: Fabric, record: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken assembler may state another key later; a client that has seen the key refuses it, a new one cannot.

    The second half is the limit that the specification states: custody `reconstruct` trusts each named assembler.
    """
    other = bytes.fromhex("036b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296")
    identity, boot = fabric.nodes["node-1"].identity, fabric.nodes["node-1"].identity.public.boot_counter

    def restated(answer: Any) -> Any:
        signatures = answer["certificate"]["signatures"]
        certificate = KeyCertificate.parse(b64url_decode(answer["certificate"]["body"]))
        for item in signatures:
            item.pop("derived_key", None)
            item.pop("derived_signature", None)
        (first,) = (item for item in signatures if item["slot"] == "node-1")
        statement = derived_key_bytes(certificate, slot="node-1", boot_counter=boot, public_key=other)
        first |= {"derived_key": b64url(other), "derived_signature": b64url(identity.sign(statement))}
        return answer | {"public_key": other.hex()}

    async with connect(fabric, as_agent=True) as knowing, connect(fabric, as_agent=True) as new:
        assert (await knowing.keys.get(record["key"])).public_key != other
        for client in (knowing, new):
            honest = client.caller.send

            async def lying(method: str, path: str, honest: Any = honest, **options: Any) -> Any:
                return restated(await honest(method, path, **options))

            monkeypatch.setattr(client.caller, "send", lying)
        with pytest.raises(ClientError) as caught:
            await knowing.keys.get(record["key"])
        assert caught.value.code == "verify.public-key"
        assert (await new.keys.get(record["key"])).public_key == other


@pytest.mark.parametrize("changes", [{"custody": "threshold"}, {"usage": "evm"}, {"usage": "solana"}])
async def test_orders_that_do_not_exist(fabric: Fabric, changes: dict[str, Any]) -> None:
    """P-256 is for generic use and reconstructed only."""
    body = fabric.order(**({"spec": "p256-ecdsa", "custody": "reconstruct"} | changes))
    token = fabric.operator_token("keys.create", "*", body)
    status, answer = await fabric.ask("POST", "/v1/keys", token=token, body=body)
    assert (status, answer["code"]) == (422, f"order.{next(iter(changes))}")
