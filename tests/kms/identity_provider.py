"""A small OAuth 2.0 authorization server on loopback: authorization code with PKCE, access tokens bound by DPoP.

It stands for a company's identity provider in tests; its tokens are made by tests.enclave.oidc.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from typing import Any

from aiohttp import web
from joserfc import jwk, jws

from tests.enclave.oidc import Provider

CLIENT_ID = "shopper-app"


class IdentityProvider:
    """`start` before use; everybody who comes is signed in as `subject`."""

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self._codes: dict[str, dict[str, str]] = {}

    async def start(self) -> None:
        """Serve on a free port; the issuer's name is its URL."""
        app = web.Application()
        app.router.add_get("/authorize", self._authorize)
        app.router.add_post("/token", self._token)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        self.provider = Provider("RS256", issuer=self.url)

    async def close(self) -> None:
        """Stop."""
        await self._runner.cleanup()

    async def _authorize(self, request: web.Request) -> web.StreamResponse:
        query = dict(request.query)
        assert query["response_type"] == "code"
        assert query["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(16)
        self._codes[code] = query
        raise web.HTTPFound(f"{query['redirect_uri']}?code={code}&state={query['state']}")

    async def _token(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        asked = self._codes.pop(str(form.get("code")), None)
        verifier = hashlib.sha256(str(form.get("code_verifier")).encode()).digest()
        if asked is None or base64.urlsafe_b64encode(verifier).rstrip(b"=").decode() != asked["code_challenge"]:
            return web.json_response({"error": "invalid_grant"}, status=400)
        jkt = _proven(request.headers.get("DPoP", ""), self.url + "/token")
        token = self.provider.access_token(jkt, now=int(time.time()), sub=self.subject)
        return web.json_response({"access_token": token, "token_type": "DPoP", "expires_in": 300})


def _proven(proof: str, url: str) -> str:
    """Thumbprint of the key that signed a DPoP proof (RFC 9449 section 4.3)."""
    registry = jws.JWSRegistry(algorithms=["ES256"], strict_check_header=False)
    header: dict[str, Any] = json.loads(base64.urlsafe_b64decode(proof.split(".")[0] + "=="))
    key = jwk.import_key(header["jwk"])
    claims = json.loads(jws.deserialize_compact(proof, key, registry=registry).payload)
    assert header["typ"] == "dpop+jwt"
    assert (claims["htm"], claims["htu"]) == ("POST", url)
    return str(key.thumbprint())
