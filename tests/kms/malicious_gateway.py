"""A relay of its own beside the gateway: speaks to nodes' ports in frames, chooses signers, repeats, mixes, forgets."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from enclave.roster import Roster
from enclave.wire.channel import ChannelOpenRequest
from enclave.wire.message import Message
from enclave.wire.signing import NonceCommitment, NoncesRequest, Signer, SignReply, SignRequest
from enclave.wire.verbs import decode_reply
from tests.enclave.node.test_process import Peer


@dataclass(slots=True, kw_only=True)
class Attempt:
    """One request with the signer set chosen for it, and what the signers answered: a share, or a code."""

    token: str
    body: bytes
    slots: Sequence[str]
    signers: list[Signer] = field(default_factory=list)
    answers: dict[str, SignReply | str] = field(default_factory=dict)

    @property
    def signed(self) -> bool:
        """Whether every signer gave its share."""
        return all(isinstance(self.answers.get(slot), SignReply) for slot in self.slots)

    @property
    def codes(self) -> set[str]:
        """Why signers refused."""
        return {answer for answer in self.answers.values() if isinstance(answer, str)}


class MaliciousGateway:
    """One connection to each node; `connect` before use, `close` after."""

    def __init__(self, roster: Roster) -> None:
        self._ports = {entry.slot: entry.port for entry in roster.slots}
        self.peers: dict[str, Peer] = {}

    async def __aenter__(self) -> MaliciousGateway:
        for slot, port in self._ports.items():
            self.peers[slot] = await Peer.connect(port)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(peer.close() for peer in self.peers.values()))

    async def call(self, slot: str, verb: str, message: Message) -> Any:
        """The reply, or the code of the refusal."""
        return await self.peers[slot].call(verb, message)

    async def nonces(self, slot: str, count: int = 1) -> list[NonceCommitment]:
        """Fresh commitments of this connection."""
        reply = await self.call(slot, "nonces", NoncesRequest(suite="ed25519", count=count))
        assert not isinstance(reply, str), reply
        return list(reply.nonces)

    async def open_channel(self, sender: str, receiver: str) -> None:
        """A session between two nodes, for shares that only nodes can read."""
        opening = await self.call(sender, "channel-open", ChannelOpenRequest(slot=receiver))
        await self.call(receiver, "channel-accept", opening)

    async def prepare(self, *attempts: Attempt) -> dict[str, list[tuple[Attempt, SignRequest]]]:
        """What each node is asked, with a nonce of each of its signers."""
        needed = Counter(slot for attempt in attempts for slot in attempt.slots)
        found = await asyncio.gather(*(self.nonces(slot, count) for slot, count in needed.items()))
        nonces = {slot: iter(items) for slot, items in zip(needed, found, strict=True)}
        calls: dict[str, list[tuple[Attempt, SignRequest]]] = {slot: [] for slot in needed}
        for attempt in attempts:
            taken = {slot: next(nonces[slot]) for slot in attempt.slots}
            attempt.signers = [Signer(slot, nonce.hiding, nonce.binding) for slot, nonce in taken.items()]
            for slot, nonce in taken.items():
                request = SignRequest(
                    token=attempt.token, body=attempt.body, nonce=nonce.nonce, signers=attempt.signers
                )
                calls[slot].append((attempt, request))
        return calls

    async def sign(self, attempts: Iterable[Attempt]) -> None:
        """All of them at once: one frame per node, all nodes at the same time."""
        calls = await self.prepare(*attempts)
        await asyncio.gather(*(self._ask(slot, asked) for slot, asked in calls.items()))

    async def _ask(self, slot: str, asked: list[tuple[Attempt, SignRequest]]) -> None:
        answers = await self.peers[slot].send(*(("sign", request) for _, request in asked))
        for (attempt, _), answer in zip(asked, answers, strict=True):
            if answer.fault is not None:
                attempt.answers[slot] = answer.fault.code
            else:
                reply = decode_reply("sign", answer.body)
                assert isinstance(reply, SignReply)
                attempt.answers[slot] = reply
