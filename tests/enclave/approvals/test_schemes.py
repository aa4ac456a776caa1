"""Approvals before every way of using a key: BIP-340, threshold ECDSA, reconstruct, decryption, rewrapping."""

from __future__ import annotations

from typing import Any

import pytest
from coincurve import PublicKeyXOnly
from eth_account import Account

from attestation.canonical import canonical_json
from attestation.envelope import b64url
from enclave.addresses import evm_address
from enclave.certificate import KeyCertificate
from enclave.group.schnorr import tagged_hash
from enclave.payload.sign import BIP340_MESSAGE_TAG, parse_sign_body, signed_transaction
from enclave.schnorr_key import signer_set, tweaks_of
from enclave.threshold import bip340
from enclave.threshold.bip340_session import aggregate_nonces
from enclave.threshold.hpke import seal
from enclave.wire.decrypt import PartialRequest
from enclave.wire.reconstruct import AssembleRequest, ReleaseRequest
from enclave.wire.signing import NoncesRequest, SchnorrSignRequest
from tests.enclave.approvals.kit import TERMS, WAITS, Asked, Person
from tests.enclave.node.codes import code_of
from tests.enclave.node.ecdsa_run import EcdsaRun
from tests.enclave.node.world import World, evm_body, message_body

QUORUM = ["node-1", "node-2", "node-3"]
RECIPIENT = b"\x09" + bytes(31)


def waiting(world: World, key: KeyCertificate, body: bytes, **claims: Any) -> Asked:
    """A parked request whose token has expired."""
    asked = Asked(world, key, body, **claims)
    asked.park()
    world.now += 100
    return asked


def test_bip340(world: World, people: list[Person]) -> None:
    """The signature verifies with libsecp256k1."""
    key = world.create_key(spec="secp256k1-schnorr", usage="generic")
    world.now += 1
    message = b"pay the supplier"
    asked = waiting(world, key, message_body(message))
    suite = NoncesRequest(suite="secp256k1-schnorr", count=1)
    nonces = {slot: world.call(slot, "nonces", suite).nonces[0] for slot in QUORUM}
    index = {node.slot: node.index for node in key.nodes}
    public = {index[slot]: nonce.hiding + nonce.binding for slot, nonce in nonces.items()}
    requests = {
        slot: SchnorrSignRequest(
            token=asked.text, body=asked.body, nonce=nonce.nonce, signers=QUORUM,
            aggregate_nonce=aggregate_nonces(public),
        )
        for slot, nonce in nonces.items()
    }  # fmt: skip
    assert code_of(world.call, "node-1", "schnorr-sign", requests["node-1"]) == "token.expired"
    asked.grant(*people[:2])
    hashed = tagged_hash(BIP340_MESSAGE_TAG, message)
    signature = bip340.aggregate(
        signers=signer_set(key, QUORUM),
        message=hashed,
        nonces=public,
        shares={index[slot]: world.call(slot, "schnorr-sign", requests[slot]).share for slot in QUORUM},
        tweaks=tweaks_of(key),
    )
    assert PublicKeyXOnly(key.public_key[-32:]).verify(signature, hashed)


@pytest.fixture
def ecdsa_key(world: World) -> KeyCertificate:
    """A threshold ECDSA key for Ethereum."""
    key = world.create_key(spec="secp256k1-ecdsa", usage="evm", custody="threshold", shares_needed=2)
    world.now += 1
    return key


def test_threshold_ecdsa(world: World, people: list[Person], ecdsa_key: KeyCertificate) -> None:
    """All four rounds under one grant; the transaction recovers to the key's address."""
    asked = waiting(world, ecdsa_key, evm_body())
    run = EcdsaRun(world, ecdsa_key, asked.body, token=asked.text)
    assert code_of(run.start) == "token.expired"
    asked.grant(*people[:2])
    signature, recovery_id = run.signature()
    payload = parse_sign_body(asked.body, "evm", "secp256k1-ecdsa")
    raw = signed_transaction(payload, signature[:32], signature[32:], recovery_id)
    assert Account.recover_transaction(raw) == evm_address(ecdsa_key.public_key)


@pytest.mark.parametrize("change", ["approver", "policy"])
def test_a_change_between_rounds_stops_the_release(
    world: World, people: list[Person], ecdsa_key: KeyCertificate, change: str
) -> None:
    """An approver revoked, or a policy replaced, after the first round."""
    asked = waiting(world, ecdsa_key, evm_body())
    asked.grant(*people[:2])
    run = EcdsaRun(world, ecdsa_key, asked.body, token=asked.text)
    run.up_to(3)
    if change == "approver":
        world.put(people[0].document(world, state="revoked", sequence=2))
    else:
        world.put(world.policy_document(WAITS, version=2))
    expected = "approval.approver" if change == "approver" else "approval.policy"
    assert code_of(world.call, "node-1", "ecdsa-round", run.following(4)) == expected


