"""Machines before there is a roster: fresh evidence of each, verified here, and the draft of version 1.

Rules kept (specs/enrolment.md section 2): a machine counts only with evidence over this operator's nonce, of purpose
`enrol`, verified under the vendors' roots (or simulated ones named by the operator) at the end of the very
connection; what goes into a slot is what that evidence proves.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from attestation.collateral import Collateral
from attestation.errors import EvidenceError
from attestation.evidence import Claims
from attestation.policy import AppraisalPolicy
from attestation.verdict import Outcome
from attestation.verifier import Verifier
from enclave.evidence_binding import nonce_root, report_data
from enclave.roster_slots import SlotEntry
from enclave.wire.attestation import EvidenceRequest, Presentation
from kms.client.direct import ANSWER_TIMEOUT_S, NONCE_BYTES, open_connection
from kms.client.errors import ConfigurationError, UnavailableError, VerificationError

PURPOSE = "enrol"

NOTHING = bytes(32)

REGISTERS = ("mrtd", "rtmr0", "rtmr1", "rtmr2", "measurement")
"""Registers that say which image runs, where the platform has them; rtmr3 belongs to the application."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One verified machine."""

    slot: str
    """As its configuration names it."""
    url: str
    claims: Claims
    platform: bytes
    """Commitment to its platform id."""

    @property
    def measurements(self) -> dict[str, list[str]]:
        """Registers that say which image runs, with what they hold; empty ones left out."""
        held = {name: self.claims.measurements.get(name, "") for name in REGISTERS}
        return {name: [value] for name, value in held.items() if value.strip("0")}


async def inspect(
    url: str, *, verifier: Verifier, collateral: Collateral, policy: AppraisalPolicy, now: int | None = None
) -> Machine:
    """Ask the machine at `tls://host:port` for evidence and verify all of it.

    Raises UnavailableError if it does not answer, VerificationError or EvidenceError if it is not to be believed.
    """
    nonce = os.urandom(NONCE_BYTES)
    place = _place(url)
    try:
        connection = await open_connection(place)
    except OSError as error:
        raise UnavailableError(f"cannot reach {url}: {error.strerror or error}", code="node-unavailable") from None
    try:
        answer = await connection.call("evidence", EvidenceRequest(nonces=[nonce]), ANSWER_TIMEOUT_S)
    finally:
        connection.close()
    assert isinstance(answer, Presentation)
    identity = answer.identity
    facts = (identity.purpose, identity.cluster, identity.roster_digest, identity.boot_counter)
    if facts != (PURPOSE, NOTHING, NOTHING, 0):
        raise VerificationError(
            f"{url} does not wait to be enrolled", code="verify.purpose", hint="start it with `kms-node enrol`"
        )
    if nonce not in answer.nonces or identity.tls_spki != connection.spki:
        raise VerificationError(f"{url} answers for another machine or another question", code="verify.slot")
    at = int(time.time()) if now is None else now
    claims = verifier.verify(answer.evidence, collateral=collateral, now=at)
    if claims.report_data != report_data(identity, nonce_root(answer.nonces)):
        raise EvidenceError("evidence was made for another identity or other nonces", code="presentation.report-data")
    for step in policy.appraise(claims, at):
        if step.result is Outcome.FAIL:
            raise EvidenceError(step.reason or f"appraisal step {step.step} failed", code=step.code)
    if claims.platform_id is None:
        raise EvidenceError("the evidence names no machine", code="proof-of-cloud.absent")
    return Machine(slot=identity.slot, url=url, claims=claims, platform=claims.platform_id.commitment)


def slots_of(machines: Sequence[Machine], operators: Sequence[str], domains: dict[str, dict[str, str]]) -> list[Any]:
    """The member `slots` of a roster: what evidence proved, who runs it, what proof of cloud has to confirm."""
    return [
        {
            "slot": machine.slot,
            "url": machine.url,
            "operator": operator,
            "platform": machine.platform.hex(),
            "measurements": machine.measurements,
            "failure_domain": domains.get(machine.slot, {}),
        }
        for machine, operator in zip(machines, operators, strict=True)
    ]


def _place(url: str) -> SlotEntry:
    parts = urlsplit(url)
    if parts.scheme != "tls" or not parts.hostname or not parts.port:
        raise ConfigurationError(f"expected a node URL of the form tls://host:port, found {url[:80]!r}")
    return SlotEntry(slot="", url=url, operator="", platform=b"", measurements={})
