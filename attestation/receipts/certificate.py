"""A key certificate as a verifier of receipts needs it: which key, whose shares, how many."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from attestation.canonical import canonical_json, parse_json
from attestation.errors import DocumentError, ReceiptError
from attestation.receipts.encoding import tagged
from attestation.receipts.reading import blob, hexadecimal, integer, items, members, words

CERTIFICATE_BYTES_MAX = 64 << 10
DOCUMENT_TYPE = "holdfast/key-certificate/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFacts:
    """What the certificate says, and who signed it beside its mention in the logs."""

    digest: bytes
    cluster: bytes
    key: str
    version: int
    spec: str
    slots: tuple[str, ...]
    assemblers: tuple[str, ...]
    shares_needed: int
    signing_quorum: int
    public_key: bytes
    policy: str
    epoch: int
    activated_at: int
    body: bytes
    signatures: tuple[tuple[str, int, bytes, bytes], ...]
    """Slot, boot counter, identity key, signature."""

    @property
    def resource(self) -> str:
        """How tokens and entries name it."""
        return f"{self.key}/{self.version}"

    @classmethod
    def from_json(cls, value: Any) -> CertificateFacts:
        """Body and signatures, unverified; raises ReceiptError (`receipt.certificate`)."""
        try:
            return cls._read(members(value, ("body", "signatures")))
        except (ReceiptError, DocumentError) as error:
            raise ReceiptError(error.detail, code="receipt.certificate") from None
        except (KeyError, TypeError):
            raise ReceiptError("a member of the key certificate is absent", code="receipt.certificate") from None

    @classmethod
    def _read(cls, fields: dict[str, Any]) -> CertificateFacts:
        body = blob(fields["body"], "body", size_max=CERTIFICATE_BYTES_MAX)
        value = parse_json(body, bytes_max=CERTIFICATE_BYTES_MAX, depth_max=4)
        if canonical_json(value) != body or value["type"] != DOCUMENT_TYPE:
            raise ReceiptError("expected a key certificate in canonical JSON")
        listed = [
            members(item, ("slot", "boot_counter", "identity_key", "signature"))
            for item in items(fields["signatures"], "signatures", high=64)
        ]
        return cls(
            digest=hashlib.sha256(body).digest(),
            cluster=hexadecimal(value["cluster"], "cluster"),
            key=words(value["key"], "key", 64),
            version=integer(value["version"], "version", 1),
            spec=words(value["spec"], "spec", 64),
            slots=tuple(words(node["slot"], "nodes", 63) for node in items(value["nodes"], "nodes", low=1, high=64)),
            assemblers=tuple(
                words(slot, "assemblers", 63) for slot in items(value["assemblers"], "assemblers", high=64)
            ),
            shares_needed=integer(value["shares_needed"], "shares_needed", 1),
            signing_quorum=integer(value["signing_quorum"], "signing_quorum", 1),
            public_key=hexadecimal(value["public_key"], "public_key", len(words(value["public_key"], "", 130)) // 2),
            policy=words(value["policy"], "policy", 64),
            epoch=integer(value["epoch"], "epoch", 1),
            activated_at=integer(value["activated_at"], "activated_at"),
            body=body,
            signatures=tuple(
                (
                    words(item["slot"], "slot", 63),
                    integer(item["boot_counter"], "boot_counter", 1),
                    blob(item["identity_key"], "identity_key", size=32),
                    blob(item["signature"], "signature", size=64),
                )
                for item in listed
            ),
        )

    def check_signatures(self, identities: Mapping[tuple[str, int], bytes]) -> frozenset[str]:
        """Slots whose signature verifies under the key that evidence binds to (slot, boot).

        Raises ReceiptError (`receipt.certificate`) if one does not.
        """
        signers = set()
        for slot, boot_counter, stated, signature in self.signatures:
            key = identities.get((slot, boot_counter))
            is_bound = key is not None and key == stated and slot in self.slots
            if not is_bound or not _verifies(stated, signature, tagged("key-certificate", self.body)):
                raise ReceiptError(
                    f"the signature of {slot} on the key certificate does not verify", code="receipt.certificate"
                )
            signers.add(slot)
        return frozenset(signers)


def _verifies(key: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
