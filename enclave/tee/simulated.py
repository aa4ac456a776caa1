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
from enclave.tee import REPORT_DATA_BYTES, SEALING_KEY_BYTES, TeeError

TIMEOUT_S = 15.0
"""Longest wait for an answer in seconds: what real guest agents need for a quote at worst."""

ANSWER_BYTES_MAX = 1 << 20
"""Largest answer in bytes; a TDX quote with its certificates is below 32 KiB of hex."""

_KEY_PREFIX = b'"key":'
_HEX = bytes.maketrans(b"0123456789abcdef", bytes(range(16)))


class SimulatedTee:
    """The `Tee` of a developer cluster; protects nothing."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)

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
        answer = self._ask({"op": "sealing-key", "label": label})
        digits = bytearray(2 * SEALING_KEY_BYTES)
        key = bytearray(SEALING_KEY_BYTES)
        try:
            start = answer.find(b'"', answer.find(_KEY_PREFIX) + len(_KEY_PREFIX)) + 1
            if answer.find(_KEY_PREFIX) < 0 or answer.find(b'"', start) - start != len(digits):
                raise TeeError("platform service did not answer with a 32-byte sealing key", code="tee.answer")
            with memoryview(answer) as source:
                digits[:] = source[start : start + len(digits)]
            if digits.strip(b"0123456789abcdef"):
                raise TeeError("platform service answered with malformed hex", code="tee.answer")
            nibbles = digits.translate(_HEX)
            for i in range(SEALING_KEY_BYTES):
                key[i] = nibbles[2 * i] << 4 | nibbles[2 * i + 1]
            _zero(nibbles)
            return Secret.take(key)
        finally:
            for buffer in (answer, digits, key):
                _zero(buffer)

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


def _zero(buffer: bytearray) -> None:
    buffer[:] = bytes(len(buffer))
