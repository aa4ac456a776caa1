"""HTTP to the gateway: bytes out, bytes in, problems as typed errors.  Believes nothing it carries."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp

from attestation.canonical import parse_json
from attestation.errors import DocumentError
from enclave.federation import SEPARATOR
from kms.client.errors import ConfigurationError, RequestRefusedError, UnavailableError

ANSWER_BYTES_MAX = 8 << 20
"""Largest answer read into memory: a full page of keys with certificates stays far below."""

TEXT_CHARACTERS_MAX = 2000
"""Longest detail or hint kept of a problem: ours stay below 300."""

TIMEOUT_S = 30.0
"""Default time for one exchange; key ceremonies on a loaded machine take a few seconds."""

_UNAVAILABLE = frozenset({429, 502, 503, 504})
"""Statuses after which the same request may succeed later."""


class Transport:
    """One gateway's URL and its connections."""

    def __init__(self, url: str, *, timeout_s: float = TIMEOUT_S) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError(f"expected an http or https URL, found {url[:80]!r}")
        self.url = url.rstrip("/")
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; the object can be used again."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        token: str | None = None,
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        bytes_max: int = ANSWER_BYTES_MAX,
    ) -> bytes:
        """The answer's body of at most `bytes_max`; raises RequestRefusedError or UnavailableError.

        `body` goes out byte for byte: the token's body digest is over exactly these bytes.
        """
        sent = dict(headers or {})
        if body is not None:
            sent["Content-Type"] = "application/json"
        if token is not None:
            sent |= _authorization(token)
        try:
            async with self._opened().request(
                method, self.url + path, data=body, params=query, headers=sent, allow_redirects=False
            ) as answer:
                content = await _read(answer, bytes_max)
                status = answer.status
        except TimeoutError:
            raise UnavailableError("the gateway did not answer in time", code="unavailable.timeout") from None
        except (aiohttp.ClientError, OSError) as error:
            raise UnavailableError(
                f"cannot reach {self.url}: {_reason(error)}",
                code="unavailable.connection",
                hint="is the gateway running? `kms dev` starts one on this machine",
            ) from None
        if status >= 300:
            raise problem(status, content)
        return content

    async def lines(self, path: str, *, token: str, headers: dict[str, str], bytes_max: int) -> AsyncIterator[bytes]:
        """Lines of an endless answer without their ends, as they come; a line has at most `bytes_max` bytes.

        Raises RequestRefusedError; UnavailableError also where the stream breaks.
        """
        # No limit on the whole: a stream that lives says so at least every half minute.
        waits = aiohttp.ClientTimeout(total=None, sock_read=60, sock_connect=10)
        try:
            async with self._opened().get(
                self.url + path, headers=headers | _authorization(token), timeout=waits, allow_redirects=False
            ) as answer:
                if answer.status != 200:
                    raise problem(answer.status, await _read(answer, ANSWER_BYTES_MAX))
                rest = b""
                async for chunk in answer.content.iter_any():
                    *whole, rest = (rest + chunk).split(b"\n")
                    if len(rest) > bytes_max:
                        raise UnavailableError("a line of the stream is too long", code="unavailable.too-large")
                    for line in whole:
                        yield line
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise UnavailableError(f"the stream broke: {_reason(error)}", code="unavailable.connection") from None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout, raise_for_status=False)
        return self._session

    async def json(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        token: str | None = None,
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Any:
        """As `send`, parsed strictly."""
        content = await self.send(method, path, body=body, token=token, query=query, headers=headers)
        try:
            return parse_json(content, bytes_max=ANSWER_BYTES_MAX)
        except DocumentError as error:
            raise UnavailableError(
                f"the answer is not the JSON of a gateway: {error.detail}", code="unavailable.malformed"
            ) from None


def problem(status: int, content: bytes) -> RequestRefusedError:
    """The typed error of a problem+json answer; foreign bodies (a proxy's page) become a plain one."""
    try:
        value = parse_json(content)
    except DocumentError:
        value = {}
    if not isinstance(value, dict):
        value = {}
    kind = UnavailableError if status in _UNAVAILABLE else RequestRefusedError
    culprits = value.get("culprits")
    return kind(
        _text(value.get("detail")) or _text(value.get("title")) or f"HTTP status {status}",
        code=_text(value.get("code")) or f"http.{status}",
        hint=_text(value.get("hint")),
        status=status,
        request_id=_text(value.get("request_id")),
        culprits=tuple(filter(None, map(_text, culprits))) if isinstance(culprits, list) else (),
    )


def _authorization(token: str) -> dict[str, str]:
    """Headers of a request token, and of the access token behind it if there is one (RFC 9449)."""
    proof, _, access_token = token.partition(SEPARATOR)
    if access_token:
        return {"Authorization": f"DPoP {access_token}", "DPoP": proof}
    return {"Authorization": f"Bearer {token}"}


async def _read(answer: aiohttp.ClientResponse, bytes_max: int) -> bytes:
    content = bytearray()
    async for chunk in answer.content.iter_any():
        content += chunk
        if len(content) > bytes_max:
            raise UnavailableError(f"answer larger than {bytes_max} bytes", code="unavailable.too-large")
    return bytes(content)


def _reason(error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.os_error.strerror or type(error.os_error).__name__
    return str(error)[:200] or type(error).__name__


def _text(value: Any) -> str | None:
    """Bounded text without control characters: it ends up on terminals, and a gateway may be hostile."""
    if not isinstance(value, str) or not value:
        return None
    return "".join(character if character.isprintable() else "?" for character in value[:TEXT_CHARACTERS_MAX])
