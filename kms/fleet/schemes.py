"""The two one-round Schnorr schemes: how a node is asked, and how the shares become a signature.

Ed25519 is FROST by RFC 9591 (specs/frost.md), BIP-340 is BIP-445 (specs/bip340.md); both spend one
published nonce per signer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from enclave.schnorr_key import SPEC as SCHNORR
from enclave.schnorr_key import signer_set, tweaks_of
from enclave.threshold import bip340, frost
from enclave.threshold.bip340_session import aggregate_nonces
from enclave.threshold.frost_binding import Commitment
from enclave.wire.message import Message
from enclave.wire.signing import NonceCommitment, SchnorrSignRequest, Signer, SignRequest
from kms.keys import Key

ED25519 = "ed25519"


class Scheme(Protocol):
    """One request's side of a scheme; `slots` and `nonces` go by rising share index."""

    suite: str
    verb: str

    def requests(self, slots: Sequence[str], nonces: Sequence[NonceCommitment]) -> list[Message]:
        """What each signer is asked; raises PeerError as `check`, where the scheme adds nonces up."""

    def check(self, slots: Sequence[str], nonces: Sequence[NonceCommitment]) -> None:
        """After signers refused a point: raises PeerError naming the indices whose nonce is none, if any is."""

    def aggregate(self, slots: Sequence[str], nonces: Sequence[NonceCommitment], replies: Mapping[str, Any]) -> bytes:
        """The verified signature; raises PeerError naming the indices of wrong shares, other EnclaveErrors."""

    commitment: str
    """Name under which nodes' logs commit to what they gave out (specs/receipts.md section 4)."""

    def outputs(
        self, slots: Sequence[str], nonces: Sequence[NonceCommitment], replies: Mapping[str, Any]
    ) -> dict[str, tuple[bytes, ...]]:
        """What each signer gave out, in the parts of that commitment."""


class Ed25519:
    """FROST(Ed25519, SHA-512)."""

    suite = ED25519
    verb = "sign"
    commitment = "frost-ed25519"

    def __init__(self, key: Key, *, token: str, body: bytes, message: bytes, item: int | None = None) -> None:
        self._key = key
        self._token = token
        self._body = body
        self._message = message
        self._item = item

    def requests(self, slots: Sequence[str], nonces: Sequence[NonceCommitment]) -> list[Message]:
        """Each signer's own nonce, and everybody's commitments."""
        signers = [Signer(slot, nonce.hiding, nonce.binding) for slot, nonce in zip(slots, nonces, strict=True)]
        return [
            SignRequest(
                token=self._token,
                body=self._body,
                nonce=nonce.nonce,
                signers=signers,
                epoch=self._key.certificate.epoch,
                item=self._item,
            )
            for nonce in nonces
        ]

    def check(self, slots: Sequence[str], nonces: Sequence[NonceCommitment]) -> None:
        """Here and not in `requests`: two subgroup checks per signer would double the cost of a signature."""
        frost.check_commitments(self._listed(slots, nonces))

    def aggregate(self, slots: Sequence[str], nonces: Sequence[NonceCommitment], replies: Mapping[str, Any]) -> bytes:
        """64 bytes, verified; what the first signer says R is spares computing it here if it is true."""
        index = self._key.index
        return frost.aggregate(
            public_key=self._key.certificate.public_key,
            message=self._message,
            commitments=self._listed(slots, nonces),
            shares={index[slot]: reply.share for slot, reply in replies.items()},
            public_shares=self._key.public_shares,
            group_commitment=replies[slots[0]].group_commitment,
        )

    def outputs(
        self, _slots: Sequence[str], _nonces: Sequence[NonceCommitment], replies: Mapping[str, Any]
    ) -> dict[str, tuple[bytes, ...]]:
        """Message digest, R, share."""
        digest = hashlib.sha256(self._message).digest()
        return {slot: (digest, reply.group_commitment, reply.share) for slot, reply in replies.items()}

    def _listed(self, slots: Sequence[str], nonces: Sequence[NonceCommitment]) -> list[Commitment]:
        pairs = zip(slots, nonces, strict=True)
        return [(self._key.index[slot], nonce.hiding, nonce.binding) for slot, nonce in pairs]


class Bip340:
    """BIP-445, under the key itself or, for usage `bitcoin`, its Taproot output key."""

    suite = SCHNORR
    verb = "schnorr-sign"
    commitment = "bip340"

    def __init__(self, key: Key, *, token: str, body: bytes, message: bytes, item: int | None = None) -> None:
        self._key = key
        self._token = token
        self._body = body
        self._message = message
        self._item = item

    def requests(self, slots: Sequence[str], nonces: Sequence[NonceCommitment]) -> list[Message]:
        """Each signer's own nonce, and the sum of all."""
        total = aggregate_nonces(self._public(slots, nonces))
        return [
            SchnorrSignRequest(
                token=self._token,
                body=self._body,
                nonce=nonce.nonce,
                signers=list(slots),
                aggregate_nonce=total,
                epoch=self._key.certificate.epoch,
                item=self._item,
            )
            for nonce in nonces
        ]

    def check(self, slots: Sequence[str], nonces: Sequence[NonceCommitment]) -> None:
        """Nothing is left to check: `requests` added the points up."""

    def aggregate(self, slots: Sequence[str], nonces: Sequence[NonceCommitment], replies: Mapping[str, Any]) -> bytes:
        """64 bytes, verified under the key the nodes signed for; R as in `Frost`."""
        certificate = self._key.certificate
        return bip340.aggregate(
            signers=signer_set(certificate, list(slots)),
            message=self._message,
            nonces=self._public(slots, nonces),
            shares={self._key.index[slot]: reply.share for slot, reply in replies.items()},
            tweaks=tweaks_of(certificate),
            nonce_point=replies[slots[0]].nonce_point,
        )

    def outputs(
        self, slots: Sequence[str], nonces: Sequence[NonceCommitment], replies: Mapping[str, Any]
    ) -> dict[str, tuple[bytes, ...]]:
        """Message digest, aggregate nonce, share."""
        digest, total = hashlib.sha256(self._message).digest(), aggregate_nonces(self._public(slots, nonces))
        return {slot: (digest, total, reply.share) for slot, reply in replies.items()}

    def _public(self, slots: Sequence[str], nonces: Sequence[NonceCommitment]) -> dict[int, bytes]:
        return {self._key.index[slot]: nonce.hiding + nonce.binding for slot, nonce in zip(slots, nonces, strict=True)}
