"""All cryptography of one threshold ECDSA and one BIP-340 signature, every party on one core, nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable

from enclave.group.secp256k1 import SECP256K1
from enclave.secret import Secret
from enclave.threshold import bip340
from enclave.threshold.ecdsa.finish import finish
from enclave.threshold.ecdsa.session import Session
from enclave.threshold.ecdsa.signer import Signer
from enclave.threshold.shamir import split
from enclave.threshold.vss import public_share
from tests.enclave.threshold.pairwise import PairwiseKeys

SIGNERS = (1, 2, 3)
NODES = (1, 2, 3, 4, 5)


def threshold_ecdsa() -> Callable[[], object]:
    """T = 2: four rounds of three signers, rows sealed under pairwise keys, no signatures on messages."""
    shares, commitments = split(SECP256K1, SECP256K1.random_scalar(), 2, NODES)
    keys = {(i, j): Secret.random(32) for i in SIGNERS for j in SIGNERS if i != j}
    channels = {
        i: PairwiseKeys(
            sending={j: keys[i, j] for j in SIGNERS if j != i}, receiving={j: keys[j, i] for j in SIGNERS if j != i}
        )
        for i in SIGNERS
    }

    def once() -> tuple[bytes, int]:
        session = Session(
            session=os.urandom(32),
            slots={i: f"node-{i}" for i in SIGNERS},
            threshold=2,
            public_key=commitments[0],
            digest=os.urandom(32),
        )
        signers = {i: Signer(session, index=i, share=shares[i], channels=channels[i]) for i in SIGNERS}
        payloads = {i: signer.round1() for i, signer in signers.items()}
        payloads = {i: signer.round2(payloads) for i, signer in signers.items()}
        payloads = {i: signer.round3(payloads) for i, signer in signers.items()}
        return finish(session, {i: signer.round4(payloads) for i, signer in signers.items()})

    return once


def bip340_signature() -> Callable[[], object]:
    """3 of 5: nonces, shares, aggregation."""
    shares, commitments = split(SECP256K1, SECP256K1.random_scalar(), 3, NODES)
    source, message = bip340.NonceSource(), os.urandom(32)
    signers = bip340.Signers(
        total=len(NODES),
        threshold=3,
        members=tuple((i, public_share(SECP256K1, commitments, i)) for i in SIGNERS),
        public_key=commitments[0],
    )

    def once() -> bytes:
        pairs = {i: source.commit()[0] for i in SIGNERS}
        nonces = {i: pair.public for i, pair in pairs.items()}
        total = bip340.aggregate_nonces(nonces)
        parts = {
            i: bip340.sign_share(
                signers=signers, index=i, share=shares[i], message=message, aggregate_nonce=total, nonce=pairs[i]
            )
            for i in SIGNERS
        }
        return bip340.aggregate(signers=signers, message=message, nonces=nonces, shares=parts)

    return once
