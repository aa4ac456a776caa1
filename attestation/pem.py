"""PEM certificate text to DER: strictly canonical inside evidence, tolerant only of white space in files.

Rule: text between or after certificates is refused, because it is not signed and could be
read differently by somebody else.  RFC 7468 section 3 (strict).
"""

from __future__ import annotations

import base64
import binascii
import re

from attestation.errors import CertificateError
from attestation.limits import BLOB_BYTES_MAX, PEM_CHAIN_BYTES_MAX

_BEGIN = b"-----BEGIN CERTIFICATE-----\n"
_END = b"-----END CERTIFICATE-----\n"
_BLOCK = re.compile(rb"-----BEGIN (CERTIFICATE|X509 CRL)-----\s+([A-Za-z0-9+/=\s]+?)\s*-----END \1-----\s*")


def canonical_chain(text: bytes) -> list[bytes]:
    """DER certificates of a canonical PEM chain: LF, 64 columns, nothing else but at most one final NUL.

    Raises CertificateError (`certificate.pem`).
    """
    if len(text) > PEM_CHAIN_BYTES_MAX:
        raise _refused("chain is longer than any real one")
    if text.endswith(b"\x00"):
        text = text[:-1]
    certificates = []
    while text:
        end = text.find(_END)
        if not text.startswith(_BEGIN) or end < 0:
            raise _refused("expected nothing but PEM certificates")
        body = text[len(_BEGIN) : end]
        certificate = _decode(body.replace(b"\n", b""))
        if encode_body(certificate) != body:
            raise _refused("certificate text is not in canonical form")
        certificates.append(certificate)
        text = text[end + len(_END) :]
    return certificates


def split_blocks(text: bytes) -> list[tuple[str, bytes]]:
    """(label, DER) of every certificate or CRL block of a file; raises CertificateError on anything in between."""
    if len(text) > BLOB_BYTES_MAX:
        raise _refused("file is too large")
    blocks = []
    offset = len(text) - len(text.lstrip())
    stop = len(text.rstrip(b"\x00"))
    while offset < stop:
        match = _BLOCK.match(text, offset)
        if match is None:
            raise _refused("expected nothing but PEM certificates and CRLs")
        blocks.append((match[1].decode(), _decode(b"".join(match[2].split()))))
        offset = match.end()
    return blocks


def encode_body(certificate: bytes) -> bytes:
    """The base64 lines (64 columns, LF) of one certificate, without the dashes."""
    encoded = base64.b64encode(certificate)
    return b"".join(encoded[i : i + 64] + b"\n" for i in range(0, len(encoded), 64))


def encode_certificate(certificate: bytes) -> bytes:
    """One canonical PEM block."""
    return _BEGIN + encode_body(certificate) + _END


def encode_block(label: str, data: bytes) -> bytes:
    """One PEM block with this label, e.g. "X509 CRL"."""
    name = label.encode("ascii")
    return b"-----BEGIN %b-----\n%b-----END %b-----\n" % (name, encode_body(data), name)


def _decode(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _refused("certificate text is not base64") from None


def _refused(detail: str) -> CertificateError:
    return CertificateError(detail, code="certificate.pem")
