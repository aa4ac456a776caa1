"""Batches at the nodes, asked directly by a gateway that keeps to nothing: an item is exactly what its agent signed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import coincurve
import msgspec
import pytest
from nacl.signing import VerifyKey

from attestation.canonical import canonical_json
from attestation.envelope import b64url
from attestation.receipts.entry import Decision
from enclave.batches import items_of
from enclave.certificate import KeyCertificate
from enclave.errors import CallerError
from enclave.ids import new_id
from enclave.signing_key import SigningKey
from enclave.threshold import frost
from enclave.tokens import key_resource
from enclave.wire.decrypt import PartialRequest
from enclave.wire.ecdsa import EcdsaStart
from enclave.wire.reconstruct import ReleaseRequest
from enclave.wire.signing import SignRequest
from tests.enclave.node.codes import code_of
from tests.enclave.node.ecdsa_run import EcdsaRun
from tests.enclave.node.test_limits import a_budget, put_policy
from tests.enclave.node.test_receipts import decisions
from tests.enclave.node.world import World, evm_body, message_body

MESSAGES = [b"zero", b"one", b"two"]


@pytest.fixture
def key(ready: World) -> KeyCertificate:
    """A FROST key, usable since a second."""
    made = ready.create_key()
    ready.now += 1
    return made


def item(key: KeyCertificate, message: bytes, **changes: Any) -> dict[str, Any]:
    """An item that signs bytes."""
    body = {"kind": "message", "message": b64url(message)}
    made = {"ref": f"r-{message.hex()}", "verb": "sign", "key": key_resource(key.key, key.version), "body": body}
    return made | changes


def batch_of(*items: dict[str, Any]) -> bytes:
    """The body of a batch."""
    return canonical_json({"items": list(items)})


def token_of(world: World, body: bytes, **changes: Any) -> str:
    """The agent's signature over a whole batch."""
    return world.token("*", body, act="batch", **changes)


def requests(
    world: World, token: str, body: bytes, number: int | None, *, slots: Sequence[str] = ()
) -> dict[str, SignRequest]:
    """One FROST request per signer, for an item."""
    made = world.sign_requests(list(slots) or world.slots[:3], token, body)
    return {slot: msgspec.structs.replace(request, item=number) for slot, request in made.items()}


def refused(world: World, token: str, body: bytes, number: int | None) -> str:
    """The code with which the first signer refuses an item."""
    asked = requests(world, token, body, number)
    slot = next(iter(asked))
    return code_of(world.call, slot, "sign", asked[slot])


def signature(world: World, key: KeyCertificate, token: str, body: bytes, number: int, message: bytes) -> bytes:
    """What three nodes make of an item."""
    asked = requests(world, token, body, number)
    index = {node.slot: node.index for node in key.nodes}
    signers = next(iter(asked.values())).signers
    return frost.aggregate(
        public_key=key.public_key,
        message=message,
        commitments=[(index[signer.slot], signer.hiding, signer.binding) for signer in signers],
        shares={index[slot]: world.call(slot, "sign", request).share for slot, request in asked.items()},
        public_shares={node.index: node.public_share for node in key.nodes},
    )


def test_each_item_is_signed_as_if_it_had_come_alone(ready: World, key: KeyCertificate) -> None:
    """In any order; every signature verifies under libsodium, over its own item's message."""
    body = batch_of(*(item(key, message) for message in MESSAGES))
    token = token_of(ready, body)
    for number in (2, 0, 1):
        VerifyKey(key.public_key).verify(MESSAGES[number], signature(ready, key, token, body, number, MESSAGES[number]))


def test_leaves_go_by_the_items_request_id(ready: World, key: KeyCertificate) -> None:
    """SHA-256 of the token and the number in four bytes; the leaf names the item's key."""
    body = batch_of(*(item(key, message) for message in MESSAGES))
    token = token_of(ready, body)
    signature(ready, key, token, body, 1, MESSAGES[1])
    (leaf,) = [entry for entry in decisions(ready) if entry.verb == "sign"]
    assert leaf.request_id == hashlib.sha256(token.encode() + bytes([0, 0, 0, 1])).digest()
    assert (leaf.outcome, leaf.resource) == ("allow", key_resource(key.key, 1))


def test_items_run_out_of_attempts_one_by_one(ready: World, key: KeyCertificate) -> None:
    """A gateway that runs an item again repeats it three times at most, and the others are as fresh as before."""
    body = batch_of(*(item(key, message) for message in MESSAGES))
    token = token_of(ready, body)
    for _ in range(3):
        signature(ready, key, token, body, 0, MESSAGES[0])
    assert refused(ready, token, body, 0) == "token.replayed"
    signature(ready, key, token, body, 1, MESSAGES[1])


@pytest.mark.parametrize("number", [3, 64, 2**32, 2**60, -1])
def test_an_index_outside_is_refused_and_logged(ready: World, key: KeyCertificate, number: int) -> None:
    """No number names anything but the items that were signed; the refusal stands in the log under the batch's id."""
    body = batch_of(*(item(key, message) for message in MESSAGES))
    token = token_of(ready, body)
    assert refused(ready, token, body, number) == "batch.item"
    (leaf,) = [entry for entry in decisions(ready) if isinstance(entry, Decision) and entry.code == "batch.item"]
    assert leaf.request_id == hashlib.sha256(token.encode()).digest()


