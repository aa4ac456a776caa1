"""Signed messages of a round, and the certificates made of them.

Rules kept (specs/ceremonies.md section 4): a round takes exactly one message of each participant under the identity
attested at the start; a message that does not verify blames nobody, because whoever relays can spoil it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from enclave.ceremonies.facts import Member
from enclave.errors import AbortError, PeerError
from enclave.identity import BootIdentity, is_signed
from enclave.wire.attestation import Identity
from enclave.wire.ceremonies import ABORT_ROUND, CeremonyMessage, ceremony_message_bytes
from enclave.wire.message import encode

_TIME_BYTES = 8


def say(identity: BootIdentity, session: bytes, number: int, payload: bytes) -> CeremonyMessage:
    """This boot's signed message of a round."""
    own = identity.public
    unsigned = CeremonyMessage(
        session=session,
        round=number,
        slot=own.slot,
        boot_counter=own.boot_counter,
        payload=payload,
        signature=b"",
    )
    return msgspec.structs.replace(unsigned, signature=identity.sign(ceremony_message_bytes(unsigned)))


def read(
    messages: Sequence[CeremonyMessage], session: bytes, number: int, members: Iterable[Member]
) -> dict[str, bytes]:
    """Payload of each member; raises PeerError (`ceremony.messages`) unless there is exactly one true one of each."""
    known = {member.slot: member for member in members}
    if sorted(message.slot for message in messages) != sorted(known):
        raise PeerError("expected one message of each participant", code="ceremony.messages")
    for message in messages:
        member = known[message.slot]
        facts = (message.session, message.round, message.boot_counter)
        if facts != (session, number, member.boot_counter):
            raise PeerError("message of another session, round or boot", code="ceremony.messages")
        if not is_signed(member.identity_key, message.signature, ceremony_message_bytes(message)):
            raise PeerError("message is not signed by its participant's attested key", code="ceremony.messages")
    payloads = {message.slot: message.payload for message in messages}
    return {slot: payloads[slot] for slot in known}


def in_context(payloads: Mapping[str, bytes], context: bytes) -> dict[str, bytes]:
    """The payloads behind the context each begins with; raises AbortError (`ceremony.equivocation`) if one differs.

    A participant thereby signs the facts with every message: nobody can judge it by others afterwards.
    """
    if any(payload[: len(context)] != context for payload in payloads.values()):
        raise AbortError("participants started from different facts", code="ceremony.equivocation")
    return {slot: payload[len(context) :] for slot, payload in payloads.items()}


def clock(now: int) -> bytes:
    """How a round-1 payload begins behind its context."""
    return now.to_bytes(_TIME_BYTES, "big")


def clocks(payloads: Mapping[str, bytes]) -> tuple[dict[str, int], dict[str, bytes]]:
    """Round-1 payloads taken apart: clocks in Unix seconds, and what follows them."""
    times = {slot: int.from_bytes(payload[:_TIME_BYTES], "big") for slot, payload in payloads.items()}
    return times, {slot: payload[_TIME_BYTES:] for slot, payload in payloads.items()}


def check_abort(
    message: CeremonyMessage, session: bytes, members: Iterable[Member], attested: Mapping[str, Identity]
) -> None:
    """Return if `message` is the abort of a participant.

    A participant that restarted has lost the identity of the session, and with it every way to prepare: its later,
    currently attested boot may say so.  Raises PeerError (`ceremony.messages`).
    """
    member = next((member for member in members if member.slot == message.slot), None)
    if member is None or (message.session, message.round, message.payload) != (session, ABORT_ROUND, b""):
        raise PeerError("expected a participant's abort of this session", code="ceremony.messages")
    signed = ceremony_message_bytes(message)
    keys = [member.identity_key] if message.boot_counter == member.boot_counter else []
    later = attested.get(message.slot)
    if later is not None and later.boot_counter == message.boot_counter > member.boot_counter:
        keys.append(later.identity_key)
    if not any(is_signed(key, message.signature, signed) for key in keys):
        raise PeerError("abort is not signed by a participant's attested key", code="ceremony.messages")


def digest_of(messages: Sequence[CeremonyMessage]) -> bytes:
    """Names a set of messages, whatever order they came in."""
    return hashlib.sha256(encode(sorted(messages, key=lambda message: message.slot))).digest()
