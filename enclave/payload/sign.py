"""The body of a sign request, from exact bytes to what is signed (specs/payloads.md).

Rules kept: the key's usage decides which kinds exist for it, so a signature for one purpose never
serves another; every parameter is inside the body the token covers; unknown members are refused.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

from attestation.canonical import parse_json
from attestation.errors import CodedError, DocumentError
from enclave.addresses import checksum_address, keccak256
from enclave.errors import CallerError
from enclave.fields import Fields
from enclave.group.schnorr import tagged_hash
from enclave.key_specs import ECDSA_SPECS
from enclave.payload.eip712 import TypedData, read_typed_data
from enclave.payload.evm import Delegation, EvmTransaction, read_data, read_delegation, read_transaction
from enclave.payload.evm_raw import parse_unsigned
from enclave.payload.jws import JwsClaims, may_be_jws, read_jws
from enclave.payload.psbt import INPUTS_MAX, PSBT_BYTES_MAX, PsbtSpend, parse_psbt
from enclave.payload.solana import SolanaMessage, may_be_message, parse_message
from enclave.payload.token_moves import TokenMove
from enclave.payload.typed_transfers import token_moves
from enclave.threshold.derive import format_path, parse_path

BODY_BYTES_MAX = 1 << 20
"""Largest request body in bytes."""

BIP340_MESSAGE_TAG = "Holdfast/message"
"""Tag of the hash of opaque messages that BIP-340 keys, and all keys of usage `bitcoin`, sign."""

KINDS: dict[str, tuple[str, ...]] = {
    "evm": ("evm_transaction", "eip712", "eip191", "eip7702_authorization", "digest"),
    "solana": ("solana_message", "message"),
    "bitcoin": ("bitcoin_psbt", "bitcoin_sighash", "message"),
    "generic": ("message", "jws", "digest"),
}
"""Payload kinds a key of each usage signs."""

KINDS_ALL = frozenset(kind for kinds in KINDS.values() for kind in kinds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """What a sign request asks for.  Ed25519 and BIP-340 keys sign `message`, ECDSA keys `digest`: one is None."""

    kind: str
    message: bytes | None = None
    digest: bytes | None = None
    not_after: int | None = None
    """Unix seconds after which nodes must not execute the request."""
    path: tuple[int, ...] = ()
    """Steps to the child key that signs; empty for the key itself."""
    transaction: EvmTransaction | None = None
    typed_data: TypedData | None = None
    token_moves: tuple[TokenMove, ...] = ()
    """What the transaction or typed data does to tokens, as far as it is understood."""
    delegation: Delegation | None = None
    solana: SolanaMessage | None = None
    bitcoin: PsbtSpend | None = None
    jws: JwsClaims | None = None
    content_bytes: int = 0
    """Size of an opaque message."""

    @property
    def policy_kind(self) -> str:
        """The kind policy sees: a sighash tells as little of its transaction as any digest."""
        return "digest" if self.kind == "bitcoin_sighash" else self.kind

    @property
    def facts(self) -> dict[str, Any]:
        """JSON-able facts for explanations and audit."""
        return self._content() | ({"path": format_path(self.path)} if self.path else {})

    def _content(self) -> dict[str, Any]:
        if self.transaction is not None:
            return self.transaction.facts()
        if self.solana is not None:
            return self.solana.facts()
        if self.typed_data is not None:
            return typed_facts(self.typed_data, self.token_moves)
        if self.bitcoin is not None:
            return self.bitcoin.facts()
        if self.jws is not None:
            return self.jws.facts()
        if self.delegation is not None:
            return self.delegation.facts()
        return {"bytes": self.content_bytes}

    @property
    def summary(self) -> str:
        """One line for people."""
        facts = self.facts
        if self.transaction is not None:
            target = facts["to"] or "a new contract"
            return f"{facts['value']} wei to {target} on chain {facts['chain_id']}, fee at most {facts['fee_max']} wei"
        if self.solana is not None:
            return f"{facts['lamports']} lamports, programs {', '.join(facts['programs'])}"
        if self.bitcoin is not None:
            paid = ", ".join(f"{item['satoshis']} to {item['to']}" for item in facts["payments"]) or "nobody else"
            return f"{facts['leaving']} satoshis leave (fee of all {facts['fee']}), input {facts['input']}: {paid}"
        if self.jws is not None:
            return f"token of type {self.jws.type or 'unstated'} with {len(self.jws.claims)} claims"
        if self.typed_data is not None:
            return f"typed data {facts['primary_type']} for {facts.get('verifying_contract', 'no contract')}"
        if self.delegation is not None:
            return f"delegation of the account to code at {facts['address']}"
        return f"{self.kind} of {self.content_bytes} bytes"


def parse_sign_body(body: bytes, usage: str, spec: str) -> Payload:
    """Read the body of `POST /v1/keys/{key}/sign` for a key of this usage and spec.

    Raises CallerError: `payload.malformed`, `payload.kind`, `payload.usage`, `payload.evm-type`,
    `payload.solana`, `payload.looks-like-transaction`, `path.invalid`, or a code of the JSON reader.
    """
    fields = Fields(_json(body), where="", error=_malformed)
    kind = fields.take("kind")
    if not isinstance(kind, str) or kind not in KINDS_ALL:
        raise CallerError(f"expected a payload kind of {', '.join(sorted(KINDS_ALL))}", code="payload.kind")
    is_ecdsa = spec in ECDSA_SPECS
    if kind not in KINDS.get(usage, ()) or (kind == "digest" and spec == "ed25519"):
        raise CallerError(
            f"a {spec} key of usage {usage} does not sign {kind}",
            code="payload.usage",
            hint="usage is fixed when a key is made; make another key for another purpose",
        )
    not_after = fields.integer("not_after") if "not_after" in fields else None
    path = read_path(fields)
    if kind == "jws":
        payload = _jws(fields, spec, is_ecdsa, not_after)
    else:
        payload = _READERS[kind](fields, usage, is_ecdsa, not_after)
    if path:
        payload = replace(payload, path=path)
    fields.done()
    return for_bip340(payload) if spec == "secp256k1-schnorr" else payload


def signed_transaction(payload: Payload, r: int | bytes, s: int | bytes, y_parity: int) -> bytes:
    """The raw transaction of a signed `evm_transaction` payload; raises CallerError for other kinds."""
    if payload.transaction is None:
        raise CallerError("only evm_transaction payloads become raw transactions", code="payload.kind")
    number_r = int.from_bytes(r, "big") if isinstance(r, bytes) else r
    number_s = int.from_bytes(s, "big") if isinstance(s, bytes) else s
    return payload.transaction.signed(number_r, number_s, y_parity)


def read_path(fields: Fields) -> tuple[int, ...]:
    """The optional member `path`; raises CallerError (`path.invalid`)."""
    if "path" not in fields:
        return ()
    path = fields.take("path")
    if not isinstance(path, str):
        raise CallerError("expected a path such as m/0/5", code="path.invalid")
    return parse_path(path)


def for_bip340(payload: Payload) -> Payload:
    """The payload with the 32 bytes that BIP-340 signs as its message.

    An opaque message is hashed under a tag of its own, so that no message can be a transaction's hash.
    """
    if payload.digest is not None:
        return replace(payload, message=payload.digest, digest=None)
    assert payload.message is not None
    return replace(payload, message=tagged_hash(BIP340_MESSAGE_TAG, payload.message))


def eip191_digest(message: bytes) -> bytes:
    """Hash of a personal message (EIP-191 version 0x45)."""
    return keccak256(b"\x19Ethereum Signed Message:\n" + str(len(message)).encode() + message)


def typed_facts(data: TypedData, moves: tuple[TokenMove, ...]) -> dict[str, Any]:
    """JSON-able facts of typed data."""
    facts: dict[str, Any] = {"primary_type": data.primary_type}
    if data.chain_id is not None:
        facts["chain_id"] = data.chain_id
    if data.verifying_contract is not None:
        facts["verifying_contract"] = checksum_address(data.verifying_contract)
    if isinstance(data.domain.get("name"), str):
        facts["domain_name"] = data.domain["name"]
    if moves:
        facts["token_moves"] = [move.facts() for move in moves]
    return facts


def _json(body: bytes) -> Any:
    try:
        return parse_json(body, bytes_max=BODY_BYTES_MAX, depth_max=16)
    except DocumentError as error:
        raise CallerError(error.detail, code=error.code, hint=error.hint) from None


def _malformed(detail: str) -> CodedError:
    return CallerError(detail, code="payload.malformed")


def _evm_transaction(fields: Fields, _usage: str, _is_ecdsa: bool, not_after: int | None) -> Payload:
    if "raw" in fields:
        transaction = parse_unsigned(read_data(fields, "raw"))
    else:
        transaction = read_transaction(fields.fields("transaction"))
    move = transaction.token_move
    return Payload(
        kind="evm_transaction",
        digest=transaction.digest,
        not_after=not_after,
        transaction=transaction,
        token_moves=() if move is None else (move,),
    )


def _eip712(fields: Fields, _usage: str, _is_ecdsa: bool, not_after: int | None) -> Payload:
    data = read_typed_data(fields.fields("typed_data"))
    return Payload(
        kind="eip712", digest=data.digest, not_after=not_after, typed_data=data, token_moves=token_moves(data)
    )


def _eip7702(fields: Fields, _usage: str, _is_ecdsa: bool, not_after: int | None) -> Payload:
    delegation = read_delegation(fields.fields("authorization"))
    return Payload(kind="eip7702_authorization", digest=delegation.digest, not_after=not_after, delegation=delegation)


def _eip191(fields: Fields, _usage: str, _is_ecdsa: bool, not_after: int | None) -> Payload:
    message = fields.base64("message", size_max=BODY_BYTES_MAX)
    return Payload(kind="eip191", digest=eip191_digest(message), not_after=not_after, content_bytes=len(message))


def _digest(fields: Fields, _usage: str, _is_ecdsa: bool, not_after: int | None) -> Payload:
    return Payload(kind="digest", digest=fields.base64("digest", size=32), not_after=not_after, content_bytes=32)


def _bitcoin_sighash(fields: Fields, _usage: str, _is_ecdsa: bool, not_after: int | None) -> Payload:
    sighash = fields.base64("sighash", size=32)
    return Payload(kind="bitcoin_sighash", digest=sighash, not_after=not_after, content_bytes=32)


def _bitcoin_psbt(fields: Fields, _usage: str, is_ecdsa: bool, not_after: int | None) -> Payload:
    spend = parse_psbt(fields.base64("psbt", size_max=PSBT_BYTES_MAX), fields.integer("input", 0, INPUTS_MAX))
    if spend.is_taproot == is_ecdsa:
        raise CallerError(
            f"a key of this kind does not spend {'P2TR' if spend.is_taproot else 'P2WPKH'} outputs",
            code="payload.bitcoin",
            hint="Taproot outputs belong to secp256k1-schnorr keys, P2WPKH outputs to secp256k1-ecdsa keys",
        )
    return Payload(kind="bitcoin_psbt", digest=spend.sighash, not_after=not_after, bitcoin=spend)


def _jws(fields: Fields, spec: str, is_ecdsa: bool, not_after: int | None) -> Payload:
    token = read_jws(fields, spec)
    return Payload(
        kind="jws",
        message=None if is_ecdsa else token.signing_input,
        digest=hashlib.sha256(token.signing_input).digest() if is_ecdsa else None,
        not_after=not_after,
        jws=token,
    )


def _solana_message(fields: Fields, _usage: str, _is_ecdsa: bool, not_after: int | None) -> Payload:
    message = fields.base64("message", size_max=BODY_BYTES_MAX)
    return Payload(
        kind="solana_message",
        message=message,
        not_after=not_after,
        solana=parse_message(message),
        content_bytes=len(message),
    )


def _message(fields: Fields, usage: str, is_ecdsa: bool, not_after: int | None) -> Payload:
    message = fields.base64("message", size_max=BODY_BYTES_MAX)
    if usage == "solana" and may_be_message(message):
        raise CallerError(
            "these bytes may be a Solana transaction message",
            code="payload.looks-like-transaction",
            hint="send it as kind solana_message, so that policy can read it",
        )
    if may_be_jws(message):
        raise CallerError(
            "these bytes may be a token's signing input",
            code="payload.looks-like-token",
            hint="send them as kind jws, so that policy can read the claims",
        )
    return Payload(
        kind="message",
        message=None if is_ecdsa else message,
        digest=_message_digest(message, usage) if is_ecdsa else None,
        not_after=not_after,
        content_bytes=len(message),
    )


def _message_digest(message: bytes, usage: str) -> bytes:
    """What ECDSA signs of an opaque message.

    Bitcoin hashes twice: the plain hash of a chosen message could be a transaction's, so there it has its own tag.
    """
    return tagged_hash(BIP340_MESSAGE_TAG, message) if usage == "bitcoin" else hashlib.sha256(message).digest()


_READERS = {
    "evm_transaction": _evm_transaction,
    "eip712": _eip712,
    "eip7702_authorization": _eip7702,
    "eip191": _eip191,
    "digest": _digest,
    "bitcoin_psbt": _bitcoin_psbt,
    "bitcoin_sighash": _bitcoin_sighash,
    "solana_message": _solana_message,
    "message": _message,
}
