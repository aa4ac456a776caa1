"""The DER reader accepts one encoding of each value and refuses every other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attestation import der
from attestation.errors import CertificateError
from attestation.simulated import der_writer


def fresh(text: str) -> der.Reader:
    """A reader over hex."""
    return der.Reader(bytes.fromhex(text))


@given(value=st.integers(min_value=0, max_value=2**2048))
def test_integers_round_trip(value: int) -> None:
    """Every non-negative integer reads back."""
    reader = der.Reader(der_writer.integer(value))
    assert reader.integer() == value
    reader.finish()


@pytest.mark.parametrize(
    "text",
    [
        "0200",
        "020200",
        "02020001",
        "0202ff80",
        "0281017f",
        "02820001ff",
        "0280",
        "0205",
        "02",
        "",
        "1f0101",
        "0285ffff",
    ],
    ids=lambda text: text or "empty",
)
def test_bad_integers_and_lengths(text: str) -> None:
    """Empty, padded, long-form, indefinite and cut values are refused."""
    with pytest.raises(CertificateError):
        fresh(text).integer()


def test_negative_integers_are_read_as_such() -> None:
    """Two's complement, so that a negative serial number is not mistaken for a large one."""
    assert fresh("0201ff").integer() == -1


@pytest.mark.parametrize(("text", "value"), [("010100", False), ("0101ff", True)])
def test_booleans(text: str, value: bool) -> None:
    """Two encodings, no more."""
    assert fresh(text).boolean() is value
    with pytest.raises(CertificateError):
        fresh("010101").boolean()


@pytest.mark.parametrize("dotted", ["1.2.840.113741.1.13.1", "2.5.29.19", "2.999.3", "0.9.2342"])
def test_oids(dotted: str) -> None:
    """Dotted form and back."""
    assert der.Reader(der_writer.oid(dotted)).oid() == dotted


@pytest.mark.parametrize("text", ["0600", "060181", "06028001", "0603558001"])
def test_bad_oids(text: str) -> None:
    """Empty, cut and padded arcs are refused."""
    with pytest.raises(CertificateError):
        fresh(text).oid()


@pytest.mark.parametrize(
    ("tag", "text", "expected"),
    [
        (der.UTC_TIME, "261115000000Z", 1_794_700_800),
        (der.UTC_TIME, "500101000000Z", -631_152_000),
        (der.GENERALIZED_TIME, "20261115000000Z", 1_794_700_800),
    ],
)
def test_times(tag: int, text: str, expected: int) -> None:
    """Both time types in their RFC 5280 form."""
    assert der.Reader(der_writer.tlv(tag, text.encode())).time() == expected


@pytest.mark.parametrize(
    "text",
    [
        "20261115000000",
        "20261315000000Z",
        "20260230000000Z",
        "2026111500000Z",
        "20261115000000+",
        "\u06622261115000000Z",
    ],
)
def test_bad_times(text: str) -> None:
    """Other forms, and days that do not exist, are refused."""
    with pytest.raises(CertificateError):
        der.Reader(der_writer.tlv(der.GENERALIZED_TIME, text.encode())).time()


def test_left_over_bytes() -> None:
    """`finish` refuses what was not read."""
    reader = fresh("0101ff00")
    reader.boolean()
    with pytest.raises(CertificateError):
        reader.finish()


def test_content_stays_inside_its_parent() -> None:
    """A member may not reach beyond the structure that holds it."""
    with pytest.raises(CertificateError):
        fresh("3003040400000000").enter(der.SEQUENCE).read(der.OCTET_STRING)
