"""Returned signatures: accepted only if they are the certified key's, low-s and over the right bytes."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from eth_keys import keys as eth_keys
from nacl.signing import SigningKey

from attestation.envelope import b64url
from kms.client import VerificationError
from kms.client.signature_check import SECP256K1_ORDER, check_ecdsa, check_ed25519

DIGEST = hashlib.sha256(b"message").digest()
ETHEREUM = eth_keys.PrivateKey(b"\x07" * 32)
PUBLIC = ETHEREUM.public_key.to_compressed_bytes()


def _signed() -> dict[str, Any]:
    signature = ETHEREUM.sign_msg_hash(DIGEST)
    return {"r": f"{signature.r:064x}", "s": f"{signature.s:064x}", "y_parity": signature.v}


def test_ecdsa_of_another_library_is_accepted() -> None:
    """A signature made by eth-keys passes, and its DER form verifies with OpenSSL."""
    checked = check_ecdsa(_signed(), PUBLIC, DIGEST)
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), PUBLIC)
    key.verify(checked.der, DIGEST, ec.ECDSA(Prehashed(hashes.SHA256())))
    assert checked.eth65[-1] in (27, 28)


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value | {"y_parity": 1 - value["y_parity"]},
        lambda value: value | {"y_parity": True},
        lambda value: value | {"r": value["s"], "s": value["r"]},
        lambda value: value | {"r": "00" * 32},
        lambda value: value | {"s": f"{SECP256K1_ORDER:064x}"},
        lambda value: value | {"r": "xyz"},
        lambda value: {},
        lambda value: value | {"s": f"{SECP256K1_ORDER - int(value['s'], 16):064x}", "y_parity": 1 - value["y_parity"]},
    ],
    ids=["parity", "bool", "swapped", "zero", "overflow", "not-hex", "absent", "high-s"],
)
def test_changed_ecdsa_is_noticed(change: Any) -> None:
    """Every changed member, and the high-s twin, is refused."""
    with pytest.raises(VerificationError) as caught:
        check_ecdsa(change(_signed()), PUBLIC, DIGEST)
    assert caught.value.code == "verify.signature"


def test_ecdsa_over_another_digest_is_noticed() -> None:
    """A valid signature of the right key over other bytes is refused."""
    with pytest.raises(VerificationError):
        check_ecdsa(_signed(), PUBLIC, hashlib.sha256(b"other").digest())


def test_ed25519() -> None:
    """An Ed25519 signature is accepted for its key and message, and for nothing else."""
    key, other = SigningKey(b"\x01" * 32), SigningKey(b"\x02" * 32)
    signature = key.sign(b"m").signature
    answer = {"ed25519": b64url(signature)}
    assert check_ed25519(answer, bytes(key.verify_key), b"m") == signature
    for wrong, public, message in (
        (answer, bytes(other.verify_key), b"m"),
        (answer, bytes(key.verify_key), b"n"),
        ({"ed25519": b64url(signature[:63])}, bytes(key.verify_key), b"m"),
        ({"ed25519": None}, bytes(key.verify_key), b"m"),
        ({}, bytes(key.verify_key), b"m"),
    ):
        with pytest.raises(VerificationError):
            check_ed25519(wrong, public, message)
