"""The body of a sign request, from exact bytes to what is signed (specs/payloads.md).

Rules kept: the key's usage decides which kinds exist for it, so a signature for one purpose never
serves another; every parameter is inside the body the token covers; unknown members are refused.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from attestation.canonical import parse_json
from attestation.errors import CodedError, DocumentError
from enclave.addresses import keccak256
from enclave.errors import CallerError
from enclave.fields import Fields
from enclave.payload.evm import EvmTransaction, read_transaction
from enclave.payload.solana import SolanaMessage, may_be_message, parse_message

BODY_BYTES_MAX = 1 << 20
"""Largest request body in bytes."""

KINDS: dict[str, tuple[str, ...]] = {
    "evm": ("evm_transaction", "eip191", "digest"),
    "solana": ("solana_message", "message"),
    "generic": ("message", "digest"),
}
"""Payload kinds a key of each usage signs."""

KINDS_ALL = frozenset(kind for kinds in KINDS.values() for kind in kinds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """What a sign request asks for.  Ed25519 keys sign `message`, ECDSA keys sign `digest`; the other is None."""

    kind: str
    message: bytes | None = None
    digest: bytes | None = None
    not_after: int | None = None
    """Unix seconds after which nodes must not execute the request."""
    transaction: EvmTransaction | None = None
    solana: SolanaMessage | None = None
    content_bytes: int = 0
    """Size of an opaque message."""

    @property
    def facts(self) -> dict[str, Any]:
        """JSON-able facts for explanations and audit."""
        if self.transaction is not None:
            return self.transaction.facts()
        if self.solana is not None:
            return self.solana.facts()
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
        return f"{self.kind} of {self.content_bytes} bytes"


def parse_sign_body(body: bytes, usage: str, spec: str) -> Payload:
    """Read the body of `POST /v1/keys/{key}/sign` for a key of this usage and spec.

    Raises CallerError: `payload.malformed`, `payload.kind`, `payload.usage`, `payload.evm-type`,
    `payload.solana`, `payload.looks-like-transaction`, or a code of the JSON reader.
    """
    fields = Fields(_json(body), where="", error=_malformed)
    kind = fields.take("kind")
    if not isinstance(kind, str) or kind not in KINDS_ALL:
        raise CallerError(f"expected a payload kind of {', '.join(sorted(KINDS_ALL))}", code="payload.kind")
    is_ecdsa = spec == "secp256k1-ecdsa"
    if kind not in KINDS.get(usage, ()) or (kind == "digest" and not is_ecdsa):
        raise CallerError(
            f"a {spec} key of usage {usage} does not sign {kind}",
            code="payload.usage",
            hint="usage is fixed when a key is made; make another key for another purpose",
        )
    not_after = fields.integer("not_after") if "not_after" in fields else None
    payload = _READERS[kind](fields, usage, is_ecdsa, not_after)
    fields.done()
    return payload


def signed_transaction(payload: Payload, r: int | bytes, s: int | bytes, y_parity: int) -> bytes:
    """The raw transaction of a signed `evm_transaction` payload; raises CallerError for other kinds."""
    if payload.transaction is None:
        raise CallerError("only evm_transaction payloads become raw transactions", code="payload.kind")
    number_r = int.from_bytes(r, "big") if isinstance(r, bytes) else r
    number_s = int.from_bytes(s, "big") if isinstance(s, bytes) else s
    return payload.transaction.signed(number_r, number_s, y_parity)


def eip191_digest(message: bytes) -> bytes:
    """Hash of a personal message (EIP-191 version 0x45)."""
    return keccak256(b"\x19Ethereum Signed Message:\n" + str(len(message)).encode() + message)


def _json(body: bytes) -> Any:
    try:
        return parse_json(body, bytes_max=BODY_BYTES_MAX, depth_max=16)
    except DocumentError as error:
        raise CallerError(error.detail, code=error.code, hint=error.hint) from None


def _malformed(detail: str) -> CodedError:
    return CallerError(detail, code="payload.malformed")


def _evm_transaction(fields: Fields, _usage: str, _is_ecdsa: bool, not_after: int | None) -> Payload:
    transaction = read_transaction(fields.fields("transaction"))
    return Payload(kind="evm_transaction", digest=transaction.digest, not_after=not_after, transaction=transaction)


def _eip191(fields: Fields, _usage: str, _is_ecdsa: bool, not_after: int | None) -> Payload:
    message = fields.base64("message", size_max=BODY_BYTES_MAX)
    return Payload(kind="eip191", digest=eip191_digest(message), not_after=not_after, content_bytes=len(message))


def _digest(fields: Fields, _usage: str, _is_ecdsa: bool, not_after: int | None) -> Payload:
    return Payload(kind="digest", digest=fields.base64("digest", size=32), not_after=not_after, content_bytes=32)


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
    return Payload(
        kind="message",
        message=None if is_ecdsa else message,
        digest=hashlib.sha256(message).digest() if is_ecdsa else None,
        not_after=not_after,
        content_bytes=len(message),
    )


_READERS = {
    "evm_transaction": _evm_transaction,
    "eip191": _eip191,
    "digest": _digest,
    "solana_message": _solana_message,
    "message": _message,
}
