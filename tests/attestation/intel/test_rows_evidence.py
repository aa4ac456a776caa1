"""Evidence bytes, rows 1 to 22: every change to a quote is refused for its own reason, or changes no identity."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from attestation.errors import AttestationError, EvidenceError
from attestation.evidence import TcbStatus
from attestation.intel.quote import parse_quote
from tests.attestation.intel import kit as kits
from tests.attestation.intel.kit import Kit, pem

N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Order of P-256."""

BODY_END = 48 + 584
SIGNATURE = BODY_END + 4
KEY = SIGNATURE + 64
QE_REPORT = KEY + 64 + 6
QE_SIGNATURE = QE_REPORT + 384
AUTH = QE_SIGNATURE + 64
CERTIFICATION = AUTH + 2 + 32


def code_of(kit: Kit, quote: bytes, bundle: bytes | None = None) -> str:
    """The code with which the quote is refused."""
    with pytest.raises(AttestationError) as caught:
        kit.verify(quote, bundle)
    return caught.value.code


def patched(quote: bytes, offset: int, replacement: bytes) -> bytes:
    """The quote with some bytes replaced."""
    return quote[:offset] + replacement + quote[offset + len(replacement) :]


def flipped(quote: bytes, offset: int, bit: int = 0) -> bytes:
    """The quote with one bit flipped."""
    return patched(quote, offset, bytes([quote[offset] ^ 1 << bit]))


@pytest.mark.parametrize(
    "offset",
    [8, 10, 28, 40, 48, 64, 112, 160, 168, 176, 184, 232, 280, 328, 376, 424, 472, 520, 568, 631],
)
def test_row_01_any_signed_field_changed(kit: Kit, offset: int) -> None:
    """A flipped bit anywhere in the header's free fields or the body breaks the quote's signature."""
    assert code_of(kit, flipped(kit.quote(), offset)) == "evidence.signature"


@pytest.mark.parametrize(("real", "claimed"), [(4, 5), (4, 3), (5, 4), (4, 0), (4, 6), (4, 0xFFFF), (3, 4), (3, 5)])
def test_row_02_version_changed(kit: Kit, real: int, claimed: int) -> None:
    """A version that does not fit the rest is a format error."""
    code = code_of(kit, patched(kit.quote(version=real), 0, struct.pack("<H", claimed)))
    assert code in ("evidence.unsupported", "evidence.malformed")


@pytest.mark.parametrize("tee_type", [0, 0x80, 0x82, 0x81000000])
def test_row_03_tee_type_changed(kit: Kit, tee_type: int) -> None:
    """Only TEE type 0x81 goes with version 4."""
    assert code_of(kit, kit.quote(tee_type=tee_type)) == "evidence.unsupported"


@pytest.mark.parametrize("key_type", [0, 1, 3, 0xFFFF])
def test_row_04_attestation_key_type(kit: Kit, key_type: int) -> None:
    """Only ECDSA P-256 attestation keys exist in the field."""
    assert code_of(kit, kit.quote(key_type=key_type)) == "evidence.unsupported"


def test_row_05_vendor(kit: Kit) -> None:
    """Another quoting enclave vendor is refused even when everything is signed."""
    assert code_of(kit, kit.quote(vendor=bytes(16))) == "evidence.unsupported"


def test_row_06_every_truncation(kit: Kit) -> None:
    """Each of the thousands of prefixes is refused with a typed error."""
    quote = kit.quote().rstrip(b"\x00")
    for length in range(len(quote)):
        with pytest.raises(AttestationError):
            kit.verifier.verify(quote[:length], now=kits.NOW)


@pytest.mark.parametrize("padding", [1, 4096])
def test_row_07_zero_padding_is_canonicalised(kit: Kit, padding: int) -> None:
    """Zero bytes after the quote change nothing about it."""
    quote, bundle = kit.quote(), kit.bundle()
    assert kit.verify(quote + bytes(padding), bundle) == kit.verify(quote, bundle)


@pytest.mark.parametrize("tail", [b"\x01", bytes(100) + b"\x01"])
def test_row_08_other_trailing_bytes(kit: Kit, tail: bytes) -> None:
    """Anything but zeros after the quote refuses it."""
    assert code_of(kit, kit.quote() + tail) == "evidence.trailing"


def test_row_08_second_quote(kit: Kit) -> None:
    """A second quote after the first refuses both."""
    assert code_of(kit, kit.quote() * 2) == "evidence.trailing"


@pytest.mark.parametrize("offset", [SIGNATURE, QE_SIGNATURE])
def test_row_09_signature_malleability_keeps_the_id(kit: Kit, offset: int) -> None:
    """(r, n - s) verifies as (r, s) does, and is the same evidence."""
    quote = kit.quote()
    s = int.from_bytes(quote[offset + 32 : offset + 64], "big")
    twin = patched(quote, offset + 32, (N - s).to_bytes(32, "big"))
    assert twin != quote
    assert kit.verify(twin).evidence_id == kit.verify(quote).evidence_id


