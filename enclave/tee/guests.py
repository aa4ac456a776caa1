"""Confidential virtual machines on a plain Linux kernel: TDX and SEV-SNP guests.

Both take evidence from configfs.  Only SEV-SNP has a sealing key of its own: a bare TDX guest keeps nothing
over a restart and gets its shares back from its peers.
"""

from __future__ import annotations

from enclave.secret import Secret
from enclave.tee import no_sealing_key
from enclave.tee.sev_guest import derived_key
from enclave.tee.tsm import TsmReports


class TdxTee:
    """The `Tee` of a TDX guest."""

    can_seal = False

    def __init__(self, reports: TsmReports | None = None) -> None:
        self._reports = reports or TsmReports(provider="tdx_guest")

    def quote(self, report_data: bytes) -> bytes:
        """A TDX quote; raises TeeError."""
        return self._reports.quote(report_data)

    def sealing_key(self, label: str) -> Secret:
        """Always TeeError (`tee.no-sealing-key`)."""
        return no_sealing_key(label)


class SevSnpTee:
    """The `Tee` of a SEV-SNP guest."""

    can_seal = True

    def __init__(self, reports: TsmReports | None = None) -> None:
        self._reports = reports or TsmReports(provider="sev_guest")

    def quote(self, report_data: bytes) -> bytes:
        """An attestation report; raises TeeError."""
        return self._reports.quote(report_data)

    def sealing_key(self, label: str) -> Secret:
        """The firmware's key for this chip, policy and measurement; raises TeeError (`tee.sealing`)."""
        return derived_key(label)
