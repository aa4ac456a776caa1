"""Culprits: named only with a proof that anyone can verify, and never an honest participant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from enclave.ceremonies.audit import read_proof, verify_proof
from enclave.ceremonies.batch import BatchMessage
from enclave.ceremonies.generate import GenerationTerms
from enclave.ceremonies.proof import Proof
from enclave.errors import PeerError
from enclave.group.ed25519 import ED25519
from enclave.threshold.dealing import Announcement, Dealt
from enclave.threshold.dkg_messages import Round2
from enclave.wire.ceremonies import CeremonyMessage, CeremonyQuery, CeremonyRound, CeremonyStart
from enclave.wire.message import decode_as, encode
from tests.enclave.ceremonies.driver import CeremonyWorld
from tests.enclave.node.codes import code_of
from tests.enclave.node.test_ceremony import signed

CONTEXT_BYTES = 32


def corrupted(world: CeremonyWorld, message: CeremonyMessage, change: Callable[[bytes], bytes]) -> CeremonyMessage:
    """The message of a corrupt node: another payload behind the same context, under its own good signature."""
    payload = message.payload[:CONTEXT_BYTES] + change(message.payload[CONTEXT_BYTES:])
    return signed(world.nodes[message.slot].identity, message, payload=payload)


def accuse(
    world: CeremonyWorld, start: CeremonyStart, number: int, said: list[CeremonyMessage]
) -> tuple[PeerError, Proof | None]:
    """What node-1 says to these messages, and its proof."""
    with pytest.raises(PeerError) as caught:
        world.call("node-1", "ceremony-round", CeremonyRound(session=start.session, round=number, messages=said))
    data = world.call("node-1", "ceremony-proof", CeremonyQuery(session=start.session)).proof
    return caught.value, read_proof(data) if data else None


def identities(world: CeremonyWorld) -> dict[str, bytes]:
    """Identity keys as evidence attests them."""
    return {slot: node.identity.public.identity_key for slot, node in world.nodes.items()}


def _item(payload: bytes, **changes: Any) -> bytes:
    batch = decode_as(BatchMessage, payload)
    item = msgspec.structs.replace(decode_as(Dealt, batch.items[0]), **changes)
    return encode(msgspec.structs.replace(batch, items=[encode(item), *batch.items[1:]]))


REFRESH_FAULTS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "no form": (lambda payload: payload[:-1], "ceremony.malformed"),
    "no item": (
        lambda payload: encode(msgspec.structs.replace(decode_as(BatchMessage, payload), items=[])),
        "ceremony.malformed",
    ),
    "no point": (lambda payload: _item(payload, commitments=[b"\x00" * 32, b"\x01" * 32]), "commitment.invalid"),
    "another polynomial": (
        lambda payload: _item(payload, commitments=[ED25519.base_mult_public(5), ED25519.base_mult_public(7)]),
        "share.invalid",
    ),
    "a share that does not open": (
        lambda payload: _item(
            payload,
            sealed={i: value[:-1] + bytes([value[-1] ^ 1]) for i, value in _first(payload).sealed.items()},
        ),
        "share.unreadable",
    ),
    "a pair key that does not open": (
        lambda payload: encode(
            msgspec.structs.replace(
                decode_as(BatchMessage, payload),
                wraps={slot: bytes(len(wrap)) for slot, wrap in decode_as(BatchMessage, payload).wraps.items()},
            )
        ),
        "share.unreadable",
    ),
}


def _first(payload: bytes) -> Dealt:
    return decode_as(Dealt, decode_as(BatchMessage, payload).items[0])


@pytest.mark.parametrize(("change", "code"), REFRESH_FAULTS.values(), ids=REFRESH_FAULTS.keys())
def test_a_bad_dealing_of_a_refresh_is_proven(
    ready: CeremonyWorld, change: Callable[[bytes], bytes], code: str
) -> None:
    """Public faults and bad shares alike: the proof names the dealer to whoever has the attested keys."""
    key = ready.create_key()
    start = ready.beginning("refresh", key)
    second = ready.round(start, 2, ready.begin(start))
    error, proof = accuse(ready, start, 3, [*second[:4], corrupted(ready, second[4], change)])
    assert (error.code, error.culprits) == (code, ("node-5",))
    assert proof is not None
    verify_proof(proof, identities(ready))


def test_a_bad_announcement_is_proven(ready: CeremonyWorld) -> None:
    """The first round, too."""
    start = ready.beginning("refresh", ready.create_key())
    first = ready.begin(start)
    bad = corrupted(ready, first[4], lambda payload: payload[:8] + encode(Announcement(b"\xff" * 1216)))
    error, proof = accuse(ready, start, 2, [*first[:4], bad])
    assert (error.code, error.culprits) == ("ceremony.malformed", ("node-5",))
    assert proof is not None
    verify_proof(proof, identities(ready))


def _generation(world: CeremonyWorld) -> tuple[CeremonyStart, list[CeremonyMessage]]:
    start = world.ceremony_start(world.order(), session=b"g" * 32)
    first = [world.call(slot, "ceremony-start", start) for slot in start.participants]
    following = CeremonyRound(session=start.session, round=2, messages=first)
    return start, [world.call(slot, "ceremony-round", following) for slot in start.participants]


def _reveal(payload: bytes, **changes: Any) -> bytes:
    return encode(msgspec.structs.replace(decode_as(Round2, payload), **changes))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda payload: _reveal(payload, opening=bytes(32)), "commitment.invalid"),
        (
            lambda payload: _reveal(
                payload, sealed={i: bytes(len(value)) for i, value in decode_as(Round2, payload).sealed.items()}
            ),
            "share.unreadable",
        ),
    ],
    ids=["wrong opening", "share that does not open"],
)
def test_faults_in_a_key_generation_are_proven(
    ready: CeremonyWorld, change: Callable[[bytes], bytes], code: str
) -> None:
    """The same form of proof for the ceremony that makes keys."""
    start, second = _generation(ready)
    error, proof = accuse(ready, start, 3, [*second[:4], corrupted(ready, second[4], change)])
    assert (error.code, error.culprits) == (code, ("node-5",))
    assert proof is not None
    verify_proof(proof, identities(ready))


def test_a_bad_share_of_a_living_key_accuses_nobody(ready: CeremonyWorld) -> None:
    """In a reshare the proof would open shares of the key: the attempt ends, and no culprit is named."""
    key = ready.create_key()
    start = ready.beginning("reshare", key, nodes=tuple(ready.slots), shares_needed=3)
    second = ready.round(start, 2, ready.begin(start))
    change = REFRESH_FAULTS["a share that does not open"][0]
    error, proof = accuse(ready, start, 3, [*second[:4], corrupted(ready, second[4], change)])
    assert (error.code, error.culprits, proof) == ("share.unreadable", (), None)


def test_a_wrong_constant_in_a_reshare_is_proven(ready: CeremonyWorld) -> None:
    """What the dealt constants must be is public, so a dealer of another scalar is named."""
    key = ready.create_key()
    start = ready.beginning("reshare", key, nodes=tuple(ready.slots), shares_needed=2)
    second = ready.round(start, 2, ready.begin(start))
    change = lambda payload: _item(payload, commitments=[ED25519.base_mult_public(k) for k in (5, 7)])  # noqa: E731
    error, proof = accuse(ready, start, 3, [*second[:4], corrupted(ready, second[4], change)])
    assert (error.code, error.culprits) == ("commitment.invalid", ("node-5",))
    assert proof is not None
    verify_proof(proof, identities(ready))


def test_other_facts_accuse_nobody(ready: CeremonyWorld) -> None:
    """Every message begins with the facts its sender signed: told others, an honest node cannot be framed."""
    start, second = _generation(ready)
    _, proof = accuse(
        ready, start, 3, [*second[:4], corrupted(ready, second[4], lambda p: _reveal(p, opening=bytes(32)))]
    )
    assert proof is not None
    known = identities(ready)
    terms = decode_as(GenerationTerms, proof.terms)
    frames = {
        "another threshold": msgspec.structs.replace(
            proof, terms=encode(msgspec.structs.replace(terms, threshold=2)), culprit="node-2"
        ),
        "another culprit": msgspec.structs.replace(proof, culprit="node-2"),
        "another order": msgspec.structs.replace(proof, order=bytes(32)),
        "a complaint without a bad share": msgspec.structs.replace(
            proof, rounds={1: proof.rounds[1], 2: second}, complaint=bytes(96), culprit="node-2"
        ),
        "a round left out": msgspec.structs.replace(proof, rounds={2: proof.rounds[2]}),
        "an honest run": msgspec.structs.replace(proof, rounds={1: proof.rounds[1], 2: second}),
        "no terms": msgspec.structs.replace(proof, terms=b"\xc1"),
    }
    verify_proof(proof, known)
    for name, frame in frames.items():
        assert code_of(verify_proof, frame, known) in ("proof.unfounded", "proof.malformed"), name
    assert code_of(verify_proof, proof, known | {"node-5": bytes(32)}) == "proof.identity"
    assert code_of(read_proof, b"\xc1") == "proof.malformed"
