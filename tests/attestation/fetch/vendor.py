"""A vendor service on the loopback interface: the simulated authority's documents under the vendors' paths.

It also misbehaves on request: outages, "too many requests", stale or foreign documents, cut bodies, redirects.
"""

from __future__ import annotations

import json
import threading
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from attestation.simulated.amd_certificates import revocation_list
from attestation.simulated.tcb import TcbClaims
from tests.attestation.world import NOW, World

TCB_INFO = "/tdx/certification/v4/tcb"
IDENTITY = "/tdx/certification/v4/qe/identity"
PCK_CRL = "/sgx/certification/v4/pckcrl"
ROOT_CRL = "/IntelSGXRootCA.der"
CHAIN = "/vcek/v1/Milan/cert_chain"
AMD_CRL = "/vcek/v1/Milan/crl"


@dataclass(slots=True, kw_only=True)
class Answer:
    """What the service sends; `cut` ends the body that many bytes early, `pause_s` comes before each half of it."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: int = 0
    pause_s: float = 0.0


Behaviour = Callable[[str], Answer]


class VendorService:
    """A running service; `answers` maps a path (without its query) to a list of answers, the last one repeated."""

    def __init__(self, world: World, *, now: int = NOW, claims: TcbClaims | None = None) -> None:
        self.answers: dict[str, list[Answer]] = documents(world, now=now, claims=claims)
        self.requests: list[str] = []
        """Paths asked for, queries included."""
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The base address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def first(self, path: str, *answers: Answer) -> None:
        """Send these answers before the ordinary one."""
        self.answers[path] = [*answers, *self.answers.get(path, [])]

    def only(self, path: str, answer: Answer) -> None:
        """Send this answer always."""
        self.answers[path] = [answer]

    def every(self, answer: Answer) -> None:
        """Send this answer to everything."""
        self.answers = {path: [answer] for path in self.answers}

    def asked(self, path: str) -> int:
        """How often a path was asked for."""
        return sum(urllib.parse.urlsplit(request).path == path for request in self.requests)

    def answer(self, target: str) -> Answer:
        """The next answer for a request."""
        with self._lock:
            self.requests.append(target)
            queue = self.answers.get(urllib.parse.urlsplit(target).path)
            if not queue:
                return Answer(status=404)
            return queue.pop(0) if len(queue) > 1 else queue[0]

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


def documents(world: World, *, now: int, claims: TcbClaims | None = None) -> dict[str, list[Answer]]:
    """Every document the authority publishes at `now`, by path."""
    answers: dict[str, list[Answer]] = {}
    for family in ("tdx", "sgx"):
        bundle = world.authority.bundle(now, claims=claims, tdx=family == "tdx")
        info = _wrapped("tcbInfo", bundle["tcb_info"], bundle["tcb_info_signature"])
        identity = _wrapped("enclaveIdentity", bundle["qe_identity"], bundle["qe_identity_signature"])
        chain = urllib.parse.quote(bundle["tcb_info_issuer_chain"])
        answers[f"/{family}/certification/v4/tcb"] = [Answer(body=info, headers={"TCB-Info-Issuer-Chain": chain})]
        answers[f"/{family}/certification/v4/qe/identity"] = [
            Answer(body=identity, headers={"SGX-Enclave-Identity-Issuer-Chain": chain})
        ]
        pck_chain = {"SGX-PCK-CRL-Issuer-Chain": urllib.parse.quote(bundle["pck_crl_issuer_chain"])}
        answers[PCK_CRL] = [Answer(body=bytes.fromhex(bundle["pck_crl"]), headers=pck_chain)]
        answers[ROOT_CRL] = [Answer(body=bytes.fromhex(bundle["root_ca_crl"]))]
    keys = world.authority.amd.product("Milan")
    chain_pem = keys.ask.public_bytes(Encoding.PEM) + keys.ark.public_bytes(Encoding.PEM)
    answers[CHAIN] = [Answer(body=chain_pem)]
    answers[AMD_CRL] = [Answer(body=revocation_list(keys.ark, keys.ark_key, (), issued_at=now - 60))]
    answers[vcek_path(world)] = [Answer(body=world.milan.certificate)]
    return answers


def vcek_path(world: World) -> str:
    """Where the Milan machine's certificate is."""
    return f"/vcek/v1/Milan/{world.milan.chip_id.hex()}"


def _wrapped(name: str, text: str, signature: str) -> bytes:
    # As the vendor writes it: the signed text verbatim, then its signature.
    return b'{"%b":%b,"signature":%b}' % (name.encode(), text.encode(), json.dumps(signature).encode())


def _handler(service: VendorService) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = service.answer(self.path)
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            body = answer.body[: len(answer.body) - answer.cut]
            for half in (body[: len(body) // 2], body[len(body) // 2 :]):
                time.sleep(answer.pause_s)
                self.wfile.write(half)
                self.wfile.flush()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            """Say nothing."""

    return Handler
