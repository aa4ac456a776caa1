"""How current a platform is: Intel's TCB level walk, TDX module rating, convergence and the relaunch rule.

Rules: SVNs of the platform are the PCK certificate's, never the quoting enclave's; every
component must reach a level, not their sum; the two first TDX components are the module's and
are skipped when its identity rates it (module version above 0); a bad part can only worsen
the whole.  Follows sections 4.1.2.4.16 and .17 of Intel's quote verification library.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import ge

from attestation.errors import EvidenceError
from attestation.evidence import TcbStatus
from attestation.intel.body import TdReport
from attestation.intel.pck import PckFacts
from attestation.intel.signed_json import Rating, SvnLevel, first_reached
from attestation.intel.tcb_info import ModuleIdentity, TcbInfo, TcbLevel

_OUT_OF_DATE, _CONFIGURATION, _HARDENING = 1, 2, 4

_PARTS = {
    TcbStatus.UP_TO_DATE: 0,
    TcbStatus.SW_HARDENING_NEEDED: _HARDENING,
    TcbStatus.CONFIGURATION_NEEDED: _CONFIGURATION,
    TcbStatus.CONFIGURATION_AND_SW_HARDENING_NEEDED: _CONFIGURATION | _HARDENING,
    TcbStatus.OUT_OF_DATE: _OUT_OF_DATE,
    TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED: _OUT_OF_DATE | _CONFIGURATION,
}
_WHOLE = {parts: status for status, parts in _PARTS.items()}

_LEVELS_ALLOWING_RELAUNCH = frozenset(
    {
        TcbStatus.UP_TO_DATE,
        TcbStatus.SW_HARDENING_NEEDED,
        TcbStatus.CONFIGURATION_NEEDED,
        TcbStatus.CONFIGURATION_AND_SW_HARDENING_NEEDED,
    }
)
_STALE = frozenset({TcbStatus.OUT_OF_DATE, TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED})


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformLevel:
    """Where the platform stands in the TCB info."""

    sgx: TcbLevel | None
    """First level the PCK SVNs reach."""
    selected: TcbLevel | None
    """The level that counts: for TDX also the TDX components reach it; None if there is none."""
    better: tuple[TcbLevel, ...] = ()
    """The levels above the selected one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusion:
    """The converged rating."""

    status: TcbStatus
    advisories: tuple[str, ...]
    superseded: int | None = None
    """Date (Unix seconds) since which a part has been out of date: that of the next better level of that part."""


def find_level(info: TcbInfo, facts: PckFacts, body: TdReport | None) -> PlatformLevel:
    """Walk the levels from the highest; `body` is None for SGX."""
    svn = body.tee_tcb_svn if body is not None else b""
    first = 2 if body is not None and svn[1] > 0 else 0
    sgx: TcbLevel | None = None
    for index, level in enumerate(info.levels):
        if facts.pcesvn < level.pcesvn or not all(map(ge, facts.cpusvn, level.sgx)):
            continue
        sgx = sgx or level
        if body is None or all(map(ge, svn[first:], level.tdx[first:])):
            return PlatformLevel(sgx=sgx, selected=level, better=info.levels[:index])
    return PlatformLevel(sgx=sgx, selected=None)


def match_module(info: TcbInfo, body: TdReport) -> tuple[ModuleIdentity, SvnLevel | None]:
    """The TDX module's identity and the level its ISVSVN reaches (None if below all or not rated).

    Raises EvidenceError (`evidence.tdx-module`) if signer or attributes are not the identity's, or if
    its version has no identity.
    """
    version = body.tee_tcb_svn[1]
    module = info.modules.get(module_name(version)) if version else info.module
    if module is None:
        raise EvidenceError(f"no identity for TDX module version {version}", code="evidence.tdx-module")
    if body.mrsignerseam != module.mrsigner:
        raise EvidenceError("TDX module signer is not its identity's", code="evidence.tdx-module")
    masked = bytes(a & m for a, m in zip(body.seam_attributes, module.attributes_mask, strict=True))
    if any(body.seam_attributes) or masked != module.attributes:
        raise EvidenceError("TDX module attributes are not its identity's", code="evidence.tdx-module")
    return module, first_reached(module.levels, body.tee_tcb_svn[0])


