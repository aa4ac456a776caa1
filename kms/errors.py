"""The errors of this package: one root, a stable code each, split by who is at fault.

A refusal of a node keeps the node's own code (`NodeRefusal`), so that the same string appears in the
node's log, in the problem a client reads and in the documentation.
"""

from __future__ import annotations

from collections.abc import Iterable

from attestation.errors import CodedError


class KmsError(CodedError):
    """Root of everything this package raises on purpose."""

    code = "kms"


class RequestError(KmsError):
    """The HTTP request cannot be served as sent: its form, its size, its headers."""

    code = "request.malformed"


class CredentialError(KmsError):
    """No usable request token came with the request."""

    code = "token.missing"


class NotFoundError(KmsError):
    """The thing does not exist, or its existence is not this principal's business: both answer alike."""

    code = "not-found"


class ForbiddenError(KmsError):
    """The principal is known, but its role does not allow this."""

    code = "role.missing"


class ConflictError(KmsError):
    """The request contradicts what is already stored."""

    code = "conflict"


class PreconditionError(KmsError):
    """What a change was made for is not as it was."""

    code = "precondition.failed"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, hint="fetch it again, look at it, and repeat the change on what it is now")


class RateLimitError(KmsError):
    """The principal sends more than its share; `retry_after_s` tells when to come back."""

    code = "rate-limited"

    def __init__(self, detail: str, *, retry_after_s: int) -> None:
        super().__init__(detail, hint=f"wait {retry_after_s} s")
        self.retry_after_s = retry_after_s


class UnavailableError(KmsError):
    """Too few nodes can be reached or trust each other; the same request may succeed later."""

    code = "quorum-unavailable"
    retry_after_s = 2
    unavailable = True


class LinkError(UnavailableError):
    """One node did not answer: not connected, connection lost, or too slow."""

    code = "node-unavailable"


class NodeRefusal(KmsError):  # noqa: N818  a refusal is the node's decision, not a failure of this program
    """A node refused; carries its code, its slot and the culprits it named."""

    code = "node.refused"

    def __init__(
        self, detail: str, *, code: str, slot: str, hint: str | None = None, culprits: Iterable[str] = ()
    ) -> None:
        super().__init__(detail, code=code, hint=hint)
        self.slot = slot
        self.culprits = tuple(culprits)


class ConfigurationError(KmsError):
    """The gateway cannot start as configured."""

    code = "configuration"


class StoreError(KmsError):
    """The database cannot be read or written."""

    code = "store.failed"


class AuditError(KmsError):
    """The audit chain does not hold together."""

    code = "audit.broken"
