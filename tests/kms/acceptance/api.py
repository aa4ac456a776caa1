"""The HTTP API as a foreign program uses it: PyJWT makes the tokens, the standard library sends them.

Rules kept: nothing of this project's client, token or payload code; what is checked here is the
documented interface (specs/http-api.md, specs/request-tokens.md), not one implementation of it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

TIMEOUT_S = 30


def b64(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    """The bytes of base64url without padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def tagged(tag: str, *parts: bytes) -> bytes:
    """The framing of specs/wire.md: `holdfast/<tag>/v1` and the parts, each behind its length."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in (f"holdfast/{tag}/v1".encode(), *parts))


class RefusedError(Exception):
    """A problem document."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status, self.code = status, code


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """An agent with nothing but a URL, the cluster's id, and its own Ed25519 key."""

    url: str
    cluster: str
    """64 hex digits."""
    agent: str
    key: Ed25519PrivateKey

    @classmethod
    def load(cls, url: str, cluster: str, path: Path) -> Agent:
        """Read the key file as any PEM reader does; its comment says whose it is."""
        text = path.read_text()
        key = load_pem_private_key(text[text.index("-----BEGIN") :].encode(), None)
        assert isinstance(key, Ed25519PrivateKey)
        return cls(url=url, cluster=cluster, agent=text.splitlines()[0].rpartition(" ")[2], key=key)

    def token(self, act: str, resource: str, body: bytes) -> str:
        """A token for exactly `body`."""
        now = int(time.time())
        public, digest = self.key.public_key().public_bytes_raw(), b64(hashlib.sha256(body).digest())
        return jwt.encode(
            {
                "iss": self.agent, "sub": self.agent, "aud": self.cluster, "act": act, "key": resource,
                "iat": now, "exp": now + 60, "jti": secrets.token_urlsafe(16), "bdh": digest,
            },
            self.key,
            algorithm="EdDSA",
            headers={"typ": "holdfast-request+jwt", "kid": b64(hashlib.sha256(public).digest())},
        )  # fmt: skip

    def post(self, key: str, verb: str, value: dict[str, Any], *, act: str | None = None) -> dict[str, Any]:
        """`POST /v1/keys/{key}/{verb}`; raises RefusedError.  The request id is added as `expected_request_id`."""
        body = json.dumps(value).encode()
        token = self.token(act or verb, key if act == "keys.get" else f"{key}/1", body)
        answer = self._send("POST", f"/v1/keys/{key}/{verb}", token, body)
        return answer | {"expected_request_id": hashlib.sha256(token.encode()).hexdigest()}

    def get(self, key: str, rest: str = "") -> dict[str, Any]:
        """`GET /v1/keys/{key}{rest}`."""
        return self._send("GET", f"/v1/keys/{key}{rest}", self.token("keys.get", key, b""), None)

    def sign(self, key: str, kind: str, **members: Any) -> dict[str, Any]:
        """The `signature` member of a sign answer, with the slots that made it as `signers`."""
        answer = self.post(key, "sign", {"kind": kind} | members)
        assert answer["request_id"] == answer["expected_request_id"]
        return dict(answer["signature"]) | {"signers": answer["signers"]}

    def _send(self, method: str, path: str, token: str, body: bytes | None) -> dict[str, Any]:
        request = urllib.request.Request(
            self.url + path, data=body, method=method, headers={"Authorization": f"Bearer {token}"}
        )
        if body is not None:
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            with error:
                problem = json.load(error)
            raise RefusedError(problem["status"], problem["code"], problem["detail"]) from None
