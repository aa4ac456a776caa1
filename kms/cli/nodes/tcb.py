"""How up to date a machine's firmware is, in one short text: Intel says it in a word, AMD in component levels."""

from __future__ import annotations

from attestation.evidence import Claims


def tcb_text(claims: Claims) -> str:
    """`UpToDate` for TDX; `Milan 4.0.24.220` for SEV-SNP: the reported levels, the microcode last; `-` for none."""
    if claims.tcb_status is not None:
        return str(claims.tcb_status)
    levels = claims.details.get("tcb", {}).get("reported")
    if not levels:
        return "-"
    return f"{claims.details.get('product', '')} {'.'.join(str(level) for level in levels.values())}".strip()
