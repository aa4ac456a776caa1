"""How much one failure may take: limits on a key's nodes that share a machine, operator, provider, region or vendor.

Rules kept (specs/roster.md section 5): facts are the roster's and those of verified evidence and statements; what no
statement names counts as one and the same; no machine twice; fewer nodes of one operator or provider than the shares
that reveal a key, unless the roster says openly that it accepts a common one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from attestation.evidence import Tee
from enclave.errors import RefusedError
from enclave.fields import Fields

SHARED_MAX = 64
"""Largest limit that can be stated: the slots of a cluster."""


class Dimension(StrEnum):
    """What nodes can have in common that fails as one."""

    PLATFORM = "platform"
    OPERATOR = "operator"
    PROVIDER = "provider"
    REGION = "region"
    VENDOR = "vendor"


BELOW_THRESHOLD = (Dimension.OPERATOR, Dimension.PROVIDER)
"""Of these, one value holds fewer nodes than shares needed unless the roster accepts a common one."""

VENDORS: Mapping[Tee, str] = {Tee.TDX: "intel", Tee.SGX: "intel", Tee.SEV_SNP: "amd", Tee.NITRO: "aws"}
"""Who makes the processors and signs the evidence of each kind of environment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """What is established of one node; empty where no verified statement says anything."""

    slot: str
    platform: str
    operator: str
    provider: str
    region: str
    vendor: str

    def value(self, dimension: Dimension) -> str:
        """The node's value in one dimension."""
        return str(getattr(self, dimension.value))


@dataclass(frozen=True, slots=True, kw_only=True)
class DiversityTerms:
    """The roster's `diversity` and `accept_common`."""

    limits: Mapping[Dimension, int] = field(default_factory=dict)
    """Dimension -> most nodes of one key that may share one value."""
    accept_common: frozenset[Dimension] = frozenset()
    """Of operator and provider: those that may hold as many nodes as `limits` says, or all."""

    def most(self, dimension: Dimension, shares_needed: int) -> int | None:
        """Most nodes of a key of that threshold that may share one value; None for any number."""
        if dimension is Dimension.PLATFORM:
            return 1
        stated = self.limits.get(dimension)
        if dimension not in BELOW_THRESHOLD or dimension in self.accept_common:
            return stated
        return shares_needed - 1 if stated is None else min(stated, shares_needed - 1)


def check_diversity(nodes: Iterable[NodeFacts], terms: DiversityTerms, shares_needed: int) -> None:
    """Return only if a key with that threshold may live on `nodes`.

    Raises RefusedError: `diversity.` and the first dimension that fails.
    """
    nodes = tuple(nodes)
    for dimension in Dimension:
        most = terms.most(dimension, shares_needed)
        value, found = largest(nodes, dimension)
        if most is not None and found > most:
            raise RefusedError(
                f"{found} of the key's nodes share the {dimension} {value or 'that no statement names'},"
                f" the roster allows {most}",
                code=f"diversity.{dimension}",
                hint="name other nodes, or need more shares",
            )


def largest(nodes: Iterable[NodeFacts], dimension: Dimension) -> tuple[str, int]:
    """The value that most nodes share, and how many do; the first by name where several do."""
    counts = Counter(node.value(dimension) for node in nodes)
    return min(counts.items(), key=lambda item: (-item[1], item[0]), default=("", 0))


def read_diversity(fields: Fields) -> DiversityTerms:
    """The members `diversity` and `accept_common` of a roster; raises the reader's error."""
    limits: dict[Dimension, int] = {}
    for item in fields.each("diversity", high=len(Dimension)):
        dimension = Dimension(item.choice("dimension", list(Dimension)))
        if dimension in limits:
            item.refuse("expected each dimension once", "dimension")
        limits[dimension] = item.integer("max", 1, 1 if dimension is Dimension.PLATFORM else SHARED_MAX)
    common = fields.texts("accept_common", high=len(BELOW_THRESHOLD))
    if not set(common) <= set(BELOW_THRESHOLD):
        fields.refuse("expected operator or provider", "accept_common")
    return DiversityTerms(limits=limits, accept_common=frozenset(Dimension(name) for name in common))


def diversity_payload(terms: DiversityTerms) -> dict[str, Any]:
    """The JSON form of both members."""
    return {
        "diversity": [{"dimension": str(name), "max": most} for name, most in terms.limits.items()],
        "accept_common": sorted(terms.accept_common),
    }