def module_name(version: int) -> str:
    """Identity name of a module major version, e.g. 1 -> "TDX_01"."""
    return f"TDX_{version:02X}"


def conclude(
    *,
    info: TcbInfo,
    body: TdReport | None,
    level: PlatformLevel,
    module: SvnLevel | None,
    module_levels: tuple[SvnLevel, ...] = (),
    quoting_enclave: SvnLevel | None,
    enclave_levels: tuple[SvnLevel, ...] = (),
) -> Conclusion:
    """Converge platform, module and quoting enclave into one status and one list of advisories.

    `module` is None for SGX and for module version 0; the caller has already turned an unreached
    module level into "not supported".
    """
    if level.selected is None or level.sgx is None or quoting_enclave is None:
        return not_supported()
    ratings = [level.selected.rating]
    status = level.selected.rating.known_status()
    module_status = TcbStatus.UP_TO_DATE
    if module is not None:
        module_status = module.rating.known_status()
        status = converge(status, module_status)
        ratings.append(module.rating)
    enclave_status = quoting_enclave.rating.known_status()
    if body is not None and body.tee_tcb_svn_2 is not None:
        status = _relaunch(info, body.tee_tcb_svn_2, level.sgx, status, module_status, enclave_status)
    ratings.append(quoting_enclave.rating)
    since = [
        _superseded([better.rating for better in level.better], level.selected.rating),
        _superseded(_better(module_levels, module), module.rating) if module is not None else None,
        _superseded(_better(enclave_levels, quoting_enclave), quoting_enclave.rating),
    ]
    return Conclusion(
        status=converge(status, enclave_status),
        advisories=_union(ratings),
        superseded=min((date for date in since if date is not None), default=None),
    )


def not_supported() -> Conclusion:
    """The conclusion for a platform below every level."""
    return Conclusion(status=TcbStatus.NOT_SUPPORTED, advisories=())


def converge(whole: TcbStatus, part: TcbStatus) -> TcbStatus:
    """The status of a whole with one more part: revoked spreads, out-of-date and configuration needs add up."""
    if TcbStatus.REVOKED in (whole, part):
        return TcbStatus.REVOKED
    if whole not in _PARTS:  # a relaunch advice already says "out of date until relaunched"
        return whole
    parts = _PARTS[whole] | _PARTS[part]
    if parts & _OUT_OF_DATE:
        parts &= ~_HARDENING
    return _WHOLE[parts]


def _relaunch(
    info: TcbInfo,
    current: bytes,
    sgx: TcbLevel,
    status: TcbStatus,
    module_status: TcbStatus,
    enclave_status: TcbStatus,
) -> TcbStatus:
    """Out of date only because the TD was started before the module was updated in place: advise a relaunch."""
    sgx_status = sgx.rating.known_status()
    if (
        status not in _STALE
        or module_status is not TcbStatus.OUT_OF_DATE
        or enclave_status in (TcbStatus.OUT_OF_DATE, TcbStatus.REVOKED)
        or sgx_status not in _LEVELS_ALLOWING_RELAUNCH
        or not _is_current(info, current)
    ):
        return status
    needs_configuration = _PARTS[status] | _PARTS[sgx_status]
    if needs_configuration & _CONFIGURATION:
        return TcbStatus.TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED
    return TcbStatus.TD_RELAUNCH_ADVISED


def _is_current(info: TcbInfo, svn: bytes) -> bool:
    """True if the module running now is at the newest level."""
    top = info.levels[0].tdx
    if svn[2] < top[2]:
        return False
    if svn[1] == 0:
        return svn[0] >= top[0]
    module = info.modules.get(module_name(svn[1]))
    return module is not None and bool(module.levels) and svn[0] >= module.levels[0].isvsvn


def _superseded(better: Sequence[Rating], rating: Rating) -> int | None:
    """Since when a part with this rating is out of date; None if it is not, or nothing better is listed."""
    if rating.status not in _STALE or not better:
        return None
    later = [candidate.date for candidate in better if candidate.date > rating.date]
    return min(later, default=better[-1].date)


def _better(levels: tuple[SvnLevel, ...], reached: SvnLevel) -> list[Rating]:
    return [level.rating for level in levels if level.isvsvn > reached.isvsvn]


def _union(ratings: list[Rating]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(advisory for rating in ratings for advisory in rating.advisories))
