"""How a malicious node answers, and what a malicious relay does to calls.

A lying node keeps its attested identity: it is a node whose share and keys an attacker has, or whose code is wrong.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import msgspec

from enclave.errors import RefusedError
from enclave.wire.frame import Call
from enclave.wire.message import Message, decode_as, encode
from enclave.wire.signing import Signer, SignRequest
from tests.simulation.facts import Facts
from tests.simulation.node_host import Fault

Note = Callable[[str], None]


def _flip(value: bytes, at: int) -> bytes:
    changed = bytearray(value)
    changed[at % len(changed)] ^= 1
    return bytes(changed)


def wrong_shares(_facts: Facts, rng: random.Random, note: Note) -> Fault:
    """Signature shares with a bit flipped."""

    def fault(verb: str, _request: Message, reply: Message) -> Message:
        if verb == "sign" and rng.random() < 0.7:
            note("lie: wrong signature share")
            return msgspec.structs.replace(reply, share=_flip(reply.share, rng.randrange(31)))  # type: ignore[attr-defined]
        if verb in ("ecdsa-start", "ecdsa-round") and rng.random() < 0.5:
            note("lie: wrong ECDSA round")
            return msgspec.structs.replace(reply, payload=_flip(reply.payload, rng.randrange(1 << 10)))  # type: ignore[attr-defined]
        return reply

    return fault


def wrong_ceremonies(_facts: Facts, rng: random.Random, note: Note) -> Fault:
    """Ceremony messages that are changed after they were signed, or never come."""

    def fault(verb: str, _request: Message, reply: Message) -> Message:
        if verb in ("ceremony-start", "ceremony-round") and rng.random() < 0.6:
            if rng.random() < 0.5:
                note("lie: ceremony message withheld")
                raise RefusedError("not today", code="ceremony.order")
            note("lie: ceremony message changed")
            return msgspec.structs.replace(reply, payload=_flip(reply.payload, rng.randrange(1 << 10)))  # type: ignore[attr-defined]
        return reply

    return fault


def wrong_counters(facts: Facts, rng: random.Random, note: Note) -> Fault:
    """Heartbeats that, freshly signed, echo too little of others' counters, or other counters to other ears."""

    def fault(verb: str, _request: Message, reply: Any) -> Message:
        if verb != "heartbeat":
            return reply  # type: ignore[no-any-return]
        from enclave.wire.heartbeats import Heartbeat, heartbeat_bytes

        (slot,) = facts.liars
        state = facts.cluster.nodes[slot].state
        if state is None or rng.random() < 0.3:
            return reply  # type: ignore[no-any-return]
        body = decode_as(Heartbeat, reply.heartbeat.body)
        seen = [msgspec.structs.replace(echo, kept_counter=echo.kept_counter + 1000, kept=b"") for echo in body.seen]
        note("lie: witnessed counters")
        changed = encode(msgspec.structs.replace(body, seen=seen))
        signed = msgspec.structs.replace(
            reply.heartbeat, body=changed, signature=state.identity.sign(heartbeat_bytes(body.cluster, changed))
        )
        return msgspec.structs.replace(reply, heartbeat=signed)  # type: ignore[no-any-return]

    return fault


def equivocation(facts: Facts, rng: random.Random, note: Note) -> Fault:
    """Two different heartbeats under one sequence number."""

    def fault(verb: str, _request: Message, reply: Any) -> Message:
        if verb != "heartbeat":
            return reply  # type: ignore[no-any-return]
        from enclave.wire.heartbeats import Heartbeat, heartbeat_bytes

        (slot,) = facts.liars
        state = facts.cluster.nodes[slot].state
        if state is None:
            return reply  # type: ignore[no-any-return]
        body = decode_as(Heartbeat, reply.heartbeat.body)
        note("lie: equivocation")
        changed = encode(msgspec.structs.replace(body, log_root=_flip(body.log_root, rng.randrange(32))))
        signed = msgspec.structs.replace(
            reply.heartbeat, body=changed, signature=state.identity.sign(heartbeat_bytes(body.cluster, changed))
        )
        return msgspec.structs.replace(reply, heartbeat=signed)  # type: ignore[no-any-return]

    return fault


def silence(_facts: Facts, rng: random.Random, note: Note) -> Fault:
    """Refuses everything that would be of use."""

    def fault(verb: str, _request: Message, reply: Message) -> Message:
        if verb in ("sign", "ecdsa-start", "ecdsa-round", "nonces") and rng.random() < 0.8:
            note("lie: refusal")
            raise RefusedError(
                "policy says no", code=rng.choice(["policy.denied", "budget.exceeded", "token.replayed"])
            )
        return reply

    return fault


def forgetfulness(facts: Facts, _rng: random.Random, note: Note) -> Fault:
    """Acknowledges every counter and hands out none: the worst a witness can do."""

    def fault(verb: str, _request: Message, reply: Any) -> Message:
        from enclave.wire.heartbeats import Heartbeat, heartbeat_bytes

        (slot,) = facts.liars
        state = facts.cluster.nodes[slot].state
        if verb != "heartbeat" or state is None:
            return reply  # type: ignore[no-any-return]
        body = decode_as(Heartbeat, reply.heartbeat.body)
        note("lie: forgotten counters")
        seen = [msgspec.structs.replace(echo, kept_counter=1 << 40, kept=b"") for echo in body.seen]
        changed = encode(msgspec.structs.replace(body, seen=seen))
        signature = state.identity.sign(heartbeat_bytes(body.cluster, changed))
        signed = msgspec.structs.replace(reply.heartbeat, body=changed, signature=signature)
        return msgspec.structs.replace(reply, heartbeat=signed)  # type: ignore[no-any-return]

    return fault


LIES: dict[str, Callable[[Facts, random.Random, Note], Fault]] = {
    "wrong shares": wrong_shares,
    "wrong ceremonies": wrong_ceremonies,
    "wrong counters": wrong_counters,
    "equivocation": equivocation,
    "refusals": silence,
    "forgotten counters": forgetfulness,
}


def relay_lies(facts: Facts, rng: random.Random, note: Note) -> Callable[[str, str, Any], Any]:
    """What a malicious gateway does to its own calls on their way to nodes."""
    kind = rng.choice(["swap signers", "half commits", "withhold restrictions", "withhold heartbeats"])
    victims = set(rng.sample(facts.cluster.slots, rng.choice([1, 2])))

    def on_call(_gateway: str, node: str, call: Call) -> Call | None:
        if kind == "swap signers" and call.verb == "sign" and rng.random() < 0.5:
            request = decode_as(SignRequest, bytes(call.body))
            changed = _swapped(request, facts, rng)
            note("relay: signer set swapped")
            return Call(call.id, call.verb, msgspec.Raw(encode(changed)))
        if kind == "half commits" and call.verb == "ceremony-commit" and node in victims:
            note("relay: commit withheld from some")
            return None
        if kind == "withhold restrictions" and call.verb == "control" and node in victims:
            note("relay: document withheld")
            return None
        if kind == "withhold heartbeats" and call.verb == "heartbeats" and node in victims:
            note("relay: heartbeats withheld")
            return None
        return call

    return on_call


def _swapped(request: SignRequest, facts: Facts, rng: random.Random) -> SignRequest:
    signers = list(request.signers)
    number = rng.randrange(len(signers))
    others = [slot for slot in facts.cluster.slots if slot not in {signer.slot for signer in signers}]
    old = signers[number]
    signers[number] = Signer(rng.choice(others) if others else old.slot, old.hiding, old.binding)
    if rng.random() < 0.3:
        rng.shuffle(signers)
    return msgspec.structs.replace(request, signers=signers)
