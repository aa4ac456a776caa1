"""Enrolments from an operator's side: the document that admits one boot of one slot."""

from __future__ import annotations

from enclave.enrolment import Enrolment
from enclave.wire.attestation import Identity
from kms.client.caller import Caller
from kms.client.documents import next_sequence


class Enrolments:
    """`client.enrolments`; deliver what `document` makes with `client.restrictions`."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def document(self, identity: Identity) -> Enrolment:
        """Admits exactly this identity; the caller has verified its evidence."""
        return Enrolment(
            cluster=self._caller.cluster,
            slot=identity.slot,
            identity_key=identity.identity_key,
            boot_counter=identity.boot_counter,
            sequence=next_sequence(),
            issued_at=self._caller.clock(),
        )