def test_items_are_not_moved(ready: World, key: KeyCertificate) -> None:
    """Reordered, dropped, added or changed, the body is another one than was signed."""
    items = [item(key, message) for message in MESSAGES]
    token = token_of(ready, batch_of(*items))
    for others in (items[::-1], items[1:], [*items, item(key, b"more")], [item(key, b"evil"), *items[1:]]):
        assert refused(ready, token, batch_of(*others), 0) == "token.body"


def test_an_items_own_body_is_no_body_of_the_token(ready: World, key: KeyCertificate) -> None:
    """A batch token never stands for a request without a number, whole or unwrapped."""
    body = batch_of(item(key, MESSAGES[0]))
    token = token_of(ready, body)
    assert refused(ready, token, body, None) == "token.act"
    assert refused(ready, token, message_body(MESSAGES[0]), None) == "token.act"
    assert refused(ready, token, message_body(MESSAGES[0]), 0) == "token.body"


def test_a_single_requests_token_has_no_items(ready: World, key: KeyCertificate) -> None:
    """A token to sign, over a body that looks like a batch or not, is not unwrapped."""
    body = batch_of(item(key, MESSAGES[0]))
    assert refused(ready, ready.token(key, body), body, 0) == "token.act"
    assert refused(ready, ready.token(key, message_body(b"x")), message_body(b"x"), 0) == "token.act"


def test_a_batch_token_for_one_key_is_refused(ready: World, key: KeyCertificate) -> None:
    """Its resource is everything, because its items say which keys."""
    body = batch_of(item(key, MESSAGES[0]))
    token = ready.token(key, body, act="batch")
    assert refused(ready, token, body, 0) == "token.resource"
    assert refused(ready, token, body, None) == "token.act"


def test_an_item_is_used_for_its_own_verb(ready: World, key: KeyCertificate) -> None:
    """An item to decrypt is not signed, one to sign is not opened."""
    body = batch_of(item(key, b"x", verb="decrypt"), item(key, b"y"))
    token = token_of(ready, body)
    assert refused(ready, token, body, 0) == "token.act"
    request = PartialRequest(token=token, body=body, signers=ready.slots[:3], item=1)
    assert code_of(ready.call, "node-1", "partial", request) == "token.act"


def test_policy_is_asked_about_the_item(ready: World, key: KeyCertificate) -> None:
    """What policy denies for one item is denied there, and nowhere else."""
    digest = {"kind": "digest", "digest": b64url(bytes(32))}
    evm = ready.create_key(spec="secp256k1-ecdsa", usage="evm", custody="reconstruct", session=b"e" * 32)
    ready.now += 1
    body = batch_of(item(evm, b"x", body=digest), item(key, b"y"))
    token = token_of(ready, body)
    request = ReleaseRequest(token=token, body=body, signers=ready.slots[:3], assembler="node-1", item=0)
    assert code_of(ready.call, "node-2", "release", request) == "policy.denied"
    VerifyKey(key.public_key).verify(b"y", signature(ready, key, token, body, 1, b"y"))


def test_a_budget_is_charged_per_item_and_once(ready: World, key: KeyCertificate) -> None:
    """Allowance for two: the third item is refused, an item that is repeated costs nothing more."""
    put_policy(ready, a_budget(4))  # floor(4 * 3 / 5) = 2 at each node
    body = batch_of(*(item(key, message) for message in MESSAGES))
    token = token_of(ready, body)
    for number in (0, 0, 1):
        signature(ready, key, token, body, number, MESSAGES[number])
    assert refused(ready, token, body, 2) == "budget.exceeded"
    signature(ready, key, token, body, 0, MESSAGES[0])


def test_two_items_do_not_share_a_nonce_of_a_chain(ready: World) -> None:
    """Two transactions with one account nonce in a batch: the second is refused as it would be alone."""
    key = ready.create_key(spec="secp256k1-ecdsa", usage="evm", custody="reconstruct")
    ready.now += 1
    transactions = [msgspec.json.decode(evm_body(value=value)) for value in ("1", "2")]
    body = batch_of(*(item(key, bytes([n]), body=transaction) for n, transaction in enumerate(transactions)))
    token = token_of(ready, body)
    ready.open_channel("node-2", "node-1")
    asked = ReleaseRequest(token=token, body=body, signers=ready.slots[:3], assembler="node-1", item=0)
    ready.call("node-2", "release", asked)
    second = msgspec.structs.replace(asked, item=1)
    assert code_of(ready.call, "node-2", "release", second) == "nonce-guard.used"


class _ItemRun(EcdsaRun):
    """An attempt at item 1 of `batch`."""

    batch = b""

    @property
    def request(self) -> EcdsaStart:
        """What begins it, with the whole batch."""
        return msgspec.structs.replace(super().request, body=self.batch, item=1)


