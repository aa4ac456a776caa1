"""Child keys at the nodes: the path is the body's, and custody and policy decide about it at each node."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from attestation.canonical import canonical_json
from attestation.envelope import b64url
from enclave.certificate import KeyCertificate
from enclave.child_keys import child_of, share_of
from enclave.errors import CallerError
from enclave.group.ed25519 import ED25519
from enclave.threshold import frost
from enclave.threshold.derive import child_share
from enclave.threshold.shamir import combine
from enclave.wire.reconstruct import ReleaseRequest
from enclave.wire.signing import NoncesRequest, SchnorrSignRequest, SignRequest
from tests.enclave.node.codes import code_of
from tests.enclave.node.world import World, evm_body

SLOTS = ["node-1", "node-2", "node-3"]


def body_at(path: str, message: bytes = b"hello") -> bytes:
    """A request to sign with a child."""
    return canonical_json({"kind": "message", "message": b64url(message), "path": path})


def signed_at(world: World, key: KeyCertificate, path: tuple[int, ...], body: bytes) -> bytes:
    """What the gateway aggregates under the child at `path` from the shares nodes gave for `body`."""
    requests = world.sign_requests(SLOTS, world.token(key, body), body)
    facts = child_of(key, path).facts
    index = {node.slot: node.index for node in facts.nodes}
    signers = next(iter(requests.values())).signers
    return frost.aggregate(
        public_key=facts.public_key,
        message=b"hello",
        commitments=[(index[signer.slot], signer.hiding, signer.binding) for signer in signers],
        shares={index[slot]: world.call(slot, "sign", request).share for slot, request in requests.items()},
        public_shares={node.index: node.public_share for node in facts.nodes},
    )


def test_nodes_sign_with_the_child_the_body_names(ready: World) -> None:
    """The aggregated signature verifies under the child in OpenSSL, and not under the certified key."""
    key = ready.create_key()
    ready.now += 1
    signature = signed_at(ready, key, (0, 5), body_at("m/0/5"))
    child = child_of(key, (0, 5)).facts.public_key
    Ed25519PublicKey.from_public_bytes(child).verify(signature, b"hello")
    with pytest.raises(InvalidSignature):
        Ed25519PublicKey.from_public_bytes(key.public_key).verify(signature, b"hello")


def test_shares_for_one_path_make_no_signature_for_another(ready: World) -> None:
    """A gateway that asks under one path cannot use the shares for the parent or a sibling."""
    key = ready.create_key()
    ready.now += 1
    for other in ((), (0, 6)):
        assert code_of(lambda other=other: signed_at(ready, key, other, body_at("m/0/5"))) == "signature.share"


def test_a_path_changed_on_the_way_is_another_body(ready: World) -> None:
    """The token covers the path."""
    key = ready.create_key()
    ready.now += 1
    token = ready.token(key, body_at("m/0/5"))
    requests = ready.sign_requests(SLOTS, token, body_at("m/0/6"))
    assert code_of(lambda: ready.call("node-1", "sign", requests["node-1"])) == "token.body"


def test_children_only_where_policy_names_their_prefix(ready: World) -> None:
    """A rule with `paths` allows what begins with one of them, step by step, and not the key itself."""
    key = ready.create_key()
    rule = {"name": "shop", "effect": "allow", "kinds": ["message"], "paths": ["m/0", "m/7/1"]}
    ready.put(ready.policy_document(rule, version=2))
    ready.now += 1
    for path in ("m/0", "m/0/9", "m/7/1/2"):
        requests = ready.sign_requests(SLOTS, ready.token(key, body_at(path)), body_at(path))
        assert len(ready.call("node-1", "sign", requests["node-1"]).share) == 32
    for path in ("m", "m/1", "m/7", "m/10"):
        requests = ready.sign_requests(SLOTS, ready.token(key, body_at(path)), body_at(path))
        refused = code_of(lambda requests=requests: ready.call("node-1", "sign", requests["node-1"]))
        assert refused == "policy.denied", path


def test_a_node_never_releases_a_share_for_a_child(ready: World) -> None:
    """A gateway that does not check still gets no share of a `reconstruct` key for a path."""
    key = ready.create_key(spec="secp256k1-ecdsa", usage="evm", custody="reconstruct")
    ready.now += 1
    body = canonical_json(_with_path(evm_body(), "m/0"))
    request = ReleaseRequest(token=ready.token(key, body), body=body, signers=SLOTS, assembler="node-1")
    assert code_of(lambda: ready.call("node-2", "release", request)) == "derive.refused"


def test_schnorr_nonce_survives_a_bad_path(ready: World) -> None:
    """A path that does not parse is refused before a nonce is spent."""
    key = ready.create_key(spec="secp256k1-schnorr", usage="generic")
    ready.now += 1
    nonce = ready.call("node-1", "nonces", NoncesRequest(suite="secp256k1-schnorr", count=1)).nonces[0]

    def ask(body: bytes) -> Any:
        request = SchnorrSignRequest(
            token=ready.token(key, body), body=body, nonce=nonce.nonce, signers=SLOTS,
            aggregate_nonce=nonce.hiding + nonce.binding,
        )  # fmt: skip
        return ready.call("node-1", "schnorr-sign", request)

    assert code_of(lambda: ask(body_at("m/x"))) == "path.invalid"
    assert len(ask(body_at("m/1")).share) == 32


def test_frost_nonce_survives_a_refused_child(ready: World) -> None:
    """The path is judged before the nonce is taken, so that a refusal costs none."""
    key = ready.create_key()
    ready.now += 1
    bad, good = body_at("m/0'"), body_at("m/0")
    request = ready.sign_requests(SLOTS, ready.token(key, bad), bad)["node-1"]
    assert code_of(lambda: ready.call("node-1", "sign", request)) == "path.invalid"
    again = SignRequest(token=ready.token(key, good), body=good, nonce=request.nonce, signers=request.signers)
    assert len(ready.call("node-1", "sign", again).share) == 32


def test_child_shares_belong_to_the_childs_public_shares(ready: World) -> None:
    """Each holder's derived share times the base point is the public share that others compute."""
    key = ready.create_key()
    child = child_of(key, (3, 1))
    for node in child.facts.nodes:
        held = ready.nodes[node.slot].keys.get(key.key, 1)
        with share_of(held.share, child) as share:
            assert ED25519.base_mult(share) == node.public_share
        assert ED25519.base_mult(held.share) == key.node(node.slot).public_share  # type: ignore[union-attr]


def test_parent_falls_with_a_child(ready: World) -> None:
    """Why children are addresses and not compartments: child key minus public tweak is the parent's private key."""
    key = ready.create_key()
    child = child_of(key, (0, 5))
    shares = {node.index: ready.nodes[node.slot].keys.get(key.key, 1).share for node in key.nodes[:3]}
    leaked = child_share(ED25519, combine(ED25519, shares), child.tweak)
    recovered = ED25519.sub(leaked, ED25519.scalar_from_public(child.tweak))
    assert ED25519.base_mult(leaked) == child.facts.public_key
    assert ED25519.base_mult(recovered) == key.public_key


def test_decryption_keys_have_no_children(ready: World) -> None:
    """Refused where every reader computes children."""
    key = ready.create_key(spec="hpke-x25519", usage="decrypt")
    with pytest.raises(CallerError, match="no children"):
        child_of(key, (0,))


def _with_path(body: bytes, path: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(body)
    return value | {"path": path}
