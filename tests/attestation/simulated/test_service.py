"""The guest-facing socket: what a node can ask of its machine, and what it cannot."""

from __future__ import annotations

import asyncio
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attestation.collateral import Collateral
from attestation.simulated.authority import simulated_measurement
from attestation.simulated.platform import Platform
from attestation.simulated.service import Launch, SimulatedPlatformService
from attestation.verifier import Verifier

from .conftest import NOW

LAUNCH = Launch(mrtd=simulated_measurement("node"), mrconfigid=b"\x0d" * 48)


@pytest.fixture
def service(platform: Platform, tmp_path: Path) -> SimulatedPlatformService:
    """A service that is not yet listening."""
    return SimulatedPlatformService(platform, LAUNCH, tmp_path / "node-1.tee.sock")


async def _ask(path: Path, *lines: bytes) -> list[dict[str, Any]]:
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        answers = []
        for line in lines:
            writer.write(line + b"\n")
            await writer.drain()
            answers.append(json.loads(await reader.readline()))
        return answers
    finally:
        writer.close()
        await writer.wait_closed()


async def test_a_quote_over_the_socket_verifies(
    service: SimulatedPlatformService, verifier: Verifier, collateral: Collateral
) -> None:
    """The quote carries the asked report data and the launch's measurements."""
    request = json.dumps({"op": "quote", "report_data": (b"\x2a" * 64).hex()}).encode()
    async with service:
        (answer,) = await _ask(service.path, request)
    claims = verifier.verify(bytes.fromhex(answer["quote"]), collateral=collateral, now=NOW)
    assert claims.report_data == b"\x2a" * 64
    assert claims.measurements["mrtd"] == LAUNCH.mrtd.hex()
    assert claims.measurements["mrconfigid"] == LAUNCH.mrconfigid.hex()


async def test_sealing_keys_survive_a_restart_and_not_another_image(platform: Platform, tmp_path: Path) -> None:
    """The same launch gets the same key again; another measurement gets another."""
    request = b'{"op":"sealing-key","label":"state"}'
    keys = []
    for launch in (LAUNCH, LAUNCH, Launch(mrtd=simulated_measurement("other"), mrconfigid=LAUNCH.mrconfigid)):
        async with SimulatedPlatformService(platform, launch, tmp_path / "s") as service:
            (answer,) = await _ask(service.path, request)
        keys.append(answer["key"])
    assert keys[0] == keys[1] != keys[2]
    assert len(bytes.fromhex(keys[0])) == 32


async def test_the_socket_is_private_and_goes_away(service: SimulatedPlatformService) -> None:
    """Only the owner can connect, and closing removes the file."""
    async with service:
        assert stat.S_IMODE(service.path.stat().st_mode) == 0o600
    assert not service.path.exists()


async def test_a_stale_socket_file_does_not_hinder_a_start(service: SimulatedPlatformService) -> None:
    """A file left by a crashed process is replaced."""
    service.path.touch()
    async with service:
        (answer,) = await _ask(service.path, b'{"op":"describe"}')
    assert answer["platform_id"] == str(service.platform.platform_id)


async def test_one_connection_can_ask_many_times(service: SimulatedPlatformService) -> None:
    """A bad request is answered, and the next one on the same connection works."""
    async with service:
        bad, good = await _ask(service.path, b"nonsense", b'{"op":"describe"}')
    assert bad["error"] == "json.malformed"
    assert good["tee"] == "tdx"


async def test_an_overlong_line_ends_the_connection(service: SimulatedPlatformService) -> None:
    """More than the limit without a newline is not buffered: the service hangs up."""
    async with service:
        reader, writer = await asyncio.open_unix_connection(service.path)
        writer.write(b"x" * 20_000 + b"\n")
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()


@pytest.mark.parametrize(
    "line",
    [
        b'{"op":"quote"}',
        b'{"op":"quote","report_data":"00"}',
        b'{"op":"quote","report_data":"zz"}',
        b'{"op":"quote","report_data":"' + b"00" * 64 + b'","mrtd":"00"}',
        b'{"op":"sealing-key","label":""}',
        b'{"op":"sealing-key","label":"' + b"x" * 65 + b'"}',
        b'{"op":"sealing-key","label":7}',
        b'{"op":"shutdown"}',
        b"[]",
    ],
)
def test_requests_outside_the_protocol_are_refused(service: SimulatedPlatformService, line: bytes) -> None:
    """Wrong length, extra members (such as a measurement), unknown operations: an error code and nothing else."""
    assert service.answer(line)["error"] == "simulated.request"


@given(st.binary(max_size=200))
def test_no_bytes_make_the_service_fail(line: bytes) -> None:
    """Any line gets a JSON object back; nothing raises."""
    service = SimulatedPlatformService.__new__(SimulatedPlatformService)
    assert "error" in service.answer(line)