def test_threshold_ecdsa_signs_items(ready: World) -> None:
    """Four rounds over an item's digest, under the item's request id."""
    key = ready.create_key(spec="secp256k1-ecdsa", usage="generic", shares_needed=2)
    ready.now += 1
    body = batch_of(item(key, b"zero"), item(key, b"one"))
    run = _ItemRun(ready, key, message_body(b"one"), token=token_of(ready, body))
    run.batch = body
    made, _ = run.signature()
    coincurve_der = coincurve.ecdsa.cdata_to_der(coincurve.ecdsa.deserialize_compact(made))
    assert coincurve.PublicKey(key.public_key).verify(coincurve_der, b"one")
    verbs = {entry.verb: entry.request_id for entry in decisions(ready)}
    expected = hashlib.sha256(run.token.encode() + bytes([0, 0, 0, 1])).digest()
    assert verbs["ecdsa-start"] == verbs["ecdsa-release"] == expected


def test_revocation_and_freeze_stop_the_items_left(ready: World, key: KeyCertificate) -> None:
    """Between two items of one batch the agent is revoked: what is left is not signed."""
    body = batch_of(*(item(key, message) for message in MESSAGES))
    token = token_of(ready, body)
    signature(ready, key, token, body, 0, MESSAGES[0])
    ready.put(ready.key_state(key.key, "disabled"))
    assert refused(ready, token, body, 1) == "key.disabled"
    ready.put(ready.key_state(key.key, "enabled", 2))
    ready.put(replace(ready.agent_document(), state="revoked", sequence=2))
    assert refused(ready, token, body, 1) == "agent.revoked"


def test_a_key_taken_from_the_agent_ends_its_batches(ready: World, key: KeyCertificate) -> None:
    """That its signature was verified a moment ago, for the item before, counts for nothing."""
    body = batch_of(*(item(key, message) for message in MESSAGES))
    token = token_of(ready, body)
    signature(ready, key, token, body, 0, MESSAGES[0])
    ready.put(replace(ready.agent_document(), keys=(SigningKey.generate().public,), sequence=2))
    assert refused(ready, token, body, 1) == "token.unknown-key"


def test_a_batch_ends_with_its_token(ready: World, key: KeyCertificate) -> None:
    """Items live as long as the one token."""
    body = batch_of(*(item(key, message) for message in MESSAGES))
    token = token_of(ready, body, lifetime_s=2)
    ready.now += 2
    assert refused(ready, token, body, 0) == "token.expired"


def test_nobody_signs_an_item_of_a_forged_batch(ready: World, key: KeyCertificate) -> None:
    """The signature over the whole is checked for each item, not only for the first."""
    body = batch_of(*(item(key, message) for message in MESSAGES))
    token = token_of(ready, body)
    signature(ready, key, token, body, 0, MESSAGES[0])
    forged = token[:-8] + ("AAAAAAAA" if not token.endswith("AAAAAAAA") else "BBBBBBBB")
    for _ in range(2):
        assert refused(ready, forged, body, 1) == "token.signature"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"verb": "export"}, "batch.verb"),
        ({"verb": "batch"}, "batch.verb"),
        ({"ref": "a b"}, "batch.ref"),
        ({"ref": "r-7a65726f"}, "batch.ref"),
        ({"key": "*"}, "token.resource"),
        ({"key": new_id("key")}, "token.resource"),
        ({"body": []}, "batch.malformed"),
        ({"extra": 1}, "batch.malformed"),
    ],
)
def test_nodes_read_batches_as_strictly_as_gateways(
    ready: World, key: KeyCertificate, change: dict[str, Any], code: str
) -> None:
    """One item that has no meaning, and no item of the batch is signed."""
    body = batch_of(item(key, b"zero"), item(key, b"one") | change)
    assert refused(ready, token_of(ready, body), body, 0) == code


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{}", "batch.malformed"),
        (b"[]", "batch.malformed"),
        (b"", "json.malformed"),
        (b'{"items":[]}', "batch.count"),
        (b'{"items":[],"items":[]}', "json.duplicate-key"),
        (b'{"items":[' + b"{}," * 64 + b"{}]}", "batch.count"),
        (b'{"items":[1.5]}', "json.number"),
        (b" " * (256 << 10) + b"{}", "batch.too-large"),
        (b'{"items":' + b"[" * 10_000, "json.too-deep"),
    ],
)
def test_bodies_that_are_no_batch(body: bytes, code: str) -> None:
    """Each with its code, before an item is looked at."""
    with pytest.raises(CallerError) as caught:
        items_of(body)
    assert caught.value.code == code


def test_an_items_body_is_canonical() -> None:
    """White space and order of members inside an item do not matter: the item's bytes are those of a request alone."""
    key = new_id("key")
    text = (
        b'{"items": [ {"body": {"message" : "AAAA", "kind": "message"}, "verb": "sign", "ref": "a", "key": "'
        + f"{key}/1".encode()
        + b'"} ] }'
    )
    assert items_of(text)[0].body == b'{"kind":"message","message":"AAAA"}'
