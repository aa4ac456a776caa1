"""What call data or typed data does to tokens: transfers, and approvals that let others transfer.

Only exact encodings of well-known functions are decoded; everything else stays call data that is not
understood.  An approval is as good as a transfer to the spender, so both are moves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from enclave.addresses import checksum_address

UINT256_MAX = (1 << 256) - 1


class MoveKind(StrEnum):
    """How a move takes effect."""

    TRANSFER = "transfer"
    APPROVAL = "approval"
    """Somebody else may transfer up to the amount, now or later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenMove:
    """One move of a token; addresses are 20 bytes, amounts base units."""

    kind: MoveKind
    token: bytes
    """The token's contract."""
    recipient: bytes
    """Who receives, or who may spend."""
    amount: int
    source: bytes | None = None
    """Whose tokens, where the data says it."""

    def facts(self) -> dict[str, Any]:
        """JSON-able facts; the amount as decimal string."""
        facts = {
            "kind": str(self.kind),
            "token": checksum_address(self.token),
            "recipient": checksum_address(self.recipient),
            "amount": str(self.amount),
        }
        if self.source is not None:
            facts["source"] = checksum_address(self.source)
        return facts


def decode_call(token: bytes, data: bytes) -> TokenMove | None:
    """The move that calling contract `token` with `data` makes, or None if it is not exactly a known call."""
    known = _CALLS.get(data[:4])
    if known is None:
        return None
    words, addresses, read = known
    if len(data) != 4 + 32 * words:
        return None
    values = [data[4 + 32 * number : 36 + 32 * number] for number in range(words)]
    if any(values[number][:12] != bytes(12) for number in addresses):
        return None
    return read(token, values)


_Words = list[bytes]


def _address(word: bytes) -> bytes:
    return word[12:]


def _amount(word: bytes) -> int:
    return int.from_bytes(word, "big")


def _transfer(token: bytes, words: _Words) -> TokenMove:
    return TokenMove(kind=MoveKind.TRANSFER, token=token, recipient=_address(words[0]), amount=_amount(words[1]))


def _transfer_from(token: bytes, words: _Words) -> TokenMove:
    return TokenMove(
        kind=MoveKind.TRANSFER,
        token=token,
        source=_address(words[0]),
        recipient=_address(words[1]),
        amount=_amount(words[2]),
    )


def _approve(token: bytes, words: _Words) -> TokenMove:
    return TokenMove(kind=MoveKind.APPROVAL, token=token, recipient=_address(words[0]), amount=_amount(words[1]))


def _approve_all(token: bytes, words: _Words) -> TokenMove:
    amount = UINT256_MAX if _amount(words[1]) else 0
    return TokenMove(kind=MoveKind.APPROVAL, token=token, recipient=_address(words[0]), amount=amount)


def _permit(token: bytes, words: _Words) -> TokenMove:
    return TokenMove(
        kind=MoveKind.APPROVAL,
        token=token,
        source=_address(words[0]),
        recipient=_address(words[1]),
        amount=_amount(words[2]),
    )


_CALLS: dict[bytes, tuple[int, tuple[int, ...], Callable[[bytes, _Words], TokenMove]]] = {
    # Selector: words, which of them are addresses, reader.  ERC-20, ERC-721/1155, ERC-2612, EIP-3009.
    bytes.fromhex("a9059cbb"): (2, (0,), _transfer),  # transfer(address,uint256)
    bytes.fromhex("23b872dd"): (3, (0, 1), _transfer_from),  # transferFrom(address,address,uint256)
    bytes.fromhex("095ea7b3"): (2, (0,), _approve),  # approve(address,uint256)
    bytes.fromhex("39509351"): (2, (0,), _approve),  # increaseAllowance(address,uint256)
    bytes.fromhex("a22cb465"): (2, (0,), _approve_all),  # setApprovalForAll(address,bool)
    bytes.fromhex("d505accf"): (7, (0, 1), _permit),  # permit(address,address,uint256,uint256,uint8,bytes32,bytes32)
    # transferWithAuthorization and receiveWithAuthorization(address,address,uint256,uint256,uint256,bytes32,uint8,..)
    bytes.fromhex("e3ee160e"): (9, (0, 1), _transfer_from),
    bytes.fromhex("ef55bec6"): (9, (0, 1), _transfer_from),
}
