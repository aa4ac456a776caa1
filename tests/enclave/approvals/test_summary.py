"""What an approver reads: everything of the body, in characters that cannot lie on a screen, alike everywhere."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attestation.envelope import b64url
from enclave.approvals.fingerprint import fingerprint_of
from enclave.approvals.summary import CONTENT_CHARACTERS_MAX, TEXT_CHARACTERS_MAX, parse_waiting, render
from enclave.certificate import KeyCertificate
from enclave.tokens import Act, Token
from tests.enclave.approvals.make_vectors import FILE
from tests.enclave.approvals.make_vectors import text as text_of_vectors
from tests.enclave.payload.messages import legacy
from tests.enclave.policy.requests import TO, TRANSACTION
from tests.enclave.samples import AGENT, NOW
from tests.enclave.test_certificate import a_certificate


def summary(body: bytes, *, usage: str = "generic", spec: str = "ed25519", act: Act = Act.SIGN, **changes: Any) -> str:
    """The text for a body."""
    key: KeyCertificate = a_certificate(usage=usage, spec=spec)
    token = Token(
        issuer=changes.get("issuer", AGENT), kid="k", act=act, resource=f"{key.key}/1", request_id=bytes(32),
        issued_at=NOW, expires_at=NOW + 60, jti="j" * 8, method="", url="",
    )  # fmt: skip
    return render(token, key, body, parse_waiting(body, act, key), expires_at=changes.get("expires_at", NOW + 600))


def evm(**changes: Any) -> bytes:
    """A transaction's body."""
    return json.dumps({"kind": "evm_transaction", "transaction": TRANSACTION | changes}).encode()


def test_transaction() -> None:
    """Amounts in units people know, the recipient with its checksum, the fee."""
    text = summary(evm(value="1500000000000000000"), usage="evm", spec="secp256k1-ecdsa")
    assert text.splitlines()[:4] == [
        "Holdfast operation, rendering 1",
        f"requested by: {AGENT}",
        f"key: {a_certificate().key} version 1, named {a_certificate().name}, secp256k1-ecdsa for evm",
        "kind: evm_transaction",
    ]
    assert "chain: 1\n" in text
    assert "value: 1.5 ether (1500000000000000000 wei)\n" in text
    assert "fee at most: 0.00000000000021 ether\n" in text
    assert f"to: {TO}" in text


def test_solana() -> None:
    """Lamports and programs."""
    body = json.dumps({"kind": "solana_message", "message": b64url(legacy(()))}).encode()
    text = summary(body, usage="solana")
    assert "SOL: 0 (0 lamports)\n" in text
    assert "programs: " in text


def test_messages_are_shown_as_text() -> None:
    """People read words, not base64url; bytes that are no text stay in the body."""
    body = json.dumps({"kind": "message", "message": b64url("pay \u202e10\nrequested by: me".encode())}).encode()
    assert "message as text: pay \\u202e10\\nrequested by: me\n" in summary(body)
    binary = json.dumps({"kind": "message", "message": b64url(b"\xff\xfe")}).encode()
    assert "as text" not in summary(binary)
    long = json.dumps({"kind": "message", "message": b64url(b"x" * 5000)}).encode()
    assert f"message as text (first 2000 of 5000 characters): {'x' * 2000}\n" in summary(long)


def test_numbers_beyond_json() -> None:
    """A nonce of 2^60 is shown in full."""
    text = summary(evm(nonce=str(2**60)), usage="evm", spec="secp256k1-ecdsa")
    assert f"nonce: {2**60}\n" in text


def test_digest_warns() -> None:
    """Blind signatures say that they are blind."""
    body = json.dumps({"kind": "digest", "digest": b64url(bytes(32))}).encode()
    assert "WARNING" in summary(body, usage="evm", spec="secp256k1-ecdsa")


def test_decryption() -> None:
    """Who gets it, and in which context."""
    body = {"ciphertext": b64url(bytes(64)), "recipient": b64url(b"\x09" + bytes(31)), "context": {"case": "7"}}
    text = summary(json.dumps(body).encode(), spec="hpke-x25519", usage="decrypt", act=Act.DECRYPT)
    assert "opened for: X25519 key 0900" in text
    assert 'context: {"case":"7"}\n' in text