def test_reconstruct(world: World, people: list[Person]) -> None:
    """Senders and assembler each ask for the approvals themselves."""
    key = world.create_key(spec="secp256k1-ecdsa", usage="evm", custody="reconstruct", assemblers=["node-1"])
    world.now += 1
    asked = waiting(world, key, evm_body())
    release = ReleaseRequest(token=asked.text, body=asked.body, signers=QUORUM, assembler="node-1")
    world.open_channel("node-2", "node-1")
    assert code_of(world.call, "node-2", "release", release) == "token.expired"
    asked.grant(*people[:2], slots=["node-2", "node-3"])
    world.open_channel("node-3", "node-1")
    shares = [world.call(slot, "release", release) for slot in ("node-2", "node-3")]
    assemble = AssembleRequest(token=asked.text, body=asked.body, signers=QUORUM, shares=shares)
    assert code_of(world.call, "node-1", "assemble", assemble) == "token.expired"
    asked.grant(*people[:2], slots=["node-1"])
    reply = world.call("node-1", "assemble", assemble)
    payload = parse_sign_body(asked.body, "evm", "secp256k1-ecdsa")
    raw = signed_transaction(payload, reply.signature[:32], reply.signature[32:], reply.recovery_id)
    assert Account.recover_transaction(raw) == evm_address(key.public_key)


@pytest.fixture
def reading_key(world: World) -> KeyCertificate:
    """A key that decrypts."""
    key = world.create_key(spec="hpke-x25519", usage="decrypt")
    world.now += 1
    return key


def decrypt_body(key: KeyCertificate, **members: Any) -> bytes:
    """A request to open something sealed to the key."""
    sealed = seal(key.public_key, b"the plans", b"")
    return canonical_json({"ciphertext": b64url(sealed)} | members)


def test_decryption(world: World, people: list[Person], reading_key: KeyCertificate) -> None:
    """A sealed partial leaves only with approvals, once the minute is over not again."""
    asked = waiting(world, reading_key, decrypt_body(reading_key, recipient=b64url(RECIPIENT)), act="decrypt")
    request = PartialRequest(token=asked.text, body=asked.body, signers=QUORUM)
    assert code_of(world.call, "node-1", "partial", request) == "token.expired"
    asked.grant(*people[:2])
    assert world.call("node-1", "partial", request).sealed
    world.now += 61
    assert code_of(asked.grant, *people[:2], slots=["node-1"]) == "approval.used"


def test_a_plaintext_for_the_gateway_never_waits(world: World, reading_key: KeyCertificate) -> None:
    """Without a recipient nothing is parked: the rule could not allow it."""
    asked = Asked(world, reading_key, decrypt_body(reading_key), act="decrypt")
    assert code_of(asked.park) == "policy.denied"


def test_amounts_decide(world: World, people: list[Person], ecdsa_key: KeyCertificate) -> None:
    """Up to the amount a living token signs at once; one wei more waits."""
    fee = 21000 * 10**9
    above = {"asset": {"kind": "evm-native", "chain_id": 1}, "amount": str(500 + fee)}
    rule = WAITS | {"approvals": TERMS | {"above": above}}
    world.put(world.policy_document(rule, version=2))
    assert EcdsaRun(world, ecdsa_key, evm_body(value="500")).signature()
    body = evm_body(value="501", nonce=1)
    assert code_of(EcdsaRun(world, ecdsa_key, body).start) == "approval.required"
    asked = waiting(world, ecdsa_key, body)
    asked.grant(*people[:2])
    assert EcdsaRun(world, ecdsa_key, body, token=asked.text).signature()


def test_the_nonce_guard_counts_at_execution(world: World, people: list[Person], ecdsa_key: KeyCertificate) -> None:
    """Two transactions with one nonce are both approved; the first one executed is the only one."""
    pair = [Asked(world, ecdsa_key, evm_body(value=value)) for value in ("1", "2")]
    for asked in pair:
        asked.park()
        asked.grant(*people[:2])
    assert EcdsaRun(world, ecdsa_key, pair[1].body, token=pair[1].text).signature()
    late = EcdsaRun(world, ecdsa_key, pair[0].body, token=pair[0].text)
    assert code_of(late.start) == "nonce-guard.used"


def test_only_signing_and_decrypting_wait(world: World, people: list[Person], ecdsa_key: KeyCertificate) -> None:
    """A token for something else is not parked."""
    asked = Asked(world, ecdsa_key, evm_body(), act="verify")
    assert code_of(asked.park) == "approval.act"
    assert people
