"""Somebody on the network who has seen requests go by and talks to nodes directly, as any gateway may.

It collects nonces, gives one token to many signer sets, bodies to tokens they do not belong to, old tokens, nonces
twice, and keys of other epochs; nodes have to refuse what nobody authorised.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

import msgspec

from enclave.wire.signing import NonceCommitment, NoncesRequest, Signer, SignRequest
from kms.errors import KmsError
from kms.fleet.connection import NodeConnection
from tests.simulation.clocks import Host, Machine
from tests.simulation.facts import Facts
from tests.simulation.liar import Note
from tests.simulation.workload import Request

CALLS = 6
TIMEOUT_S = 2.0
PAST = 8


class Rogue:
    """One visit."""

    def __init__(self, facts: Facts, rng: random.Random, note: Note) -> None:
        self._facts = facts
        self._rng = rng
        self._note = note
        self._cluster = facts.cluster
        self.machine = Machine(Host("rogue", facts.cluster.loop))
        self._connections: dict[str, NodeConnection] = {}

    async def run(self) -> None:
        """Connect to all nodes that can be reached, and try everything a few times."""
        for host in self._facts.hosts:
            try:
                _, connection = await asyncio.wait_for(
                    self._cluster.network.connect(
                        lambda: NodeConnection("", on_lost=lambda _connection: None), "", host.port
                    ),
                    TIMEOUT_S,
                )
            except (OSError, TimeoutError):
                continue
            self._connections[f"{host.slot}:{host.port}"] = connection
        seen = [request for request in self._facts.book.requests if request.key in ("frost", "limited")]
        for _ in range(CALLS):
            if seen and len(self._connections) >= 3:
                await self._attack(self._rng.choice(seen[-PAST:]), seen)
        for connection in self._connections.values():
            connection.close()

    async def _attack(self, request: Request, seen: list[Request]) -> None:
        rng = self._rng
        names = rng.sample(sorted(self._connections), 3)
        if rng.random() < 0.3 and self._facts.twins:
            twin = self._facts.twins[0]
            names = sorted({*names[:2], f"{twin.slot}:{twin.port}"} & set(self._connections))
        slots = [name.partition(":")[0] for name in names]
        if len(set(slots)) < len(slots):
            return
        nonces = {}
        for name, slot in zip(names, slots, strict=True):
            reply = await self._call(name, "nonces", NoncesRequest(suite="ed25519", count=2))
            if reply is None:
                return
            nonces[slot] = reply.nonces
        kind = rng.choice(["again", "again", "body", "nonce twice", "epochs"])
        self._note(f"rogue: {kind}")
        body = request.body
        if kind == "body":
            body = rng.choice(seen).body if rng.random() < 0.5 else body.replace(b'"message"', b'"message" ')
        chosen = {slot: found[0] for slot, found in nonces.items()}
        await self._sign(names, slots, request, body, chosen, kind)
        if kind == "nonce twice":
            other = rng.choice(seen)
            await self._sign(names, slots, other, other.body, chosen, kind)

    async def _sign(
        self,
        names: list[str],
        slots: list[str],
        request: Request,
        body: bytes,
        nonces: dict[str, NonceCommitment],
        kind: str,
    ) -> None:
        order = sorted(slots)
        signers = [Signer(slot, nonces[slot].hiding, nonces[slot].binding) for slot in order]
        message = SignRequest(token=request.token, body=body, nonce=b"", signers=signers)
        for name, slot in zip(names, slots, strict=True):
            # Nodes that still have the epoch before get asked for it, the others for theirs.
            epoch = self._rng.randrange(3) if kind == "epochs" else 0
            await self._call(name, "sign", msgspec.structs.replace(message, nonce=nonces[slot].nonce, epoch=epoch))

    async def _call(self, name: str, verb: str, message: Any) -> Any:
        try:
            return await self._connections[name].call(verb, message, TIMEOUT_S)
        except KmsError:
            return None