@pytest.mark.parametrize(("r", "s"), [(0, None), (None, 0), (N, None), (None, N), (2**256 - 1, None), (0, 0)])
@pytest.mark.parametrize(
    ("offset", "code"), [(SIGNATURE, "evidence.signature"), (QE_SIGNATURE, "evidence.qe-signature")]
)
def test_row_10_impossible_signatures(kit: Kit, offset: int, code: str, r: int | None, s: int | None) -> None:
    """Zero, the group order and larger numbers are no signatures."""
    quote = kit.quote()
    if r is not None:
        quote = patched(quote, offset, r.to_bytes(32, "big"))
    if s is not None:
        quote = patched(quote, offset + 32, s.to_bytes(32, "big"))
    assert code_of(kit, quote) == code


@pytest.mark.parametrize("key", [bytes(64), bytes(63) + b"\x01", b"\xff" * 64])
def test_row_11_attestation_key_off_the_curve(kit: Kit, key: bytes) -> None:
    """A bound attestation key that is no point is refused without any other exception."""
    assert code_of(kit, kit.quote(attestation_key=key)) == "evidence.key-binding"


def test_row_11_attestation_key_flipped(kit: Kit) -> None:
    """A changed key is not the one the QE report commits to."""
    assert code_of(kit, flipped(kit.quote(), KEY)) == "evidence.key-binding"


def test_row_11_rest_of_the_commitment_must_be_zero(kit: Kit) -> None:
    """The second half of the QE report's report data is checked too."""
    key = kits.tdx.raw_public_key(kit.attestation_key)
    commitment = hashlib.sha256(key + bytes(range(32))).digest()
    enclave = {"report_data": commitment + bytes(31) + b"\x01"}
    assert code_of(kit, kit.quote(enclave=enclave)) == "evidence.key-binding"
    assert kit.verify(kit.quote(enclave={"report_data": commitment + bytes(32)})).tcb_status is TcbStatus.UP_TO_DATE


def test_row_12_qe_report_of_another_machine(kit: Kit) -> None:
    """QE report and signature of another machine do not verify under this PCK key."""
    other = Kit.create().quote()
    quote = patched(kit.quote(), QE_REPORT, other[QE_REPORT:AUTH])
    assert code_of(kit, quote) == "evidence.qe-signature"


def test_row_13_chain_of_another_machine(kit: Kit) -> None:
    """Another machine's PCK chain under the same root does not fit the QE report."""
    key = ec.generate_private_key(ec.SECP256R1())
    other = replace(kit, pck_key=key, leaf=kits.pck.pck_certificate(kit.platform_ca, key.public_key(), kit.facts))
    assert code_of(kit, kit.quote(chain=other.chain())) == "evidence.qe-signature"


def test_row_13_processor_chain_needs_its_own_list(kit: Kit) -> None:
    """A chain under the Processor CA is not judged with the Platform CA's revocation list."""
    leaf = kits.pck.pck_certificate(kit.processor_ca, kit.pck_key.public_key(), kit.facts)
    chain = pem(leaf) + kit.processor_ca.pem + kit.root.pem
    assert code_of(kit, kit.quote(chain=chain)) == "collateral.missing"


def chains(kit: Kit) -> dict[str, bytes]:
    """Chains of a wrong shape."""
    leaf, middle, root = pem(kit.leaf), kit.platform_ca.pem, kit.root.pem
    return {
        "leaf-only": leaf,
        "leaf-root": leaf + root,
        "reversed": root + middle + leaf,
        "no-root": leaf + middle,
        "fourth": leaf + middle + root + kit.tcb_signer.pem,
        "twice-intermediate": leaf + middle + middle + root,
        "empty": b"",
    }


@pytest.mark.parametrize(
    "shape", ["leaf-only", "leaf-root", "reversed", "no-root", "fourth", "twice-intermediate", "empty"]
)
def test_row_14_chain_shape(kit: Kit, shape: str) -> None:
    """Exactly leaf, intermediate and root, in this order."""
    assert code_of(kit, kit.quote(chain=chains(kit)[shape])).startswith("certificate.")


def test_row_14_twenty_intermediates(kit: Kit) -> None:
    """A chain longer than any real one is refused before it is parsed."""
    chain = pem(kit.leaf) + kit.platform_ca.pem * 20 + kit.root.pem
    assert code_of(kit, kit.quote(chain=chain)) in ("evidence.malformed", "certificate.pem")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text + b"hello",
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: text + b"\x00\x00",
        lambda text: b"\n" + text,
        lambda text: text.replace(b"-----\n-----", b"-----\n\n-----"),
        lambda text: text[:40] + b"\n" + text[40:],
        lambda text: text.removesuffix(b"\n"),
    ],
    ids=["text", "crlf", "second-nul", "leading", "between", "line-length", "no-newline"],
)
def test_row_15_pem_is_canonical(kit: Kit, spoil: object) -> None:
    """Unsigned text around the certificates is not tolerated."""
    assert callable(spoil)
    assert code_of(kit, kit.quote(chain=spoil(kit.chain(nul=False)))) == "certificate.pem"


