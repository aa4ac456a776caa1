"""BIP-445's deterministic signing: nonces derived here as it says, everything else by production.

Nodes never sign this way (specs/bip340.md section 9); the vectors reach further into sessions, tweaks and
refusals than the others, so they run all the same.
"""

from __future__ import annotations

from typing import Any

import pytest

from enclave.errors import EnclaveError
from enclave.group import schnorr
from enclave.group.secp256k1 import ORDER
from enclave.secret import Secret
from enclave.threshold import bip340
from enclave.threshold.bip340 import NoncePair, Tweak
from enclave.threshold.bip340_session import aggregate_nonces, check_signers, tweaked_key
from tests.enclave.threshold.test_bip340 import SIGN_ERRORS, groups, signers_of, take


def scalar(data: bytes) -> Secret:
    """A public test value as a nonce."""
    return Secret.take(bytearray((int.from_bytes(data, "big") % ORDER).to_bytes(32, "big")))


def deterministic(group: dict[str, Any], case: dict[str, Any]) -> tuple[bytes, bytes]:
    """The public nonce and the signature share of one case."""
    secret = bytes.fromhex(group["secshares"][case["secshare_index"]])
    masked = secret
    if case["rand"] is not None:
        mask = schnorr.tagged_hash("BIP0445/aux", bytes.fromhex(case["rand"]))
        masked = bytes(a ^ b for a, b in zip(secret, mask, strict=True))
    signers, message = signers_of(group, case), bytes.fromhex(case["msg"])
    check_signers(signers)
    tweaks = [
        Tweak(value=bytes.fromhex(value), xonly=xonly)
        for value, xonly in zip(case["tweaks"], case["is_xonly"], strict=True)
    ]
    others = bytes.fromhex(case["aggothernonce"] or "")
    terms = b"".join(
        (
            masked,
            case["my_id"].to_bytes(4, "big"),
            len(case["ids"]).to_bytes(4, "big"),
            *(number.to_bytes(4, "big") for number in sorted(case["ids"])),
            others,
            tweaked_key(signers.public_key, tweaks).xonly,
            len(message).to_bytes(8, "big"),
            message,
        )
    )
    pair = NoncePair(
        *(scalar(schnorr.tagged_hash("BIP0445/deterministic/nonce", terms, bytes([half]))) for half in (0, 1))
    )
    public = pair.public
    total = aggregate_nonces({1: public} | ({2: others} if others else {}))
    share = bip340.sign_share(
        signers=signers,
        index=case["my_id"] + 1,
        share=take(secret.hex()),
        message=message,
        aggregate_nonce=total,
        nonce=pair,
        tweaks=tweaks,
    )
    return public, share


def test_shares_and_nonces_equal_bip445() -> None:
    """Every valid case of the four committees, with and without randomness, tweaks and other signers."""
    checked = 0
    for group in groups("det_sign"):
        for case in group["valid_tests"]:
            found = tuple(value.hex().upper() for value in deterministic(group, case))
            assert list(found) == case["expected"], case["comment"]
            checked += 1
    assert checked == 33


def test_errors_equal_bip445() -> None:
    """Every refused case is refused, with the code that fits."""
    codes: list[str] = []
    for group in groups("det_sign"):
        for case in group["error_tests"]:
            error = case["error"]
            message = error.get("message", "")
            if "must have the same length" in message:
                continue
            with pytest.raises(EnclaveError) as raised:
                deterministic(group, case)
            fitting = [SIGN_ERRORS[text] for text in sorted(SIGN_ERRORS, key=len, reverse=True) if text in message]
            expected = "nonce.invalid" if "contrib" in error else fitting[0]
            assert raised.value.code == expected, case["comment"]
            codes.append(expected)
    assert len(codes) == 48
    assert set(codes) >= {"nonce.invalid", "signers.key", "share.mismatch", "tweak.invalid"}
