"""The single documents a collateral set is made of, and how each file shape splits into them.

Rules: a JSON document keeps the exact bytes its signature covers; a document that came with an
issuer chain keeps that chain and is judged with it; unknown members of a bundle are refused.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from attestation.canonical import JSON_DEPTH_MAX, check_depth, parse_json
from attestation.collateral_bundle import MEMBERS, read_bundle
from attestation.crl import RevocationList, looks_like_crl, parse_crl
from attestation.errors import CertificateError, CollateralError, DocumentError
from attestation.intel.qe_identity import QeIdentity, parse_qe_identity
from attestation.intel.tcb_info import TcbInfo, parse_tcb_info
from attestation.limits import BLOB_BYTES_MAX
from attestation.pem import encode_certificate, split_blocks
from attestation.x509 import Certificate, parse_certificate

SIGNATURE_BYTES = 64

_BUNDLE = frozenset(
    {
        "pck_crl_issuer_chain",
        "root_ca_crl",
        "pck_crl",
        "tcb_info_issuer_chain",
        "tcb_info",
        "tcb_info_signature",
        "qe_identity_issuer_chain",
        "qe_identity",
        "qe_identity_signature",
        "pck_certificate_chain",
    }
)
"""Members of a `QuoteCollateralV3` bundle; any subset that keeps each document with its signature."""


@dataclass(frozen=True, kw_only=True)
class _Document:
    """Shared by the items: an issuer chain if one came along, and a digest."""

    chain: tuple[Certificate, ...] | None = None

    def blob(self) -> bytes:
        """The item alone, in a form `read_blob` reads back."""
        raise NotImplementedError

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of `blob()`."""
        return hashlib.sha256(self.blob()).digest()


@dataclass(frozen=True, kw_only=True)
class TcbInfoItem(_Document):
    """A TCB info: signed bytes, signature (r || s) and what they say."""

    body: bytes
    signature: bytes
    info: TcbInfo

    @property
    def kind(self) -> tuple[object, ...]:
        """Items of one kind replace each other over time."""
        return ("tcb-info", self.info.tee, self.info.fmspc)

    @property
    def rank(self) -> tuple[int, int]:
        """(issue date, evaluation number): the newest document has the highest rank."""
        return self.info.issued, self.info.evaluation

    def blob(self) -> bytes:
        """The vendor's wrapping, or a partial bundle if a chain came along."""
        return _json_blob(self, "tcbInfo", "tcb_info", "tcb_info_issuer_chain")


@dataclass(frozen=True, kw_only=True)
class IdentityItem(_Document):
    """An enclave identity: signed bytes, signature (r || s) and what they say."""

    body: bytes
    signature: bytes
    identity: QeIdentity

    @property
    def kind(self) -> tuple[object, ...]:
        """Items of one kind replace each other over time."""
        return ("qe-identity", self.identity.name)

    @property
    def rank(self) -> tuple[int, int]:
        """(issue date, evaluation number): the newest document has the highest rank."""
        return self.identity.issued, self.identity.evaluation

    def blob(self) -> bytes:
        """The vendor's wrapping, or a partial bundle if a chain came along."""
        return _json_blob(self, "enclaveIdentity", "qe_identity", "qe_identity_issuer_chain")


@dataclass(frozen=True, kw_only=True)
class CrlItem(_Document):
    """A revocation list."""

    crl: RevocationList

    @property
    def kind(self) -> tuple[object, ...]:
        """Items of one kind replace each other over time."""
        return ("crl", self.crl.issuer)

    @property
    def rank(self) -> tuple[int, int]:
        """(thisUpdate, nextUpdate): the newest list has the highest rank."""
        return self.crl.this_update, self.crl.next_update

    def blob(self) -> bytes:
        """DER, or a partial bundle if a chain came along."""
        if self.chain is None:
            return self.crl.der
        members = {"pck_crl": self.crl.der.hex(), "pck_crl_issuer_chain": _pem(self.chain)}
        return json.dumps(members, separators=(",", ":")).encode()


Item = TcbInfoItem | IdentityItem | CrlItem | Certificate


def read_blob(blob: bytes) -> list[Item]:
    """Split one file into items.

    Raises CollateralError: `collateral.unknown-format` if it is no collateral at all, else `collateral.malformed`
    or `collateral.too-large`.
    """
    if len(blob) > BLOB_BYTES_MAX:
        raise CollateralError(
            f"expected at most {BLOB_BYTES_MAX} bytes in one collateral file, found {len(blob)}",
            code="collateral.too-large",
        )
    try:
        if blob[:1] == b"0" and blob[:2] != b"0x":
            return [CrlItem(crl=parse_crl(blob)) if looks_like_crl(blob) else parse_certificate(blob)]
        if blob.lstrip()[:5] == b"-----":
            return [
                CrlItem(crl=parse_crl(data)) if label == "X509 CRL" else parse_certificate(data)
                for label, data in split_blocks(blob)
            ]
    except CertificateError as error:
        raise CollateralError(error.detail, code="collateral.malformed") from None
    if blob.lstrip()[:1] == b"{":
        return _read_json(blob)
    raise _unknown()


def _read_json(blob: bytes) -> list[Item]:
    spans = _member_spans(blob)
    if set(spans) == {"tcbInfo", "signature"}:
        return [_tcb_info(spans["tcbInfo"], _string(spans["signature"]))]
    if set(spans) == {"enclaveIdentity", "signature"}:
        return [_identity(spans["enclaveIdentity"], _string(spans["signature"]))]
    if set(spans) == MEMBERS:
        return [item for part in read_bundle(blob) for item in _read_part(part)]
    if not _BUNDLE & set(spans):
        raise _unknown()
    if set(spans) - _BUNDLE:
        raise _malformed(f"unknown member {min(set(spans) - _BUNDLE)[:40]!r} in the bundle")
    return _read_bundle({name: _string(text) for name, text in spans.items()})


