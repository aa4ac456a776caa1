"""The decision: is this machine where it must be, by whose word, as of when.

Steps as in specs/proof-of-cloud.md section 9: (1) an identifier, (2) nothing stale, frozen or revoked,
(3) enough statements, (4) the label for self-attestation, (5) no machine twice in a quorum.
Restrictions in the registry hold whatever other sources say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from attestation.errors import PolicyError, StatementError
from attestation.evidence import Claims, Tee
from attestation.proof_of_cloud.platform_id import PlatformId
from attestation.proof_of_cloud.snapshot import RegistrySnapshot, check_age
from attestation.proof_of_cloud.statement import Method, Source, Statement

MAX_AGE_S = 86_400
"""Default age of the newest registry head: a day, so a revocation stops a machine within a day even unseen."""

SELF_ATTESTED = "self-attested"
PROVIDER_OPERATED = "provider-operated"
INDEPENDENT = "independent"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofOfCloudPolicy:
    """What a relying party asks for; an empty set of methods, providers, regions or sources means any."""

    level_min: int = 1
    methods: frozenset[Method] = frozenset()
    providers: frozenset[str] = frozenset()
    regions: frozenset[str] = frozenset()
    sources: frozenset[Source] = frozenset()
    sources_needed: int = 1
    """k of the accepted sources, each (source, issuer) counted once."""
    max_age_s: int = MAX_AGE_S
    allow_self_attested: bool = True
    """Accept a registry whose members are all operators of the cluster; always labelled."""
    allow_provider_operated: bool = False
    """Accept evidence without a hardware id whose chain proves the provider runs it (Nitro)."""

    def __post_init__(self) -> None:
        if not 0 <= self.level_min <= 3 or self.sources_needed < 1 or self.max_age_s < 1:
            raise PolicyError("expected level_min 0..3, sources_needed >= 1 and max_age_s >= 1")

    @classmethod
    def production(cls) -> Self:
        """Level 1 or higher from one source, not older than a day, never without a hardware id."""
        return cls()

    @classmethod
    def independent(cls) -> Self:
        """As `production`, and a registry run by the cluster's own operators does not count."""
        return cls(allow_self_attested=False)

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Read the policy object of a roster or policy file; raises PolicyError on an unknown member or type."""
        if not isinstance(value, dict) or not set(value) <= set(_READERS):
            raise PolicyError(f"expected members among {sorted(_READERS)} in a proof-of-cloud policy")
        try:
            return cls(**{name: _READERS[name](item) for name, item in value.items()})
        except (TypeError, ValueError):
            raise PolicyError("a proof-of-cloud policy member has the wrong type or an unknown value") from None

    def accepts(self, statement: Statement) -> bool:
        """Whether method, provider, region and source are acceptable (the level is judged apart)."""
        chosen: tuple[tuple[frozenset[Any], Any], ...] = (
            (self.methods, statement.method),
            (self.providers, statement.provider),
            (self.regions, statement.region),
            (self.sources, statement.source),
        )
        return all(not allowed or value in allowed for allowed, value in chosen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The positive answer: where the platform stands, by whose word, and until when it may be relied on."""

    commitment: bytes
    """Empty for provider-operated evidence, which has no hardware id."""
    level: int
    provider: str
    region: str
    label: str
    """`independent`, `self-attested` or `provider-operated`."""
    statements: tuple[Statement, ...]
    valid_until: int
    """Unix seconds."""

    def to_json(self) -> dict[str, Any]:
        """The facts as a JSON object."""
        return {
            "commitment": self.commitment.hex(),
            "level": self.level,
            "provider": self.provider,
            "region": self.region,
            "label": self.label,
            "statements": [statement.to_json() for statement in self.statements],
            "valid_until": self.valid_until,
        }


