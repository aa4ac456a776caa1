"""FROST(Ed25519, SHA-512) against the figures of RFC 9591 appendix E.1 and the Zcash Foundation's vectors."""

from __future__ import annotations

from typing import Any

import pytest

from enclave.group import ED25519
from enclave.secret import Secret
from enclave.threshold import frost
from enclave.threshold.frost_binding import bind, challenge
from enclave.threshold.nonces import nonce_generate
from tests.enclave.threshold.support import reveal, secret_of, vectors

RFC_9591: dict[str, Any] = {
    "public_key": "15d21ccd7ee42959562fc8aa63224c8851fb3ec85a3faf66040d380fb9738673",
    "message": "74657374",
    "signers": {
        1: {
            "share": "929dcc590407aae7d388761cddb0c0db6f5627aea8e217f4a033f2ec83d93509",
            "hiding_randomness": "0fd2e39e111cdc266f6c0f4d0fd45c947761f1f5d3cb583dfcb9bbaf8d4c9fec",
            "binding_randomness": "69cd85f631d5f7f2721ed5e40519b1366f340a87c2f6856363dbdcda348a7501",
            "hiding_nonce": "812d6104142944d5a55924de6d49940956206909f2acaeedecda2b726e630407",
            "binding_nonce": "b1110165fc2334149750b28dd813a39244f315cff14d4e89e6142f262ed83301",
            "hiding": "b5aa8ab305882a6fc69cbee9327e5a45e54c08af61ae77cb8207be3d2ce13de3",
            "binding": "67e98ab55aa310c3120418e5050c9cf76cf387cb20ac9e4b6fdb6f82a469f932",
            "factor": "f2cb9d7dd9beff688da6fcc83fa89046b3479417f47f55600b106760eb3b5603",
            "signature_share": "001719ab5a53ee1a12095cd088fd149702c0720ce5fd2f29dbecf24b7281b603",
        },
        3: {
            "share": "d3cb090a075eb154e82fdb4b3cb507f110040905468bb9c46da8bdea643a9a02",
            "hiding_randomness": "86d64a260059e495d0fb4fcc17ea3da7452391baa494d4b00321098ed2a0062f",
            "binding_randomness": "13e6b25afb2eba51716a9a7d44130c0dbae0004a9ef8d7b5550c8a0e07c61775",
            "hiding_nonce": "c256de65476204095ebdc01bd11dc10e57b36bc96284595b8215222374f99c0e",
            "binding_nonce": "243d71944d929063bc51205714ae3c2218bd3451d0214dfb5aeec2a90c35180d",
            "hiding": "cfbdb165bd8aad6eb79deb8d287bcc0ab6658ae57fdcc98ed12c0669e90aec91",
            "binding": "7487bc41a6e712eea2f2af24681b58b1cf1da278ea11fe4e8b78398965f13552",
            "factor": "b087686bf35a13f3dc78e780a34b0fe8a77fef1b9938c563f5573d71d8d7890f",
            "signature_share": "bd86125de990acc5e1f13781d8e32c03a9bbd4c53539bbc106058bfd14326007",
        },
    },
    "signature": "36282629c383bb820a88b71cae937d41f2f2adfcc3d02e55507e2fb9e2dd3cbe"
    "bd9d2b0844e49ae0f3fa935161e1419aab7b47d21a37ebeae1f17d4987b3160b",
}


def from_file(data: dict[str, Any]) -> dict[str, Any]:
    """A vector file in the shape of the transcribed figures."""
    inputs = data["inputs"]
    shares = {entry["identifier"]: entry["participant_share"] for entry in inputs["participant_shares"]}
    second = {entry["identifier"]: entry["sig_share"] for entry in data["round_two_outputs"]["outputs"]}
    return {
        "public_key": inputs.get("group_public_key") or inputs["verifying_key_key"],
        "message": inputs["message"],
        "signers": {
            entry["identifier"]: {
                "share": shares[entry["identifier"]],
                "hiding_randomness": entry["hiding_nonce_randomness"],
                "binding_randomness": entry["binding_nonce_randomness"],
                "hiding_nonce": entry["hiding_nonce"],
                "binding_nonce": entry["binding_nonce"],
                "hiding": entry["hiding_nonce_commitment"],
                "binding": entry["binding_nonce_commitment"],
                "factor_input": entry["binding_factor_input"],
                "factor": entry["binding_factor"],
                "signature_share": second[entry["identifier"]],
            }
            for entry in data["round_one_outputs"]["outputs"]
        },
        "signature": data["final_output"]["sig"],
    }


def check(figures: dict[str, Any]) -> None:
    """Every intermediate value and the signature."""
    key, message = bytes.fromhex(figures["public_key"]), bytes.fromhex(figures["message"])
    commitments = [
        (i, bytes.fromhex(s["hiding"]), bytes.fromhex(s["binding"])) for i, s in sorted(figures["signers"].items())
    ]
    bound = bind(key, message, commitments)
    shares, public_shares = {}, {}
    for i, signer in figures["signers"].items():
        share = secret_of(ED25519, signer["share"])
        nonces = []
        for kind in ("hiding", "binding"):
            nonce = nonce_generate(share, secret_of(ED25519, signer[f"{kind}_randomness"]))
            assert reveal(ED25519, nonce).hex() == signer[f"{kind}_nonce"]
            assert ED25519.base_mult(nonce).hex() == signer[kind]
            nonces.append(nonce)
        assert bound.factor_inputs[i].hex() == signer.get("factor_input", bound.factor_inputs[i].hex())
        assert bound.factors[i].to_bytes(32, "little").hex() == signer["factor"]
        shares[i] = frost.sign_share(
            share=share,
            index=i,
            public_key=key,
            message=message,
            commitments=commitments,
            nonce=frost.NoncePair(*nonces),
        )
        assert shares[i].hex() == signer["signature_share"]
        public_shares[i] = ED25519.base_mult(share)
    signature = frost.aggregate(
        public_key=key, message=message, commitments=commitments, shares=shares, public_shares=public_shares
    )
    assert signature.hex() == figures["signature"]
    assert challenge(signature[:32], key, message) != 0


def test_rfc_9591_figures() -> None:
    """Nonces, commitments, binding factors, signature shares and signature are those of the RFC."""
    check(RFC_9591)


@pytest.mark.parametrize(
    "name",
    [
        "frost_rfc9591/frost-ed25519-sha512.json",
        "frost_zf/frost-ed25519__vectors.json",
        "frost_zf/frost-ed25519__vectors-big-identifier.json",
    ],
)
def test_published_files(name: str) -> None:
    """The same, for every published file of this ciphersuite."""
    check(from_file(vectors(name)))


def test_the_transcription_is_the_file() -> None:
    """The figures typed in above are those of the published file."""
    published = from_file(vectors("frost_rfc9591/frost-ed25519-sha512.json"))
    for signer in published["signers"].values():
        del signer["factor_input"]
    assert published == RFC_9591


def test_nonces_of_a_node_do_not_need_a_share() -> None:
    """The node's own source hashes fresh randomness with a secret of the boot: two pairs never coincide."""
    source = frost.NonceSource()
    seen = set()
    for _ in range(8):
        _, hiding, binding = source.commit()
        seen |= {hiding, binding}
    assert len(seen) == 16
    same_randomness = bytes(32)
    a, b = (nonce_generate(Secret.random(32), secret_of(ED25519, same_randomness)) for _ in range(2))
    assert not a.same(b)
