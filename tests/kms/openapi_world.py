"""A fabric in a thread of its own, for tests that talk to it by a blocking client, and what is known to exist in it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import requests

from attestation.canonical import canonical_json
from attestation.envelope import b64url
from enclave.tokens import Act
from kms.endpoint import Endpoint
from kms.routes import ENDPOINTS
from tests.kms.fabric import Fabric

T = TypeVar("T")

AGENT_ACTS = frozenset(
    {Act.SIGN, Act.DECRYPT, Act.VERIFY, Act.ENCRYPT, Act.BATCH, Act.SECRETS_RELEASE, Act.KEYS_EXPORT}
)
"""What agents do; operators do the rest."""

TIMEOUT_S = 20
"""Longest wait for an answer; a test that needs it has failed already."""


class OpenApiWorld:
    """`close` after use."""

    def __init__(self, directory: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.fabric = Fabric(directory)
        self.run(self.fabric.start())
        self.url = self.fabric.url
        self.run(self._allow_data_keys())
        self.key = self.run(self.fabric.create_key())
        self.evm = self.run(self.fabric.create_key(spec="secp256k1-ecdsa", usage="evm", custody="reconstruct"))
        self.sealing = self.run(self.fabric.create_key(spec="hpke-x25519", usage="decrypt"))
        self._session = requests.Session()
        body = canonical_json({"kind": "message", "message": b64url(b"known")})
        token = self.fabric.token("sign", f"{self.key['key']}/1", body)
        _, answer = self.run(self.fabric.ask("POST", f"/v1/keys/{self.key['key']}/sign", token=token, body=body))
        self.request_id: str = answer["request_id"]
        _, answer = self.run(self.fabric.use(self.sealing, "encrypt", {"plaintext": b64url(b"known")}))
        self.ciphertext: str = answer["ciphertext"]

    async def _allow_data_keys(self) -> None:
        rule = {"name": "data-keys", "effect": "allow", "kinds": ["data_key"], "plaintext_to_gateway": "allow"}
        first = self.fabric.policy_document()
        document = replace(first, version=2, rules=[*first.rules, rule])
        status, answer = await self.fabric.put("PUT", f"/v1/policies/{self.fabric.policy_id}", document)
        assert status == 200, answer

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Something of the fabric, in its own loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def close(self) -> None:
        """Stop everything."""
        self._session.close()
        self.run(self.fabric.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def existing(self, name: str) -> list[str]:
        """What there is for a path parameter of this name."""
        return {
            "key": [self.key["key"], self.evm["key"], self.sealing["key"]],
            "policy": [self.fabric.policy_id],
            "agent": [self.fabric.agent_id],
            "slot": self.fabric.slots,
            "node": self.fabric.slots,
            "request": [self.request_id],
            "credential": [self.fabric.agent.public.kid],
            "code": ["token.expired"],
        }.get(name, [])

    def good(self, endpoint: Endpoint, params: dict[str, str]) -> Any:
        """A body that this endpoint serves, or None where only signed documents or sealed shares would do."""
        key, message = params.get("key"), {"kind": "message", "message": b64url(b"hello")}
        if key == self.evm["key"]:
            message = {"kind": "eip191", "message": b64url(b"hello")}
        of_sealing = {"ciphertext": self.ciphertext}
        item = {
            "ref": "a",
            "verb": "sign",
            "key": f"{self.key['key']}/1",
            "body": {"kind": "message", "message": "AAAA"},
        }
        opening = {"ref": "b", "verb": "decrypt", "key": f"{self.sealing['key']}/1", "body": of_sealing}
        return {
            "/v1/keys/{key}/sign": message,
            "/v1/keys/{key}/verify": {"payload": message, "signature": {"ed25519": b64url(bytes(64))}},
            "/v1/keys/{key}/encrypt": {"plaintext": "AAAA", "context": {"a": "b"}},
            "/v1/keys/{key}/decrypt": of_sealing,
            "/v1/keys/{key}/data-key": {},
            "/v1/keys/{key}/derive": {"path": "m/0/5"},
            "/v1/batch": {"items": [item, opening]},
            "/v1/policies/{policy}/evaluate": {
                "key": self.key["key"],
                "verb": "sign",
                "request": {"kind": "message", "message": "AAAA"},
                "agent": self.fabric.agent_id,
            },
        }.get(endpoint.path)

    def send(self, request: dict[str, Any], endpoint: Endpoint, params: dict[str, str], *, signed: bool) -> Any:
        """One exchange over exactly the bytes that are signed."""
        prepared = self._session.prepare_request(requests.Request(**request))
        body = prepared.body or b""
        content = body.encode() if isinstance(body, str) else bytes(body)
        if signed and endpoint.act is not None:
            prepared.headers["Authorization"] = "Bearer " + self.token(endpoint, params, content)
        return self._session.send(prepared, timeout=TIMEOUT_S, allow_redirects=False)

    def token(self, endpoint: Endpoint, params: dict[str, str], body: bytes) -> str:
        """A request token of whoever does such things, for what the path names if that exists."""
        assert endpoint.act is not None
        resource = "*"
        for name in ("key", "policy", "operation", "secret", "request"):
            if params.get(name) in self.existing(name):
                resource = params[name] + ("/1" if name == "key" else "")
        make = self.fabric.token if endpoint.act in AGENT_ACTS else self.fabric.operator_token
        return make(endpoint.act, resource, body)


def endpoint_of(method: str, path: str) -> Endpoint:
    """The endpoint that serves an operation of the document."""
    return next(one for one in ENDPOINTS if (one.method.lower(), one.path) == (method.lower(), path))
