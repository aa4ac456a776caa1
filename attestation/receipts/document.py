"""The receipt file: one JSON document that holds everything its verification needs (specs/receipts.md section 6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from attestation.canonical import canonical_json, parse_json
from attestation.envelope import b64url
from attestation.errors import DocumentError, ReceiptError
from attestation.receipts.certificate import CertificateFacts
from attestation.receipts.entry import ENTRY_BYTES_MAX, Decision, Entry, parse_entry
from attestation.receipts.heartbeat import HEARTBEAT_BYTES_MAX, Heartbeat
from attestation.receipts.identity import Presented
from attestation.receipts.reading import blob, hexadecimal, integer, items, members, words

RECEIPT_BYTES_MAX = 32 << 20
"""Largest receipt: a registry snapshot of 25 000 lines makes up most of it."""

DOCUMENT_TYPE = "holdfast/receipt/v1"

LOGS_MAX, LEAVES_MAX, PATH_MAX = 64, 256, 63

_MEMBERS = frozenset(
    {"type", "cluster", "request_id", "rosters", "identities", "collateral", "registries", "logs", "certificate"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """One entry and its way to the log's checkpoint."""

    index: int
    data: bytes
    entry: Entry
    proof: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Later:
    """A newer checkpoint of the same log, and the proof that it only extends the other."""

    checkpoint: bytes
    proof: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPart:
    """What a receipt shows of one log."""

    slot: str
    boot_counter: int
    checkpoint: bytes
    leaves: tuple[Leaf, ...]
    countersignatures: tuple[Heartbeat, ...]
    later: Later | None

    @property
    def decisions(self) -> list[Decision]:
        """The decisions among its leaves."""
        return [leaf.entry for leaf in self.leaves if isinstance(leaf.entry, Decision)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What a decision's output commits to, told by whoever had it."""

    slot: str
    boot_counter: int
    index: int
    scheme: str
    parts: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A receipt as read: nothing in it is verified yet."""

    cluster: bytes
    request_id: bytes
    rosters: tuple[Any, ...]
    identities: tuple[Presented, ...]
    collateral: tuple[bytes, ...]
    registries: tuple[bytes, ...]
    logs: tuple[LogPart, ...]
    certificate: CertificateFacts | None
    openings: tuple[Opening, ...]

    @classmethod
    def parse(cls, data: bytes) -> Receipt:
        """Read a file; raises ReceiptError (`receipt.malformed`, `receipt.type`, or of the part that is at fault)."""
        try:
            value = parse_json(data, bytes_max=RECEIPT_BYTES_MAX, depth_max=12)
        except DocumentError as error:
            raise ReceiptError(error.detail) from None
        if not isinstance(value, dict) or value.get("type") != DOCUMENT_TYPE:
            raise ReceiptError(f"expected {DOCUMENT_TYPE}", code="receipt.type")
        fields = members(value, _MEMBERS, ("openings",))
        certificate = fields["certificate"]
        return cls(
            cluster=hexadecimal(fields["cluster"], "cluster"),
            request_id=hexadecimal(fields["request_id"], "request_id"),
            rosters=tuple(items(fields["rosters"], "rosters", low=1, high=1024)),
            identities=tuple(
                Presented.from_json(item) for item in items(fields["identities"], "identities", low=1, high=256)
            ),
            collateral=tuple(blob(item, "collateral") for item in items(fields["collateral"], "collateral", high=2048)),
            registries=tuple(
                blob(item, "registries") for item in items(fields["registries"], "registries", low=1, high=64)
            ),
            logs=tuple(_log(item) for item in items(fields["logs"], "logs", low=1, high=LOGS_MAX)),
            certificate=CertificateFacts.from_json(certificate) if certificate is not None else None,
            openings=tuple(_opening(item) for item in items(fields.get("openings", []), "openings", high=LEAVES_MAX)),
        )

    @property
    def decided_at(self) -> int:
        """The latest time a decision in it names (Unix seconds): what everything else is judged as of."""
        return max((decision.time for log in self.logs for decision in log.decisions), default=0)


def write_receipt(value: dict[str, Any]) -> bytes:
    """The file of a value that `Receipt.parse` reads; raises ReceiptError."""
    data = canonical_json({"type": DOCUMENT_TYPE, **value}) + b"\n"
    if len(data) > RECEIPT_BYTES_MAX:
        raise ReceiptError("the receipt is larger than verifiers read", code="receipt.too-large")
    return data


def proof_to_json(path: list[bytes]) -> list[str]:
    """Hashes as they stand in a receipt."""
    return [b64url(item) for item in path]


def _log(value: Any) -> LogPart:
    fields = members(value, ("slot", "boot_counter", "checkpoint", "leaves", "countersignatures"), ("later",))
    later = fields.get("later")
    return LogPart(
        slot=words(fields["slot"], "slot", 63),
        boot_counter=integer(fields["boot_counter"], "boot_counter", 1),
        checkpoint=words(fields["checkpoint"], "checkpoint", 1024).encode(),
        leaves=tuple(_leaf(item) for item in items(fields["leaves"], "leaves", low=1, high=LEAVES_MAX)),
        countersignatures=tuple(
            _heartbeat(item) for item in items(fields["countersignatures"], "countersignatures", high=64)
        ),
        later=_later(later) if later is not None else None,
    )


def _leaf(value: Any) -> Leaf:
    fields = members(value, ("index", "entry", "proof"))
    data = blob(fields["entry"], "entry", size_max=ENTRY_BYTES_MAX)
    return Leaf(
        index=integer(fields["index"], "index"), data=data, entry=parse_entry(data), proof=_proof(fields["proof"])
    )


def _later(value: Any) -> Later:
    fields = members(value, ("checkpoint", "proof"))
    return Later(checkpoint=words(fields["checkpoint"], "checkpoint", 1024).encode(), proof=_proof(fields["proof"]))


def _heartbeat(value: Any) -> Heartbeat:
    fields = members(value, ("body", "signature"))
    return Heartbeat.parse(
        blob(fields["body"], "body", size_max=HEARTBEAT_BYTES_MAX), blob(fields["signature"], "signature", size=64)
    )


def _opening(value: Any) -> Opening:
    fields = members(value, ("slot", "boot_counter", "index", "scheme", "parts"))
    return Opening(
        slot=words(fields["slot"], "slot", 63),
        boot_counter=integer(fields["boot_counter"], "boot_counter", 1),
        index=integer(fields["index"], "index"),
        scheme=words(fields["scheme"], "scheme", 64),
        parts=tuple(blob(item, "parts", size_max=1 << 16) for item in items(fields["parts"], "parts", high=16)),
    )


def _proof(value: Any) -> tuple[bytes, ...]:
    return tuple(blob(item, "proof", size=32) for item in items(value, "proof", high=2 * PATH_MAX))
