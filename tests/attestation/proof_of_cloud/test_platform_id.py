"""Platform ids: canonical text, absence, and the published commitments."""

from __future__ import annotations

import contextlib
import hashlib
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attestation.errors import StatementError
from attestation.proof_of_cloud.platform_id import PlatformId

SPEC = Path(__file__).resolve().parents[3] / "specs" / "proof-of-cloud.md"
VECTORS = {
    "intel:ppid:" + "01" * 16: "`intel:ppid:` + 16 x `01`",
    "intel:piid:" + "01" * 16: "`intel:piid:` + 16 x `01`",
    "amd:chipid:0102030405060708": "`amd:chipid:0102030405060708`",
    "amd:chipid:" + "02" * 64: "`amd:chipid:` + 64 x `02`",
}


@pytest.mark.parametrize("text", VECTORS)
def test_published_commitments(text: str) -> None:
    """Each vector of the specification, recomputed from its definition alone."""
    row = re.search(re.escape(VECTORS[text]) + r" \| `([0-9a-f]{64})`", SPEC.read_text())
    assert row is not None
    independent = hashlib.sha256(b"holdfast/platform-id/v1\x00" + text.encode()).hexdigest()
    assert PlatformId.parse(text).commitment.hex() == row[1] == independent


@given(st.sampled_from([("intel:ppid", 16), ("intel:piid", 16), ("amd:chipid", 64), ("amd:chipid", 8)]), st.data())
def test_text_form_is_a_bijection(kind_size: tuple[str, int], data: st.DataObject) -> None:
    """Every id reads back from its own text."""
    kind, size = kind_size
    value = data.draw(st.binary(min_size=size, max_size=size).filter(lambda v: any(v[:8]) and any(b != 255 for b in v)))
    if size == 64 and not any(value[8:]):
        return
    platform_id = PlatformId(kind=kind, value=value)
    assert PlatformId.parse(str(platform_id)) == platform_id


@given(st.text(max_size=160))
def test_parsing_raises_only_our_error(text: str) -> None:
    """Any text is an id or a StatementError."""
    with contextlib.suppress(StatementError):
        assert str(PlatformId.parse(text)) == text


@pytest.mark.parametrize("value", [bytes(16), b"\xff" * 16], ids=["zero", "ones"])
def test_blank_ids_are_absent(value: bytes) -> None:
    """A masked or unprogrammed identifier is None, and cannot be constructed."""
    assert PlatformId.intel_ppid(value) is None
    assert PlatformId.intel_piid(value) is None
    with pytest.raises(StatementError):
        PlatformId(kind="intel:ppid", value=value)


def test_a_masked_chip_id_is_absent() -> None:
    """VLEK reports and masked chip keys carry 64 zero bytes: no id."""
    assert PlatformId.amd_chip_id(bytes(64)) is None


def test_an_absent_instance_id_is_absent() -> None:
    """Processor CA certificates have no platform instance id."""
    assert PlatformId.intel_piid(None) is None


def test_turin_has_one_text_form() -> None:
    """Eight significant bytes are written as eight, from either length of field, and never as 64."""
    significant = bytes(range(1, 9))
    assert str(PlatformId.amd_chip_id(significant + bytes(56))) == "amd:chipid:0102030405060708"
    assert PlatformId.amd_chip_id(significant) == PlatformId.amd_chip_id(significant + bytes(56))
    with pytest.raises(StatementError):
        PlatformId(kind="amd:chipid", value=significant + bytes(56))


def test_a_full_chip_id_keeps_all_bytes() -> None:
    """Milan and Genoa ids have 64 bytes, also when only the last is not zero."""
    field = bytes(63) + b"\x01"
    found = PlatformId.amd_chip_id(field)
    assert found is not None
    assert found.value == field


def test_wrong_lengths_are_absent_or_refused() -> None:
    """A PPID of 15 bytes names no machine."""
    assert PlatformId.intel_ppid(b"\x01" * 15) is None
    with pytest.raises(StatementError):
        PlatformId(kind="intel:ppid", value=b"\x01" * 15)


@pytest.mark.parametrize(
    "text",
    [
        "intel:ppid:" + "0A" * 16,
        "intel:ppid:" + "01" * 15,
        "INTEL:ppid:" + "01" * 16,
        "serial:" + "01" * 16,
        "01" * 16,
        "",
    ],
)
def test_other_spellings_are_refused(text: str) -> None:
    """Upper case, other lengths and unknown kinds are not ids."""
    with pytest.raises(StatementError):
        PlatformId.parse(text)


def test_the_kind_is_part_of_the_commitment() -> None:
    """Equal bytes of different kinds are different platforms."""
    assert (
        PlatformId.parse("intel:ppid:" + "01" * 16).commitment != PlatformId.parse("intel:piid:" + "01" * 16).commitment
    )
