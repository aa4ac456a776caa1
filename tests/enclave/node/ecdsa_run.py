"""One attempt of threshold ECDSA among nodes without sockets, with every message in the test's hands."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from enclave.certificate import KeyCertificate
from enclave.payload.sign import parse_sign_body
from enclave.threshold.ecdsa.finish import finish
from enclave.threshold.ecdsa.session import Session
from enclave.wire.ecdsa import EcdsaMessage, EcdsaRound, EcdsaStart, ecdsa_message_bytes
from tests.enclave.node.world import World

SIGNERS = ("node-1", "node-2", "node-3")


def open_channels(world: World, slots: Sequence[str]) -> None:
    """Sessions between all these nodes."""
    for sender in slots:
        for receiver in slots:
            if sender != receiver:
                world.open_channel(sender, receiver)


class EcdsaRun:
    """An attempt as an honest gateway would drive it, one round at a time."""

    def __init__(
        self,
        world: World,
        key: KeyCertificate,
        body: bytes,
        *,
        signers: Sequence[str] = SIGNERS,
        token: str | None = None,
        attempt: int = 1,
        channels: bool = True,
    ) -> None:
        self.world, self.key, self.body, self.signers = world, key, body, list(signers)
        self.token = token or world.token(key, body)
        self.attempt = attempt
        self.messages: list[EcdsaMessage] = []
        if channels:
            open_channels(world, self.signers)

    @property
    def request(self) -> EcdsaStart:
        """What begins it."""
        return EcdsaStart(token=self.token, body=self.body, signers=self.signers, attempt=self.attempt)

    def start(self) -> list[EcdsaMessage]:
        """Round 1 at every signer."""
        self.messages = [self.world.call(slot, "ecdsa-start", self.request) for slot in self.signers]
        return self.messages

    def following(self, number: int, messages: list[EcdsaMessage] | None = None) -> EcdsaRound:
        """The request of a later round."""
        messages = messages or self.messages
        return EcdsaRound(session=self.messages[0].session, round=number, messages=messages)

    def advance(self, number: int) -> list[EcdsaMessage]:
        """A later round at every signer."""
        request = self.following(number)
        self.messages = [self.world.call(slot, "ecdsa-round", request) for slot in self.signers]
        return self.messages

    def up_to(self, number: int) -> list[EcdsaMessage]:
        """The messages of round `number`."""
        self.start()
        for step in range(2, number + 1):
            self.advance(step)
        return self.messages

    def signature(self) -> tuple[bytes, int]:
        """All four rounds and the gateway's step: r || s and the recovery id."""
        return self.finished(self.up_to(4))

    def finished(self, releases: list[EcdsaMessage]) -> tuple[bytes, int]:
        """The signature the releases make; raises EnclaveError."""
        index = {node.slot: node.index for node in self.key.nodes}
        digest = parse_sign_body(self.body, self.key.usage, self.key.spec).digest
        assert digest is not None
        session = Session(
            session=releases[0].session,
            slots={index[slot]: slot for slot in self.signers},
            threshold=self.key.shares_needed,
            public_key=self.key.public_key,
            digest=digest,
        )
        return finish(session, {index[message.slot]: message.payload for message in releases})

    def forged(self, slot: str, payload: bytes) -> EcdsaMessage:
        """The present round's message of a corrupt node: truly signed, with another payload."""
        honest = next(message for message in self.messages if message.slot == slot)
        changed = msgspec.structs.replace(honest, payload=payload)
        signature = self.world.nodes[slot].identity.sign(ecdsa_message_bytes(changed))
        return msgspec.structs.replace(changed, signature=signature)

    def replaced(self, message: EcdsaMessage) -> list[EcdsaMessage]:
        """The present round's messages with one of them replaced."""
        return [message if message.slot == honest.slot else honest for honest in self.messages]
