"""The vectors of this package's specifications; `python -m tests.enclave.make_vectors` writes them anew."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from attestation.canonical import canonical_json
from attestation.envelope import Envelope, b64url, pre_authentication
from attestation.merkle import leaf_hash
from enclave.certificate import certificate_bytes
from enclave.documents import Agent, Document, KeyState, PolicyDocument, sign_document
from enclave.evidence_binding import nonce_root, report_data
from enclave.payload.decrypt import context_info
from enclave.payload.sign import parse_sign_body, signed_transaction
from enclave.policy import Policy, evaluate
from enclave.policy.schema import policy_schema
from enclave.signing_key import SigningKey
from enclave.tokens import make_token
from enclave.wire.attestation import Identity
from tests.enclave.payload.test_sign import BODIES, TRANSACTION
from tests.enclave.policy import requests
from tests.enclave.samples import ADMIN, AGENT, KEY, KEYS, NOW, POLICY, a_roster, seeded_key
from tests.enclave.test_certificate import a_certificate, signatures

DIRECTORY = Path(__file__).parents[2] / "specs" / "vectors"

SCHEMA = DIRECTORY.parent / "schemas" / "policy.json"

CLUSTER = hashlib.sha256(b"cluster").digest()
BODY = b'{"kind":"message","message":"aGk"}'


def request_tokens() -> Any:
    """One good token per algorithm, and tokens that differ from it in one fact."""
    signer = seeded_key("agent")
    token = _token(signer)
    good = {"body": BODY.decode(), "cluster": CLUSTER.hex(), "now": NOW + 1, "act": "sign", "not_before": 0}
    cases = [
        {"name": "EdDSA", **good, "token": token, "key": b64url(signer.public.key), "alg": "EdDSA"},
        *({"name": alg, **good, **_ecdsa_token(alg)} for alg in ("ES256", "ES256K")),
    ]
    for case in cases:
        case["request_id"] = hashlib.sha256(case["token"].encode()).hexdigest()
    refused = [
        ("expired", {"now": NOW + 60}, "token.expired"),
        ("from the future", {"now": NOW - 6}, "token.from-future"),
        ("another cluster", {"cluster": bytes(32).hex()}, "token.audience"),
        ("another body", {"body": BODY.decode() + " "}, "token.body"),
        ("another act", {"act": "decrypt"}, "token.act"),
        ("before the boot", {"not_before": NOW + 1}, "token.before-boot"),
        ("lives too long", {"token": _changed(signer, exp=NOW + 61)}, "token.lifetime"),
        ("unknown claim", {"token": _changed(signer, admin=True)}, "token.malformed"),
        ("fractional time", {"token": _changed(signer, iat=NOW + 0.5)}, "token.malformed"),
        ("foreign signature", {"token": _foreign(token)}, "token.signature"),
        ("alg none", {"token": _changed(signer, header={"alg": "none"})}, "token.algorithm"),
        ("alg HS256", {"token": _changed(signer, header={"alg": "HS256"})}, "token.algorithm"),
        ("typ JWT", {"token": _changed(signer, header={"typ": "JWT"})}, "token.type"),
        ("crit", {"token": _changed(signer, header={"crit": ["exp"]})}, "token.malformed"),
        ("unknown key id", {"token": _changed(signer, header={"kid": "x"})}, "token.unknown-key"),
        ("unset variable", {"token": "undefined"}, "token.missing"),
    ]
    base = cases[0]
    refusals = [
        {**{k: base[k] for k in base if k != "request_id"}, "name": name, **changes, "expect": code}
        for name, changes, code in refused
    ]
    return {
        "private_key_seed": hashlib.sha256(b"agent").hexdigest(),
        "accepted": cases,
        "refused": refusals,
        "batch": _batch(signer),
    }


def _batch(signer: SigningKey) -> Any:
    """A token over two items, and what each is by itself; ids are made here from the token's text."""
    body = (
        '{"items": [{"ref": "a", "verb": "sign", "key": "KEY/1", "body": {"message": "aGk", "kind": "message"}},'
        ' {"ref": "b", "verb": "decrypt", "key": "KEY/2", "body": {"ciphertext": "AAAA"}}]}'
    ).replace("KEY", KEY)
    token = make_token(
        signer,
        issuer=AGENT,
        cluster=CLUSTER,
        act="batch",
        resource="*",
        body=body.encode(),
        now=NOW,
        method="POST",
        url="/v1/batch",
        jti="AAAAAAAAAAAAAAAAAAAAAA",
    )
    items = [
        ("sign", f"{KEY}/1", '{"kind":"message","message":"aGk"}'),
        ("decrypt", f"{KEY}/2", '{"ciphertext":"AAAA"}'),
    ]
    good = {"cluster": CLUSTER.hex(), "now": NOW + 1, "act": "batch", "not_before": 0, "body": body}
    return {
        **good,
        "token": token,
        "key": b64url(signer.public.key),
        "alg": "EdDSA",
        "request_id": _sha(token.encode()),
        "items": [
            {
                "act": act,
                "resource": resource,
                "body": inner,
                "request_id": _sha(token.encode() + bytes([0, 0, 0, number])),
            }
            for number, (act, resource, inner) in enumerate(items)
        ],
    }


