"""What the Nitro verifier remembers never outlives its certificates and never vouches for anything else."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from attestation.errors import AttestationError
from attestation.evidence import Tee
from attestation.nitro.document import NitroDocument
from attestation.simulated import cbor_writer as cbor
from attestation.simulated.nitro import PROTECTED
from attestation.verifier import Verifier
from tests.attestation.world import NOW, World

HOUR = 3600


def refusal(verifier: Verifier, evidence: bytes, now: int = NOW) -> str:
    """The code the document is refused with."""
    with pytest.raises(AttestationError) as caught:
        verifier.verify(evidence, now=now)
    return caught.value.code


def test_again(world: World) -> None:
    """The second verification of one document gives the same claims."""
    verifier, document = world.verifier, world.nitro()
    first, second = (verifier.verify(document, now=NOW) for _ in range(2))
    assert first == second
    assert first.tee is Tee.NITRO


@pytest.mark.parametrize(
    ("now", "code"), [(NOW + 4 * HOUR, "certificate.expired"), (NOW - HOUR, "certificate.not-yet-valid")]
)
def test_outside_the_leaf_s_validity(world: World, now: int, code: str) -> None:
    """A remembered leaf is refused once it has expired, and before it begins."""
    verifier, document = world.verifier, world.nitro()
    verifier.verify(document, now=NOW)
    assert refusal(verifier, document, now) == code


def test_another_payload_under_a_remembered_leaf(world: World) -> None:
    """The chain is remembered, the signature never: a changed document is refused."""
    verifier, document = world.verifier, world.nitro()
    verifier.verify(document, now=NOW)
    at = document.index(b"i-0123456789abcdef0")
    assert refusal(verifier, document[:at] + b"j" + document[at + 1 :]) == "nitro.signature"


def test_a_leaf_under_another_chain(world: World) -> None:
    """A leaf that was verified below one instance does not verify below another, equally genuine one."""
    verifier, mine, other = world.verifier, world.nitro(), world.nitro()
    for document in (mine, other):
        verifier.verify(document, now=NOW)
    leaf = NitroDocument.parse(mine).certificate
    key = ec.generate_private_key(ec.SECP384R1())
    swapped = rebuilt(NitroDocument.parse(other), certificate=leaf, key=key)
    assert refusal(verifier, swapped) == "certificate.signature"


def test_a_chain_that_starts_below_the_root(world: World) -> None:
    """A verified intermediate at the head of a bundle is no root, however well it is remembered."""
    verifier, document = world.verifier, world.nitro()
    verifier.verify(document, now=NOW)
    parsed = NitroDocument.parse(document)
    key = ec.generate_private_key(ec.SECP384R1())
    headless = rebuilt(parsed, certificate=parsed.certificate, key=key, bundle=parsed.ca_bundle[1:])
    assert refusal(verifier, headless) == "certificate.root"


def rebuilt(
    document: NitroDocument,
    *,
    certificate: bytes,
    key: ec.EllipticCurvePrivateKey,
    bundle: tuple[bytes, ...] | None = None,
) -> bytes:
    """A document with another certificate or bundle, signed with `key`."""
    payload = cbor.encode(
        {
            "module_id": document.module_id,
            "digest": "SHA384",
            "timestamp": document.timestamp_ms,
            "pcrs": dict(document.pcrs),
            "certificate": certificate,
            "cabundle": list(document.ca_bundle if bundle is None else bundle),
            "public_key": document.public_key,
            "user_data": document.user_data,
            "nonce": document.nonce,
        }
    )
    signed = cbor.encode(["Signature1", PROTECTED, b"", payload])
    r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(hashes.SHA384())))
    return cbor.encode([PROTECTED, {}, payload, r.to_bytes(48, "big") + s.to_bytes(48, "big")])
