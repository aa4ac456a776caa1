"""Many signatures and decryptions under one token: one request, each result verified as if it had come alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from attestation.canonical import canonical_json
from attestation.envelope import b64url
from enclave.batches import ITEMS_MAX
from enclave.child_keys import child_of
from enclave.errors import CallerError, PeerError
from enclave.federation import SEPARATOR
from enclave.payload.decrypt import context_info
from enclave.payload.sign import parse_sign_body
from kms.client.caller import Caller
from kms.client.certified import CertifiedKey
from kms.client.decryption import ENC_BYTES, Decryption, stock_form
from kms.client.errors import RequestRefusedError, VerificationError
from kms.client.keys import Keys
from kms.client.partials import open_partials, plaintext_of
from kms.client.signing import Signed, checked_signature
from kms.client.transport import problem
from kms.client.verification import member

PATH = "/v1/batch"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignItem:
    """A payload to sign, as its JSON body (specs/payloads.md)."""

    key: str
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecryptItem:
    """A ciphertext to open on this machine."""

    key: str
    ciphertext: bytes
    context: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class BatchResult:
    """What became of an item; exactly one of `signed`, `plaintext` and `error` is set."""

    request_id: str
    """Hex; receipts go by it."""
    signed: Signed | None = None
    plaintext: bytes | None = None
    error: RequestRefusedError | CallerError | VerificationError | None = None
    """Why there is none; nothing about the other items."""


@dataclass(frozen=True, slots=True)
class _Prepared:
    verb: str
    certified: CertifiedKey
    body: dict[str, Any]
    read: Callable[[Any, bytes], Any]
    """Answer and request id to the verified result."""
    again: DecryptItem | None = None


class Batches:
    """`client.batch`."""

    def __init__(self, caller: Caller, keys: Keys, decryption: Decryption) -> None:
        self._caller = caller
        self._keys = keys
        self._decryption = decryption

    async def __call__(self, items: Sequence[SignItem | DecryptItem]) -> list[BatchResult]:
        """The results in the order of the items (1 to 64).

        Raises CallerError before anything is sent if an item is malformed; RequestRefusedError if the whole is
        refused; VerificationError (`verify.batch`) if the answer is not one to these items.
        """
        if not 1 <= len(items) <= ITEMS_MAX:
            raise CallerError(f"expected 1 to {ITEMS_MAX} items, found {len(items)}", code="batch.count")
        prepared = [await self._prepared(item) for item in items]
        body = canonical_json(
            {
                "items": [
                    {"ref": str(number), "verb": one.verb, "key": one.certified.resource, "body": one.body}
                    for number, one in enumerate(prepared)
                ]
            }
        )
        token = self._caller.token("POST", PATH, act="batch", resource="*", body=body)
        answer = await self._caller.send("POST", PATH, token=token, body=body)
        results = member(answer, "results", list)
        if [result.get("ref") if isinstance(result, dict) else None for result in results] != [
            str(number) for number in range(len(items))
        ]:
            raise VerificationError("the answer is not one to these items", code="verify.batch")
        return [
            await self._result(result, one, item_request_id(token, number))
            for number, (result, one) in enumerate(zip(results, prepared, strict=True))
        ]

    async def _prepared(self, item: SignItem | DecryptItem) -> _Prepared:
        certified = await self._keys.certified(item.key)
        if isinstance(item, SignItem):
            body = dict(item.payload)
            payload = parse_sign_body(canonical_json(body), certified.certificate.usage, certified.certificate.spec)
            child_of(certified.certificate, payload.path)

            def read_signature(answer: Any, request_id: bytes) -> Signed:
                return checked_signature(answer, certified, payload, request_id=request_id)

            return _Prepared("sign", certified, body, read_signature)
        sealed = stock_form(item.ciphertext, certified)
        recipient = X25519PrivateKey.generate()
        body = {
            "ciphertext": b64url(sealed),
            "context": dict(item.context),
            "recipient": b64url(recipient.public_key().public_bytes_raw()),
        }

        def read_plaintext(answer: Any, request_id: bytes) -> bytes:
            return plaintext_of(
                open_partials(answer, certified, recipient, request_id),
                enc=sealed[:ENC_BYTES],
                sealed=sealed[ENC_BYTES:],
                public_key=certified.public_key,
                info=context_info(dict(item.context)),
            )

        return _Prepared("decrypt", certified, body, read_plaintext, item)

    async def _result(self, told: dict[str, Any], one: _Prepared, request_id: bytes) -> BatchResult:
        name = request_id.hex()
        if isinstance(told.get("problem"), dict):
            status = told.get("status")
            refusal = problem(status if isinstance(status, int) else 500, canonical_json(told["problem"]))
            return BatchResult(request_id=name, error=refusal)
        try:
            result = one.read(member(told, "result", dict), request_id)
        except VerificationError as error:
            return BatchResult(request_id=name, error=error)
        except (CallerError, PeerError):
            # A wrong partial result or a wrong ciphertext: a request of its own finds out which, with proofs.
            return await self._alone(one, name)
        return BatchResult(
            request_id=name,
            signed=result if isinstance(result, Signed) else None,
            plaintext=None if isinstance(result, Signed) else result,
        )

    async def _alone(self, one: _Prepared, name: str) -> BatchResult:
        assert one.again is not None
        item = one.again
        try:
            plaintext = await self._decryption.decrypt(item.key, item.ciphertext, context=item.context)
        except (RequestRefusedError, CallerError, VerificationError) as error:
            return BatchResult(request_id=name, error=error)
        return BatchResult(request_id=name, plaintext=plaintext)


def item_request_id(token: str, number: int) -> bytes:
    """The request id of an item under a token made by this library, whose ECDSA signatures are low-s already."""
    return hashlib.sha256(token.partition(SEPARATOR)[0].encode("ascii") + number.to_bytes(4, "big")).digest()
