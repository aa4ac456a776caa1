"""One bounded GET with the standard library: a deadline for the whole answer, a size cap, no surprises.

Rules: no scheme but http and https; a redirect is followed only within the same origin; a body
shorter than it announced is an error; proxies and certificate authorities are the system's.
"""

from __future__ import annotations

import http.client
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urljoin, urlsplit

from attestation import __version__
from attestation.errors import FetchError
from attestation.limits import BLOB_BYTES_MAX

TIMEOUT_S = 20.0
"""For one whole answer, connection included: vendor services answer in well under a second."""

REDIRECTS_MAX = 3
_CHUNK_BYTES = 64 * 1024
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An answer with its whole body; header names are lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


def get(url: str, *, timeout_s: float = TIMEOUT_S, bytes_max: int = BLOB_BYTES_MAX) -> Response:
    """The answer to one GET, whatever its status.

    Raises FetchError: `fetch.network`, `fetch.timeout`, `fetch.truncated`, `fetch.too-large`, `fetch.redirect`.
    """
    deadline = time.monotonic() + timeout_s
    origin = _origin(url)
    for _ in range(REDIRECTS_MAX + 1):
        answer = _get_once(url, deadline, bytes_max)
        if answer.status not in _REDIRECTS:
            return answer
        url = urljoin(url, answer.headers.get("location", ""))
        if _origin(url) != origin:
            raise FetchError(f"redirected away from {origin}", code="fetch.redirect")
    raise FetchError(f"redirected more than {REDIRECTS_MAX} times", code="fetch.redirect")


def _get_once(url: str, deadline: float, bytes_max: int) -> Response:
    request = urllib.request.Request(url, headers=_HEADERS)  # noqa: S310 - the opener below knows two schemes
    try:
        with _opener().open(request, timeout=_left(deadline)) as response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            body = _read(response, deadline, bytes_max)
            _check_length(headers, body)
            return Response(status=response.status, headers=headers, body=body)
    except TimeoutError:
        raise FetchError(f"no whole answer from {_origin(url)} in time", code="fetch.timeout") from None
    except http.client.IncompleteRead:
        raise FetchError("the answer ends before its announced length", code="fetch.truncated") from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise FetchError(f"no answer from {_origin(url)} in time", code="fetch.timeout") from None
        raise FetchError(f"cannot reach {_origin(url)}: {_plain(error.reason)}", code="fetch.network") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise FetchError(f"cannot read from {_origin(url)}: {_plain(error)}", code="fetch.network") from None


def _read(response: http.client.HTTPResponse, deadline: float, bytes_max: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        _left(deadline)  # a body that trickles in must not hold the caller longer than the deadline
        part = response.read1(_CHUNK_BYTES)
        if not part:
            return b"".join(parts)
        parts.append(part)
        size += len(part)
        if size > bytes_max:
            raise FetchError(f"the answer is larger than {bytes_max} bytes", code="fetch.too-large")


def _check_length(headers: Mapping[str, str], body: bytes) -> None:
    announced = headers.get("content-length")
    if announced is not None and announced != str(len(body)):
        raise FetchError(f"expected {announced[:20]} bytes as announced, found {len(body)}", code="fetch.truncated")


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _opener() -> urllib.request.OpenerDirector:
    # Built by hand: the standard set would follow redirects anywhere, and open files and FTP.
    opener = urllib.request.OpenerDirector()
    opener.add_handler(urllib.request.ProxyHandler())
    opener.add_handler(urllib.request.HTTPHandler())
    opener.add_handler(urllib.request.HTTPSHandler(context=ssl.create_default_context()))
    return opener


def _origin(url: str) -> str:
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        port = None
    if port is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise FetchError("redirected to something that is no http or https address", code="fetch.redirect")
    return f"{parts.scheme}://{parts.hostname}:{port}"


def _plain(reason: object) -> str:
    """The reason as one short printable line."""
    return "".join(c for c in str(reason)[:200] if c.isprintable()) or type(reason).__name__


_HEADERS = {"User-Agent": f"holdfast-attest/{__version__}", "Accept": "*/*", "Accept-Encoding": "identity"}
