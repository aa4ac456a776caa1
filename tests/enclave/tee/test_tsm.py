"""Reports through configfs: races, busy providers, wrong providers, foreign reports, and nothing left behind."""

from __future__ import annotations

import errno
import os
from collections import deque
from pathlib import Path
from typing import Any

import pytest

from attestation.simulated.authority import Authority, simulated_measurement
from enclave.tee import TeeError
from enclave.tee.guests import SevSnpTee, TdxTee
from enclave.tee.tsm import ATTEMPTS_MAX, KernelAttributes, TsmReports
from tests.enclave.tee.configfs import ConfigFs

IMAGE = simulated_measurement("node")
REPORT_DATA = bytes(range(64))
FOREIGN = bytes(64)


@pytest.fixture
def tdx(authority: Authority) -> ConfigFs:
    """A TDX guest's tree."""
    platform = authority.platform("tsm-tdx")
    return ConfigFs("tdx_guest", lambda data: platform.quote(data, mrtd=IMAGE))


def reports(tree: ConfigFs, **options: Any) -> TsmReports:
    """The adapter over a tree, without waiting."""
    return TsmReports(provider=tree.provider, attributes=tree, pause=lambda _seconds: None, **options)


def refused(adapter: TsmReports, code: str, data: bytes = REPORT_DATA) -> TeeError:
    """The error of one request."""
    with pytest.raises(TeeError) as caught:
        adapter.quote(data)
    assert caught.value.code == code
    return caught.value


def test_a_tdx_guest_gets_a_quote_over_its_report_data(tdx: ConfigFs) -> None:
    """The quote carries the data, and the instance it was made in is gone."""
    quote = TdxTee(reports(tdx)).quote(REPORT_DATA)
    assert REPORT_DATA in quote
    assert tdx.instances == {}


def test_a_snp_guest_gets_a_report(authority: Authority) -> None:
    """The same adapter under the other provider."""
    machine = authority.amd.platform("tsm-snp", chip_id=bytes(range(64)))
    tree = ConfigFs("sev_guest", lambda data: machine.quote(data, mrtd=IMAGE))
    assert REPORT_DATA in SevSnpTee(reports(tree)).quote(REPORT_DATA)


def test_every_request_has_a_directory_of_its_own(tdx: ConfigFs) -> None:
    """Two requests never share an instance, so no other user of the same name can be met."""
    adapter = reports(tdx)
    for _ in range(3):
        adapter.quote(REPORT_DATA)
    assert len(set(tdx.made)) == 3


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EINTR, errno.ETIMEDOUT, errno.EAGAIN])
def test_a_busy_provider_is_asked_again(tdx: ConfigFs, number: int) -> None:
    """Two failures of the kind that pass are followed by a quote, each try in a fresh instance."""
    tdx.faults = deque([number, number])
    assert REPORT_DATA in reports(tdx).quote(REPORT_DATA)
    assert len(tdx.made) == 3
    assert tdx.instances == {}


def test_a_provider_that_stays_busy_is_given_up(tdx: ConfigFs) -> None:
    """After a bounded number of tries the error says that the platform is unavailable."""
    tdx.faults = deque([errno.EBUSY] * 100)
    refused(reports(tdx), "tee.unavailable")
    assert len(tdx.made) == ATTEMPTS_MAX
    assert tdx.instances == {}


@pytest.mark.parametrize("number", [errno.EIO, errno.EINVAL, errno.ENXIO, errno.EACCES])
def test_a_refusing_provider_is_not_asked_again(tdx: ConfigFs, number: int) -> None:
    """Errors that do not pass end the request at once."""
    tdx.faults = deque([number])
    error = refused(reports(tdx), "tee.unavailable")
    assert error.hint
    assert len(tdx.made) == 1


def test_no_provider_has_a_hint(tdx: ConfigFs) -> None:
    """A kernel without a report driver refuses the directory itself."""
    tdx.absent = errno.ENXIO
    assert "tdx_guest" in (refused(reports(tdx), "tee.unavailable").hint or "")


def test_a_write_of_another_process_before_the_read_is_noticed(tdx: ConfigFs) -> None:
    """The generation moved twice: the report read then is not ours, and the next try succeeds."""
    tdx.before_read = lambda tree, place: tree.write(place / "inblob", FOREIGN)
    assert REPORT_DATA in reports(tdx).quote(REPORT_DATA)
    assert len(tdx.made) == 2


def test_a_write_of_another_process_after_the_read_is_noticed(tdx: ConfigFs) -> None:
    """The report may have been ours, but nobody can tell: it is made again."""
    tdx.after_read = lambda tree, place: tree.write(place / "inblob", FOREIGN)
    assert REPORT_DATA in reports(tdx).quote(REPORT_DATA)
    assert len(tdx.made) == 2


def test_a_report_over_other_data_never_leaves(authority: Authority) -> None:
    """A provider with a stale buffer and a plausible generation is caught by the data in the report."""
    platform = authority.platform("tsm-stale")
    tree = ConfigFs("tdx_guest", lambda _data: platform.quote(FOREIGN, mrtd=IMAGE))
    refused(reports(tree), "tee.answer")


def test_a_report_of_another_platform_never_leaves(tdx: ConfigFs) -> None:
    """The kernel's provider must be the configured one."""
    tdx.provider = "sev_guest"
    refused(TsmReports(provider="tdx_guest", attributes=tdx), "tee.provider")
    assert tdx.reports == 0


@pytest.mark.parametrize("answer", [b"", b"\0" * 4000, b"\xff" * (40 << 10)])
def test_garbage_is_not_a_report(answer: bytes) -> None:
    """Empty, zero and oversized answers are refused."""
    refused(reports(ConfigFs("tdx_guest", lambda _data: answer)), "tee.answer")


@pytest.mark.parametrize("size", [0, 63, 65])
def test_report_data_has_64_bytes(tdx: ConfigFs, size: int) -> None:
    """Nothing is padded or hashed silently."""
    refused(reports(tdx), "tee.request", bytes(size))


def test_the_kernel_calls_on_ordinary_files(tmp_path: Path) -> None:
    """The five calls themselves: one write, a bounded read, a directory made and removed."""
    calls = KernelAttributes()
    place = tmp_path / "instance"
    calls.make(place)
    (place / "inblob").touch()
    calls.write(place / "inblob", REPORT_DATA)
    assert calls.read(place / "inblob", 64) == REPORT_DATA
    assert len(calls.read(place / "inblob", 10)) == 11
    os.unlink(place / "inblob")
    calls.remove(place)
    assert not place.exists()


def test_a_machine_without_configfs_says_so(tmp_path: Path) -> None:
    """On a machine that is no guest the error names what to mount."""
    adapter = TsmReports(provider="tdx_guest", directory=tmp_path / "absent")
    assert "configfs" in (refused(adapter, "tee.unavailable").hint or "")
