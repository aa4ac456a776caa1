"""TCB info: Intel's signed table of platform security versions and their ratings (PCS API v4, v3 and v2 shapes).

Rules: levels are sorted here, never taken in document order; the document must belong to the
TEE, FMSPC and PCE id at hand, have TCB type 0, and be current.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from attestation.errors import CollateralError, CollateralMissingError
from attestation.evidence import Tee
from attestation.intel import signed_json
from attestation.intel.signed_json import Rating, SvnLevel
from attestation.limits import TCB_LEVELS_MAX, TDX_MODULES_MAX

COMPONENTS = 16
"""SGX components and TDX components per level."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TcbLevel:
    """One platform level: minimum SVNs and the rating of a platform that reaches them all."""

    sgx: tuple[int, ...]
    pcesvn: int
    tdx: tuple[int, ...]
    """Sixteen TDX components; empty in an SGX document."""
    rating: Rating


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleIdentity:
    """Expected identity of the TDX module, for one of its major versions."""

    name: str
    mrsigner: bytes
    attributes: bytes
    attributes_mask: bytes
    levels: tuple[SvnLevel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TcbInfo:
    """One parsed TCB info; `levels` run from the highest to the lowest."""

    tee: Tee
    version: int
    issued: int
    next_update: int
    fmspc: bytes
    pce_id: bytes
    tcb_type: int
    evaluation: int
    levels: tuple[TcbLevel, ...]
    module: ModuleIdentity | None
    """Identity for module version 0 (TDX 1.0)."""
    modules: Mapping[str, ModuleIdentity]
    """By id, e.g. "TDX_01"."""


def parse_tcb_info(body: bytes) -> TcbInfo:
    """Read the exact signed bytes of a `tcbInfo` value; raises CollateralError (`collateral.malformed`)."""
    value = signed_json.parse_document(body)
    version = signed_json.integer(value, "version", maximum=0xFFFF)
    if version == 3:
        name = signed_json.text(value, "id")
    elif version == 2 and "id" not in value:
        name = "SGX"
    else:
        raise signed_json.malformed(f"expected TCB info version 3 or 2, found {version}")
    if name not in ("SGX", "TDX"):
        raise signed_json.malformed(f"expected TCB info for SGX or TDX, found {name[:16]!r}")
    tdx = name == "TDX"
    levels = [_level(item, version, tdx) for item in signed_json.items(value, "tcbLevels", TCB_LEVELS_MAX)]
    listed = signed_json.items(value, "tdxModuleIdentities", TDX_MODULES_MAX) if "tdxModuleIdentities" in value else []
    modules = [_module(item, signed_json.text(item, "id"), signed_json.svn_levels(item)) for item in listed]
    if len({module.name for module in modules}) != len(modules):
        raise signed_json.malformed("a TDX module identity appears twice")
    return TcbInfo(
        tee=Tee.TDX if tdx else Tee.SGX,
        version=version,
        issued=signed_json.instant(value, "issueDate"),
        next_update=signed_json.instant(value, "nextUpdate"),
        fmspc=signed_json.hexadecimal(value, "fmspc", 6),
        pce_id=signed_json.hexadecimal(value, "pceId", 2),
        tcb_type=signed_json.integer(value, "tcbType", maximum=0xFFFF),
        evaluation=signed_json.integer(value, "tcbEvaluationDataNumber", maximum=0xFFFFFFFF),
        levels=tuple(sorted(levels, key=lambda level: (level.sgx, level.pcesvn, level.tdx), reverse=True)),
        module=_module(value["tdxModule"], "", ()) if "tdxModule" in value else None,
        modules={module.name: module for module in modules},
    )


def check_applies(info: TcbInfo, *, tee: Tee, fmspc: bytes, pce_id: bytes, now: int) -> None:
    """Raise unless this document rates this platform at `now`.

    CollateralError `collateral.mismatch`; CollateralMissingError `collateral.expired` or `.not-yet-valid`.
    """
    if info.tee is not tee or info.fmspc != fmspc or info.pce_id != pce_id or info.tcb_type != 0:
        raise CollateralError(
            f"expected TCB info for {tee} fmspc {fmspc.hex()} pceid {pce_id.hex()} type 0, found {info.tee} "
            f"fmspc {info.fmspc.hex()} pceid {info.pce_id.hex()} type {info.tcb_type}",
            code="collateral.mismatch",
        )
    check_dates("TCB info", info.issued, info.next_update, now)


def check_dates(what: str, issued: int, next_update: int, now: int) -> None:
    """Raise CollateralMissingError (`collateral.expired`, `collateral.not-yet-valid`) unless current at `now`."""
    if now < issued:
        raise CollateralMissingError(
            f"{what} was issued at {issued}, after {now}",
            code="collateral.not-yet-valid",
            hint="use collateral that was current at the time of verification",
        )
    if now > next_update:
        raise CollateralMissingError(
            f"{what} was to be replaced at {next_update}, before {now}",
            code="collateral.expired",
            hint="fetch current collateral, or verify as of an earlier time with --at",
        )


def _level(value: Any, version: int, tdx: bool) -> TcbLevel:
    tcb = signed_json.member(value, "tcb")
    if version == 2:
        sgx = tuple(signed_json.integer(tcb, f"sgxtcbcomp{i:02d}svn", maximum=255) for i in range(1, COMPONENTS + 1))
    else:
        sgx = _components(tcb, "sgxtcbcomponents")
    return TcbLevel(
        sgx=sgx,
        pcesvn=signed_json.integer(tcb, "pcesvn", maximum=0xFFFF),
        tdx=_components(tcb, "tdxtcbcomponents") if tdx else (),
        rating=signed_json.rating(value),
    )


def _components(tcb: Any, name: str) -> tuple[int, ...]:
    listed = signed_json.items(tcb, name, COMPONENTS)
    if len(listed) != COMPONENTS:
        raise signed_json.malformed(f"expected {COMPONENTS} {name}, found {len(listed)}")
    return tuple(signed_json.integer(item, "svn", maximum=255) for item in listed)


def _module(value: Any, name: str, levels: tuple[SvnLevel, ...]) -> ModuleIdentity:
    return ModuleIdentity(
        name=name,
        mrsigner=signed_json.hexadecimal(value, "mrsigner", 48),
        attributes=signed_json.hexadecimal(value, "attributes", 8),
        attributes_mask=signed_json.hexadecimal(value, "attributesMask", 8),
        levels=levels,
    )
