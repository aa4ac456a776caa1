"""GET /v1/keys/{key}/public-key: the public key in the forms other tools read."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from attestation.envelope import b64url
from enclave.certificate import KeyCertificate
from enclave.key_specs import P256
from enclave.tokens import Act
from kms.body import Reply
from kms.endpoint import Answer, Context, Endpoint, Parameter, reply
from kms.errors import RequestError
from kms.keys import addresses
from kms.routes.shapes import visible_key

FORMATS = ("raw", "pem", "jwk", "evm", "solana", "bitcoin")


class PublicKey(Reply, frozen=True):
    """`public_key` is hex for raw, PEM text, a JWK object, or an address."""

    key: str
    format: str
    public_key: str | dict[str, str]


async def show(context: Context) -> Answer:
    """Informative: what proves the key is its certificate."""
    key = await visible_key(context)
    context.gateway.admissions.require_resource(context.caller, key.key, key.resource)
    wanted = context.query.get("format", "raw")
    return reply(PublicKey(key=key.key, format=wanted, public_key=_formatted(key.certificate, wanted)))


def _formatted(certificate: KeyCertificate, wanted: str) -> str | dict[str, str]:
    if wanted == "raw":
        return certificate.public_key.hex()
    if wanted == "pem":
        pem: bytes = _loaded(certificate).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return pem.decode("ascii")
    if wanted == "jwk":
        return _jwk(certificate)
    address = addresses(certificate).get(wanted)
    if address is not None:
        return address
    if wanted in FORMATS:
        raise RequestError(f"a key of usage {certificate.usage} has no {wanted} address", code="request.format")
    raise RequestError(f"expected a format of {', '.join(FORMATS)}", code="request.format")


def _jwk(certificate: KeyCertificate) -> dict[str, str]:
    """RFC 7518 for P-256, RFC 8037 for the curve25519 keys, RFC 8812 for secp256k1."""
    if certificate.spec.startswith("secp256k1"):
        point = _loaded(certificate).public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return {"kty": "EC", "crv": "secp256k1", "x": b64url(point[1:33]), "y": b64url(point[33:])}
    if certificate.spec == P256:
        point = _loaded(certificate).public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return {"kty": "EC", "crv": "P-256", "x": b64url(point[1:33]), "y": b64url(point[33:])}
    curve = "Ed25519" if certificate.spec == "ed25519" else "X25519"
    return {"kty": "OKP", "crv": curve, "x": b64url(certificate.public_key)}


def _loaded(certificate: KeyCertificate) -> Any:
    if certificate.spec.startswith("secp256k1"):
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), certificate.public_key)
    if certificate.spec == P256:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), certificate.public_key)
    kind = Ed25519PublicKey if certificate.spec == "ed25519" else X25519PublicKey
    return kind.from_public_bytes(certificate.public_key)


ENDPOINTS = (
    Endpoint(
        method="GET", path="/v1/keys/{key}/public-key", summary="The public key in a chosen format", handler=show,
        act=Act.KEYS_GET, reply=PublicKey, informative=True,
        parameters=(
            Parameter(
                name="format", schema={"type": "string", "enum": list(FORMATS), "default": "raw"},
                description="raw (hex), pem, jwk, or an address",
            ),
        ),
    ),
)  # fmt: skip
