"""A whole log in one file: a line about the log and its signed head, then one line per leaf."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from attestation.canonical import canonical_json, parse_json
from attestation.envelope import b64url
from attestation.errors import DocumentError, ReceiptError
from attestation.merkle import leaf_hash
from attestation.receipts.checkpoint import LogCheckpoint
from attestation.receipts.entry import ENTRY_BYTES_MAX, Boot, Decision, parse_entry
from attestation.receipts.frontier import Frontier
from attestation.receipts.reading import blob, hexadecimal, integer, members, words

DOCUMENT_TYPE = "holdfast/log/v1"

LINE_BYTES_MAX = 3 * ENTRY_BYTES_MAX


@dataclass(slots=True, kw_only=True)
class LogSummary:
    """What a verified log holds."""

    boot: Boot
    head: LogCheckpoint
    unsigned: int = 0
    """Leaves beyond the signed head: nobody answers for them yet."""
    pruned: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    """`allow`, `deny`, and `deny` with each code."""


def header_line(slot: str, boot_counter: int, checkpoint: bytes) -> bytes:
    """The first line."""
    value = {
        "type": DOCUMENT_TYPE,
        "slot": slot,
        "boot_counter": boot_counter,
        "checkpoint": checkpoint.decode(),
    }
    return canonical_json(value) + b"\n"


def entry_line(number: int, entry: bytes | None, digest: bytes) -> bytes:
    """The line of one leaf, by content or, where that was pruned, by hash."""
    value: dict[str, Any] = {"index": number}
    value |= {"hash": digest.hex()} if entry is None else {"entry": b64url(entry)}
    return canonical_json(value) + b"\n"


def verify_exported(data: bytes, *, identity_key: bytes | None = None) -> LogSummary:
    """Check that the leaves lead to the signed head and begin with the boot that signed it.

    Without `identity_key` the log's own first entry names it: then the file is whole, but anyone's.
    Raises ReceiptError: `receipt.malformed`, `receipt.checkpoint`, `receipt.checkpoint-signature`, `receipt.boot`,
    `receipt.root`.
    """
    lines = data.split(b"\n")
    if len(lines) < 3 or lines[-1]:
        raise ReceiptError("expected a line about the log, one per leaf, and a newline behind the last")
    header = members(_line(lines[0]), ("type", "slot", "boot_counter", "checkpoint"))
    if header["type"] != DOCUMENT_TYPE:
        raise ReceiptError(f"expected {DOCUMENT_TYPE}")
    note = words(header["checkpoint"], "checkpoint", 1024).encode()
    boot = _first(lines[1])
    head = LogCheckpoint.verified(note, identity_key or boot.identity_key)
    named = (boot.cluster, boot.slot, boot.boot_counter, boot.identity_key)
    if named != (head.cluster, head.slot, head.boot_counter, identity_key or boot.identity_key):
        raise ReceiptError("the first entry is of another boot", code="receipt.boot")
    if (header["slot"], header["boot_counter"]) != (head.slot, head.boot_counter):
        raise ReceiptError("the first line names another log than the checkpoint", code="receipt.checkpoint")
    return _walk(lines[1:-1], LogSummary(boot=boot, head=head))


def _walk(lines: list[bytes], summary: LogSummary) -> LogSummary:
    tree = Frontier()
    found_root: bytes | None = None
    for number, line in enumerate(lines):
        value = members(_line(line), ("index",), ("entry", "hash"))
        if integer(value["index"], "index") != number or ("entry" in value) == ("hash" in value):
            raise ReceiptError(f"expected leaf {number}, by entry or by hash")
        if "hash" in value:
            summary.pruned += 1
            tree.append(hexadecimal(value["hash"], "hash"))
        else:
            data = blob(value["entry"], "entry", size_max=ENTRY_BYTES_MAX)
            tree.append(leaf_hash(data))
            _count(data, summary)
        if tree.size == summary.head.size:
            found_root = tree.root()
    if found_root != summary.head.root:
        raise ReceiptError("the leaves do not lead to the signed head", code="receipt.root")
    summary.unsigned = tree.size - summary.head.size
    return summary


def _count(data: bytes, summary: LogSummary) -> None:
    entry = parse_entry(data)
    if isinstance(entry, Decision):
        summary.outcomes[entry.outcome] += 1
        if entry.code:
            summary.outcomes[f"{entry.outcome} {entry.code}"] += 1


def _first(line: bytes) -> Boot:
    value = members(_line(line), ("index",), ("entry", "hash"))
    entry = parse_entry(blob(value.get("entry"), "entry", size_max=ENTRY_BYTES_MAX))
    if not isinstance(entry, Boot):
        raise ReceiptError("expected the log to begin with its boot", code="receipt.boot")
    return entry


def _line(data: bytes) -> Any:
    try:
        return parse_json(data, bytes_max=LINE_BYTES_MAX, depth_max=2)
    except DocumentError as error:
        raise ReceiptError(error.detail) from None
