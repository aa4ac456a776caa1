"""The parts of a roster that describe machines: slots and the proof-of-cloud terms they must meet."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from attestation.envelope import b64url, b64url_decode
from attestation.errors import DocumentError
from enclave.fields import Fields, is_hex

SLOTS_MAX = 64
"""Most slots of one cluster; threshold protocols are practical to about 10 members, larger fleets are more clusters."""

MEASUREMENTS_MAX = 16
"""Most registers named per slot, and most allowed values per register (old and new image during an upgrade)."""

MEMBERS_MAX = 32
"""Most registry members."""

MAX_AGE_S_MAX = 31 * 86400
"""Longest time a registry snapshot may stay current, in seconds: a revocation must not need a month."""

_URL = re.compile(r"tls://(\[[0-9a-f:.]+\]|[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?):([1-9][0-9]{0,4})")
_REGISTER = re.compile(r"[a-z][a-z0-9_]{1,31}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotEntry:
    """A place in the cluster, the machine that fills it and the code it may run."""

    slot: str
    url: str
    """`tls://host:port` of the node."""
    operator: str
    """Operator id of who runs the machine."""
    platform: bytes
    """Commitment to the platform id, 32 bytes."""
    measurements: Mapping[str, frozenset[str]]
    """Register name -> allowed values, lower-case hex; at least one register."""
    failure_domain: Mapping[str, str] = field(default_factory=dict)
    """`provider`, `region`: what proof of cloud has to confirm."""

    @property
    def host(self) -> str:
        """Host part of the URL."""
        return self.url.removeprefix("tls://").rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """Port of the URL."""
        return int(self.url.rpartition(":")[2])

    @property
    def is_local(self) -> bool:
        """Whether the URL can only mean this machine (or no machine)."""
        if self.host == "localhost" or self.host.endswith(".localhost"):
            return True
        try:
            address = ipaddress.ip_address(self.host)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        plain = mapped or address
        return bool(plain.is_loopback or plain.is_unspecified or plain.is_link_local or plain.is_multicast)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofOfCloudTerms:
    """Which registry counts, and what it must say of a machine."""

    members: Mapping[str, bytes]
    """Member name -> raw Ed25519 public key."""
    threshold: int
    freshness_key: bytes
    level: int
    max_age_s: int


def read_slot(fields: Fields) -> SlotEntry:
    """One entry of `slots`; raises the reader's error."""
    entry = SlotEntry(
        slot=fields.label("slot"),
        url=_read_url(fields),
        operator=fields.identifier("operator", "opr"),
        platform=fields.hexadecimal("platform", size=32),
        measurements=_read_measurements(fields),
        failure_domain=_read_failure_domain(fields),
    )
    if entry.platform == bytes(32):
        fields.refuse("an all-zero commitment names no machine", "platform")
    return entry


def slot_payload(entry: SlotEntry) -> dict[str, Any]:
    """The JSON form of a slot."""
    return {
        "slot": entry.slot,
        "url": entry.url,
        "operator": entry.operator,
        "platform": entry.platform.hex(),
        "measurements": {name: sorted(values) for name, values in entry.measurements.items()},
        "failure_domain": dict(entry.failure_domain),
    }


def read_proof_of_cloud(fields: Fields) -> ProofOfCloudTerms:
    """The `proof_of_cloud` member; raises the reader's error."""
    registry = fields.fields("registry")
    members = {}
    for name, key in registry.mapping("members", high=MEMBERS_MAX).items():
        try:
            members[name] = b64url_decode(key)
        except DocumentError as error:
            registry.refuse(error.detail, f"members.{name[:40]}")
        if len(members[name]) != 32:
            registry.refuse("expected 32 bytes", f"members.{name[:40]}")
    if not members or len(set(members.values())) != len(members):
        registry.refuse("expected at least one member, each with its own key", "members")
    terms = ProofOfCloudTerms(
        members=members,
        threshold=registry.integer("threshold", 1, len(members)),
        freshness_key=registry.base64("freshness_key", size=32),
        level=fields.integer("level", 0, 16),
        max_age_s=fields.integer("max_age_s", 1, MAX_AGE_S_MAX),
    )
    registry.done()
    fields.done()
    return terms


def proof_of_cloud_payload(terms: ProofOfCloudTerms) -> dict[str, Any]:
    """The JSON form of the proof-of-cloud terms."""
    return {
        "registry": {
            "members": {name: b64url(key) for name, key in terms.members.items()},
            "threshold": terms.threshold,
            "freshness_key": b64url(terms.freshness_key),
        },
        "level": terms.level,
        "max_age_s": terms.max_age_s,
    }


def _read_url(fields: Fields) -> str:
    url = fields.text("url", characters_max=280)
    match = _URL.fullmatch(url)
    if not match or not 0 < int(match[2]) <= 65535:
        fields.refuse("expected tls://host:port in lower case", "url")
    return url


def _read_measurements(fields: Fields) -> dict[str, frozenset[str]]:
    registers = {}
    for name, values in fields.mapping("measurements", high=MEASUREMENTS_MAX).items():
        place = f"measurements.{name[:40]}"
        if not _REGISTER.fullmatch(name) or not isinstance(values, list) or not 1 <= len(values) <= MEASUREMENTS_MAX:
            fields.refuse(f"expected a register name and 1 to {MEASUREMENTS_MAX} values", place)
        for value in values:
            if not is_hex(value) or not 32 <= len(value) <= 128:
                fields.refuse("expected 16 to 64 bytes in lower-case hex", place)
        registers[name] = frozenset(values)
        if len(registers[name]) != len(values):
            fields.refuse("expected distinct values", place)
    if not registers:
        fields.refuse("a slot without measurements would admit any code", "measurements")
    return registers


def _read_failure_domain(fields: Fields) -> dict[str, str]:
    nested = fields.fields("failure_domain")
    domain = {name: nested.text(name, characters_max=64) for name in ("provider", "region") if name in nested}
    nested.done()
    return domain
