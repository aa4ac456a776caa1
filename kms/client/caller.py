"""One authorised request: the token is made over exactly the bytes that are sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kms.client.credentials import Credentials
from kms.client.errors import ConfigurationError
from kms.client.transport import Transport


class Caller:
    """Sends requests to one cluster in one principal's name."""

    def __init__(
        self,
        transport: Transport,
        *,
        cluster: bytes,
        credentials: Credentials | None,
        clock: Callable[[], int],
    ) -> None:
        self.transport = transport
        self.cluster = cluster
        self.clock = clock
        self._credentials = credentials
        self.approval_wait_s = 0.0
        """How long a call waits for people who have to approve it, in seconds; 0 raises PendingError at once."""

    @property
    def credentials(self) -> Credentials:
        """Whose requests these are; raises ConfigurationError (`client.credentials`) without any."""
        if self._credentials is None:
            raise ConfigurationError(
                "this call needs credentials",
                code="client.credentials",
                hint="pass credentials=AgentCredentials.load(...) or OperatorCredentials.load(...)",
            )
        return self._credentials

    def token(self, method: str, path: str, *, act: str, resource: str, body: bytes = b"") -> str:
        """A request token for exactly this request."""
        return self.credentials.token(
            cluster=self.cluster,
            act=act,
            resource=resource,
            body=body,
            method=method,
            path=path,
            now=self.clock(),
        )

    async def call(
        self,
        method: str,
        path: str,
        *,
        act: str,
        resource: str = "*",
        body: bytes = b"",
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Any:
        """The parsed answer; raises RequestRefusedError, UnavailableError."""
        token = self.token(method, path, act=act, resource=resource, body=body)
        return await self.send(method, path, token=token, body=body, query=query, headers=headers)

    async def send(
        self,
        method: str,
        path: str,
        *,
        token: str,
        body: bytes = b"",
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Any:
        """As `call`, with a token made before (where the answer is bound to its request id)."""
        return await self.transport.json(method, path, body=body or None, token=token, query=query, headers=headers)
