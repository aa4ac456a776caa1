"""The errors of this package: one root, a stable code each, split by who is at fault.

Codes are part of the interface: the same string appears in HTTP problems, command-line
output, logs and test vectors.  Messages are lower case, say what was expected and what
was found, and never carry a secret.
"""

from __future__ import annotations


class CodedError(Exception):
    """An error with a stable machine-readable `code`, a `detail` for people and a `hint` for the next step."""

    code = "error"
    hint: str | None = None

    def __init__(self, detail: str, *, code: str | None = None, hint: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        if code is not None:
            self.code = code
        if hint is not None:
            self.hint = hint

    def __str__(self) -> str:
        return f"{self.detail} [{self.code}]"


class AttestationError(CodedError):
    """Root of everything this package raises on purpose."""

    code = "attestation"


class EvidenceError(AttestationError):
    """The evidence itself is at fault: malformed, wrongly signed, or bound to something else."""

    code = "evidence.malformed"


class CollateralError(AttestationError):
    """Collateral is malformed, wrongly signed, or not for this evidence."""

    code = "collateral.malformed"


class CollateralMissingError(CollateralError):
    """Collateral needed for a decision is absent or out of date: the answer is "cannot tell", not "no"."""

    code = "collateral.missing"


class FetchError(CollateralMissingError):
    """No source could give a document, or what it gave is not usable: try later, or elsewhere."""

    code = "fetch.unavailable"


class CertificateError(AttestationError):
    """A certificate or revocation list is malformed, wrongly issued, outside its validity, or revoked."""

    code = "certificate.malformed"


class StatementError(AttestationError):
    """A proof-of-cloud statement or registry document is at fault."""

    code = "proof-of-cloud.malformed"


class PolicyError(AttestationError):
    """An appraisal or proof-of-cloud policy document is at fault."""

    code = "policy.malformed"


class DocumentError(AttestationError):
    """A JSON text or signed envelope is at fault."""

    code = "document.malformed"


class ReceiptError(AttestationError):
    """A log entry, checkpoint, proof or receipt is malformed or does not hold."""

    code = "receipt.malformed"
