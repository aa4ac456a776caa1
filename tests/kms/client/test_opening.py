"""Data keys, self-describing ciphertexts, openings in an enclave and rewrapping through client and command line."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import hpke as stock
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from attestation.envelope import b64url, b64url_decode
from attestation.errors import CodedError
from enclave.errors import CallerError
from enclave.group.ed25519 import ED25519
from enclave.handlers.decrypt import opened_info, partial_info
from enclave.ids import new_id
from kms.cli import main
from kms.client import Client, VerificationError
from kms.client import decryption as decryption_module
from kms.client.certified import CertifiedKey
from kms.client.documents import PolicyDocument
from tests.kms.client.hostile_gateway import HostileGateway, hostile_gateway
from tests.kms.cluster_fixture import RunningCluster

pytestmark = pytest.mark.cluster

SUITE = stock.Suite(stock.KEM.X25519, stock.KDF.HKDF_SHA256, stock.AEAD.AES_256_GCM)
PLAINTEXT = b"the launch code"


@pytest.fixture(scope="module")
def keys(cluster: RunningCluster) -> dict[str, CertifiedKey]:
    """A key and another one that its policy lets plaintexts move to."""

    async def make() -> dict[str, CertifiedKey]:
        async with cluster.as_operator() as client:
            there = await client.keys.create("there", usage="decrypt", policy=cluster.policy)
            policy = new_id("pol")
            rules = [
                {"name": "reading", "effect": "allow", "kinds": ["decrypt"]},
                {"name": "moving", "effect": "allow", "kinds": ["rewrap"], "rewrap_to": [there.key]},
            ]
            await put_policy(client, cluster, policy, rules)
            return {"here": await client.keys.create("here", usage="decrypt", policy=policy), "there": there}

    return cluster.run(make())


async def put_policy(client: Client, cluster: RunningCluster, policy: str, rules: list[dict[str, Any]]) -> None:
    """A policy signed by the operator."""
    document = PolicyDocument(
        cluster=client.trust.cluster_id, policy=policy, name="opening", version=1, rules=tuple(rules), issued_at=1
    )
    await client.documents.sign_and_put(document)


@pytest.fixture
async def hostile(cluster: RunningCluster) -> AsyncIterator[tuple[HostileGateway, Client]]:
    """A lying gateway and an agent's client that talks to it."""
    async with hostile_gateway(cluster.dev.url) as (gateway, url), cluster.as_agent(url=url) as client:
        yield gateway, client


async def test_data_keys_are_made_here(hostile: tuple[HostileGateway, Client], keys: dict[str, CertifiedKey]) -> None:
    """Nothing is sent to make one; its sealed form finds the key by itself."""
    gateway, client = hostile
    await client.keys.certified(keys["here"].key)
    asked = len(gateway.seen)
    made = await client.decryption.data_key(keys["here"].key, context={"file": "1"})
    assert len(gateway.seen) == asked
    assert len(made.plaintext) == 32
    assert str(made.plaintext) not in repr(made)
    assert await client.decryption.open(made.sealed, context={"file": "1"}) == made.plaintext


async def test_described_and_stock_forms_both_open(cluster: RunningCluster, keys: dict[str, CertifiedKey]) -> None:
    """`seal` adds a header, `encrypt` does not; another key's ciphertext is told apart before anything is sent."""
    key, other = keys["here"].key, keys["there"].key
    async with cluster.as_agent() as client:
        described, bare = await client.decryption.seal(key, PLAINTEXT), await client.decryption.encrypt(key, PLAINTEXT)
        assert await client.decryption.decrypt(key, described) == PLAINTEXT
        assert await client.decryption.decrypt(key, bare) == PLAINTEXT
        for action, code in (
            (lambda: client.decryption.decrypt(other, described), "decrypt.other-key"),
            (lambda: client.decryption.open(bare), "payload.ciphertext"),
            (lambda: client.decryption.open(described[:20]), "payload.ciphertext"),
        ):
            with pytest.raises(CallerError) as caught:
                await action()
            assert caught.value.code == code


