"""What a BIP-340 key's certificate means for signing: the signer set, the tweaks, and the key to verify under.

Every signature of a key of usage `bitcoin` is under its Taproot output key, the one its address shows; every other
key signs under itself.  Node, gateway and client read it from here (specs/bip340.md section 8).
"""

from __future__ import annotations

from collections.abc import Sequence

from enclave.certificate import KeyCertificate
from enclave.errors import CallerError
from enclave.key_specs import Usage
from enclave.taproot import output_tweak
from enclave.threshold.bip340 import Signers, Tweak, tweaked_key

SPEC = "secp256k1-schnorr"


def tweaks_of(certificate: KeyCertificate) -> tuple[Tweak, ...]:
    """The steps from the certified key to the one that signs."""
    return (output_tweak(certificate.public_key),) if certificate.usage is Usage.BITCOIN else ()


def verification_key(certificate: KeyCertificate) -> bytes:
    """The 32-byte x-only key every signature holds under."""
    return tweaked_key(certificate.public_key, tweaks_of(certificate)).xonly


def signer_set(certificate: KeyCertificate, slots: Sequence[str]) -> Signers:
    """The signers in `slots`; raises CallerError (`signers.unknown`)."""
    nodes = [node for slot in slots if (node := certificate.node(slot)) is not None]
    if len(nodes) != len(slots):
        raise CallerError("a signer does not hold this key", code="signers.unknown")
    return Signers(
        total=max(node.index for node in certificate.nodes),
        threshold=certificate.shares_needed,
        members=tuple((node.index, node.public_share) for node in nodes),
        public_key=certificate.public_key,
    )
