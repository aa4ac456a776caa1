"""The JSON of sign requests and signatures, for the OpenAPI document and as a second strict check of a body."""

from __future__ import annotations

from typing import Any

import msgspec

from kms.body import Reply
from kms.errors import RequestError

Integer = int | str
"""A JSON integer below 2^53, or a decimal string for any size."""


class AccessEntryJson(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One EIP-2930 access list entry; hex with 0x."""

    address: str
    storage_keys: list[str]


class AuthorizationJson(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One signed EIP-7702 authorization."""

    chain_id: Integer
    address: str
    nonce: Integer
    y_parity: int
    r: str
    s: str


class Transaction(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The fields of an EVM transaction of type 0, 1, 2 or 4; nothing is filled in."""

    type: int
    chain_id: Integer
    nonce: Integer
    gas: Integer
    value: Integer
    to: str | None
    data: str = "0x"
    gas_price: Integer | msgspec.UnsetType = msgspec.UNSET
    max_fee_per_gas: Integer | msgspec.UnsetType = msgspec.UNSET
    max_priority_fee_per_gas: Integer | msgspec.UnsetType = msgspec.UNSET
    access_list: list[AccessEntryJson] = []
    authorization_list: list[AuthorizationJson] = []


class SignBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind"):
    """Common members of every payload kind."""

    not_after: int | msgspec.UnsetType = msgspec.UNSET
    """Unix seconds after which nodes must not execute the request."""
    path: str | msgspec.UnsetType = msgspec.UNSET
    """The child key that signs, such as m/0/5."""


class EvmTransactionBody(SignBody, frozen=True, tag="evm_transaction"):
    """The fields of a transaction, or its unsigned encoding as 0x hex; the nodes build and hash it."""

    transaction: Transaction | msgspec.UnsetType = msgspec.UNSET
    raw: str | msgspec.UnsetType = msgspec.UNSET


class DelegationJson(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The code an account is to run; chain id 0 is every chain."""

    chain_id: Integer
    address: str
    nonce: Integer


class Eip7702AuthorizationBody(SignBody, frozen=True, tag="eip7702_authorization"):
    """An authorization for somebody's type 4 transaction to carry."""

    authorization: DelegationJson


class Eip191Body(SignBody, frozen=True, tag="eip191"):
    """An EIP-191 personal message, base64url."""

    message: str


class SolanaMessageBody(SignBody, frozen=True, tag="solana_message"):
    """A serialized Solana message, base64url."""

    message: str


class MessageBody(SignBody, frozen=True, tag="message"):
    """Any bytes, base64url."""

    message: str


class DigestBody(SignBody, frozen=True, tag="digest"):
    """32 bytes, base64url; refused unless policy allows signing blindly."""

    digest: str


class Eip712Body(SignBody, frozen=True, tag="eip712"):
    """EIP-712 typed data: domain, types, primaryType and message; the nodes hash it."""

    typed_data: dict[str, Any]


class BitcoinSighashBody(SignBody, frozen=True, tag="bitcoin_sighash"):
    """A Taproot signature hash, 32 bytes, base64url; counts as signing blindly."""

    sighash: str


class BitcoinPsbtBody(SignBody, frozen=True, tag="bitcoin_psbt"):
    """A PSBT of version 0, base64url, and the input to sign; the nodes compute the hash."""

    psbt: str
    input: int


class JwsHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a token's protected header may say beside `alg`, which follows from the key."""

    alg: str | msgspec.UnsetType = msgspec.UNSET
    typ: str | msgspec.UnsetType = msgspec.UNSET
    kid: str | msgspec.UnsetType = msgspec.UNSET
    cty: str | msgspec.UnsetType = msgspec.UNSET


class JwsBody(SignBody, frozen=True, tag="jws"):
    """A token: the exact JSON text of its claims, base64url."""

    claims: str
    header: JwsHeader | msgspec.UnsetType = msgspec.UNSET


SignRequest = (
    EvmTransactionBody
    | Eip712Body
    | Eip7702AuthorizationBody
    | Eip191Body
    | SolanaMessageBody
    | BitcoinPsbtBody
    | BitcoinSighashBody
    | JwsBody
    | MessageBody
    | DigestBody
)

_SIGN_REQUEST = msgspec.json.Decoder(SignRequest)


def check_sign_body(body: bytes) -> None:
    """Hold a body against the published types; raises RequestError (`request.malformed`)."""
    try:
        _SIGN_REQUEST.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestError(str(error)[:200]) from None


class SignatureJson(Reply, frozen=True, omit_defaults=True):
    """`ed25519` or `bip340` (64 bytes, base64url), or the ECDSA members (hex), and what the payload became."""

    ed25519: str | None = None
    bip340: str | None = None
    r: str | None = None
    s: str | None = None
    y_parity: int | None = None
    der: str | None = None
    raw_transaction: str | None = None
    transaction_hash: str | None = None
    psbt: str | None = None
    """The PSBT with this signature in it, base64url."""
    token: str | None = None
    """The finished token in its compact form."""


class Signed(Reply, frozen=True):
    """The result of a sign request."""

    key: str
    kind: str
    request_id: str
    """Hex SHA-256 of the request token."""
    signers: list[str]
    signature: SignatureJson
