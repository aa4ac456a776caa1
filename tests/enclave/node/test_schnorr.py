"""BIP-340 at the nodes: ordinary signatures under the right key, and nonces that serve once."""

from __future__ import annotations

from typing import Any

import coincurve
import msgspec
import pytest

from attestation.canonical import canonical_json
from attestation.envelope import b64url
from enclave.certificate import KeyCertificate
from enclave.schnorr_key import signer_set, tweaks_of, verification_key
from enclave.threshold import bip340
from enclave.wire.signing import NonceCommitment, NoncesRequest, SchnorrSignRequest
from kms.dev.demo_steps import schnorr as reference
from tests.enclave.node.codes import code_of
from tests.enclave.node.world import ALLOW_MESSAGES, World, message_body

SIGNERS = ["node-1", "node-2", "node-3"]
SUITE = "secp256k1-schnorr"
SIGHASH = bytes(range(32))
BLIND = {"name": "blind", "effect": "allow", "kinds": ["digest"], "digest": "allow"}


def make_key(world: World, usage: str, **changes: Any) -> KeyCertificate:
    """A 3-of-5 BIP-340 key."""
    certificate = world.create_key(spec=SUITE, usage=usage, **changes)
    world.now += 1
    return certificate


def nonces(world: World, slots: list[str]) -> dict[str, NonceCommitment]:
    """A fresh nonce of each signer."""
    return {slot: world.call(slot, "nonces", NoncesRequest(suite=SUITE, count=1)).nonces[0] for slot in slots}


class Asked:
    """One request to sign, ready for each signer."""

    def __init__(self, world: World, key: KeyCertificate, body: bytes, slots: list[str] | None = None) -> None:
        self.world, self.key = world, key
        self.slots = slots or SIGNERS
        index = {node.slot: node.index for node in key.nodes}
        self.index = index
        taken = nonces(world, self.slots)
        self.public = {index[slot]: nonce.hiding + nonce.binding for slot, nonce in taken.items()}
        token = world.token(key, body)
        self.requests = {
            slot: SchnorrSignRequest(
                token=token,
                body=body,
                nonce=nonce.nonce,
                signers=self.slots,
                aggregate_nonce=bip340.aggregate_nonces(self.public),
            )
            for slot, nonce in taken.items()
        }

    def signature(self, message: bytes) -> bytes:
        """All shares, aggregated."""
        shares = {
            self.index[slot]: self.world.call(slot, "schnorr-sign", item).share for slot, item in self.requests.items()
        }
        return bip340.aggregate(
            signers=signer_set(self.key, self.slots),
            message=message,
            nonces=self.public,
            shares=shares,
            tweaks=tweaks_of(self.key),
        )


def sighash_body(sighash: bytes = SIGHASH) -> bytes:
    """The body of a request to sign the hash of a Taproot spend."""
    return canonical_json({"kind": "bitcoin_sighash", "sighash": b64url(sighash)})


def holds(xonly: bytes, signature: bytes, message: bytes) -> bool:
    """libsecp256k1 and plain integers agree that the signature holds."""
    found = bool(coincurve.PublicKeyXOnly(xonly).verify(signature, message))
    assert reference.verify(xonly, signature, message) is found
    return found


@pytest.mark.parametrize("slots", [SIGNERS, ["node-2", "node-4", "node-5"]])
def test_a_message_is_signed_under_its_own_tag(ready: World, slots: list[str]) -> None:
    """A generic key signs the tagged hash of a message under itself, and never the bare message."""
    key = make_key(ready, "generic")
    message = bytes(32)
    expected = reference.tagged("Holdfast/message", message)
    signature = Asked(ready, key, message_body(message), slots).signature(expected)
    assert holds(key.public_key[1:], signature, expected)
    assert not holds(key.public_key[1:], signature, message)


def test_a_bitcoin_key_signs_under_its_output_key(world: World) -> None:
    """Sighash and message hold under the Taproot output key of BIP-341, not under the certified internal key."""
    world.ready(ALLOW_MESSAGES, BLIND)
    seen = set()
    for number in range(32):
        key = make_key(world, "bitcoin", session=bytes([number]) * 32)
        seen.add(key.public_key[0])
        tweak = int.from_bytes(reference.tagged("TapTweak", key.public_key[1:]), "big")
        output = coincurve.PublicKeyXOnly(key.public_key[1:])
        output.tweak_add(tweak.to_bytes(32, "big"))
        assert verification_key(key) == output.format()
        signature = Asked(world, key, sighash_body()).signature(SIGHASH)
        assert holds(output.format(), signature, SIGHASH)
        assert not holds(key.public_key[1:], signature, SIGHASH)
        expected = reference.tagged("Holdfast/message", b"hello")
        assert holds(output.format(), Asked(world, key, message_body(b"hello")).signature(expected), expected)
        if seen == {2, 3}:
            break
    assert seen == {2, 3}, "both parities of the internal key are exercised"


