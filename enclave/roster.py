"""The roster: the operator-signed, versioned description of a cluster (specs/roster.md).

A roster counts only under the signatures of its own administrators' quorum, and a successor also
under those of the roster it replaces.  The cluster id is the digest of version 1 and never
changes.  A production roster refuses everything that exists for development: simulated roots,
debug enclaves, loopback addresses, one-signature quorums.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from attestation.canonical import canonical_json
from attestation.envelope import Envelope, b64url, b64url_decode, key_id
from attestation.errors import CodedError, DocumentError
from attestation.policy import AppraisalPolicy
from enclave.diversity import DiversityTerms, diversity_payload, read_diversity
from enclave.fields import Fields
from enclave.roster_operators import (
    ONE_SIGNATURE,
    OPERATORS_MAX,
    OperatorEntry,
    Role,
    operator_payload,
    read_operator,
    read_quorum,
)
from enclave.roster_principals import (
    ApproverGroup,
    OidcIssuer,
    approvers_payload,
    oidc_payload,
    read_approvers,
    read_oidc,
)
from enclave.roster_rules import UPGRADE_DELAY_S_MIN, check_development, check_production, check_unique
from enclave.roster_slots import (
    SLOTS_MAX,
    ProofOfCloudTerms,
    SlotEntry,
    proof_of_cloud_payload,
    read_proof_of_cloud,
    read_slot,
    slot_payload,
)
from enclave.roster_terms import (
    BackupTerms,
    RefreshTerms,
    WitnessTerms,
    backup_payload,
    read_backup,
    read_refresh,
    read_witness,
    refresh_payload,
    witness_payload,
)
from enclave.signing_key import PublicKey, SigningKey

__all__ = ["Environment", "OperatorEntry", "ProofOfCloudTerms", "Role", "Roster", "SlotEntry"]

PAYLOAD_TYPE = "application/vnd.holdfast.roster+json"
DOCUMENT_TYPE = "holdfast/roster/v1"

CERTIFICATE_BYTES_MAX = 8192
"""Largest simulated root certificate in bytes (DER)."""

SIMULATED_ROOTS_MAX = 5
"""Most simulated roots: Intel, three AMD products, Nitro."""

UPGRADE_DELAY_S_MAX = 90 * 86400
"""Longest delay that can be stated, in seconds."""


class Environment(StrEnum):
    """Fixed for the life of a cluster."""

    DEVELOPMENT = "development"
    PRODUCTION = "production"


@dataclass(frozen=True, slots=True, kw_only=True)
class Roster:
    """One version of a cluster's roster; building one checks nothing that `parse` does not check again."""

    version: int
    environment: Environment
    created_at: int
    slots: tuple[SlotEntry, ...]
    operators: tuple[OperatorEntry, ...]
    quorum: Mapping[str, int]
    appraisal: Mapping[str, Any]
    """AppraisalPolicy in its file format."""
    proof_of_cloud: ProofOfCloudTerms
    diversity: DiversityTerms = field(default_factory=DiversityTerms)
    simulated_roots: tuple[bytes, ...] = ()
    """DER of the simulated authority's roots, one per vendor or product; development only."""
    limits: Mapping[str, int] = field(default_factory=dict)
    oidc: tuple[OidcIssuer, ...] = ()
    """Identity providers whose tokens may name principals."""
    approvers: tuple[ApproverGroup, ...] = ()
    """Groups of people that policies may ask."""
    witness: WitnessTerms | None = None
    """As stated; `witness_terms` is what counts."""
    refresh: RefreshTerms | None = None
    """Schedule by which every key's shares are renewed; None for on demand only."""
    backup: BackupTerms | None = None
    """Where sealed bundles go, and who can open them; None for no backup."""
    upgrade_delay_s: int | None = None
    """As stated; `upgrade_delay` is what counts."""
    incarnation: int = 1
    """The cluster's life between restores: rises by one with each."""
    cluster: bytes | None = None
    """Cluster id, from version 2 on."""
    previous: bytes | None = None
    """Digest of the roster this one replaces, from version 2 on."""
    digest: bytes = field(init=False, repr=False)
    """SHA-256 of the canonical payload, 32 bytes."""
    appraisal_policy: AppraisalPolicy = field(init=False, repr=False, compare=False)
    """`appraisal` as the verifier applies it; a policy that does not read raises PolicyError."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "appraisal_policy", AppraisalPolicy.from_json(self.appraisal))
        object.__setattr__(self, "digest", hashlib.sha256(canonical_json(self.payload())).digest())

    @classmethod
    def parse(cls, envelope: bytes, *, previous: Roster | None = None) -> Roster:
        """Read and verify a signed roster; `previous` is required from version 2 on.

        Raises DocumentError: `roster.malformed`, `roster.production`, `roster.signatures`,
        `roster.chain`, or a code of the envelope.
        """
        signed = Envelope.parse(envelope)
        if signed.payload_type != PAYLOAD_TYPE:
            raise DocumentError(f"expected {PAYLOAD_TYPE}", code="envelope.type")
        roster = cls.from_payload(signed.value())
        roster.require_signatures(signed)
        if previous is None:
            if roster.version != 1:
                raise DocumentError("a later roster is verified with the one before it", code="roster.chain")
            return roster
        previous.require_successor(roster)
        previous.require_signatures(signed)
        return roster

    @classmethod
    def from_payload(cls, value: Any) -> Roster:
        """Read an unsigned payload, with every rule but signatures; raises DocumentError."""
        fields = Fields(value, where="", error=_malformed)
        fields.constant("type", DOCUMENT_TYPE)
        version = fields.integer("version", 1)
        slots = tuple(read_slot(item) for item in fields.each("slots", low=1, high=SLOTS_MAX))
        roster = cls(
            version=version,
            environment=Environment(fields.choice("environment", list(Environment))),
            created_at=fields.integer("created_at"),
            slots=slots,
            operators=tuple(read_operator(item) for item in fields.each("operators", low=1, high=OPERATORS_MAX)),
            quorum=read_quorum(fields.fields("quorum")),
            appraisal=fields.mapping("appraisal", high=64),
            proof_of_cloud=read_proof_of_cloud(fields.fields("proof_of_cloud")),
            diversity=read_diversity(fields),
            simulated_roots=_read_simulated_roots(fields),
            limits=_read_limits(fields),
            oidc=read_oidc(fields),
            approvers=read_approvers(fields),
            witness=read_witness(fields, len(slots)),
            refresh=read_refresh(fields),
            backup=read_backup(fields, [entry.slot for entry in slots]),
            upgrade_delay_s=fields.integer("upgrade_delay_s", 0, UPGRADE_DELAY_S_MAX)
            if "upgrade_delay_s" in fields
            else None,
            incarnation=fields.integer("incarnation", 2, default=1),
            cluster=fields.hexadecimal("cluster", size=32) if version > 1 else None,
            previous=fields.hexadecimal("previous", size=32) if version > 1 else None,
        )
        fields.done()
        check_unique(roster)
        if roster.environment is Environment.PRODUCTION:
            check_production(roster)
        else:
            check_development(roster)
        return roster

    def payload(self) -> dict[str, Any]:
        """The JSON value that is signed."""
        value: dict[str, Any] = {
            "type": DOCUMENT_TYPE,
            "version": self.version,
            "environment": str(self.environment),
            "created_at": self.created_at,
            "slots": [slot_payload(slot) for slot in self.slots],
            "operators": [operator_payload(entry) for entry in self.operators],
            "quorum": dict(self.quorum),
            "appraisal": dict(self.appraisal),
            "proof_of_cloud": proof_of_cloud_payload(self.proof_of_cloud),
            **diversity_payload(self.diversity),
            "simulated_roots": [b64url(root) for root in self.simulated_roots],
            "limits": dict(self.limits),
        }
        # Absent where not stated: a roster's digest does not change when a later version of this program adds terms.
        if self.oidc:
            value["oidc"] = oidc_payload(self.oidc)
        if self.approvers:
            value["approvers"] = approvers_payload(self.approvers)
        if self.witness is not None:
            value["witness"] = witness_payload(self.witness)
        if self.refresh is not None:
            value["refresh"] = refresh_payload(self.refresh)
        if self.backup is not None:
            value["backup"] = backup_payload(self.backup)
        if self.upgrade_delay_s is not None:
            value["upgrade_delay_s"] = self.upgrade_delay_s
        if self.incarnation > 1:
            value["incarnation"] = self.incarnation
        if self.version > 1:
            value["cluster"] = (self.cluster or b"").hex()
            value["previous"] = (self.previous or b"").hex()
        return value

    def sign(self, *signers: SigningKey) -> bytes:
        """The signed envelope as bytes, after reading it back with every rule."""
        envelope = Envelope.of(PAYLOAD_TYPE, self.payload())
        for signer in signers:
            envelope = envelope.signed(signer.ed25519)
        self.from_payload(envelope.value()).require_signatures(envelope)
        return canonical_json(envelope.to_json())

    @property
    def cluster_id(self) -> bytes:
        """32 bytes: the digest of version 1."""
        return self.digest if self.cluster is None else self.cluster

    @property
    def configuration(self) -> bytes:
        """What each node's measured configuration (MRCONFIGID, 48 bytes) must hold: cluster id and zeros."""
        return self.cluster_id + bytes(16)

    def slot(self, name: str) -> SlotEntry:
        """The slot of that name; raises DocumentError (`roster.slot`)."""
        for entry in self.slots:
            if entry.slot == name:
                return entry
        raise DocumentError(f"the roster has no slot {name[:64]!r}", code="roster.slot")

    def operator(self, kid: str) -> OperatorEntry | None:
        """The operator whose key has this key id, or None."""
        for entry in self.operators:
            if key_id(entry.key) == kid:
                return entry
        return None

    def operator_key(self, issuer: str, kid: str) -> PublicKey | None:
        """For token verification: the key of operator `issuer` if `kid` names it."""
        entry = self.operator(kid)
        return entry.public if entry is not None and entry.operator == issuer else None

    def holders(self, *roles: Role) -> tuple[OperatorEntry, ...]:
        """The operators that have at least one of `roles`."""
        return tuple(entry for entry in self.operators if entry.roles & set(roles))

    @property
    def quorum_default(self) -> int:
        """Signatures an action without an own quorum needs."""
        return 2 if self.environment is Environment.PRODUCTION else 1

    def quorum_for(self, action: str) -> int:
        """Signatures that `action` needs."""
        return self.quorum.get(action, 1 if action in ONE_SIGNATURE else self.quorum_default)

    @property
    def witness_terms(self) -> WitnessTerms:
        """Witness numbers: as stated, else the default for this many slots."""
        return self.witness or WitnessTerms.default(len(self.slots))

    @property
    def upgrade_delay(self) -> int:
        """Seconds before newly admitted code may run: as stated, else three days in production and none elsewhere."""
        if self.upgrade_delay_s is not None:
            return self.upgrade_delay_s
        return UPGRADE_DELAY_S_MIN if self.environment is Environment.PRODUCTION else 0

    def approver_group(self, name: str) -> ApproverGroup | None:
        """The group of that name, or None."""
        return next((group for group in self.approvers if group.group == name), None)

    def oidc_issuer(self, issuer: str) -> OidcIssuer | None:
        """The provider whose tokens carry that `iss`, or None."""
        return next((entry for entry in self.oidc if entry.issuer == issuer), None)

    def require_signatures(self, envelope: Envelope) -> None:
        """Check that this roster's administrators signed `envelope` in quorum; raises `roster.signatures`."""
        found = len(envelope.signers(entry.key for entry in self.holders(Role.ADMIN)))
        if found < self.quorum_for("roster"):
            raise DocumentError(
                f"expected signatures of {self.quorum_for('roster')} administrators of version {self.version},"
                f" found {found}",
                code="roster.signatures",
            )

    def require_successor(self, later: Roster) -> None:
        """Check that `later` continues this roster; raises DocumentError (`roster.chain`)."""
        facts = (
            (later.version == self.version + 1, f"expected version {self.version + 1}, found {later.version}"),
            (later.cluster_id == self.cluster_id, "expected the same cluster id"),
            (later.previous == self.digest, "expected the digest of the roster before"),
            (later.environment is self.environment, "the environment of a cluster never changes"),
            (later.created_at >= self.created_at, "expected a later time than the roster before"),
            (later.incarnation - self.incarnation in (0, 1), "an incarnation follows the one before"),
        )
        for holds, detail in facts:
            if not holds:
                raise DocumentError(detail, code="roster.chain")


def _malformed(detail: str) -> CodedError:
    return DocumentError(detail, code="roster.malformed")


def _read_simulated_roots(fields: Fields) -> tuple[bytes, ...]:
    roots = []
    for text in fields.texts("simulated_roots", high=SIMULATED_ROOTS_MAX, characters_max=2 * CERTIFICATE_BYTES_MAX):
        try:
            roots.append(b64url_decode(text))
        except DocumentError as error:
            fields.refuse(error.detail, "simulated_roots")
        if not 0 < len(roots[-1]) <= CERTIFICATE_BYTES_MAX:
            fields.refuse(f"expected certificates of at most {CERTIFICATE_BYTES_MAX} bytes", "simulated_roots")
    return tuple(roots)


def _read_limits(fields: Fields) -> dict[str, int]:
    limits = fields.mapping("limits", high=32)
    for name, value in limits.items():
        if type(value) is not int or value < 0:
            fields.refuse("expected a natural number", f"limits.{name[:40]}")
    return limits