@given(text=st.text(max_size=200))
def test_nothing_moves_or_hides_on_a_screen(text: str) -> None:
    """Whatever an agent writes, lines stay lines of printable ASCII."""
    body = json.dumps({"kind": "message", "message": b64url(text.encode("utf-8", "surrogatepass"))}).encode()
    rendered = summary(body)
    assert rendered.endswith("\n")
    assert all(" " <= character <= "~" or character == "\n" for character in rendered)
    names = [line.split(":")[0] for line in rendered.splitlines()]
    assert names.count("requested by") == names.count("kind") == 1


@given(context=st.dictionaries(st.text(min_size=1, max_size=20), st.text(max_size=50), max_size=4))
def test_texts_of_a_body_cannot_make_lines(context: dict[str, str]) -> None:
    """Nor can members the agent chooses."""
    value = {"ciphertext": b64url(bytes(64)), "recipient": b64url(b"\x09" + bytes(31)), "context": context}
    try:
        rendered = summary(json.dumps(value).encode(), spec="hpke-x25519", usage="decrypt", act=Act.DECRYPT)
    except Exception as error:  # a context the payload itself refuses
        assert getattr(error, "code", "").startswith(("payload.", "json.", "name."))  # noqa: PT017
        return
    assert len(rendered.splitlines()) == len(summary_without_context().splitlines())
    assert rendered.isascii()


def summary_without_context() -> str:
    """The same request without context."""
    value = {"ciphertext": b64url(bytes(64)), "recipient": b64url(b"\x09" + bytes(31))}
    return summary(json.dumps(value).encode(), spec="hpke-x25519", usage="decrypt", act=Act.DECRYPT)


def test_long_bodies_are_cut_with_their_hash() -> None:
    """A screenful is shown, and the digest covers the rest."""
    body = json.dumps({"kind": "message", "message": b64url(bytes(100_000))}).encode()
    text = summary(body)
    assert f"content (first {CONTENT_CHARACTERS_MAX} of " in text
    assert len(text) < CONTENT_CHARACTERS_MAX + TEXT_CHARACTERS_MAX + 1000


@pytest.mark.parametrize(
    "change",
    [
        {"cluster": b"\x01" * 32}, {"request_id": b"\x01" * 32}, {"body": b"other"}, {"resource": "key_b/1"},
        {"policy": "pol_b"}, {"policy_version": 2}, {"summary": "other"}, {"expires_at": 2},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_every_fact_is_in_the_fingerprint(change: dict[str, Any]) -> None:
    """Any change makes another operation."""
    facts: dict[str, Any] = {
        "cluster": bytes(32), "request_id": bytes(32), "body": b"body", "resource": "key_a/1", "policy": "pol_a",
        "policy_version": 1, "summary": "words", "expires_at": 1,
    }  # fmt: skip
    assert fingerprint_of(**facts) != fingerprint_of(**(facts | change))


def test_time_beyond_the_calendar_renders() -> None:
    """A deadline after year 9999 is a number."""
    body = json.dumps({"kind": "message", "message": "aGk", "not_after": 2**52}).encode()
    assert f"not after: {2**52} Unix seconds\n" in summary(body)


def test_the_published_vectors_are_what_the_code_makes() -> None:
    """Another release that renders other words shows up here, and needs another number in the first line."""
    assert FILE.read_text() == text_of_vectors()


def test_the_fingerprint_of_the_vectors_by_plain_hashing() -> None:
    """Written out once more: length-prefixed parts under a tag, hashed."""
    published = json.loads(FILE.read_text())
    for item in published["cases"]:
        parts = [
            b"holdfast/operation/v1",
            bytes.fromhex(published["cluster"]),
            bytes.fromhex(published["request_id"]),
            hashlib.sha256(item["body"].encode()).digest(),
            item["key"]["resource"].encode(),
            item["policy"].encode(),
            item["policy_version"].to_bytes(8, "big"),
            item["summary"].encode(),
            item["expires_at"].to_bytes(8, "big"),
        ]
        joined = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        assert hashlib.sha256(joined).hexdigest() == item["fingerprint"]
