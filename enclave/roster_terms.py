"""How a cluster lives: witnesses of sealed state, the refresh schedule, backups and their custodians.

Rules kept (specs/roster.md section 2.1): witness numbers outvote every lying peer they claim to tolerate; a backup
key belongs to one slot; custodian sets share nobody unless the roster says openly that they may.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from attestation.envelope import b64url
from enclave.fields import Fields

PEERS_MAX = 63
"""Peers of a node in the largest cluster."""

REFRESH_S_MIN, REFRESH_S_MAX = 3600, 366 * 86400
"""Bounds of the time between two refreshes of a key, in seconds: from an hour to a year."""

BACKUP_KEY_BYTES = (32, 1216)
"""Public keys that bundles are sealed to: X25519, or ML-KEM-768 followed by X25519."""

SETS_MAX = 64
"""Most custodian sets: one for each slot of the largest cluster."""

CUSTODIANS_MAX = 16
"""Most custodians of one set: SLIP-39 numbers the members of a group with four bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessTerms:
    """Numbers of the witness protocol, counted over a node's peers."""

    q: int
    """Peers that must have stored a counter before a node acts on it."""
    f: int
    """Peers that may lie or be rolled back."""
    a: int
    """Peers whose fresh heartbeats keep a node's lease."""

    @classmethod
    def default(cls, slots: int) -> WitnessTerms:
        """For a cluster of that many slots: one faulty peer from five slots on, and the smallest sound q."""
        peers = slots - 1
        faulty = 1 if peers >= 4 else 0
        q = min(peers, (peers + faulty) // 2 + 1)
        return cls(q=q, f=faulty, a=peers - q + 1 if peers else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshTerms:
    """When shares are renewed without anybody asking."""

    interval_s: int
    """Each key at least this often, in seconds."""
    spread_s: int
    """Refreshes that fall due together are spread over so many seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupSlot:
    """Where the bundles of one slot go."""

    key: bytes
    """The only public key they are sealed to."""
    custodians: str
    """Custodian set whose mnemonics restore the private key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CustodianSet:
    """People who hold mnemonics of one slot's backup key, `threshold` of whom restore it."""

    set: str
    threshold: int
    members: tuple[str, ...]
    """Their names; two sets share a person if they name it alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupTerms:
    """The member `backup`."""

    slots: Mapping[str, BackupSlot]
    custodians: tuple[CustodianSet, ...]
    accept_common: bool = False
    """Whether sets may share people, so that fewer of them can learn a key than its slots suggest."""
    by_set: Mapping[str, CustodianSet] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_set", {item.set: item for item in self.custodians})

    def set_of(self, slot: str) -> CustodianSet | None:
        """The custodian set of a slot, if it has a backup."""
        entry = self.slots.get(slot)
        return self.by_set[entry.custodians] if entry is not None else None


def read_witness(fields: Fields, slots: int) -> WitnessTerms | None:
    """The optional member `witness` of a roster of that many slots; raises the reader's error."""
    if "witness" not in fields:
        return None
    nested = fields.fields("witness")
    peers = slots - 1
    terms = WitnessTerms(
        q=nested.integer("q", 0, PEERS_MAX), f=nested.integer("f", 0, PEERS_MAX), a=nested.integer("a", 0, PEERS_MAX)
    )
    nested.done()
    if not terms.f <= terms.q <= peers or terms.a > peers:
        fields.refuse(f"expected f <= q and q, a of at most the {peers} peers of a node", "witness")
    if 2 * terms.q <= peers + terms.f and peers:
        fields.refuse("expected 2q > peers + f: two quorums must share an honest peer", "witness")
    if terms.a + terms.q <= peers and peers:
        fields.refuse("expected a + q > peers: a second copy of a node must starve", "witness")
    return terms


def witness_payload(terms: WitnessTerms) -> dict[str, int]:
    """The JSON form of `witness`."""
    return {"q": terms.q, "f": terms.f, "a": terms.a}


def read_refresh(fields: Fields) -> RefreshTerms | None:
    """The optional member `refresh`; raises the reader's error."""
    if "refresh" not in fields:
        return None
    nested = fields.fields("refresh")
    interval = nested.integer("interval_s", REFRESH_S_MIN, REFRESH_S_MAX)
    terms = RefreshTerms(interval_s=interval, spread_s=nested.integer("spread_s", 0, interval))
    nested.done()
    return terms


def refresh_payload(terms: RefreshTerms) -> dict[str, int]:
    """The JSON form of `refresh`."""
    return {"interval_s": terms.interval_s, "spread_s": terms.spread_s}


def read_backup(fields: Fields, slots: Collection[str]) -> BackupTerms | None:
    """The optional member `backup`; raises the reader's error."""
    if "backup" not in fields:
        return None
    nested = fields.fields("backup")
    sets = tuple(_read_set(item) for item in nested.each("custodians", low=1, high=SETS_MAX))
    known = {item.set for item in sets}
    if len(known) != len(sets):
        nested.refuse("expected each custodian set once", "custodians")
    entries: dict[str, BackupSlot] = {}
    for item in nested.each("slots", low=1, high=len(slots)):
        slot = item.label("slot")
        entry = BackupSlot(key=item.base64("key", size_max=max(BACKUP_KEY_BYTES)), custodians=item.label("custodians"))
        if slot in entries or slot not in slots:
            item.refuse("expected each slot of the roster at most once", "slot")
        if len(entry.key) not in BACKUP_KEY_BYTES:
            item.refuse(f"expected {' or '.join(map(str, BACKUP_KEY_BYTES))} bytes", "key")
        if entry.custodians not in known:
            item.refuse("no custodian set of that name", "custodians")
        entries[slot] = entry
    if len({entry.key for entry in entries.values()}) != len(entries):
        nested.refuse("expected a key of its own for each slot", "slots")
    accept = nested.boolean("accept_common_custodians")
    nested.done()
    if not accept and (shared := common_custodians(sets, [entry.custodians for entry in entries.values()])):
        fields.refuse(
            f"{shared} stands for more than one slot; say accept_common_custodians if that is meant", "backup"
        )
    return BackupTerms(slots=entries, custodians=sets, accept_common=accept)


def common_custodians(sets: Sequence[CustodianSet], used: Sequence[str]) -> str | None:
    """A person, or set, that stands for more than one of the `used` sets (one per slot); None if nobody does."""
    if len(set(used)) != len(used):
        return "a custodian set"
    seen: set[str] = set()
    for item in sets:
        if seen & set(item.members):
            return "a custodian"
        seen.update(item.members)
    return None


def backup_payload(terms: BackupTerms) -> dict[str, Any]:
    """The JSON form of `backup`."""
    return {
        "slots": [
            {"slot": slot, "key": b64url(entry.key), "custodians": entry.custodians}
            for slot, entry in terms.slots.items()
        ],
        "custodians": [
            {"set": item.set, "threshold": item.threshold, "members": list(item.members)} for item in terms.custodians
        ],
        "accept_common_custodians": terms.accept_common,
    }


def _read_set(fields: Fields) -> CustodianSet:
    name = fields.label("set")
    members = fields.texts("members", low=1, high=CUSTODIANS_MAX, characters_max=64)
    return CustodianSet(set=name, threshold=fields.integer("threshold", 1, len(members)), members=members)
