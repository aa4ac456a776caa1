"""What every message is: strict msgpack values, and the signing bytes over them."""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from enclave.errors import WireError


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all messages: immutable values with strict decoding."""


class Empty(Message, frozen=True):
    """No content."""


LENGTH = struct.Struct(">I")


ENCODER = msgspec.msgpack.Encoder()


T = TypeVar("T")


def encode(message: Any) -> bytes:
    """Msgpack bytes of a message, a list of calls or a list of answers."""
    return ENCODER.encode(message)


def decode_as(kind: type[T], body: bytes) -> T:
    """A message of type `kind` from its msgpack bytes; raises WireError."""
    hashable: Any = kind
    decoder: msgspec.msgpack.Decoder[T] = _decoder(hashable)
    return decode(decoder, body)


@lru_cache(maxsize=256)
def _decoder(kind: type[Any]) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(kind)


def decode(decoder: msgspec.msgpack.Decoder[T], body: bytes | msgspec.Raw) -> T:
    """What `decoder` reads; raises WireError (`wire.malformed`)."""
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError):
        raise WireError("message does not have its stated form") from None


def tagged(tag: str, *parts: bytes) -> bytes:
    """Domain-separated signing bytes: each part with its u32 length, under `holdfast/<tag>/v1`."""
    name = f"holdfast/{tag}/v1".encode()
    return b"".join(LENGTH.pack(len(part)) + part for part in (name, *parts))
