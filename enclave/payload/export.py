"""The body of an export request: to which key the nodes seal their shares (specs/import-export.md section 6)."""

from __future__ import annotations

from dataclasses import dataclass

from attestation.canonical import canonical_json, parse_json
from attestation.envelope import b64url
from attestation.errors import CodedError, DocumentError
from enclave.errors import CallerError
from enclave.fields import Fields
from enclave.payload.decrypt import is_usable_x25519
from enclave.wire.message import tagged

BODY_BYTES_MAX = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportBody:
    """What an export asks for."""

    recipient: bytes
    """X25519 public key of the process that asks; the request token covers it."""

    @classmethod
    def parse(cls, body: bytes) -> ExportBody:
        """Read the body of `POST /v1/keys/{key}/export`; raises CallerError (`payload.*`, JSON codes)."""
        try:
            value = parse_json(body, bytes_max=BODY_BYTES_MAX, depth_max=2)
        except DocumentError as error:
            raise CallerError(error.detail, code=error.code, hint=error.hint) from None
        fields = Fields(value, where="", error=_malformed)
        recipient = fields.base64("recipient")
        fields.done()
        if not is_usable_x25519(recipient):
            raise CallerError("expected a 32-byte X25519 public key", code="payload.recipient")
        return cls(recipient=recipient)

    def body(self) -> bytes:
        """The JSON that is sent."""
        return canonical_json({"recipient": b64url(self.recipient)})

    @property
    def kind(self) -> str:
        """What policy sees."""
        return "export"


def exported_share_info(request_id: bytes, key: str, version: int, epoch: int, slot: str) -> bytes:
    """HPKE info of a share that leaves for good."""
    return tagged(
        "exported-share",
        request_id,
        key.encode(),
        version.to_bytes(4, "big"),
        epoch.to_bytes(4, "big"),
        slot.encode(),
    )


def _malformed(detail: str) -> CodedError:
    return CallerError(detail, code="payload.malformed")
