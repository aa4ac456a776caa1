"""The errors of this package: one root, a stable code each, split by who is at fault."""

from __future__ import annotations

from collections.abc import Iterable

from attestation.errors import CodedError


class EnclaveError(CodedError):
    """Root of everything this package raises on purpose."""

    code = "enclave"

    @property
    def culprits(self) -> tuple[str, ...]:
        """Slots proven guilty by this error; empty where nobody is."""
        return ()


class CallerError(EnclaveError):
    """The request is malformed or asks for something that does not exist."""

    code = "request.malformed"


class TokenError(EnclaveError):
    """The request token does not authorise this request."""

    code = "token.invalid"


class RefusedError(EnclaveError):
    """Well-formed and authentic, but policy or state forbids it."""

    code = "policy.denied"


class PeerError(EnclaveError):
    """A protocol message of a peer is at fault; names the culprits it proves."""

    code = "peer.misbehaved"

    def __init__(self, detail: str, *, culprits: Iterable[str] = (), code: str | None = None) -> None:
        super().__init__(detail, code=code)
        self._culprits = tuple(culprits)

    @property
    def culprits(self) -> tuple[str, ...]:
        """Slots proven guilty by this error."""
        return self._culprits


class VerdictError(EnclaveError):
    """A member of the signer set has no current trusted verdict at this node.

    Codes: `attestation-denied`, `attestation-stale`, `attestation-unavailable`.
    """

    code = "attestation-unavailable"


class WireError(EnclaveError):
    """A frame or message does not have its stated form."""

    code = "wire.malformed"


class StorageError(EnclaveError):
    """Sealed state cannot be read or written; the node stops rather than guess."""

    code = "storage.failed"


class BackupError(EnclaveError):
    """A bundle, a mnemonic or an order to restore is not what it has to be; whatever it was, nothing was changed."""

    code = "backup.malformed"


class SecretLeakError(EnclaveError):
    """Code tried to copy, compare or print a secret: a defect of ours, never caused by input."""

    code = "secret.leak"


class AbortError(EnclaveError):
    """A computation met a value it must not continue with (a zero scalar, a point at infinity)."""

    code = "protocol.abort"
