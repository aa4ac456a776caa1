"""CCEL boot logs: genuine ones replay to their quotes; cut, foreign and oversized ones are refused."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attestation.errors import AttestationError, EvidenceError
from attestation.eventlog.ccel import CcelLog
from attestation.evidence import Claims, Tee
from tests.attestation import shared_vectors as shared

HEADER = (
    bytes(4)
    + (3).to_bytes(4, "little")
    + bytes(20)
    + (33).to_bytes(4, "little")
    + b"Spec ID Event03\x00"
    + bytes(8)
    + (1).to_bytes(4, "little")
    + (0x0C).to_bytes(2, "little")
    + (48).to_bytes(2, "little")
    + b"\x00"
)


def event(index: int = 1, kind: int = 1, digest: bytes = b"\xab" * 48, data: bytes = b"", **changed: int) -> bytes:
    """One crypto-agile event; `count`, `algorithm` and `size` can be falsified."""
    head = [index, kind, changed.get("count", 1)]
    algorithm = changed.get("algorithm", 0x0C).to_bytes(2, "little")
    size = changed.get("size", len(data)).to_bytes(4, "little")
    return b"".join(number.to_bytes(4, "little") for number in head) + algorithm + digest + size + data


def code_of(data: bytes) -> str:
    """The code a log is refused with."""
    with pytest.raises(EvidenceError) as caught:
        CcelLog.parse(data)
    return caught.value.code


def claims_of(quote: bytes) -> Claims:
    """Claims holding the registers of a version 4 quote (the quote itself is verified elsewhere)."""
    registers = {f"rtmr{index}": quote[376 + 48 * index : 424 + 48 * index].hex() for index in range(4)}
    return Claims(tee=Tee.TDX, root="intel", evidence_id="", report_data=b"", measurements=registers, valid_until=0)


def test_own_log() -> None:
    """Events are read up to the padding, and no-action events are not replayed."""
    parsed = CcelLog.parse(HEADER + event(1) + event(2, kind=3) + event(4, data=b"xy") + b"\xff" * 64)
    assert [(item.register, item.data) for item in parsed.events] == [(0, b""), (3, b"xy")]
    assert CcelLog.parse(HEADER + bytes(64)).events == ()


def test_each_malformation_has_its_code() -> None:
    """Row 100 and its neighbours: sizes, registers, algorithms and headers are checked before use."""
    assert code_of(HEADER + event(size=0xFFFFFFFF)) == "ccel.truncated"
    assert code_of(HEADER + event(5)) == "ccel.register"
    assert code_of(HEADER + event(count=2)) == "ccel.digest"
    assert code_of(HEADER + event(algorithm=0x0B)) == "ccel.digest"
    assert code_of(HEADER.replace(b"\x0c\x00\x30", b"\x0b\x00\x20")) == "ccel.header"
    assert code_of(bytes(64)) == "ccel.header"
    assert code_of(HEADER[:20]) == "ccel.truncated"
    assert code_of(bytes(5 << 20)) == "ccel.too-large"


@given(st.binary(max_size=300))
def test_hostile_logs_raise_only_our_errors(data: bytes) -> None:
    """Any bytes after a good header are a log or a typed error."""
    for candidate in (data, HEADER + data):
        with contextlib.suppress(AttestationError):
            CcelLog.parse(candidate)


@shared.NEEDED
@pytest.mark.parametrize("entry", shared.entries("tcg-ccel"), ids=lambda entry: entry["id"])
def test_genuine_log(entry: dict[str, Any]) -> None:
    """A log whose quote is known replays to it; the others parse, or are refused for their digest algorithm."""
    data = shared.read(entry["file"])
    if "sm3" in entry["id"]:
        assert code_of(data) == "ccel.header"
        return
    parsed = CcelLog.parse(data)
    assert parsed.events
    quotes = {item["id"]: item for item in shared.entries("dcap-quote")}
    quote = quotes.get(entry.get("quote_id", ""))
    if quote is not None:
        parsed.check(claims_of(shared.read(quote["file"])))


@shared.NEEDED
def test_row_99_log_of_another_boot() -> None:
    """Row 99: a log that does not belong to the quote is refused by the first register that differs."""
    logs = {entry["id"]: entry for entry in shared.entries("tcg-ccel")}
    quotes = {entry["id"]: entry for entry in shared.entries("dcap-quote")}
    if "ccel-lunal-live" not in logs or "tdx4-google-00b2526a" not in quotes:
        pytest.skip("the pair is not in this folder")
    parsed = CcelLog.parse(shared.read(logs["ccel-lunal-live"]["file"]))
    with pytest.raises(EvidenceError) as caught:
        parsed.check(claims_of(shared.read(quotes["tdx4-google-00b2526a"]["file"])))
    assert caught.value.code == "eventlog.rtmr-mismatch"
