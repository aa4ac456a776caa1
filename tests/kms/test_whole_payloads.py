"""Payloads that a signature completes: PSBTs and tokens, through the HTTP API, judged by independent libraries."""

from __future__ import annotations

import json
import time
from typing import Any

import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from attestation.envelope import b64url, b64url_decode
from enclave.taproot import output_key
from tests.enclave.payload.psbts import (
    DEFAULT,
    PAYEE,
    PAYEE_ADDRESS,
    Key,
    Psbt,
    built,
    is_ecdsa,
    is_schnorr,
    script_of,
    segwit_address,
    segwit_script,
    taproot_psbt,
    taproot_script,
)
from tests.kms.fabric import Fabric

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def policy(fabric: Fabric) -> str:
    """Payments to one address up to a cap, and tokens of one issuer."""
    document = fabric.policy_document(
        policy="pol_" + "w" * 26,
        rules=[
            {
                "name": "payments",
                "effect": "allow",
                "agents": [fabric.agent_id],
                "kinds": ["bitcoin_psbt"],
                "bitcoin": {"recipients": [PAYEE_ADDRESS], "value_max": "70000", "fee_max": "2000"},
            },
            {
                "name": "tokens",
                "effect": "allow",
                "agents": [fabric.agent_id],
                "kinds": ["jws"],
                "jws": {"types": ["at+jwt"], "claims": {"iss": ["agent"]}, "lifetime_s_max": 600},
            },
        ],
    )
    status, answer = await fabric.put("PUT", f"/v1/policies/{document.policy}", document)
    assert status == 200, answer
    return document.policy


async def key(fabric: Fabric, policy: str, spec: str, usage: str) -> dict[str, Any]:
    """A key under that policy."""
    return await fabric.create_key(spec=spec, usage=usage, policy=policy, name=f"{usage}-{spec.partition('-')[0]}")


def psbt_body(data: bytes) -> dict[str, Any]:
    """A request for its first input."""
    return {"kind": "bitcoin_psbt", "psbt": b64url(data), "input": 0}


def claims(**changes: Any) -> bytes:
    """A token's claims."""
    return json.dumps({"iss": "agent", "exp": int(time.time()) + 300} | changes).encode()


async def test_a_taproot_payment(fabric: Fabric, policy: str) -> None:
    """The PSBT comes back with a signature that another library accepts for the hash it computes itself."""
    record = await key(fabric, policy, "secp256k1-schnorr", "bitcoin")
    own = output_key(bytes.fromhex(record["public_key"]))
    assert script_of(record["addresses"]["bitcoin"]) == taproot_script(own)
    data = taproot_psbt(own)
    status, answer = await fabric.use(record, "sign", psbt_body(data))
    assert status == 200, answer
    psbt = Psbt.parse(b64url_decode(answer["signature"]["psbt"]))
    sighash = psbt.sighash(0, [(taproot_script(own), 90_000)], DEFAULT)
    assert is_schnorr(own, psbt.inputs[0][b"\x13"], sighash)


async def test_a_segwit_payment(fabric: Fabric, policy: str) -> None:
    """ECDSA keys of usage bitcoin spend P2WPKH outputs."""
    record = await key(fabric, policy, "secp256k1-ecdsa", "bitcoin")
    public = bytes.fromhex(record["public_key"])
    own = segwit_script(public)
    assert segwit_address(public) == record["addresses"]["bitcoin"]
    psbt = built([(own, 90_000)], [(PAYEE, 60_000), (own, 29_000)])
    status, answer = await fabric.use(record, "sign", psbt_body(psbt.serialize()))
    assert status == 200, answer
    der = Psbt.parse(b64url_decode(answer["signature"]["psbt"])).inputs[0][b"\x02" + public]
    assert is_ecdsa(public, der[:-1], psbt.sighash(0))


@pytest.mark.parametrize("changes", [{"pays": 80_000}, {"payee": Key(bytes(31) + b"\x07").p2wpkh}])
async def test_payments_outside_the_rule_are_denied(fabric: Fabric, policy: str, changes: dict[str, Any]) -> None:
    """Too much, or to somebody else."""
    record = await key(fabric, policy, "secp256k1-schnorr", "bitcoin")
    data = taproot_psbt(output_key(bytes.fromhex(record["public_key"])), **changes)
    status, answer = await fabric.use(record, "sign", psbt_body(data))
    assert (status, answer["code"]) == (403, "policy.denied")


async def test_a_token(fabric: Fabric, policy: str) -> None:
    """PyJWT reads what the key signed."""
    record = await key(fabric, policy, "ed25519", "generic")
    body = {"kind": "jws", "claims": b64url(claims()), "header": {"typ": "at+jwt"}}
    status, answer = await fabric.use(record, "sign", body)
    assert status == 200, answer
    public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(record["public_key"]))
    assert jwt.decode(answer["signature"]["token"], public, algorithms=["EdDSA"])["iss"] == "agent"


@pytest.mark.parametrize(
    ("changes", "typ"),
    [({"iss": "admin"}, "at+jwt"), ({"iss": ["agent"]}, "at+jwt"), ({"exp": 4_000_000_000}, "at+jwt"), ({}, "JWT")],
)
async def test_tokens_outside_the_rule_are_denied(
    fabric: Fabric, policy: str, changes: dict[str, Any], typ: str
) -> None:
    """Another issuer, a list of issuers, too long a life, another type."""
    record = await key(fabric, policy, "ed25519", "generic")
    body = {"kind": "jws", "claims": b64url(claims(**changes)), "header": {"typ": typ}}
    status, answer = await fabric.use(record, "sign", body)
    assert (status, answer["code"]) == (403, "policy.denied")