def roster() -> Any:
    """A roster, what is signed, and its digest."""
    value = a_roster()
    payload = canonical_json(value.payload())
    return {
        "payload": payload.decode(),
        "pre_authentication_sha256": _sha(pre_authentication("application/vnd.holdfast.roster+json", payload)),
        "digest": value.digest.hex(),
        "cluster_id": value.cluster_id.hex(),
        "mrconfigid": value.configuration.hex(),
        "envelope": json.loads(value.sign(KEYS[ADMIN])),
    }


def control_documents() -> Any:
    """One document of each kind."""
    cluster = a_roster().cluster_id
    agent_key = seeded_key("agent").public
    rules = [requests.allow("payments", kinds=["evm_transaction"], evm={"chain_ids": [1], "value_max": "1000"})]
    documents: list[Document] = [
        Agent(
            cluster=cluster, agent=AGENT, name="trader", keys=(agent_key,), state="active", sequence=1, issued_at=NOW
        ),
        PolicyDocument(cluster=cluster, policy=POLICY, name="daily", version=1, rules=rules, issued_at=NOW),
        KeyState(cluster=cluster, key=KEY, state="disabled", sequence=1, issued_at=NOW),
    ]
    made = []
    for document in documents:
        envelope = sign_document(document, KEYS[ADMIN])
        made.append(
            {
                "kind": document.kind,
                "payload": canonical_json(document.payload()).decode(),
                "digest": Envelope.parse(envelope).digest.hex(),
                "envelope": json.loads(envelope),
            }
        )
    return made


def key_certificates() -> Any:
    """A body, what is signed, and three signatures."""
    body = a_certificate().body()
    return {
        "body": body.decode(),
        "signed_sha256": _sha(certificate_bytes(body)),
        "signatures": [
            {"slot": item.slot, "identity_key": item.identity_key.hex(), "signature": item.signature.hex()}
            for item in signatures(body, 1, 2, 3)
        ],
    }


def evidence_binding() -> Any:
    """An identity, nonces, and the report data that binds them."""
    identity = Identity(
        cluster=CLUSTER,
        slot="node-1",
        boot_counter=3,
        identity_key=seeded_key("boot").public.key,
        kem_key=bytes(range(64)),
        tls_spki=b"\x06" * 32,
        roster_digest=b"\x07" * 32,
        purpose="node",
    )
    nonces = [bytes([number]) * 32 for number in (1, 2, 3)]
    return {
        "identity": {
            "cluster": identity.cluster.hex(),
            "slot": identity.slot,
            "boot_counter": identity.boot_counter,
            "identity_key": identity.identity_key.hex(),
            "kem_key": identity.kem_key.hex(),
            "tls_spki": identity.tls_spki.hex(),
            "roster_digest": identity.roster_digest.hex(),
            "purpose": identity.purpose,
        },
        "nonces": [nonce.hex() for nonce in nonces],
        "leaves": [leaf_hash(nonce).hex() for nonce in nonces],
        "nonce_root": nonce_root(nonces).hex(),
        "report_data": report_data(identity, nonce_root(nonces)).hex(),
    }