async def test_opened_in_an_enclave(cluster: RunningCluster, keys: dict[str, CertifiedKey]) -> None:
    """The named node opens under the context; under another one nothing opens."""
    async with cluster.as_agent() as client:
        sealed = await client.decryption.seal(keys["here"].key, PLAINTEXT, context={"a": "b"})
        opened = await client.decryption.decrypt(
            keys["here"].key, sealed, context={"a": "b"}, opened_in_enclave="node-2"
        )
        assert opened == PLAINTEXT
        with pytest.raises(CodedError) as caught:
            await client.decryption.decrypt(keys["here"].key, sealed, context={"a": "c"}, opened_in_enclave="node-2")
        assert caught.value.code == "decrypt.failed"


async def test_a_gateway_cannot_answer_for_the_enclave(
    hostile: tuple[HostileGateway, Client], keys: dict[str, CertifiedKey], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It knows recipient and info, so it can seal a plaintext of its own; the node's signature is what it lacks."""
    gateway, client = hostile
    key = keys["here"].key
    sealed = await client.decryption.encrypt(key, PLAINTEXT)
    made: list[X25519PrivateKey] = []
    honest = X25519PrivateKey.generate

    class Watched:
        """Remembers the recipient, which the gateway reads in the request body."""

        @staticmethod
        def generate() -> X25519PrivateKey:
            made.append(honest())
            return made[-1]

    monkeypatch.setattr(decryption_module, "X25519PrivateKey", Watched)

    def forge(path: str, value: Any) -> Any:
        if path.endswith("/decrypt"):
            info = opened_info(bytes.fromhex(value["request_id"]), key, "node-2")
            value["sealed"] = b64url(SUITE.encrypt(b"forged", made[-1].public_key(), info=info))
        return value

    gateway.rewrite_json = forge
    with pytest.raises(VerificationError) as caught:
        await client.decryption.decrypt(key, sealed, opened_in_enclave="node-2")
    assert caught.value.code == "verify.opened"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("opened_by", "node-1"),
        ("boot_counter", 999),
        ("signature", b64url(bytes(64))),
        ("signature", "!"),
        ("sealed", 5),
    ],
)
async def test_changed_answers_of_an_enclave(
    hostile: tuple[HostileGateway, Client], keys: dict[str, CertifiedKey], name: str, value: Any
) -> None:
    """Who opened, in which boot, and the signature over it are all held against evidence."""
    gateway, client = hostile
    sealed = await client.decryption.encrypt(keys["here"].key, PLAINTEXT)

    def change(path: str, answer: Any) -> Any:
        if path.endswith("/decrypt"):
            answer[name] = value
        return answer

    gateway.rewrite_json = change
    with pytest.raises(VerificationError) as caught:
        await client.decryption.decrypt(keys["here"].key, sealed, opened_in_enclave="node-2")
    assert caught.value.code in ("verify.opened", "verify.malformed")


async def test_rewrap_gives_a_ciphertext_of_the_other_key(
    cluster: RunningCluster, keys: dict[str, CertifiedKey]
) -> None:
    """It opens under the other key and its context, by its own header."""
    async with cluster.as_agent() as client:
        sealed = await client.decryption.seal(keys["here"].key, PLAINTEXT, context={"a": "b"})
        moved = await client.decryption.rewrap(
            keys["here"].key, sealed, to=keys["there"].key, opened_in_enclave="node-4",
            context={"a": "b"}, to_context={"c": "d"},
        )  # fmt: skip
        assert await client.decryption.open(moved, context={"c": "d"}) == PLAINTEXT


