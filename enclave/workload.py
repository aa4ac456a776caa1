"""Is this workload what a policy releases a secret to?  From evidence to claims; the policy judges the measurements.

In this order (specs/opaque-secrets.md section 5): the evidence verifies under the roster's roots; its report data is
the hash of secret, recipient key and all nodes' nonces; the roster's appraisal accepts the platform; the machine is in
the registry, unrevoked.  Slots, node measurements and the cluster's configuration are not asked for: it is no node.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

from attestation.canonical import parse_json
from attestation.collateral import Collateral
from attestation.envelope import b64url_decode
from attestation.errors import CodedError, DocumentError, EvidenceError, StatementError
from attestation.evidence import Claims
from attestation.proof_of_cloud.policy import ProofOfCloudPolicy, check_platform
from attestation.proof_of_cloud.snapshot import RegistrySnapshot
from attestation.verdict import Outcome
from attestation.verifier import Verifier
from enclave.errors import CallerError
from enclave.evidence_binding import nonce_root
from enclave.fields import Fields
from enclave.key_specs import NODES_MAX
from enclave.payload.decrypt import is_usable_x25519
from enclave.roster import Roster
from enclave.wire.message import tagged

EVIDENCE_BYTES_MAX = 64 << 10
"""Largest evidence in bytes: a TDX quote with its chain has 5 KiB."""

COLLATERAL_BYTES_MAX = 256 << 10
COLLATERAL_MAX = 16
"""What a workload may bring of its own platform's certificates: some vendors' leaf is per machine."""

BODY_BYTES_MAX = 1 << 20
NONCE_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class NonceOf:
    """One node's nonce, as the workload got it."""

    slot: str
    nonce: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseBody:
    """What a workload sends to have a secret released."""

    evidence: bytes
    recipient: bytes
    """X25519 public key that exists in the workload only; the evidence binds it."""
    nonces: tuple[NonceOf, ...]
    collateral: tuple[bytes, ...]

    @classmethod
    def parse(cls, body: bytes) -> ReleaseBody:
        """Read the body of `POST /v1/secrets/{secret}/release`; raises CallerError (`release.malformed`)."""
        try:
            value = parse_json(body, bytes_max=BODY_BYTES_MAX, depth_max=4)
        except DocumentError as error:
            raise CallerError(error.detail, code=error.code, hint=error.hint) from None
        fields = Fields(value, where="", error=_malformed)
        parsed = cls(
            evidence=fields.base64("evidence", size_max=EVIDENCE_BYTES_MAX),
            recipient=fields.base64("recipient", size=32),
            nonces=tuple(_read_nonce(item) for item in fields.each("nonces", low=1, high=NODES_MAX)),
            collateral=_read_collateral(fields),
        )
        fields.done()
        if not is_usable_x25519(parsed.recipient):
            raise CallerError("expected an X25519 public key", code="payload.recipient")
        if len({item.slot for item in parsed.nonces}) != len(parsed.nonces):
            fields.refuse("expected one nonce of each node", "nonces")
        return parsed


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadFacts:
    """What policy sees of a workload."""

    claims: Claims

    kind = "release"


def release_report_data(*, cluster: bytes, secret: str, version: int, recipient: bytes, nonces: list[bytes]) -> bytes:
    """The 64 bytes a workload has signed: SHA-512 over secret, recipient key and the Merkle root of the nonces."""
    return hashlib.sha512(
        tagged("release-evidence", cluster, secret.encode(), version.to_bytes(4, "big"), recipient, nonce_root(nonces))
    ).digest()


def release_nonce_bytes(
    *, cluster: bytes, secret: str, version: int, slot: str, boot_counter: int, nonce: bytes, expires_at: int
) -> bytes:
    """What a node signs over a nonce it gave for one secret."""
    return tagged(
        "release-nonce",
        cluster,
        secret.encode(),
        version.to_bytes(4, "big"),
        slot.encode(),
        boot_counter.to_bytes(8, "big"),
        nonce,
        expires_at.to_bytes(8, "big"),
    )


def released_share_info(request_id: bytes, secret: str, version: int, slot: str) -> bytes:
    """HPKE info of a share that leaves for a workload."""
    return tagged("released-share", request_id, secret.encode(), version.to_bytes(4, "big"), slot.encode())


def check_workload(
    body: ReleaseBody,
    *,
    secret: str,
    version: int,
    roster: Roster,
    verifier: Verifier,
    collateral: Collateral | None,
    snapshot: RegistrySnapshot | None,
    now: int,
) -> WorkloadFacts:
    """The facts of a genuine workload at `now` (Unix seconds).

    Raises EvidenceError (`release.report-data`), any error of the verifier, StatementError, CallerError.
    """
    brought = Collateral.of(*body.collateral)
    known = brought if collateral is None else collateral.merged(brought)
    claims = verifier.verify(body.evidence, collateral=known, now=now)
    expected = release_report_data(
        cluster=roster.cluster_id,
        secret=secret,
        version=version,
        recipient=body.recipient,
        nonces=[item.nonce for item in body.nonces],
    )
    if claims.report_data != expected:
        raise EvidenceError(
            "evidence was made for another secret, another key or other nonces", code="release.report-data"
        )
    policy = replace(roster.appraisal_policy, measurements={})
    for step in policy.appraise(claims, now):
        if step.result is Outcome.FAIL:
            raise EvidenceError(step.reason or f"appraisal step {step.step} failed", code=step.code)
    if claims.platform_id is None:
        raise StatementError("evidence names no machine", code="proof-of-cloud.absent")
    if snapshot is None:
        raise StatementError("this node has no registry snapshot", code="proof-of-cloud.stale")
    terms = roster.proof_of_cloud
    check_platform(
        snapshot,
        claims.platform_id,
        policy=ProofOfCloudPolicy(level_min=terms.level, max_age_s=terms.max_age_s),
        now=now,
    )
    return WorkloadFacts(claims=claims)


def _read_nonce(fields: Fields) -> NonceOf:
    return NonceOf(slot=fields.label("slot"), nonce=fields.base64("nonce", size=NONCE_BYTES))


def _read_collateral(fields: Fields) -> tuple[bytes, ...]:
    if "collateral" not in fields:
        return ()
    blobs = tuple(_decoded(item, fields) for item in fields.items("collateral", high=COLLATERAL_MAX))
    if sum(map(len, blobs)) > COLLATERAL_BYTES_MAX:
        fields.refuse(f"expected at most {COLLATERAL_BYTES_MAX} bytes in all", "collateral")
    return blobs


def _decoded(value: Any, fields: Fields) -> bytes:
    try:
        return b64url_decode(value)
    except DocumentError as error:
        fields.refuse(error.detail, "collateral")


def _malformed(detail: str) -> CodedError:
    return CallerError(detail, code="release.malformed")