def payloads() -> Any:
    """Bodies with what is signed for them."""
    keys = {
        "evm_transaction": ("evm", "secp256k1-ecdsa"),
        "eip191": ("evm", "secp256k1-ecdsa"),
        "digest": ("evm", "secp256k1-ecdsa"),
        "solana_message": ("solana", "ed25519"),
        "message": ("generic", "ed25519"),
    }
    old = {name: TRANSACTION[name] for name in ("chain_id", "nonce", "gas", "to", "value", "data")}
    bodies: list[Any] = [BODIES[kind] for kind in keys]
    bodies += [
        {"kind": "evm_transaction", "transaction": old | {"type": 0, "gas_price": "9"}},
        {"kind": "evm_transaction", "transaction": old | {"type": 1, "gas_price": "9"}},
    ]
    signs = []
    for value in bodies:
        usage, spec = keys[value["kind"]]
        body = json.dumps(value).encode()
        payload = parse_sign_body(body, usage, spec)
        case: dict[str, Any] = {"usage": usage, "spec": spec, "body": body.decode(), "facts": payload.facts}
        if payload.digest is not None:
            case["digest"] = payload.digest.hex()
        if payload.message is not None:
            case["message"] = payload.message.hex()
        if payload.transaction is not None:
            case["raw_with_r1_s2_parity1"] = signed_transaction(payload, 1, 2, 1).hex()
        signs.append(case)
    contexts = [{}, {"a": "1"}, {"b": "2", "a": "1"}]
    return {"sign": signs, "context": [{"context": item, "info": context_info(item).hex()} for item in contexts]}


def policy() -> Any:
    """Rules, requests and decisions."""
    rules = [
        requests.allow(
            "payments",
            kinds=["evm_transaction"],
            evm={"chain_ids": [1], "recipients": [requests.TO], "value_max": "1000"},
        ),
        requests.deny("sanctioned", evm={"recipients": [requests.OTHER]}),
    ]
    cases = []
    for changes in ({}, {"value": "1001"}, {"to": requests.OTHER}, {"chain_id": 5}, {"data": "0xa9059cbb"}):
        transaction = requests.TRANSACTION | changes
        decision = evaluate(Policy.of(rules), requests.evm(**changes))
        cases.append({"transaction": transaction, "decision": decision.to_json()})
    return {"rules": rules, "agent": AGENT, "key": KEY, "cases": cases}


VECTORS: dict[str, Callable[[], Any]] = {
    "request-tokens": request_tokens,
    "roster": roster,
    "control-documents": control_documents,
    "key-certificates": key_certificates,
    "evidence-binding": evidence_binding,
    "payloads": payloads,
    "policy": policy,
}


def text_of(name: str) -> str:
    """The vector file's text."""
    return json.dumps(VECTORS[name](), indent=1, sort_keys=True) + "\n"


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _token(signer: SigningKey) -> str:
    return make_token(
        signer,
        issuer=AGENT,
        cluster=CLUSTER,
        act="sign",
        resource=f"{KEY}/1",
        body=BODY,
        now=NOW,
        method="POST",
        url=f"/v1/keys/{KEY}/sign",
        jti="AAAAAAAAAAAAAAAAAAAAAA",
    )


def _claims(token: str) -> dict[str, Any]:
    from attestation.envelope import b64url_decode

    claims: dict[str, Any] = json.loads(b64url_decode(token.split(".")[1]))
    return claims


def _join(signer: SigningKey, header: dict[str, Any], claims: dict[str, Any], sign: Callable[[bytes], bytes]) -> str:
    first = b64url(
        json.dumps({"alg": signer.algorithm, "kid": signer.kid, "typ": "holdfast-request+jwt"} | header).encode()
    )
    second = b64url(json.dumps(claims).encode())
    return f"{first}.{second}.{b64url(sign(f'{first}.{second}'.encode()))}"


def _changed(signer: SigningKey, *, header: dict[str, Any] | None = None, **claims: Any) -> str:
    return _join(signer, header or {}, _claims(_token(signer)) | claims, signer.sign)


def _foreign(token: str) -> str:
    signed = token.rpartition(".")[0]
    return f"{signed}.{b64url(seeded_key('other').sign(signed.encode()))}"


def _ecdsa_token(algorithm: str) -> dict[str, Any]:
    """A token with a deterministic signature (RFC 6979), in low-s form."""
    curve = ec.SECP256R1() if algorithm == "ES256" else ec.SECP256K1()
    private = ec.derive_private_key(0x1234567890, curve)
    signer = SigningKey(private)

    def sign(message: bytes) -> bytes:
        r, s = decode_dss_signature(private.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True)))
        return signer.public.one_spelling(r.to_bytes(32, "big") + s.to_bytes(32, "big"))

    claims = _claims(_token(seeded_key("agent")))
    return {"token": _join(signer, {}, claims, sign), "key": b64url(signer.public.key), "alg": algorithm}


def schema_text() -> str:
    """The policy schema's text."""
    return json.dumps(policy_schema(), indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    for vector in VECTORS:
        (DIRECTORY / f"{vector}.json").write_text(text_of(vector))
    SCHEMA.write_text(schema_text())
