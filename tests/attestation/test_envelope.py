"""Signed documents: each rule of opening an envelope fails alone."""

from __future__ import annotations

import nacl.signing
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from attestation.canonical import canonical_json
from attestation.envelope import Envelope, b64url, b64url_decode, key_id, pre_authentication
from attestation.errors import DocumentError

KIND = "application/vnd.holdfast.test+json"
KEYS = [Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in range(3)]
PUBLIC = [key.public_key().public_bytes_raw() for key in KEYS]


def signed(count: int) -> Envelope:
    """A document signed by the first `count` keys."""
    envelope = Envelope.of(KIND, {"a": 1})
    for key in KEYS[:count]:
        envelope = envelope.signed(key)
    return envelope


def code_of(envelope: Envelope, kind: str = KIND, keys: list[bytes] = PUBLIC, threshold: int = 2) -> str:
    """The code `open` refuses with."""
    with pytest.raises(DocumentError) as caught:
        envelope.open(kind, keys, threshold=threshold)
    return caught.value.code


def test_two_of_three_opens_and_survives_json() -> None:
    """Enough signatures open the document, also after a trip through its JSON form."""
    envelope = Envelope.parse(canonical_json(signed(2).to_json()))
    assert envelope.open(KIND, PUBLIC, threshold=2) == {"a": 1}


def test_signature_verifies_with_another_library() -> None:
    """PyNaCl accepts the signature over the stated bytes."""
    ((name, signature),) = signed(1).signatures
    assert name == key_id(PUBLIC[0])
    nacl.signing.VerifyKey(PUBLIC[0]).verify(pre_authentication(KIND, b'{"a":1}'), signature)


def test_too_few_foreign_and_repeated_signatures() -> None:
    """One signature, a signature of an unknown key, or one key listed twice is not two."""
    assert code_of(signed(1)) == "envelope.signatures"
    assert code_of(signed(2), keys=PUBLIC[1:]) == "envelope.signatures"
    one = signed(1)
    twice = Envelope(payload_type=KIND, payload=one.payload, signatures=one.signatures * 2)
    assert code_of(twice) == "envelope.signatures"
    assert code_of(signed(2), threshold=0) == "envelope.signatures"


def test_type_payload_and_canonical_form_are_bound() -> None:
    """Another type, another payload or a signed but non-canonical payload is refused."""
    envelope = signed(2)
    assert code_of(envelope, kind=KIND + "x") == "envelope.type"
    retyped = Envelope(payload_type=KIND + "x", payload=envelope.payload, signatures=envelope.signatures)
    assert code_of(retyped, kind=KIND + "x") == "envelope.signatures"
    changed = Envelope(payload_type=KIND, payload=b'{"a":2}', signatures=envelope.signatures)
    assert code_of(changed) == "envelope.signatures"
    spaced = Envelope(payload_type=KIND, payload=b'{"a": 1}').signed(KEYS[0]).signed(KEYS[1])
    assert code_of(spaced) == "envelope.not-canonical"


@given(st.binary(max_size=64))
def test_base64url_is_strict(data: bytes) -> None:
    """Only the canonical text decodes."""
    assert b64url_decode(b64url(data)) == data
    for text in (b64url(data) + "=", b64url(data) + "\n", " " + b64url(data), 7, None):
        with pytest.raises(DocumentError):
            b64url_decode(text)


@given(st.binary(max_size=300))
def test_hostile_envelopes_raise_only_our_errors(data: bytes) -> None:
    """Random bytes never open and never crash."""
    with pytest.raises(DocumentError):
        Envelope.parse(data)
