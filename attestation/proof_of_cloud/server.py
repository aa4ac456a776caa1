"""Serves a registry directory read-only over HTTP, for auditors and for nodes that fetch snapshots.

Everything served is signed, so the transport needs no trust; the directory is read again when it changes.
"""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from attestation.errors import AttestationError
from attestation.proof_of_cloud.registry import Registry
from attestation.proof_of_cloud.snapshot import RegistrySnapshot
from attestation.proof_of_cloud.tiles import Resource, resource

REQUEST_TIMEOUT_S = 10
"""A reader that sends nothing for this long is dropped."""

PATH_CHARACTERS_MAX = 256


class RegistryServer(ThreadingHTTPServer):
    """An HTTP server over one registry; `serve_forever` runs it, `shutdown` stops it."""

    daemon_threads = True

    def __init__(self, registry: Registry, host: str, port: int) -> None:
        self.registry = registry
        self._lock = threading.Lock()
        self._snapshot: tuple[Any, RegistrySnapshot] | None = None
        super().__init__((host, port), _Handler)

    @property
    def url(self) -> str:
        """Where it listens."""
        host, port = self.server_address[:2]
        return f"http://{host!s}:{port}"

    def resource(self, path: str) -> Resource | None:
        """The resource at `path` of the current snapshot; raises StatementError if nothing is published."""
        with self._lock:
            version = self.registry.version()
            if self._snapshot is None or self._snapshot[0] != version:
                self._snapshot = (version, self.registry.published())
            return resource(self._snapshot[1], path)


class _Handler(BaseHTTPRequestHandler):
    server: RegistryServer
    server_version = "holdfast-registry"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    timeout = REQUEST_TIMEOUT_S

    def do_GET(self) -> None:
        """Answer with a resource, 404, or 503 while nothing is published."""
        try:
            found = self.server.resource(self.path) if len(self.path) <= PATH_CHARACTERS_MAX else None
        except AttestationError as error:
            self._answer(503, f"{error}\n".encode(), "text/plain; charset=utf-8", "no-store")
            return
        if found is None:
            self._answer(404, b"no such resource\n", "text/plain; charset=utf-8", "no-store")
            return
        cache = "public, max-age=31536000, immutable" if found.immutable else "no-cache"
        self._answer(200, found.body, found.content_type, cache)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing: the command line prints what it wants."""

    def _answer(self, status: int, body: bytes, content_type: str, cache: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", cache)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)
