"""Signed TCB info and QE identity of the simulated machines, in Intel's JSON shapes (PCS v4).

Two levels each, a current and an older one, so that an out-of-date machine can be shown;
adversarial statuses are arguments.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from attestation.simulated import pck

LIFETIME_S = 30 * 86_400
"""Between issue and next update, as Intel's."""

TCB_EVALUATION = 20
MODULE_SVN_UP_TO_DATE = 11
MODULE_SVN_OUT_OF_DATE = 4
LATE_MICROCODE_UP_TO_DATE = 4
LATE_MICROCODE_OUT_OF_DATE = 2
QE_SVN_UP_TO_DATE = 4
QE_SVN_OUT_OF_DATE = 2

TD_QE_MRSIGNER = bytes.fromhex("dc9e2a7c6f948f17474e34a7fc43ed030f7c1563f1babddf6340c82e0e54a8c5")
QE_MRSIGNER = bytes.fromhex("8c4f5775d796503e96137f77c68a829a0056ac8ded70140b081b094490c57bff")
"""Signers of Intel's quoting enclaves: the simulated ones claim the same identities under another root."""

DATE_UP_TO_DATE = "2025-05-14T00:00:00Z"
DATE_OUT_OF_DATE = "2024-03-13T00:00:00Z"
ADVISORIES_OUT_OF_DATE = ("INTEL-SA-01192", "INTEL-SA-01245")


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedJson:
    """The exact signed text and its raw r || s signature."""

    text: bytes
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TcbClaims:
    """What the authority says about the newest level; change a field to mint an adversarial collateral."""

    status: str = "UpToDate"
    advisories: Sequence[str] = ()
    evaluation: int = TCB_EVALUATION
    module_status: str = "UpToDate"
    qe_status: str = "UpToDate"
    fmspc: bytes = pck.FMSPC
    pce_id: bytes = pck.PCE_ID


def tdx_tcb_info(key: ec.EllipticCurvePrivateKey, claims: TcbClaims, *, issued_at: int) -> SignedJson:
    """TCB info version 3 with id TDX."""
    zero_signer = {"mrsigner": bytes(48).hex().upper(), "attributes": bytes(8).hex(), "attributesMask": "FF" * 8}
    module_levels = [
        _level({"isvsvn": MODULE_SVN_UP_TO_DATE}, claims.module_status, DATE_UP_TO_DATE),
        _level({"isvsvn": MODULE_SVN_OUT_OF_DATE}, "OutOfDate", DATE_OUT_OF_DATE),
    ]
    value = {
        "id": "TDX",
        **_tcb_header(claims, issued_at),
        "tdxModule": zero_signer,
        "tdxModuleIdentities": [{"id": "TDX_01", **zero_signer, "tcbLevels": module_levels}],
        "tcbLevels": _tcb_levels(claims, with_tdx=True),
    }
    return _signed(key, value)


def sgx_tcb_info(key: ec.EllipticCurvePrivateKey, claims: TcbClaims, *, issued_at: int) -> SignedJson:
    """TCB info version 3 with id SGX."""
    value = {"id": "SGX", **_tcb_header(claims, issued_at), "tcbLevels": _tcb_levels(claims, with_tdx=False)}
    return _signed(key, value)


def qe_identity(key: ec.EllipticCurvePrivateKey, claims: TcbClaims, *, tdx: bool, issued_at: int) -> SignedJson:
    """Enclave identity version 2: `TD_QE` or `QE`."""
    value = {
        "id": "TD_QE" if tdx else "QE",
        "version": 2,
        **_dates(issued_at),
        "tcbEvaluationDataNumber": claims.evaluation,
        "miscselect": "00000000",
        "miscselectMask": "FFFFFFFF",
        "attributes": "11" + 15 * "00",
        "attributesMask": "FBFFFFFFFFFFFFFF" + 8 * "00",
        "mrsigner": (TD_QE_MRSIGNER if tdx else QE_MRSIGNER).hex().upper(),
        "isvprodid": 2 if tdx else 1,
        "tcbLevels": [
            _level({"isvsvn": QE_SVN_UP_TO_DATE}, claims.qe_status, DATE_UP_TO_DATE),
            _level({"isvsvn": QE_SVN_OUT_OF_DATE}, "OutOfDate", DATE_OUT_OF_DATE, ADVISORIES_OUT_OF_DATE),
        ],
    }
    return _signed(key, value)


def raw_signature(key: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    """ECDSA with SHA-256 as big-endian r || s, 64 bytes."""
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _tcb_header(claims: TcbClaims, issued_at: int) -> dict[str, Any]:
    return {
        "version": 3,
        **_dates(issued_at),
        "fmspc": claims.fmspc.hex().upper(),
        "pceId": claims.pce_id.hex().upper(),
        "tcbType": 0,
        "tcbEvaluationDataNumber": claims.evaluation,
    }


def _tcb_levels(claims: TcbClaims, *, with_tdx: bool) -> list[dict[str, Any]]:
    current = _tcb(pck.COMPONENTS_UP_TO_DATE, pck.PCE_SVN_UP_TO_DATE)
    older = _tcb(pck.COMPONENTS_OUT_OF_DATE, pck.PCE_SVN_OUT_OF_DATE)
    if with_tdx:
        current["tdxtcbcomponents"] = _components(tdx_svn(MODULE_SVN_UP_TO_DATE, 0, LATE_MICROCODE_UP_TO_DATE))
        older["tdxtcbcomponents"] = _components(tdx_svn(MODULE_SVN_OUT_OF_DATE, 0, LATE_MICROCODE_OUT_OF_DATE))
    return [
        _level(current, claims.status, DATE_UP_TO_DATE, claims.advisories),
        _level(older, "OutOfDate", DATE_OUT_OF_DATE, ADVISORIES_OUT_OF_DATE),
    ]


def tdx_svn(module: int, major: int, late_microcode: int) -> bytes:
    """TEE_TCB_SVN: module SVN, module major version, late microcode, 13 zero bytes."""
    return bytes([module, major, late_microcode]) + bytes(13)


def _tcb(components: bytes, pce_svn: int) -> dict[str, Any]:
    return {"sgxtcbcomponents": _components(components), "pcesvn": pce_svn}


def _components(svns: bytes) -> list[dict[str, int]]:
    return [{"svn": svn} for svn in svns]


def _level(tcb: dict[str, Any], status: str, date: str, advisories: Sequence[str] = ()) -> dict[str, Any]:
    level: dict[str, Any] = {"tcb": tcb, "tcbDate": date, "tcbStatus": status}
    if advisories:
        level["advisoryIDs"] = list(advisories)
    return level


def _dates(issued_at: int) -> dict[str, str]:
    return {"issueDate": _timestamp(issued_at), "nextUpdate": _timestamp(issued_at + LIFETIME_S)}


def _timestamp(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _signed(key: ec.EllipticCurvePrivateKey, value: dict[str, Any]) -> SignedJson:
    text = json.dumps(value, separators=(",", ":")).encode()
    return SignedJson(text=text, signature=raw_signature(key, text))
