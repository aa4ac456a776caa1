"""Which answers of a node are a use of a share: something that helps to a signature or a plaintext has left."""

from __future__ import annotations

from tests.simulation.observer import Left

RELEASE_ROUND = 4
"""Round of threshold ECDSA in which the signature's share leaves."""


def is_use(left: Left) -> bool:
    """Whether a share, or what is made with one, left with this answer."""
    if left.verb == "ecdsa-round":
        return bool(left.request.round == RELEASE_ROUND)
    return left.verb in ("sign", "schnorr-sign", "partial", "release", "assemble")


def signers_of(left: Left) -> list[str]:
    """The signer set a use was asked for."""
    if left.verb == "ecdsa-round":
        return sorted({message.slot for message in left.request.messages})
    signers = left.request.signers
    return [signer if isinstance(signer, str) else signer.slot for signer in signers]
