"""Typed data that moves tokens: EIP-3009 authorizations, ERC-2612 and DAI permits, Permit2.

Recognised by the exact type text, because that is what the contracts hash: a message of any other
type is not accepted by them as a permit or transfer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from enclave.addresses import parse_evm_address
from enclave.payload.eip712 import TypedData
from enclave.payload.token_moves import UINT256_MAX, MoveKind, TokenMove

PERMIT2 = frozenset(
    {
        parse_evm_address("0x000000000022D473030F116dDEE9F6B43aC78BA3"),
        parse_evm_address("0x0000000000225e31D15943971F47aD3022F714Fa"),
    }
)
"""Where Permit2 is deployed: one address on most chains, another on the zkSync family."""


def token_moves(data: TypedData) -> tuple[TokenMove, ...]:
    """What signing `data` allows to be moved; empty if it is no known permit or authorization."""
    contract = data.verifying_contract
    if contract is None:
        return ()
    text = data.type_text
    if text in _BY_TOKEN:
        return (_BY_TOKEN[text](contract, data.message),)
    if contract in PERMIT2:
        return _permit2(data, text)
    return ()


def _authorization(token: bytes, message: Mapping[str, Any]) -> TokenMove:
    return TokenMove(
        kind=MoveKind.TRANSFER,
        token=token,
        source=parse_evm_address(message["from"]),
        recipient=parse_evm_address(message["to"]),
        amount=_number(message["value"]),
    )


def _permit(token: bytes, message: Mapping[str, Any]) -> TokenMove:
    return TokenMove(
        kind=MoveKind.APPROVAL,
        token=token,
        source=parse_evm_address(message["owner"]),
        recipient=parse_evm_address(message["spender"]),
        amount=_number(message["value"]),
    )


def _dai_permit(token: bytes, message: Mapping[str, Any]) -> TokenMove:
    return TokenMove(
        kind=MoveKind.APPROVAL,
        token=token,
        source=parse_evm_address(message["holder"]),
        recipient=parse_evm_address(message["spender"]),
        amount=UINT256_MAX if message["allowed"] else 0,
    )


def _permit2(data: TypedData, text: str) -> tuple[TokenMove, ...]:
    """Allowances (`details`) and signed transfers (`permitted`), single or batch, with or without witness."""
    granted_type = next((name for prefix, name in _PERMIT2_PREFIXES.items() if text.startswith(prefix)), None)
    if granted_type is None or data.types[granted_type] != _GRANTED[granted_type]:
        return ()
    granted = data.message["details" if granted_type == "PermitDetails" else "permitted"]
    spender = parse_evm_address(data.message["spender"])
    return tuple(
        TokenMove(
            kind=MoveKind.APPROVAL,
            token=parse_evm_address(item["token"]),
            recipient=spender,
            amount=_number(item["amount"]),
        )
        for item in (granted if isinstance(granted, list) else [granted])
    )


def _number(value: Any) -> int:
    """An integer that hashing has already checked."""
    return value if isinstance(value, int) else int(value, 0)


_AUTHORIZATION = "(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"

_BY_TOKEN: dict[str, Callable[[bytes, Mapping[str, Any]], TokenMove]] = {
    "TransferWithAuthorization" + _AUTHORIZATION: _authorization,
    "ReceiveWithAuthorization" + _AUTHORIZATION: _authorization,
    "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)": _permit,
    "Permit(address holder,address spender,uint256 nonce,uint256 expiry,bool allowed)": _dai_permit,
}

_GRANTED = {
    "PermitDetails": (("token", "address"), ("amount", "uint160"), ("expiration", "uint48"), ("nonce", "uint48")),
    "TokenPermissions": (("token", "address"), ("amount", "uint256")),
}

_TERMS = "address spender,uint256 nonce,uint256 deadline"

_PERMIT2_PREFIXES = {
    "PermitSingle(PermitDetails details,address spender,uint256 sigDeadline)": "PermitDetails",
    "PermitBatch(PermitDetails[] details,address spender,uint256 sigDeadline)": "PermitDetails",
    f"PermitTransferFrom(TokenPermissions permitted,{_TERMS})": "TokenPermissions",
    f"PermitBatchTransferFrom(TokenPermissions[] permitted,{_TERMS})": "TokenPermissions",
    f"PermitWitnessTransferFrom(TokenPermissions permitted,{_TERMS},": "TokenPermissions",
    f"PermitBatchWitnessTransferFrom(TokenPermissions[] permitted,{_TERMS},": "TokenPermissions",
}
