"""The roster as a verifier of receipts needs it: a chain of signed versions, slots, terms (specs/roster.md).

Rules: a version counts under its own administrators' quorum and that of the version before; the first one's digest is
the cluster id; members that do not concern receipts are covered by the digest and not read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attestation.canonical import canonical_json
from attestation.envelope import Envelope
from attestation.errors import CodedError, ReceiptError
from attestation.policy import AppraisalPolicy
from attestation.receipts.reading import blob, hexadecimal, integer, items, words

PAYLOAD_TYPE = "application/vnd.holdfast.roster+json"
DOCUMENT_TYPE = "holdfast/roster/v1"
VERSIONS_MAX = 1024
"""Longest chain of versions in one receipt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A place in the cluster."""

    slot: str
    platform: bytes
    measurements: Mapping[str, frozenset[str]]
    provider: str
    region: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RosterFacts:
    """One verified version."""

    version: int
    digest: bytes
    cluster: bytes
    is_production: bool
    slots: tuple[Slot, ...]
    administrators: tuple[bytes, ...]
    quorum: int
    appraisal: AppraisalPolicy
    members: Mapping[str, bytes]
    """Registry members: name to raw Ed25519 key."""
    threshold: int
    freshness_key: bytes
    level: int
    max_age_s: int
    simulated_roots: tuple[bytes, ...]
    countersigners: int
    """Peers that have to echo a log's head."""

    def slot(self, name: str) -> Slot | None:
        """The slot of that name."""
        return next((entry for entry in self.slots if entry.slot == name), None)


def read_chain(envelopes: Sequence[Any]) -> tuple[RosterFacts, ...]:
    """The versions of a cluster from the first on; raises ReceiptError (`receipt.roster`)."""
    chain: list[RosterFacts] = []
    for number, value in enumerate(items(list(envelopes), "rosters", low=1, high=VERSIONS_MAX), start=1):
        try:
            envelope = Envelope.parse(value)
            payload = envelope.value()
            if envelope.payload_type != PAYLOAD_TYPE or payload.get("type") != DOCUMENT_TYPE:
                raise ReceiptError("expected a roster")
            facts = _read(payload)
            _check_follows(facts, payload, chain[-1] if chain else None, number)
            for version in (facts, *chain[-1:]):
                found = len(envelope.signers(version.administrators))
                if found < version.quorum:
                    raise ReceiptError(
                        f"expected {version.quorum} signatures of administrators of version {version.version} on"
                        f" version {number}, found {found}"
                    )
        except CodedError as error:
            raise ReceiptError(f"version {number}: {error.detail}", code="receipt.roster") from None
        except (KeyError, TypeError, AttributeError):
            raise ReceiptError(f"version {number}: a member is absent", code="receipt.roster") from None
        chain.append(facts)
    return tuple(chain)


def _check_follows(facts: RosterFacts, payload: dict[str, Any], before: RosterFacts | None, number: int) -> None:
    if facts.version != number:
        raise ReceiptError(f"expected version {number}, found {facts.version}")
    if before is None:
        return
    if facts.cluster != before.cluster or hexadecimal(payload["previous"], "previous") != before.digest:
        raise ReceiptError("it does not continue the version before it")
    if facts.is_production != before.is_production:
        raise ReceiptError("the environment of a cluster never changes")


def _read(payload: dict[str, Any]) -> RosterFacts:
    version = integer(payload["version"], "version", 1)
    digest = hashlib.sha256(canonical_json(payload)).digest()
    slots = tuple(_slot(item) for item in items(payload["slots"], "slots", low=1, high=64))
    is_production = payload["environment"] == "production"
    if payload["environment"] not in ("production", "development"):
        raise ReceiptError("expected production or development")
    quorum = integer(payload["quorum"]["roster"], "quorum", 2 if is_production else 1)
    terms = payload["proof_of_cloud"]
    registry = terms["registry"]
    roots = tuple(blob(root, "simulated_roots") for root in items(payload["simulated_roots"], "roots", high=8))
    if roots and is_production:
        raise ReceiptError("a production roster names no simulated roots")
    return RosterFacts(
        version=version,
        digest=digest,
        cluster=digest if version == 1 else hexadecimal(payload["cluster"], "cluster"),
        is_production=is_production,
        slots=slots,
        administrators=tuple(
            blob(entry["key"], "key", size=32) for entry in payload["operators"] if "admin" in entry["roles"]
        ),
        quorum=quorum,
        appraisal=AppraisalPolicy.from_json(payload["appraisal"]),
        members={words(name, "members"): blob(key, "members", size=32) for name, key in registry["members"].items()},
        threshold=integer(registry["threshold"], "threshold", 1),
        freshness_key=blob(registry["freshness_key"], "freshness_key", size=32),
        level=integer(terms["level"], "level"),
        max_age_s=integer(terms["max_age_s"], "max_age_s", 1),
        simulated_roots=roots,
        countersigners=_countersigners(payload, len(slots) - 1),
    )


def _slot(item: Any) -> Slot:
    domain = item["failure_domain"]
    return Slot(
        slot=words(item["slot"], "slot", 63),
        platform=hexadecimal(item["platform"], "platform"),
        measurements={name: frozenset(values) for name, values in item["measurements"].items()},
        provider=words(domain.get("provider", ""), "provider"),
        region=words(domain.get("region", ""), "region"),
    )


def _countersigners(payload: dict[str, Any], peers: int) -> int:
    """The number `a` of specs/roster.md section 2.1, stated or by default."""
    stated = payload.get("witness")
    if stated is not None:
        return integer(stated["a"], "witness")
    return default_countersigners(peers)


def default_countersigners(peers: int) -> int:
    """How many of a node's `peers` countersign where the roster does not say."""
    faulty = 1 if peers >= 4 else 0
    q = min(peers, (peers + faulty) // 2 + 1)
    return peers - q + 1 if peers else 0
