"""Signatures: ask for one, and check it against the certified key before handing it out."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from attestation.canonical import canonical_json
from attestation.envelope import b64url
from enclave.addresses import keccak256
from enclave.child_keys import child_of
from enclave.federation import SEPARATOR
from enclave.key_specs import P256
from enclave.payload.finished import finished_ecdsa, finished_schnorr
from enclave.payload.sign import Payload, parse_sign_body, signed_transaction
from enclave.schnorr_key import SPEC as SCHNORR
from enclave.schnorr_key import verification_key
from enclave.threshold.derive import format_path
from kms.client.caller import Caller
from kms.client.certified import CertifiedKey
from kms.client.errors import VerificationError
from kms.client.keys import Keys
from kms.client.pending import PendingError, sent
from kms.client.signature_check import (
    EcdsaSignature,
    P256Signature,
    check_bip340,
    check_ecdsa,
    check_ed25519,
    check_p256,
)
from kms.client.verification import member


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A verified signature; the members of the other scheme are None."""

    key: str
    kind: str
    request_id: str
    """Hex SHA-256 of the request token."""
    signers: tuple[str, ...]
    """Slots that took part, as the gateway tells it."""
    path: str | None = None
    """The child key that signed, if not the key itself."""
    ed25519: bytes | None = None
    """64 bytes."""
    bip340: bytes | None = None
    """64 bytes; under the Taproot output key for keys of usage bitcoin."""
    ecdsa: EcdsaSignature | None = None
    p256: P256Signature | None = None
    raw_transaction: str | None = None
    """`0x...`, ready to broadcast; built here from the fields that were asked for."""
    transaction_hash: str | None = None
    psbt: bytes | None = None
    """The PSBT with this signature in it; built here."""
    token: str | None = None
    """The finished token; built here."""

    def to_json(self) -> dict[str, Any]:
        """The result for machines; bytes in hex."""
        value: dict[str, Any] = {
            "key": self.key,
            "kind": self.kind,
            "request_id": self.request_id,
            "signers": list(self.signers),
        }
        if self.path is not None:
            value["path"] = self.path
        if self.ed25519 is not None:
            value["signature"] = self.ed25519.hex()
        if self.bip340 is not None:
            value["signature"] = self.bip340.hex()
        if self.ecdsa is not None:
            value |= self.ecdsa.to_json()
        if self.p256 is not None:
            value |= self.p256.to_json()
        if self.raw_transaction is not None:
            value |= {"raw_transaction": self.raw_transaction, "transaction_hash": self.transaction_hash}
        if self.psbt is not None:
            value["psbt"] = base64.b64encode(self.psbt).decode("ascii")
        if self.token is not None:
            value["token"] = self.token
        return value


class Signing:
    """`client.sign`: one method per payload kind."""

    def __init__(self, caller: Caller, keys: Keys) -> None:
        self._caller = caller
        self._keys = keys

    async def evm_transaction(
        self, key: str, transaction: Mapping[str, Any], *, not_after: int | None = None, path: str | None = None
    ) -> Signed:
        """Sign a type 0 or type 2 transaction given by its fields (specs/payloads.md)."""
        return await self.payload(key, {"kind": "evm_transaction", "transaction": dict(transaction)}, not_after, path)

    async def eip191(
        self, key: str, message: bytes, *, not_after: int | None = None, path: str | None = None
    ) -> Signed:
        """Sign an EIP-191 personal message."""
        return await self.payload(key, {"kind": "eip191", "message": b64url(message)}, not_after, path)

    async def solana_message(
        self, key: str, message: bytes, *, not_after: int | None = None, path: str | None = None
    ) -> Signed:
        """Sign a serialized Solana message (legacy or v0)."""
        return await self.payload(key, {"kind": "solana_message", "message": b64url(message)}, not_after, path)

    async def message(
        self, key: str, message: bytes, *, not_after: int | None = None, path: str | None = None
    ) -> Signed:
        """Sign bytes; refused if they could be a Solana transaction and the key is one's.

        Ed25519 keys sign them as they are, ECDSA keys their SHA-256, BIP-340 keys their hash under the tag
        `Holdfast/message`.
        """
        return await self.payload(key, {"kind": "message", "message": b64url(message)}, not_after, path)

    async def bitcoin_sighash(
        self, key: str, sighash: bytes, *, not_after: int | None = None, path: str | None = None
    ) -> Signed:
        """Sign the 32-byte hash of a Taproot key-path spend (BIP-341) blindly, under the key's output key."""
        return await self.payload(key, {"kind": "bitcoin_sighash", "sighash": b64url(sighash)}, not_after, path)

    async def bitcoin_psbt(
        self, key: str, psbt: bytes, number: int, *, not_after: int | None = None, path: str | None = None
    ) -> Signed:
        """Sign input `number` of a PSBT (version 0); `psbt` of the result holds the signature."""
        return await self.payload(key, {"kind": "bitcoin_psbt", "psbt": b64url(psbt), "input": number}, not_after, path)

    async def jws(
        self,
        key: str,
        claims: Mapping[str, Any] | bytes,
        header: Mapping[str, str] | None = None,
        *,
        not_after: int | None = None,
        path: str | None = None,
    ) -> Signed:
        """Sign a token; claims as an object, or as the exact JSON text to sign."""
        text = claims if isinstance(claims, bytes) else canonical_json(dict(claims))
        value: dict[str, Any] = {"kind": "jws", "claims": b64url(text)}
        return await self.payload(key, value | ({"header": dict(header)} if header else {}), not_after, path)

    async def digest(self, key: str, digest: bytes, *, not_after: int | None = None, path: str | None = None) -> Signed:
        """Sign 32 bytes blindly; policies refuse it unless they say otherwise."""
        return await self.payload(key, {"kind": "digest", "digest": b64url(digest)}, not_after, path)

    async def payload(
        self, key: str, value: Mapping[str, Any], not_after: int | None = None, path: str | None = None
    ) -> Signed:
        """Sign any payload kind given as its JSON body; `path` names a child of the key, such as m/0/5.

        Raises CallerError before anything is sent if the payload is malformed; VerificationError
        (`verify.signature`, `verify.transaction`, `verify.resource`) if the answer is not a signature of
        the certified key over exactly this payload.
        """
        certified = await self._keys.certified(key)
        common = {"not_after": not_after, "path": path}
        body = canonical_json(dict(value) | {name: given for name, given in common.items() if given is not None})
        certificate = certified.certificate
        payload = parse_sign_body(body, certificate.usage, certificate.spec)
        child_of(certificate, payload.path)
        url = f"/v1/keys/{key}/sign"
        token = self._caller.token("POST", url, act="sign", resource=certified.resource, body=body)
        checked = partial(checked_signature, certified=certified, payload=payload, request_id=request_id_of(token))
        try:
            return checked(await sent(self._caller, "POST", url, token=token, body=body))
        except PendingError as waiting:
            waiting.redeem = checked
            raise