def test_a_sighash_is_a_digest_to_policy(ready: World) -> None:
    """Without blind signing allowed a sighash is refused, and a rule that denies digests denies it."""
    key = make_key(ready, "bitcoin")
    asked = Asked(ready, key, sighash_body())
    assert code_of(ready.call, "node-1", "schnorr-sign", asked.requests["node-1"]) == "policy.denied"
    deny = {"name": "never-blind", "effect": "deny", "kinds": ["digest"]}
    ready.put(ready.policy_document(BLIND, deny, version=2))
    assert code_of(ready.call, "node-1", "schnorr-sign", asked.requests["node-1"]) == "policy.denied"
    ready.put(ready.policy_document(BLIND, version=3))
    assert asked.signature(SIGHASH)


def test_a_nonce_serves_once(ready: World) -> None:
    """A second request with the same nonce finds nothing, even after a failure."""
    key = make_key(ready, "generic")
    request = Asked(ready, key, message_body(b"x")).requests["node-1"]
    bad = msgspec.structs.replace(request, aggregate_nonce=b"\x05" * 66)
    assert code_of(ready.call, "node-1", "schnorr-sign", bad) == "nonce.invalid"
    assert code_of(ready.call, "node-1", "schnorr-sign", request) == "nonces.unknown"


def test_nonces_of_one_suite_do_not_serve_the_other(ready: World) -> None:
    """Ed25519 nonces are not BIP-340 nonces, and no connection gets at another's."""
    key = make_key(ready, "generic")
    request = Asked(ready, key, message_body(b"x")).requests["node-1"]
    other = ready.call("node-1", "nonces", NoncesRequest(suite="ed25519", count=1)).nonces[0].nonce
    assert code_of(ready.call, "node-1", "schnorr-sign", msgspec.structs.replace(request, nonce=other)) == (
        "nonces.unknown"
    )
    assert code_of(ready.call, "node-1", "schnorr-sign", request, connection=7) == "nonces.unknown"
    assert code_of(ready.call, "node-1", "nonces", NoncesRequest(suite="p256", count=1)) == "nonces.suite"
    ready.nodes["node-1"].disconnect(1)
    fresh = msgspec.structs.replace(request, token=ready.token(key, request.body))
    assert code_of(ready.call, "node-1", "schnorr-sign", fresh) == "nonces.unknown"


@pytest.mark.parametrize(
    ("signers", "code"),
    [
        (["node-1", "node-2"], "signers.too-few"),
        (["node-2", "node-1", "node-3"], "signers.order"),
        (["node-1", "node-2", "node-9"], "signers.unknown"),
        (["node-2", "node-3", "node-4"], "signers.not-member"),
    ],
)
def test_the_signer_set_is_checked(ready: World, signers: list[str], code: str) -> None:
    """Impossible sets sign nothing."""
    key = make_key(ready, "generic")
    request = Asked(ready, key, message_body(b"x")).requests["node-1"]
    assert code_of(ready.call, "node-1", "schnorr-sign", msgspec.structs.replace(request, signers=signers)) == code


def test_every_member_must_be_trusted(ready: World) -> None:
    """A revoked signer stops the others from signing with it."""
    key = make_key(ready, "generic")
    request = Asked(ready, key, message_body(b"x")).requests["node-1"]
    ready.registry.revoke(ready.platform("node-3").platform_id, "stolen", ready.now)
    ready.push()
    assert code_of(ready.call, "node-1", "schnorr-sign", request) == "attestation-denied"


def test_a_request_is_executed_three_times_at_most(ready: World) -> None:
    """The ledger counts attempts of BIP-340 signing, too."""
    key = make_key(ready, "generic")
    body = message_body(b"x")
    token = ready.token(key, body)
    for _ in range(3):
        request = msgspec.structs.replace(Asked(ready, key, body).requests["node-1"], token=token)
        assert ready.call("node-1", "schnorr-sign", request).share
    request = msgspec.structs.replace(Asked(ready, key, body).requests["node-1"], token=token)
    assert code_of(ready.call, "node-1", "schnorr-sign", request) == "token.replayed"


def test_keys_of_other_specs_make_no_bip340_signature(ready: World) -> None:
    """An Ed25519 key is refused by name."""
    key = ready.create_key()
    ready.now += 1
    body = message_body(b"x")
    taken = nonces(ready, SIGNERS)
    request = SchnorrSignRequest(
        token=ready.token(key, body),
        body=body,
        nonce=taken["node-1"].nonce,
        signers=SIGNERS,
        aggregate_nonce=bip340.aggregate_nonces({1: taken["node-1"].hiding + taken["node-1"].binding}),
    )
    assert code_of(ready.call, "node-1", "schnorr-sign", request) == "key.spec"
