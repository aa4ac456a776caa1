"""JSON Web Signatures (RFC 7515, compact form): header and claims that policy can read, signed over their exact text.

Rules kept: the key decides the algorithm, so no header can choose another; the payload is a JSON object
without repeated names; `crit` and detached payloads are refused, because what they change is not understood here.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from attestation.canonical import parse_json
from attestation.envelope import b64url
from attestation.errors import DocumentError
from enclave.errors import CallerError
from enclave.fields import Fields

CLAIMS_BYTES_MAX = 64 << 10

HEADER_NAMES = ("typ", "kid", "cty")
"""Members of the protected header a request may set; `alg` follows from the key."""

_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/"
_FOREIGN = bytes(set(range(256)) - set(_BASE64))
_OTHER_ALPHABET = bytes.maketrans(b"+/", b"-_")

_HEADER = re.compile(rb"(\xef\xbb\xbf)?\s*\{\s*\"")
"""How the JSON object of a header begins, whatever follows."""

ALGORITHMS = {"ed25519": "EdDSA", "p256-ecdsa": "ES256", "secp256k1-ecdsa": "ES256K"}
"""Key spec -> `alg` (RFC 7518, RFC 8037, RFC 8812)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JwsClaims:
    """What a token says, and the bytes that are signed."""

    header: Mapping[str, str]
    claims: Mapping[str, Any]
    signing_input: bytes

    @property
    def type(self) -> str:
        """`typ` of the header; empty if unstated."""
        return self.header.get("typ", "")

    def facts(self) -> dict[str, Any]:
        """JSON-able facts for explanations and audit: names and the registered claims, never other values."""
        shown = ("iss", "sub", "aud", "exp", "nbf", "iat", "jti")
        return {
            "header": dict(self.header),
            "claims": sorted(self.claims),
            **{name: self.claims[name] for name in shown if isinstance(self.claims.get(name), (str, int))},
        }

    def compact(self, signature: bytes) -> str:
        """The token with its signature: 64 bytes of Ed25519, or r and s of ECDSA."""
        return f"{self.signing_input.decode('ascii')}.{b64url(signature)}"


def read_jws(fields: Fields, spec: str) -> JwsClaims:
    """Members `header` (optional) and `claims` (the payload's exact bytes in base64url) for a key of this spec.

    Raises CallerError (`payload.malformed`, `payload.jws`).
    """
    algorithm = ALGORITHMS.get(spec)
    if algorithm is None:
        raise _refused(f"no JWS algorithm for {spec} keys")
    given = fields.fields("header") if "header" in fields else None
    header = {"alg": algorithm}
    if given is not None:
        header |= {name: given.text(name) for name in HEADER_NAMES if name in given}
        if "alg" in given and given.take("alg") != algorithm:
            raise _refused(f"this key signs {algorithm}")
        given.done()
    payload = fields.base64("claims", size_max=CLAIMS_BYTES_MAX)
    try:
        claims = parse_json(payload, bytes_max=CLAIMS_BYTES_MAX)
    except DocumentError as error:
        raise _refused(f"claims: {error.detail}") from None
    if not isinstance(claims, dict):
        raise _refused("expected claims as a JSON object")
    encoded = json.dumps(header, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()
    return JwsClaims(header=header, claims=claims, signing_input=f"{b64url(encoded)}.{b64url(payload)}".encode("ascii"))


def may_be_jws(message: bytes) -> bool:
    """Whether some verifier could take opaque bytes for the signing input of a token: then they are not opaque.

    Only what stands before the first dot is asked, and leniently: libraries skip foreign characters, read the other
    alphabet and replace bad UTF-8; and the part behind it may be anything where the header says so (RFC 7797).
    """
    head, dot, _ = message.partition(b".")
    if not dot:
        return False
    letters = head.translate(_OTHER_ALPHABET, _FOREIGN)
    header = base64.urlsafe_b64decode(letters[: len(letters) - (len(letters) % 4 == 1)] + b"==")
    return _HEADER.match(header) is not None and (b"alg" in header or b"\\u" in header)


def _refused(detail: str) -> CallerError:
    return CallerError(detail, code="payload.jws", hint="see specs/payloads.md for what a token may hold")
