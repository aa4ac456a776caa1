"""POST /v1/keys/{key}/verify: does this signature belong to this key and payload?  Computed here, informative."""

from __future__ import annotations

import coincurve
import msgspec
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from attestation.canonical import canonical_json, parse_json
from attestation.envelope import b64url_decode
from attestation.errors import DocumentError
from enclave.certificate import KeyCertificate
from enclave.key_specs import P256
from enclave.payload.sign import parse_sign_body
from enclave.schnorr_key import SPEC as SCHNORR
from enclave.schnorr_key import verification_key
from enclave.threshold.p256 import verifies
from enclave.tokens import Act
from kms.body import Reply, Request, read_body
from kms.endpoint import Answer, Context, Endpoint, reply
from kms.errors import RequestError
from kms.routes.payloads import SignRequest
from kms.routes.shapes import visible_key
from kms.routes.sign import der_of


class SignatureGiven(msgspec.Struct, frozen=True, kw_only=True):
    """The members of a sign answer's `signature` that prove anything; others are ignored."""

    ed25519: str | None = None
    bip340: str | None = None
    r: str | None = None
    s: str | None = None


class VerifyRequest(Request, frozen=True):
    """A sign request's body under `payload`, and the signature."""

    payload: SignRequest
    signature: SignatureGiven


class Verified(Reply, frozen=True):
    """Whether the signature verifies."""

    key: str
    valid: bool


async def verify(context: Context) -> Answer:
    """Check with libsodium or libsecp256k1."""
    key = await visible_key(context)
    context.gateway.admissions.require_resource(context.caller, key.key, key.resource)
    request = read_body(context.body, VerifyRequest)
    body = canonical_json(parse_json(context.body)["payload"])
    payload = parse_sign_body(body, key.certificate.usage, key.certificate.spec)
    certificate = key.child(payload.path).certificate
    if payload.message is not None and certificate.spec == SCHNORR:
        valid = _bip340(request.signature, verification_key(certificate), payload.message)
    elif payload.message is not None:
        valid = _ed25519(request.signature, certificate.public_key, payload.message)
    else:
        assert payload.digest is not None
        valid = _ecdsa(request.signature, certificate, payload.digest)
    return reply(Verified(key=key.key, valid=valid))


def _ed25519(given: SignatureGiven, public_key: bytes, message: bytes) -> bool:
    if given.ed25519 is None:
        raise RequestError("expected signature.ed25519 for an Ed25519 key", code="request.signature")
    try:
        VerifyKey(public_key).verify(message, b64url_decode(given.ed25519))
    except (BadSignatureError, DocumentError, ValueError):
        return False
    return True


def _bip340(given: SignatureGiven, xonly: bytes, message: bytes) -> bool:
    if given.bip340 is None:
        raise RequestError("expected signature.bip340 for a BIP-340 key", code="request.signature")
    try:
        return bool(coincurve.PublicKeyXOnly(xonly).verify(b64url_decode(given.bip340), message))
    except (DocumentError, ValueError):
        return False


def _ecdsa(given: SignatureGiven, certificate: KeyCertificate, digest: bytes) -> bool:
    if given.r is None or given.s is None:
        raise RequestError("expected signature.r and signature.s for an ECDSA key", code="request.signature")
    try:
        r, s = (int.from_bytes(bytes.fromhex(text.removeprefix("0x")), "big") for text in (given.r, given.s))
        if certificate.spec == P256:
            return verifies(certificate.public_key, r.to_bytes(32, "big") + s.to_bytes(32, "big"), digest)
        return bool(coincurve.PublicKey(certificate.public_key).verify(der_of(r, s), digest, hasher=None))
    except Exception:  # the wrapper raises bare Exception for numbers that are no signature
        return False


ENDPOINTS = (
    Endpoint(
        method="POST", path="/v1/keys/{key}/verify", summary="Verify a signature", handler=verify, act=Act.VERIFY,
        request=VerifyRequest, reply=Verified, tag="use", informative=True,
    ),
)  # fmt: skip
