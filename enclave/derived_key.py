"""The public key of a P-256 key: computed by an assembler, stated under its identity key, beside the certificate.

The certificate of such a key names the group key of the shared scalar only, because no node knows more when it signs.
An assembler sees the private key whenever it works, so its word for the public key asks for no trust that custody
`reconstruct` does not ask for already (specs/p256.md section 4).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from enclave.certificate import KeyCertificate
from enclave.errors import CallerError, PeerError
from enclave.identity import is_signed
from enclave.key_specs import P256
from enclave.threshold.p256 import check_point
from enclave.wire.documents import CertificateSignature
from enclave.wire.message import tagged


def derived_key_bytes(certificate: KeyCertificate, *, slot: str, boot_counter: int, public_key: bytes) -> bytes:
    """What an assembler signs."""
    return tagged(
        "derived-key",
        certificate.cluster,
        certificate.key.encode(),
        certificate.version.to_bytes(4, "big"),
        certificate.group_key or b"",
        slot.encode(),
        boot_counter.to_bytes(8, "big"),
        public_key,
    )


def with_derived_key(
    certificate: KeyCertificate, signatures: Sequence[CertificateSignature], identities: Mapping[str, bytes]
) -> KeyCertificate:
    """The certificate with the public key its assemblers state; any other kind of key comes back as it is.

    `identities` maps slot to the identity key whose evidence the caller accepted.  Raises PeerError
    (`certificate.derived-key`) if no assembler states one, or two state different ones.
    """
    if certificate.spec != P256 or certificate.public_key:
        return certificate  # an imported P-256 key's certificate names its public key itself
    stated = set()
    for item in signatures:
        identity = identities.get(item.slot)
        if identity is None or item.slot not in certificate.assemblers or not item.derived_key:
            continue
        statement = derived_key_bytes(
            certificate, slot=item.slot, boot_counter=item.boot_counter, public_key=item.derived_key
        )
        if is_signed(identity, item.derived_signature, statement):
            stated.add(item.derived_key)
    if len(stated) != 1:
        raise PeerError(
            f"expected one public key stated by attested assemblers, found {len(stated)}",
            code="certificate.derived-key",
        )
    public_key = stated.pop()
    try:
        check_point(public_key)
    except CallerError as error:
        raise PeerError(error.detail, code="certificate.derived-key") from None
    return replace(certificate, public_key=public_key)