async def test_a_substituted_rewrap_is_noticed(
    hostile: tuple[HostileGateway, Client], keys: dict[str, CertifiedKey]
) -> None:
    """Anyone can seal to the other key; only the enclave can sign that it did so for this request."""
    gateway, client = hostile
    sealed = await client.decryption.encrypt(keys["here"].key, PLAINTEXT)

    def substitute(path: str, answer: Any) -> Any:
        if path.endswith("/rewrap"):
            public = X25519PublicKey.from_public_bytes(keys["there"].public_key)
            answer["ciphertext"] = b64url(SUITE.encrypt(b"forged", public, info=b""))
        return answer

    gateway.rewrite_json = substitute
    with pytest.raises(VerificationError) as caught:
        await client.decryption.rewrap(keys["here"].key, sealed, to=keys["there"].key, opened_in_enclave="node-4")
    assert caught.value.code == "verify.opened"


async def test_a_gateway_cannot_frame_a_node(
    hostile: tuple[HostileGateway, Client], keys: dict[str, CertifiedKey], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong partial that the gateway put in is not its node's: the proven one is signed."""
    gateway, client = hostile
    key = keys["here"].key
    sealed = await client.decryption.encrypt(key, PLAINTEXT)
    made: list[X25519PrivateKey] = []
    honest = X25519PrivateKey.generate

    class Watched:
        """Remembers the recipient."""

        @staticmethod
        def generate() -> X25519PrivateKey:
            made.append(honest())
            return made[-1]

    monkeypatch.setattr(decryption_module, "X25519PrivateKey", Watched)

    def frame(path: str, answer: Any) -> Any:
        if path.endswith("/decrypt"):
            victim = answer["partials"][0]
            info = partial_info(bytes.fromhex(answer["request_id"]), key, victim["slot"])
            content = ED25519.base_mult_public(7) + (bytes(64) if "signature" in victim else b"")
            victim["sealed"] = b64url(SUITE.encrypt(content, made[-1].public_key(), info=info))
        return answer

    gateway.rewrite_json = frame
    with pytest.raises(VerificationError) as caught:
        await client.decryption.decrypt(key, sealed)
    assert caught.value.code == "verify.partial"


async def test_bad_ciphertexts_fail_after_proofs(cluster: RunningCluster, keys: dict[str, CertifiedKey]) -> None:
    """Every node proves itself right, so it is the ciphertext."""
    async with cluster.as_agent() as client:
        sealed = bytearray(await client.decryption.encrypt(keys["here"].key, PLAINTEXT))
        sealed[-1] ^= 1
        with pytest.raises(CallerError) as caught:
            await client.decryption.decrypt_checked(keys["here"].key, bytes(sealed))
    assert (caught.value.code, caught.value.hint) == ("decrypt.failed", None)


def test_command_line(cluster: RunningCluster, keys: dict[str, CertifiedKey], tmp_path: Path) -> None:
    """encrypt --described, rewrap, decrypt --opened-in-enclave."""
    environment = {
        "HOLDFAST_CLUSTER": str(cluster.dev.cluster_file),
        "HOLDFAST_AGENT_KEY": str(cluster.dev.layout.agent_key),
    }
    plain, sealed, moved = tmp_path / "plain", tmp_path / "sealed", tmp_path / "moved"
    plain.write_bytes(PLAINTEXT)
    here, there = keys["here"].key, keys["there"].key
    for arguments in (
        ["encrypt", here, str(plain), "--described", "-o", str(sealed)],
        ["rewrap", here, str(sealed), "--to", there, "--opened-in-enclave", "node-1", "-o", str(moved)],
    ):
        done = CliRunner().invoke(main, arguments, env=environment)
        assert done.exit_code == 0, done.output
    arguments = ["decrypt", there, str(moved), "--opened-in-enclave", "node-1", "--json"]
    shown = CliRunner().invoke(main, arguments, env=environment)
    assert shown.exit_code == 0, shown.output
    assert b64url_decode(json.loads(shown.stdout)["plaintext"]) == PLAINTEXT
