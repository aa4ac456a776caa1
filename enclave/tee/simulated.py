"""Client of the simulated platform service: a unix socket that stands where a TDX module would.

Protocol: one JSON line each way per connection (`quote` and `sealing-key`).  The answer with a
sealing key is read into buffers of this module alone and wiped, so that the production path for
secrets is the one that development runs.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from attestation.canonical import parse_json
from attestation.errors import DocumentError
from enclave.secret import Secret
from enclave.tee import REPORT_DATA_BYTES, TeeError, no_sealing_key
from enclave.tee.hex_answer import secret_from_hex

TIMEOUT_S = 15.0
"""Longest wait for an answer in seconds: what real guest agents need for a quote at worst."""

ANSWER_BYTES_MAX = 1 << 20
"""Largest answer in bytes; a TDX quote with its certificates is below 32 KiB of hex."""


class SimulatedTee:
    """The `Tee` of a developer cluster; protects nothing."""

    def __init__(self, path: Path, *, can_seal: bool = True) -> None:
        """`can_seal` false stands for the platforms that give no sealing key."""
        self._path = str(path)
        self.can_seal = can_seal

    def quote(self, report_data: bytes) -> bytes:
        """Evidence of the real format under the simulated root; raises TeeError."""
        if len(report_data) != REPORT_DATA_BYTES:
            raise TeeError(f"expected {REPORT_DATA_BYTES} bytes of report data", code="tee.request")
        answer = self._ask({"op": "quote", "report_data": report_data.hex()})
        try:
            value = parse_json(bytes(answer))
        except DocumentError:
            raise TeeError("platform service answered with malformed JSON", code="tee.answer") from None
        if not isinstance(value, dict) or not isinstance(value.get("quote"), str):
            raise TeeError("platform service did not answer with a quote", code="tee.answer")
        try:
            return bytes.fromhex(value["quote"])
        except ValueError:
            raise TeeError("platform service answered with malformed hex", code="tee.answer") from None

    def sealing_key(self, label: str) -> Secret:
        """32 bytes derived from the platform's seal secret, the measurement and `label`; raises TeeError."""
        if not self.can_seal:
            no_sealing_key(label)
        answer = self._ask({"op": "sealing-key", "label": label})
        try:
            return secret_from_hex(answer, "key")
        finally:
            answer[:] = bytes(len(answer))

    def _ask(self, request: dict[str, Any]) -> bytearray:
        """One line out, one line in; the caller wipes what it gets."""
        answer = bytearray(ANSWER_BYTES_MAX)
        size = 0
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection, memoryview(answer) as view:
                connection.settimeout(TIMEOUT_S)
                connection.connect(self._path)
                connection.sendall(json.dumps(request).encode() + b"\n")
                while size < ANSWER_BYTES_MAX and (size == 0 or answer[size - 1] != 0x0A):
                    received = connection.recv_into(view[size:])
                    if received == 0:
                        break
                    size += received
        except OSError as error:
            raise TeeError(
                f"platform service did not answer: {error.strerror or type(error).__name__}",
                hint="is the simulated platform of this slot running?",
            ) from None
        del answer[size:]
        return answer
