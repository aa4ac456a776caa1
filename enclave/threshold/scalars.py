"""Published scalars between their wire form and Python integers; never for secret ones."""

from __future__ import annotations

from typing import Literal

from enclave.group import Group


def decode_public(group: Group, data: bytes) -> int:
    """A published scalar as an integer; raises CallerError (`scalar.invalid`) unless canonical and non-zero."""
    group.scalar_check(data)
    return int.from_bytes(data, _byteorder(group))


def encode_public(group: Group, k: int) -> bytes:
    """The wire form of a public integer, reduced modulo the group order."""
    return (k % group.order).to_bytes(group.scalar_bytes, _byteorder(group))


def _byteorder(group: Group) -> Literal["little", "big"]:
    return "little" if group.name == "ed25519" else "big"
