"""Signing in elsewhere: a real authorization-code flow against a local provider, then signatures at real nodes."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
import requests
from authlib.integrations.requests_client import OAuth2Session
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from joserfc import jwk, jws

from attestation.canonical import canonical_json
from attestation.envelope import Envelope, b64url, b64url_decode
from attestation.errors import DocumentError
from enclave.fields import Fields
from enclave.ids import new_id
from enclave.roster_principals import read_oidc
from enclave.signing_key import SigningKey
from kms.client import Client
from kms.client.credentials import FederatedCredentials
from kms.client.errors import RequestRefusedError
from kms.client.trust import TrustAnchors
from tests.kms.fabric import Fabric
from tests.kms.identity_provider import CLIENT_ID, IdentityProvider

pytestmark = pytest.mark.asyncio(loop_scope="module")

SUBJECT = "workload/shopper"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def provider() -> AsyncIterator[IdentityProvider]:
    """A provider that signs everybody in as the same workload."""
    made = IdentityProvider(SUBJECT)
    await made.start()
    yield made
    await made.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fabric(tmp_path_factory: pytest.TempPathFactory, provider: IdentityProvider) -> AsyncIterator[Fabric]:
    """A cluster whose second roster pins the provider's key."""
    made = Fabric(tmp_path_factory.mktemp("federation"))
    try:
        await made.start()
        fields = Fields({"oidc": [provider.provider.roster_entry()]}, where="", error=DocumentError)
        old = made.gateway.roster
        following = replace(
            old, version=old.version + 1, cluster=old.cluster_id, previous=old.digest, oidc=read_oidc(fields)
        )
        envelope = Envelope.parse(following.sign(made.operator))
        body = canonical_json({"document": envelope.to_json()})
        status, answer = await made.ask(
            "POST", "/v1/roster", token=made.operator_token("documents.put", "*", body), body=body
        )
        assert status == 200, answer
        await made.trusted(*made.slots)
        async with asyncio.timeout(30):
            while {node.roster.version for node in made.nodes.values()} != {2}:
                await asyncio.sleep(0.05)
        yield made
    finally:
        await made.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def agent(fabric: Fabric, provider: IdentityProvider) -> str:
    """An agent that has a subject at the provider and no key of its own, and may sign messages."""
    agent = new_id("agt")
    document = fabric.agent_document(agent=agent, name="federated", keys=(), subjects=((provider.url, SUBJECT),))
    status, answer = await fabric.put("POST", "/v1/agents", document)
    assert status == 200, answer
    rule = {"name": "messages", "effect": "allow", "agents": [agent], "kinds": ["message"]}
    policy = fabric.policy_document(policy=new_id("pol"), rules=[rule])
    status, answer = await fabric.put("PUT", f"/v1/policies/{policy.policy}", policy)
    assert status == 200, answer
    fabric.federated_policy = policy.policy  # type: ignore[attr-defined]
    return agent


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def key(fabric: Fabric, agent: str) -> dict[str, Any]:
    """A key under that policy."""
    return await fabric.create_key(policy=fabric.federated_policy, name="federated")  # type: ignore[attr-defined]


def dpop_proof(private: jwk.ECKey, method: str, url: str, **claims: Any) -> str:
    """A DPoP proof as RFC 9449 has it, by another library."""
    public = {name: private.as_dict(private=False)[name] for name in ("kty", "crv", "x", "y")}
    header = {"alg": "ES256", "typ": "dpop+jwt", "jwk": public}
    body = {"htm": method, "htu": url, "iat": int(time.time()), "jti": secrets.token_urlsafe(12)} | claims
    registry = jws.JWSRegistry(algorithms=["ES256"], strict_check_header=False)
    return jws.serialize_compact(header, json.dumps(body).encode(), private, registry=registry)


def sign_in(url: str, private: jwk.ECKey) -> str:
    """The whole flow with a stock client: authorization code, PKCE, a token bound to `private`."""
    verifier = secrets.token_urlsafe(48)
    session = OAuth2Session(
        CLIENT_ID, redirect_uri="http://127.0.0.1:1/callback", code_challenge_method="S256",
        token_endpoint_auth_method="none",
    )  # fmt: skip
    address, _ = session.create_authorization_url(url + "/authorize", code_verifier=verifier)
    redirected = requests.get(address, allow_redirects=False, timeout=10).headers["Location"]
    token = session.fetch_token(
        url + "/token",
        authorization_response=redirected,
        code_verifier=verifier,
        headers={"DPoP": dpop_proof(private, "POST", url + "/token")},
    )
    assert token["token_type"] == "DPoP"
    return str(token["access_token"])


def anchors(fabric: Fabric) -> TrustAnchors:
    """What a client pins."""
    return TrustAnchors(
        cluster_id=fabric.roster.cluster_id,
        simulated_roots=fabric.roster.simulated_roots,
        roster=fabric.layout.roster.read_bytes(),
    )