def _read_part(part: bytes) -> list[Item]:
    if part.lstrip()[:1] == b"{" and set(_member_spans(part)) == MEMBERS:
        raise _malformed("a bundle inside a bundle")
    return read_blob(part)


def _read_bundle(members: dict[str, str]) -> list[Item]:
    items: list[Item] = []
    if "tcb_info" in members:
        chain = _chain(members, "tcb_info_issuer_chain")
        items.append(_tcb_info(members["tcb_info"].encode(), members.get("tcb_info_signature", ""), chain))
    if "qe_identity" in members:
        chain = _chain(members, "qe_identity_issuer_chain")
        items.append(_identity(members["qe_identity"].encode(), members.get("qe_identity_signature", ""), chain))
    if "pck_crl" in members:
        items.append(CrlItem(crl=_crl(members["pck_crl"]), chain=_chain(members, "pck_crl_issuer_chain")))
    if "root_ca_crl" in members:
        items.append(CrlItem(crl=_crl(members["root_ca_crl"])))
    items.extend(_chain(members, "pck_certificate_chain") or ())
    return items


def _tcb_info(body: bytes, signature: str, chain: tuple[Certificate, ...] | None = None) -> TcbInfoItem:
    return TcbInfoItem(body=body, signature=_signature(signature), chain=chain, info=parse_tcb_info(body))


def _identity(body: bytes, signature: str, chain: tuple[Certificate, ...] | None = None) -> IdentityItem:
    return IdentityItem(body=body, signature=_signature(signature), chain=chain, identity=parse_qe_identity(body))


def _signature(text: str) -> bytes:
    data = _hex(text)
    if len(data) != SIGNATURE_BYTES:
        raise _malformed(f"expected a signature of {SIGNATURE_BYTES} bytes, found {len(data)}")
    return data


def _crl(text: str) -> RevocationList:
    try:
        return parse_crl(_hex(text))
    except CertificateError as error:
        raise _malformed(f"CRL: {error.detail}") from None


def _chain(members: dict[str, str], name: str) -> tuple[Certificate, ...] | None:
    text = members.get(name)
    if text is None:
        return None
    try:
        return tuple(parse_certificate(data) for label, data in split_blocks(text.encode()) if label == "CERTIFICATE")
    except CertificateError as error:
        raise _malformed(f"{name}: {error.detail}") from None


def _hex(text: str) -> bytes:
    try:
        data = bytes.fromhex(text)
    except ValueError:
        data = b""
    if not data or 2 * len(data) != len(text):
        raise _malformed("expected hex digits and nothing else")
    return data


def _member_spans(blob: bytes) -> dict[str, bytes]:
    """The exact text of each member of a JSON object, so that a signature over one of them can be checked."""
    try:
        check_depth(blob, JSON_DEPTH_MAX)
        text = blob.decode("utf-8", "strict")
    except DocumentError as error:
        raise _malformed(error.detail) from None
    except UnicodeDecodeError:
        raise _unknown() from None
    spans: dict[str, bytes] = {}
    offset = _white(text, text.index("{") + 1)
    try:
        while text[offset] != "}":
            name, offset = _SCANNER.raw_decode(text, offset)
            offset = _white(text, offset)
            if not isinstance(name, str) or name in spans or text[offset] != ":":
                raise _malformed("expected an object without repeated members")
            start = _white(text, offset + 1)
            _, end = _SCANNER.raw_decode(text, start)
            spans[name] = text[start:end].encode()
            offset = _white(text, end)
            if text[offset] == ",":
                offset = _white(text, offset + 1)
                if text[offset] == "}":
                    raise _malformed("comma before the end of an object")
            elif text[offset] != "}":
                raise _malformed("expected a comma or the end of an object")
    except (ValueError, IndexError, RecursionError):
        raise _malformed("expected one well-formed JSON object") from None
    if text[offset + 1 :].strip():
        raise _malformed("text follows the JSON object")
    return spans


def _white(text: str, offset: int) -> int:
    while text[offset : offset + 1] in (" ", "\t", "\r", "\n"):
        offset += 1
    return offset


def _string(text: bytes) -> str:
    try:
        value = parse_json(text, bytes_max=BLOB_BYTES_MAX)
    except DocumentError as error:
        raise _malformed(error.detail) from None
    if not isinstance(value, str):
        raise _malformed("expected a member of the bundle to be text")
    return value


def _json_blob(item: TcbInfoItem | IdentityItem, wrapped: str, bundled: str, chain_name: str) -> bytes:
    if item.chain is None:
        return b'{"%b":%b,"signature":"%b"}' % (wrapped.encode(), item.body, item.signature.hex().encode())
    members: dict[str, Any] = {
        bundled: item.body.decode(),
        f"{bundled}_signature": item.signature.hex(),
        chain_name: _pem(item.chain),
    }
    return json.dumps(members, separators=(",", ":")).encode()


def _pem(chain: tuple[Certificate, ...]) -> str:
    return b"".join(encode_certificate(certificate.der) for certificate in chain).decode()


def _malformed(detail: str) -> CollateralError:
    return CollateralError(detail, code="collateral.malformed")


def _unknown() -> CollateralError:
    return CollateralError(
        "expected TCB info, an enclave identity, a certificate, a CRL or a bundle of them",
        code="collateral.unknown-format",
    )


_SCANNER = json.JSONDecoder()