def test_row_15_one_final_nul_is_usual(kit: Kit) -> None:
    """The single closing NUL of real quotes, and its absence, are both accepted."""
    for nul in (True, False):
        assert kit.verify(kit.quote(chain=kit.chain(nul=nul))).tcb_status is TcbStatus.UP_TO_DATE


@pytest.mark.parametrize(("outer", "inner"), [(6, 1), (6, 3), (6, 4), (6, 6), (6, 7), (5, 5), (0, 5)])
def test_row_16_certification_data_types(kit: Kit, outer: int, inner: int) -> None:
    """Type 5 inside type 6, nothing else."""
    assert code_of(kit, kit.quote(outer_type=outer, inner_type=inner)) == "evidence.unsupported"


@pytest.mark.parametrize(
    ("offset", "length"),
    [
        (CERTIFICATION + 2, 1),
        (CERTIFICATION + 2, -1),
        (CERTIFICATION + 2, 0xFFFFFFFF),
        (KEY + 64 + 2, 10),
        (BODY_END, 200),
        (BODY_END, 99999),
        (BODY_END, 0xFFFFFFFF),
    ],
)
def test_row_17_lengths(kit: Kit, offset: int, length: int) -> None:
    """Every length must be consumed exactly; +1 and -1 mean relative to the right one."""
    quote = kit.quote()
    (right,) = struct.unpack_from("<I", quote, offset)
    value = right + length if length in (1, -1) else length
    code = code_of(kit, patched(quote, offset, struct.pack("<I", value)))
    assert code in ("evidence.malformed", "evidence.trailing")


def test_row_17_bytes_after_the_certification_data(kit: Kit) -> None:
    """Signature data longer than what is in it is refused, zeros or not."""
    quote = kit.quote()
    (right,) = struct.unpack_from("<I", quote, BODY_END)
    for extra in (b"\x00", b"\x01"):
        assert code_of(kit, patched(quote, BODY_END, struct.pack("<I", right + 1)) + extra) == "evidence.malformed"


def test_row_17_largest_quote(kit: Kit) -> None:
    """Padding counts towards the size limit."""
    quote = kit.quote()
    assert kit.verify(quote.ljust(16_384, b"\x00")).tcb_status is TcbStatus.UP_TO_DATE
    assert code_of(kit, quote.ljust(16_385, b"\x00")) == "evidence.malformed"


@pytest.mark.parametrize("length", [0, 1, 47, 48, 51, 52])
def test_row_06_parser_alone(kit: Kit, length: int) -> None:
    """The parser needs nobody to check sizes for it."""
    with pytest.raises(EvidenceError):
        parse_quote(kit.quote()[:length])


def test_row_18_authentication_data_length(kit: Kit) -> None:
    """A length beyond the data is refused by the cap before anything is read."""
    assert code_of(kit, patched(kit.quote(), AUTH, b"\xff\xff")) == "evidence.malformed"


@pytest.mark.parametrize(
    ("body_type", "size"), [(2, None), (1, None), (4, None), (0, None), (3, 647), (3, 649), (3, 0xFFFFFFFF)]
)
def test_row_19_version_5_body(kit: Kit, body_type: int, size: int | None) -> None:
    """Body type and size must fit the body."""
    code = code_of(kit, kit.quote(version=5, body_type=body_type, body_size=size))
    assert code in ("evidence.unsupported", "evidence.malformed", "evidence.trailing")


def test_row_20_sgx_body_in_version_5(kit: Kit) -> None:
    """SGX quotes of version 5 are not deployed and not supported."""
    quote = kit.quote(version=5, tee_type=0, body=kits.enclave_report(), body_type=1)
    assert code_of(kit, quote, kit.bundle(sgx=True)) == "evidence.unsupported"


def test_row_21_authentication_data_sizes(kit: Kit) -> None:
    """Empty authentication data is allowed if bound; more than the cap is not."""
    assert kit.verify(kit.quote(auth=b"")).tcb_status is TcbStatus.UP_TO_DATE
    assert kit.verify(kit.quote(auth=bytes(1024))).tcb_status is TcbStatus.UP_TO_DATE
    assert code_of(kit, kit.quote(auth=bytes(1025))) == "evidence.malformed"


def test_row_22_key_not_bound(kit: Kit) -> None:
    """A QE report that commits to another key does not vouch for this one."""
    assert code_of(kit, kit.quote(bound_key=bytes(64))) == "evidence.key-binding"


def test_row_22_quote_signed_by_another_key(kit: Kit) -> None:
    """The quote must be signed by its attestation key."""
    assert code_of(kit, kit.quote(quote_signer=kit.pck_key)) == "evidence.signature"


def test_row_22_qe_report_signed_by_another_key(kit: Kit) -> None:
    """The QE report must be signed by the PCK key."""
    assert code_of(kit, kit.quote(report_signer=kit.attestation_key)) == "evidence.qe-signature"