def request_id_of(token: str) -> bytes:
    """SHA-256 of a token made by this library, whose ECDSA signatures are low-s already."""
    return hashlib.sha256(token.partition(SEPARATOR)[0].encode("ascii")).digest()


def checked_signature(answer: Any, certified: CertifiedKey, payload: Payload, *, request_id: bytes) -> Signed:
    """The verified result of one sign answer; raises VerificationError."""
    signature = member(answer, "signature", dict)
    if answer.get("key", certified.key) != certified.key:
        raise VerificationError("the answer is about another key", code="verify.resource")
    facts: dict[str, Any] = {
        "key": certified.key,
        "kind": str(payload.kind),
        "request_id": request_id.hex(),
        "signers": _slots(answer.get("signers"), certified),
        "path": format_path(payload.path) if payload.path else None,
    }
    signer = child_of(certified.certificate, payload.path).facts
    if certified.certificate.spec == "ed25519":
        assert payload.message is not None
        signed = check_ed25519(signature, signer.public_key, payload.message)
        return Signed(**facts, ed25519=signed, **_whole(finished_schnorr(payload, signed)))
    if certified.certificate.spec == SCHNORR:
        assert payload.message is not None
        signed = check_bip340(signature, verification_key(signer), payload.message)
        return Signed(**facts, bip340=signed, **_whole(finished_schnorr(payload, signed)))
    assert payload.digest is not None
    if certified.certificate.spec == P256:
        p256 = check_p256(signature, signer.public_key, payload.digest)
        return Signed(**facts, p256=p256, **_whole(finished_ecdsa(payload, p256.r, p256.s, signer.public_key)))
    ecdsa = check_ecdsa(signature, signer.public_key, payload.digest)
    if payload.kind != "evm_transaction":
        return Signed(**facts, ecdsa=ecdsa, **_whole(finished_ecdsa(payload, ecdsa.r, ecdsa.s, signer.public_key)))
    raw = signed_transaction(payload, ecdsa.r, ecdsa.s, ecdsa.y_parity)
    told = signature.get("raw_transaction", answer.get("raw_transaction"))
    if told is not None and told != "0x" + raw.hex():
        raise VerificationError("the raw transaction is not the one that was signed", code="verify.transaction")
    return Signed(
        **facts,
        ecdsa=ecdsa,
        raw_transaction="0x" + raw.hex(),
        transaction_hash="0x" + keccak256(raw).hex(),
    )


def _whole(parts: Mapping[str, bytes]) -> dict[str, Any]:
    """A token is text."""
    return {name: value.decode("ascii") if name == "token" else value for name, value in parts.items()}


def _slots(told: Any, certified: CertifiedKey) -> tuple[str, ...]:
    """Those of the told slots that hold the key; informative."""
    return tuple(slot for slot in certified.certificate.slots if isinstance(told, list) and slot in told)
