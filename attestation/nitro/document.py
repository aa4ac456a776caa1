"""The Nitro attestation document, parsed strictly: COSE_Sign1 under ES384 around a CBOR map.

Source: AWS Nitro Enclaves attestation process, RFC 9052 section 4.2.  Sizes that the documentation states but
the hypervisor exceeds (512-byte user data) are not enforced; real documents carry 1024 bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from attestation.errors import EvidenceError
from attestation.nitro import cbor

DOCUMENT_BYTES_MAX = 16 << 10
"""The hypervisor's answer buffer is 12 KiB (0x3000)."""

CA_BUNDLE_MAX = 8
"""Real bundles hold four certificates."""

FIELD_BYTES_MAX = 4096
"""Most bytes in one of user_data, nonce and public_key; real documents reach 1024."""

PCR_BYTES = 48
PCR_COUNT_MAX = 32
SIGNATURE_BYTES = 96

_ES384 = {1: -35}
_TAG_COSE_SIGN1 = b"\xd2"
_REQUIRED = frozenset({"module_id", "digest", "timestamp", "pcrs", "certificate", "cabundle"})
_OPTIONAL = frozenset({"public_key", "user_data", "nonce"})
_TIMESTAMP_MS = range(1_500_000_000_000, 4_102_444_800_000)
"""2017 to 2099 in milliseconds: a value in seconds or a negative one falls outside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NitroDocument:
    """The signed fields of one document and what is needed to check its signature."""

    protected: bytes
    payload: bytes
    signature: bytes
    module_id: str
    timestamp_ms: int
    pcrs: Mapping[int, bytes]
    certificate: bytes
    ca_bundle: tuple[bytes, ...]
    """DER certificates, root first."""
    public_key: bytes | None
    user_data: bytes | None
    nonce: bytes | None

    @classmethod
    def parse(cls, data: bytes) -> NitroDocument:
        """Read a document; raises EvidenceError (`nitro.*`, `cbor.*`)."""
        if len(data) > DOCUMENT_BYTES_MAX:
            raise EvidenceError(f"expected at most {DOCUMENT_BYTES_MAX} bytes", code="nitro.too-large")
        outer = cbor.decode(data.removeprefix(_TAG_COSE_SIGN1))
        if not isinstance(outer, list) or len(outer) != 4:
            raise EvidenceError("expected a COSE_Sign1 array of four", code="nitro.cose")
        protected, unprotected, payload, signature = outer
        if not all(isinstance(part, bytes) for part in (protected, payload, signature)):
            raise EvidenceError("expected byte strings in COSE_Sign1", code="nitro.cose")
        if not protected or cbor.decode(protected) != _ES384 or unprotected != {}:
            raise EvidenceError("expected ES384 in the protected header and nothing else", code="nitro.algorithm")
        if len(signature) != SIGNATURE_BYTES:
            raise EvidenceError("expected a 96-byte r || s signature", code="nitro.signature-format")
        fields = _fields(cbor.decode(payload))
        return cls(protected=protected, payload=payload, signature=signature, **fields)

    @property
    def signed_region(self) -> bytes:
        """The Sig_structure of RFC 9052 section 4.4 that the signature covers."""
        parts = [cbor.encode_text("Signature1"), *map(cbor.encode_bytes, (self.protected, b"", self.payload))]
        return cbor.encode_array_head(4) + b"".join(parts)

    @property
    def evidence_id(self) -> str:
        """SHA-256 (hex) of the signed region."""
        return hashlib.sha256(self.signed_region).hexdigest()

    @property
    def debug(self) -> bool:
        """Debug enclaves have no image measurement: PCR0 to PCR2 are zero."""
        return not any(any(self.pcrs[index]) for index in (0, 1, 2))


def _fields(payload: Any) -> dict[str, Any]:
    if not isinstance(payload, dict) or not _REQUIRED <= set(payload) <= _REQUIRED | _OPTIONAL:
        raise EvidenceError("document has missing or unknown fields", code="nitro.fields")
    module_id, timestamp = payload["module_id"], payload["timestamp"]
    if not isinstance(module_id, str) or not 0 < len(module_id) <= 256:
        raise EvidenceError("expected a module id", code="nitro.fields")
    if payload["digest"] != "SHA384":
        raise EvidenceError("expected digest SHA384", code="nitro.digest")
    if not isinstance(timestamp, int) or isinstance(timestamp, bool) or timestamp not in _TIMESTAMP_MS:
        raise EvidenceError("expected a timestamp in milliseconds of this century", code="nitro.timestamp")
    certificate, bundle = payload["certificate"], payload["cabundle"]
    if not isinstance(certificate, bytes) or not certificate:
        raise EvidenceError("expected a certificate", code="nitro.certificate")
    if not isinstance(bundle, list) or not 0 < len(bundle) <= CA_BUNDLE_MAX:
        raise EvidenceError(f"expected 1 to {CA_BUNDLE_MAX} certificates in cabundle", code="nitro.ca-bundle")
    if not all(isinstance(item, bytes) and item for item in bundle):
        raise EvidenceError("expected DER byte strings in cabundle", code="nitro.ca-bundle")
    return {
        "module_id": module_id,
        "timestamp_ms": timestamp,
        "pcrs": _pcrs(payload["pcrs"]),
        "certificate": certificate,
        "ca_bundle": tuple(bundle),
        **{name: _optional(payload.get(name), name) for name in ("public_key", "user_data", "nonce")},
    }


def _pcrs(value: Any) -> dict[int, bytes]:
    if not isinstance(value, dict) or not {0, 1, 2} <= set(value) or len(value) > PCR_COUNT_MAX:
        raise EvidenceError("expected PCR 0, 1, 2 and at most 32 registers", code="nitro.pcrs")
    for index, register in value.items():
        if not isinstance(index, int) or not 0 <= index < PCR_COUNT_MAX:
            raise EvidenceError("PCR index outside 0 to 31", code="nitro.pcrs")
        if not isinstance(register, bytes) or len(register) != PCR_BYTES:
            raise EvidenceError("expected 48-byte registers", code="nitro.pcrs")
    return dict(sorted(value.items()))


def _optional(value: Any, name: str) -> bytes | None:
    if value is None:
        return None
    if not isinstance(value, bytes) or len(value) > FIELD_BYTES_MAX:
        raise EvidenceError(f"{name} is not a byte string of at most {FIELD_BYTES_MAX} bytes", code="nitro.fields")
    return value
