"""A node before there is a roster: it shows what it is and does nothing else (specs/enrolment.md section 2).

Rules kept: no store, no share, no boot counter; evidence names purpose `enrol`, no cluster and no roster, so nothing
that works counts it; the only verbs are `status` and `evidence`.
"""

from __future__ import annotations

import time

from enclave.errors import RefusedError, WireError
from enclave.evidence_binding import nonce_root, report_data
from enclave.identity import BootIdentity
from enclave.quotes import QuoteBudget
from enclave.tee import Tee
from enclave.wire.attestation import EvidenceRequest, Presentation, Status
from enclave.wire.message import Message
from enclave.wire.verbs import VERBS

PURPOSE = "enrol"

NO_CLUSTER = bytes(32)
"""Stands for the cluster and the roster in the evidence of a node that has neither."""


class EnrolState:
    """What enclave.server needs of a node, for one that is not a node yet."""

    def __init__(self, *, slot: str, tee: Tee, tls_spki: bytes) -> None:
        self.tee = tee
        self.started_at = int(time.time())
        self.identity = BootIdentity(
            cluster=NO_CLUSTER,
            slot=slot,
            boot_counter=0,
            roster_digest=NO_CLUSTER,
            tls_spki=tls_spki,
            purpose=PURPOSE,
        )
        self._quotes = QuoteBudget()

    def begin(self, _connection: int, verb: str, _request: Message, now: int) -> Message:
        """`status`; everything else is refused (`node.enrolling`), unknown verbs as ever."""
        if verb not in VERBS:
            raise WireError("unknown verb", code="wire.unknown-verb")
        if verb != "status":
            raise RefusedError(
                "this node belongs to no cluster yet", code="node.enrolling", hint="start it with the signed roster"
            )
        own = self.identity.public
        return Status(
            slot=own.slot,
            boot_counter=0,
            identity_key=own.identity_key,
            roster_digest=own.roster_digest,
            started_at=self.started_at,
            now=now,
            keys=0,
            registry_sequence=0,
            collateral_digest=b"",
            version=PURPOSE,
        )

    def begin_evidence(self, request: EvidenceRequest, now: int) -> tuple[list[bytes], bytes]:
        """Nonces and report data; raises RefusedError (`evidence.rate`), WireError (`evidence.nonces`)."""
        root = nonce_root(request.nonces)
        if not self._quotes.take(now):
            raise RefusedError("too many quotes asked for", code="evidence.rate", hint="retry in a second")
        return request.nonces, report_data(self.identity.public, root)

    def finish_evidence(self, nonces: list[bytes], evidence: bytes, _now: int) -> Presentation:
        """The presentation around the quote."""
        return Presentation(identity=self.identity.public, nonces=nonces, evidence=evidence)

    def commit(self) -> None:
        """Nothing is ever stored."""

    def tick(self, now: int) -> int:
        """Nothing expires."""
        return now

    def disconnect(self, connection: int) -> None:
        """Nothing belongs to a connection."""

    def close(self) -> None:
        """Forget the keys of this boot."""
        self.identity.wipe()