async def test_a_login_and_a_signature(
    fabric: Fabric, provider: IdentityProvider, agent: str, key: dict[str, Any]
) -> None:
    """Sign in with a stock OAuth client; the library signs with the key that the token is bound to."""
    private = jwk.ECKey.generate_key("P-256")
    access = await asyncio.to_thread(sign_in, provider.url, private)
    own = SigningKey.from_pem(private.as_pem(private=True))
    credentials = FederatedCredentials(issuer=agent, key=own, access_token=lambda: access)
    assert credentials.jkt == private.thumbprint()
    async with Client.connect(url=fabric.url, trust=anchors(fabric), credentials=credentials) as client:
        signed = await client.sign.message(key["key"], b"hello")
    assert signed.ed25519 is not None
    Ed25519PublicKey.from_public_bytes(bytes.fromhex(key["public_key"])).verify(signed.ed25519, b"hello")


async def test_a_client_written_from_the_specification(
    fabric: Fabric, provider: IdentityProvider, agent: str, key: dict[str, Any]
) -> None:
    """Authorization: DPoP and DPoP: headers made by another library alone."""
    private = jwk.ECKey.generate_key("P-256")
    access = await asyncio.to_thread(sign_in, provider.url, private)
    body = json.dumps({"kind": "message", "message": b64url(b"plain")}).encode()
    path = f"/v1/keys/{key['key']}/sign"
    status, answer = await send(
        fabric, path, body, access, request_token(fabric, agent, private, access, path, body, key)
    )
    assert status == 200, answer
    signature = b64url_decode(answer["signature"]["ed25519"])
    Ed25519PublicKey.from_public_bytes(bytes.fromhex(key["public_key"])).verify(signature, b"plain")


def request_token(
    fabric: Fabric, agent: str, private: jwk.ECKey, access: str, path: str, body: bytes, key: dict[str, Any]
) -> str:
    """A request token as specs/request-tokens.md and specs/federation.md have it."""
    public = {name: private.as_dict(private=False)[name] for name in ("kty", "crv", "x", "y")}
    x, y = (base64.urlsafe_b64decode(public[name] + "=") for name in ("x", "y"))
    digest = hashlib.sha256(bytes([2 + (y[-1] & 1)]) + x).digest()
    now = int(time.time())
    claims = {
        "iss": agent, "sub": agent, "aud": fabric.roster.cluster_id.hex(), "act": "sign", "key": f"{key['key']}/1",
        "iat": now, "exp": now + 60, "jti": secrets.token_urlsafe(12), "htm": "POST", "htu": path,
        "bdh": b64url(hashlib.sha256(body).digest()), "ath": b64url(hashlib.sha256(access.encode()).digest()),
    }  # fmt: skip
    header = {"alg": "ES256", "typ": "holdfast-request+jwt", "kid": b64url(digest), "jwk": public}
    registry = jws.JWSRegistry(algorithms=["ES256"], strict_check_header=False)
    return jws.serialize_compact(header, json.dumps(claims).encode(), private, registry=registry)


async def send(fabric: Fabric, path: str, body: bytes, access: str, proof: str) -> tuple[int, Any]:
    """POST with the headers of RFC 9449."""
    headers = {"Authorization": f"DPoP {access}", "DPoP": proof, "Content-Type": "application/json"}
    answer = await asyncio.to_thread(requests.post, fabric.url + path, data=body, headers=headers, timeout=10)
    return answer.status_code, answer.json()


async def test_a_thief_has_nothing(fabric: Fabric, provider: IdentityProvider, agent: str, key: dict[str, Any]) -> None:
    """A copied access token with another key, without proof, and as a bearer token."""
    private, thief = jwk.ECKey.generate_key("P-256"), jwk.ECKey.generate_key("P-256")
    access = await asyncio.to_thread(sign_in, provider.url, private)
    body = json.dumps({"kind": "message", "message": b64url(b"theft")}).encode()
    path = f"/v1/keys/{key['key']}/sign"
    stolen = request_token(fabric, agent, thief, access, path, body, key)
    status, answer = await send(fabric, path, body, access, stolen)
    assert (status, answer["code"]) == (401, "oidc.confirmation")
    status, answer = await send(fabric, path, body, access, "")
    assert (status, answer["code"]) == (401, "token.missing")
    headers = {"Authorization": f"Bearer {access}", "Content-Type": "application/json"}
    answer = (await asyncio.to_thread(requests.post, fabric.url + path, data=body, headers=headers, timeout=10)).json()
    assert answer["code"].startswith("token.")


async def test_another_agents_name_is_not_given(
    fabric: Fabric, provider: IdentityProvider, agent: str, key: dict[str, Any]
) -> None:
    """The subject speaks for the agent it was registered for and for nobody else."""
    private = jwk.ECKey.generate_key("P-256")
    access = await asyncio.to_thread(sign_in, provider.url, private)
    own = SigningKey.from_pem(private.as_pem(private=True))
    credentials = FederatedCredentials(issuer=fabric.agent_id, key=own, access_token=lambda: access)
    async with Client.connect(url=fabric.url, trust=anchors(fabric), credentials=credentials) as client:
        with pytest.raises(RequestRefusedError) as caught:
            await client.sign.message(key["key"], b"hello")
    assert caught.value.code == "oidc.subject"
