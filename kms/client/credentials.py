"""Who signs a client's requests: an agent or an operator, each with its own private key."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from attestation.envelope import Envelope
from enclave.federation import thumbprint
from enclave.ids import check_id, new_id
from enclave.signing_key import PublicKey, SigningKey
from enclave.tokens import make_token
from kms.client.errors import ConfigurationError
from kms.client.key_file import read_key_file, write_key_file


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Credentials:
    """An id and the private key registered for it.  Use AgentCredentials or OperatorCredentials."""

    kind: ClassVar[str] = ""
    prefix: ClassVar[str] = ""

    issuer: str
    key: SigningKey

    def __post_init__(self) -> None:
        check_id(self.issuer, self.prefix)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.issuer}>"

    @classmethod
    def create(cls, *, algorithm: str = "EdDSA", issuer: str | None = None) -> Self:
        """Fresh credentials; they count once their public key is registered."""
        return cls(issuer=issuer or new_id(cls.prefix), key=SigningKey.generate(algorithm))

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, issuer: str | None = None) -> Self:
        """Read a key file; `issuer` is needed only for a bare PEM.

        Raises ConfigurationError (`client.key-file`, `client.credentials`).
        """
        file = read_key_file(Path(path))
        if file.kind is not None and file.kind != cls.kind:
            raise ConfigurationError(
                f"expected the key file of an {cls.kind}, found one of an {file.kind}: {path}",
                code="client.credentials",
            )
        owner = issuer or file.owner
        if owner is None:
            raise ConfigurationError(
                f"{path} does not say whose key it is",
                code="client.credentials",
                hint=f"put `# holdfast {cls.kind}: {cls.prefix}_...` above the PEM block",
            )
        return cls(issuer=owner, key=SigningKey.from_pem(file.pem))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Create a key file, mode 0600; raises ConfigurationError if it exists."""
        write_key_file(Path(path), kind=self.kind, owner=self.issuer, pem=self.key.to_pem())

    @property
    def public(self) -> PublicKey:
        """The public key to register."""
        return self.key.public

    def token(self, *, cluster: bytes, act: str, resource: str, body: bytes, method: str, path: str, now: int) -> str:
        """A request token for exactly this request, good for 60 s."""
        return make_token(
            self.key,
            issuer=self.issuer,
            cluster=cluster,
            act=act,
            resource=resource,
            body=body,
            now=now,
            method=method,
            url=path,
        )


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class AgentCredentials(Credentials):
    """An agent: may do what policies allow it."""

    kind: ClassVar[str] = "agent"
    prefix: ClassVar[str] = "agt"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class FederatedCredentials(AgentCredentials):
    """An agent that signs in at an identity provider: `key` is the one its access tokens are bound to.

    `access_token` is asked before every request, so that it can renew what has expired.
    """

    access_token: Callable[[], str]

    @property
    def jkt(self) -> str:
        """Thumbprint of the key, which the provider puts into `cnf` (RFC 9449 section 6.1)."""
        return thumbprint(self.key.public)

    def token(self, *, cluster: bytes, act: str, resource: str, body: bytes, method: str, path: str, now: int) -> str:
        """A request token for exactly this request, with the access token behind it."""
        return make_token(
            self.key,
            issuer=self.issuer,
            cluster=cluster,
            act=act,
            resource=resource,
            body=body,
            now=now,
            method=method,
            url=path,
            access_token=self.access_token(),
        )


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ApproverCredentials(Credentials):
    """An approver: decides about requests that wait for people."""

    kind: ClassVar[str] = "approver"
    prefix: ClassVar[str] = "apr"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class OperatorCredentials(Credentials):
    """An operator of the roster: signs documents and reads what its roles allow."""

    kind: ClassVar[str] = "operator"
    prefix: ClassVar[str] = "opr"

    def sign(self, envelope: Envelope) -> Envelope:
        """The document with this operator's signature."""
        return envelope.signed(self.key.ed25519)
