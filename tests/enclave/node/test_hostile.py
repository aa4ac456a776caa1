"""Whatever is sent to a node, only typed refusals come back and nothing it holds changes."""

from __future__ import annotations

import random
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
import pytest

from attestation.errors import CodedError
from enclave.wire.message import Message, encode
from enclave.wire.verbs import VERBS, decode_request
from tests.enclave.node.world import World

ROUNDS = 40
"""Mutated requests per verb: enough to meet every field several times."""

TEXTS = ["", "node-1", "node-2", "key_" + "a" * 26, "dkg", "ed25519", "\u0000", "x" * 5000, "é\U0001f600"]
NUMBERS = [0, 1, -1, 3, 4, 2**31, 2**63 - 1, -(2**63), 2**64 - 1]
BYTES = [b"", b"\0" * 32, b"\xff" * 32, b"s" * 32, b"\1" * 64, b"{}", b"[]", b"\x84" * 700, b"\0" * 1216]


def value_of(kind: Any, pick: random.Random, depth: int = 0) -> Any:
    """Any value of a message's field type, likely an unpleasant one."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        hints = get_type_hints(kind)
        return kind(**{name: value_of(hint, pick, depth + 1) for name, hint in hints.items()})
    if get_origin(kind) is list:
        return [value_of(get_args(kind)[0], pick, depth + 1) for _ in range(pick.choice([0, 1, 2, 5]))]
    if kind is bytes:
        return pick.choice(BYTES)
    if kind is int:
        return pick.choice(NUMBERS)
    if kind is str:
        return pick.choice(TEXTS)
    if kind is bool:
        return pick.random() < 0.5
    return None


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A cluster with keys and a running ceremony, shared because nothing here may change it."""
    world = World(tmp_path_factory.mktemp("hostile"), count=3)
    world.ready()
    world.create_key(shares_needed=2)
    world.create_key(session=b"e" * 32, shares_needed=2, spec="secp256k1-ecdsa", usage="evm", custody="reconstruct")
    world.run_rounds(world.ceremony_start(world.order(shares_needed=2), session=b"p" * 32))
    world.now += 1
    return world


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_random_requests_raise_only_typed_errors(busy: World, verb: str) -> None:
    """Random field values of the right types are refused by code or answered, and never crash a handler."""
    pick = random.Random(verb)
    before = busy.call("node-1", "holdings")
    kind: type[Message] = VERBS[verb][0]
    for _ in range(ROUNDS):
        message = value_of(kind, pick)
        try:
            request = decode_request(verb, encode(message))
            busy.call("node-1", verb, request)
        except CodedError:
            continue
    assert busy.call("node-1", "holdings") == before


@pytest.mark.parametrize("verb", ["sign", "release", "assemble", "partial", "ceremony-start"])
@pytest.mark.parametrize("body", [b"", b"null", b"[]", b'{"kind":1}', b"\xff\xfe", b'{"a":' * 200, b"[" * 100_000])
def test_hostile_bodies_under_a_good_token(busy: World, verb: str, body: bytes) -> None:
    """An agent or operator that signs nonsense gets a typed refusal."""
    held = busy.nodes["node-1"].keys
    key = held.get(next(held.holdings()).key, 1).certificate
    if verb == "ceremony-start":
        token = busy.order_token(body)
    else:
        token = busy.token(key, body, act="decrypt" if verb == "partial" else "sign")
    fields: dict[str, Any] = {"token": token, "body": body}
    extra: Any = {
        "sign": {"nonce": b"", "signers": []},
        "release": {"signers": [], "assembler": "node-1"},
        "assemble": {"signers": [], "shares": []},
        "partial": {"signers": []},
        "ceremony-start": {"session": b"n" * 32, "kind": "dkg", "key": "key_" + "a" * 26, "participants": []},
    }[verb]
    with pytest.raises(CodedError):
        busy.call("node-1", verb, VERBS[verb][0](**fields, **extra))
