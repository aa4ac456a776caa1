"""Every holder says that its share is right before anybody has a key (specs/import-export.md section 4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from enclave.certificate import KeyCertificate
from enclave.errors import RefusedError
from enclave.identity import is_signed
from enclave.wire.attestation import Identity
from enclave.wire.imports import ImportAccepted
from enclave.wire.message import tagged


def acceptance_bytes(cluster: bytes, transcript: bytes, *, slot: str, boot_counter: int) -> bytes:
    """What a node signs once its share is checked and on disk."""
    return tagged("import-accepted", cluster, transcript, slot.encode(), boot_counter.to_bytes(8, "big"))


def check_acceptances(
    certificate: KeyCertificate, accepted: Sequence[ImportAccepted], identity_of: Callable[[str], Identity]
) -> None:
    """Raises RefusedError (`import.acceptances`) unless every holder accepted; `identity_of` raises VerdictError.

    `identity_of` gives the attested keys of a slot as the checking node knows them.
    """
    if sorted(item.slot for item in accepted) != sorted(certificate.slots):
        raise RefusedError("expected one acceptance of each holder", code="import.acceptances")
    for item in accepted:
        identity = identity_of(item.slot)
        statement = acceptance_bytes(
            certificate.cluster, certificate.transcript, slot=item.slot, boot_counter=identity.boot_counter
        )
        if item.boot_counter != identity.boot_counter or not is_signed(
            identity.identity_key, item.signature, statement
        ):
            raise RefusedError(
                f"{item.slot} did not accept this key in its present boot",
                code="import.acceptances",
                hint="send the same upload again, sealed to the boots that run now",
            )
