"""The guest-facing side of one simulated machine: a unix socket that answers for exactly one launch.

Protocol: one JSON object per line and per answer.
    {"op": "quote", "report_data": hex 64 bytes}  ->  {"quote": hex}
    {"op": "sealing-key", "label": text}          ->  {"key": hex 32 bytes}
    {"op": "describe"}                            ->  {"tee", "mrtd", "mrconfigid", "platform_id"}
A failure is {"error": code, "detail": text}.  What is measured was fixed when the service started:
a client can choose report data and nothing else, as a guest can.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attestation.canonical import parse_json
from attestation.errors import AttestationError
from attestation.simulated.platform import Platform
from attestation.simulated.snp import SnpPlatform

LINE_BYTES_MAX = 4096
"""Longest request line; a real one is under 200 bytes."""

LABEL_CHARACTERS_MAX = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What the machine measured when the guest started."""

    mrtd: bytes
    mrconfigid: bytes = bytes(48)
    rtmrs: Sequence[bytes] = (bytes(48),) * 4

    @property
    def digest(self) -> bytes:
        """SHA-256 over all measured registers: what sealing keys are bound to."""
        return hashlib.sha256(self.mrtd + self.mrconfigid + b"".join(self.rtmrs)).digest()


class SimulatedPlatformService:
    """Serves one launch of one machine on a unix socket; use `start` and `close`, or `async with`."""

    def __init__(self, platform: Platform | SnpPlatform, launch: Launch, path: Path) -> None:
        self.platform = platform
        self.launch = launch
        self.path = path
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listen on the socket, readable and writable by the owner only; a stale socket file is replaced."""
        self.path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, path=self.path, limit=LINE_BYTES_MAX)
        self.path.chmod(0o600)

    async def close(self) -> None:
        """Stop listening, drop open connections and remove the socket file."""
        if self._server is not None:
            self._server.close()
            for writer in self._writers:
                writer.close()
            await self._server.wait_closed()
            self._server = None
        self.path.unlink(missing_ok=True)

    async def __aenter__(self) -> SimulatedPlatformService:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def answer(self, line: bytes) -> dict[str, Any]:
        """The answer to one request line; never raises on hostile bytes."""
        try:
            return self._answer(parse_json(line, bytes_max=LINE_BYTES_MAX))
        except AttestationError as error:
            return {"error": error.code, "detail": error.detail}

    def _answer(self, request: Any) -> dict[str, Any]:
        match request:
            case {"op": "quote", "report_data": str(text), **extra} if not extra:
                return {"quote": self._quote(text).hex()}
            case {"op": "sealing-key", "label": str(label), **extra} if not extra:
                if not 0 < len(label) <= LABEL_CHARACTERS_MAX:
                    raise AttestationError("expected a label of 1 to 64 characters", code="simulated.request")
                return {"key": self.platform.sealing_key(self.launch.digest, label).hex()}
            case {"op": "describe", **extra} if not extra:
                return {
                    "tee": self.platform.tee,
                    "mrtd": self.launch.mrtd.hex(),
                    "mrconfigid": self.launch.mrconfigid.hex(),
                    "platform_id": str(self.platform.platform_id),
                }
        raise AttestationError("expected op quote, sealing-key or describe", code="simulated.request")

    def _quote(self, report_data_hex: str) -> bytes:
        try:
            report_data = bytes.fromhex(report_data_hex)
        except ValueError:
            raise AttestationError("report_data is not hex", code="simulated.request") from None
        if len(report_data) != 64:
            raise AttestationError(
                f"expected 64 bytes of report data, found {len(report_data)}", code="simulated.request"
            )
        launch = self.launch
        return self.platform.quote(report_data, mrtd=launch.mrtd, mrconfigid=launch.mrconfigid, rtmrs=launch.rtmrs)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while line := await reader.readline():
                writer.write(json.dumps(self.answer(line)).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):
            # ValueError: a line over the limit; there is no way to find the next request, so hang up.
            pass
        finally:
            self._writers.discard(writer)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
