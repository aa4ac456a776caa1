"""What can go wrong for a client, split by what the caller should do about it.

A refusal of the cluster carries the problem's own code; everything the client itself notices has a
code that starts with `verify.` (do not trust this answer), `client.` (fix the call or a file) or is
`unavailable` (try again later).
"""

from __future__ import annotations

from kms.errors import KmsError


class ClientError(KmsError):
    """Root of everything this package raises on purpose."""

    code = "client"
    unavailable = False
    """Whether trying again later may help."""


class ConfigurationError(ClientError):
    """A cluster file, key file or argument is missing or malformed."""

    code = "client.configuration"


class VerificationError(ClientError):
    """The answer contradicts what the nodes proved: never use it.

    Raised for substituted keys, addresses, policies, resources and signatures, for certificates with
    too few signatures, and for a cluster that is not the pinned one.
    """

    code = "verify.failed"


class RequestRefusedError(ClientError):
    """The cluster answered with a problem (RFC 9457)."""

    code = "refused"

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        hint: str | None = None,
        status: int = 0,
        request_id: str | None = None,
        culprits: tuple[str, ...] = (),
    ) -> None:
        super().__init__(detail, code=code, hint=hint)
        self.status = status
        self.request_id = request_id
        self.culprits = culprits


class UnavailableError(RequestRefusedError):
    """Nobody could answer: the gateway is not reachable, or too few nodes are."""

    code = "unavailable"
    unavailable = True