def check_platform(
    snapshot: RegistrySnapshot,
    platform_id: PlatformId | None,
    *,
    policy: ProofOfCloudPolicy,
    now: int,
    statements: Sequence[Statement] = (),
    operators: Iterable[bytes] = (),
    members: Mapping[str, bytes] | None = None,
    provider_operated: str | None = None,
) -> Placement:
    """Decide about one platform against a verified `snapshot` and further sources' `statements`.

    `operators` are the cluster's raw Ed25519 operator keys and `members` the registry's, to tell
    self-attestation; `provider_operated` names the provider when the evidence itself proves who runs it.
    Raises StatementError: `proof-of-cloud.` `absent`, `stale`, `frozen`, `revoked`, `level`, `not-listed`.
    """
    check_age(snapshot, now, policy.max_age_s)
    if snapshot.frozen:
        raise StatementError("the registry is frozen during an incident", code="proof-of-cloud.frozen")
    fresh_until = snapshot.issued_at + policy.max_age_s
    if platform_id is None:
        return _without_id(policy, provider_operated, fresh_until)
    commitment = platform_id.commitment
    standing = snapshot.lookup(commitment, now=now)
    if standing.revoked:
        raise StatementError(f"the platform is revoked: {standing.reason}", code="proof-of-cloud.revoked")
    if standing.frozen:
        raise StatementError(f"the platform is frozen: {standing.reason}", code="proof-of-cloud.frozen")
    about = [*([standing.statement] if standing.statement else []), *statements]
    about = [item for item in about if item.commitment == commitment and item.in_force(now) and policy.accepts(item)]
    self_attested = members is not None and bool(members) and set(members.values()) <= set(operators)
    if self_attested and not policy.allow_self_attested:
        about = [item for item in about if item.source is not Source.REGISTRY]
    return _enough(about, policy, commitment, fresh_until, self_attested=self_attested)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofOfCloudCheck:
    """`check_platform` as a step of a verdict (attestation.verifier.StatementCheck)."""

    snapshot: RegistrySnapshot
    policy: ProofOfCloudPolicy
    statements: tuple[Statement, ...] = ()

    @property
    def name(self) -> str:
        """What the step is called."""
        return "proof of cloud"

    def check(self, claims: Claims, now: int) -> None:
        """Raises StatementError as `check_platform` does."""
        # A Nitro document's chain itself proves who operates the machine; nothing else does.
        provider = "aws" if claims.tee is Tee.NITRO else None
        check_platform(
            self.snapshot,
            claims.platform_id,
            policy=self.policy,
            now=now,
            statements=self.statements,
            provider_operated=provider,
        )


def check_distinct(platform_ids: Iterable[PlatformId | None]) -> None:
    """Raises StatementError if one machine appears twice (`proof-of-cloud.duplicate`) or not at all (`.absent`).

    A quorum of one machine under several names is no quorum.
    """
    seen: set[PlatformId] = set()
    for platform_id in platform_ids:
        if platform_id is None:
            raise StatementError("a member of the quorum has no platform id", code="proof-of-cloud.absent")
        if platform_id in seen:
            raise StatementError("one machine appears twice in a quorum", code="proof-of-cloud.duplicate")
        seen.add(platform_id)


def _without_id(policy: ProofOfCloudPolicy, provider: str | None, fresh_until: int) -> Placement:
    if provider is None or not policy.allow_provider_operated or policy.level_min > 1:
        raise StatementError(
            "the evidence carries no platform id",
            code="proof-of-cloud.absent",
            hint="masked chip keys, VLEK reports and Nitro documents have none",
        )
    if policy.providers and provider not in policy.providers:
        raise StatementError(f"provider {provider} is not accepted", code="proof-of-cloud.not-listed")
    return Placement(
        commitment=b"",
        level=1,
        provider=provider,
        region="",
        label=PROVIDER_OPERATED,
        statements=(),
        valid_until=fresh_until,
    )


def _enough(
    about: Sequence[Statement], policy: ProofOfCloudPolicy, commitment: bytes, fresh_until: int, *, self_attested: bool
) -> Placement:
    high = [item for item in about if item.level >= policy.level_min]
    found = len({(item.source, item.issuer) for item in high})
    if found < policy.sources_needed:
        any_level = len({(item.source, item.issuer) for item in about})
        code = "proof-of-cloud.level" if any_level >= policy.sources_needed else "proof-of-cloud.not-listed"
        raise StatementError(
            f"expected {policy.sources_needed} acceptable sources at level {policy.level_min} or more, found {found}",
            code=code,
            hint="list the platform with attest registry add, or raise its level with endorse",
        )
    best = max(high, key=lambda item: (item.level, bool(item.provider)))
    only_own = self_attested and all(item.source is Source.REGISTRY for item in high)
    return Placement(
        commitment=commitment,
        level=best.level,
        provider=best.provider,
        region=best.region,
        label=SELF_ATTESTED if only_own else INDEPENDENT,
        statements=tuple(high),
        valid_until=min(fresh_until, *(item.expires_at for item in high)),
    )


def _integer(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("not an integer")
    return value


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("not a boolean")
    return value


def _texts(value: Any) -> frozenset[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise TypeError("not a list of texts")
    return frozenset(value)


_READERS: Mapping[str, Any] = {
    "level_min": _integer,
    "methods": lambda value: frozenset(Method(item) for item in _texts(value)),
    "providers": _texts,
    "regions": _texts,
    "sources": lambda value: frozenset(Source(item) for item in _texts(value)),
    "sources_needed": _integer,
    "max_age_s": _integer,
    "allow_self_attested": _boolean,
    "allow_provider_operated": _boolean,
}
