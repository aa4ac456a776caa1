"""Evidence and sealing keys from the dstack guest agent: HTTP over a unix socket inside the guest.

Rules kept: the agent answers for whoever asks, so only evidence over the very report data is returned;
answers are read under a size and time limit into buffers of this module alone; the sealing key goes from
the socket to the arena and is wiped on the way.  Whoever runs the agent's key service can derive the same key:
that is this platform's own weakness, stated in specs/tee-adapters.md.
"""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

from attestation.canonical import parse_json
from attestation.errors import DocumentError
from attestation.evidence import Tee as Platform
from enclave.derive import hkdf_sha256
from enclave.secret import Secret
from enclave.tee import REPORT_DATA_BYTES, TeeError
from enclave.tee.hex_answer import secret_from_hex
from enclave.tee.report_data import carries

SOCKET = Path("/var/run/dstack.sock")

TIMEOUT_S = 15.0
"""Longest wait for an answer in seconds: quotes queue behind one quoting service per host."""

ANSWER_BYTES_MAX = 4 << 20
"""An answer carries the event log and the application's own compose file in hex."""

EVIDENCE_BYTES_MAX = 1 << 20

_V0, _TDX, _SNP = 0, 0, 3


class DstackTee:
    """The `Tee` of a guest that a dstack host started."""

    can_seal = True

    def __init__(self, path: Path = SOCKET, *, timeout_s: float = TIMEOUT_S) -> None:
        self._path = str(path)
        self._timeout_s = timeout_s

    def quote(self, report_data: bytes) -> bytes:
        """A TDX quote or an SNP report over `report_data` (64 bytes).

        Raises TeeError (`tee.request`, `tee.unavailable`, `tee.answer`).
        """
        if len(report_data) != REPORT_DATA_BYTES:
            raise TeeError(f"expected {REPORT_DATA_BYTES} bytes of report data", code="tee.request")
        answer = self._ask("/GetQuote", {"report_data": report_data.hex()})
        try:
            value = parse_json(bytes(answer), bytes_max=ANSWER_BYTES_MAX)
        except DocumentError:
            raise TeeError("the guest agent answered with malformed JSON", code="tee.answer") from None
        platform, evidence = _evidence(value)
        return carries(report_data, evidence, platform)

    def sealing_key(self, label: str) -> Secret:
        """32 bytes that follow from the application's identity and `label`; raises TeeError."""
        answer = self._ask("/GetKey", {"path": f"holdfast/{label}", "purpose": "sealing"})
        try:
            with secret_from_hex(answer, "key") as root:
                return hkdf_sha256(root, salt=None, info=b"holdfast/sealing/dstack/v1/" + label.encode())
        finally:
            answer[:] = bytes(len(answer))

    def _ask(self, path: str, fields: dict[str, Any]) -> bytearray:
        """The body of one answer; HTTP/1.0, so that it ends with the connection and comes in one piece."""
        body = json.dumps(fields).encode()
        lines = (
            f"POST {path} HTTP/1.0",
            "Host: dstack",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            "\r\n",
        )
        head = "\r\n".join(lines)
        answer = bytearray(ANSWER_BYTES_MAX)
        try:
            size = self._exchange(head.encode() + body, answer)
        except OSError as error:
            raise TeeError(
                f"the guest agent did not answer: {error.strerror or type(error).__name__}",
                code="tee.unavailable",
                hint=f"is the agent's socket mounted at {self._path}?",
            ) from None
        end = answer.find(b"\r\n\r\n", 0, min(size, 64 << 10))
        status = bytes(answer[9:12])
        if end < 0 or not answer.startswith(b"HTTP/1.") or not status.isdigit():
            answer[:] = bytes(len(answer))
            raise TeeError("the guest agent did not answer in HTTP", code="tee.answer")
        if status != b"200":
            answer[:] = bytes(len(answer))
            raise TeeError(f"the guest agent answered with status {status.decode()}", code="tee.unavailable")
        # Moved to the front in place: a slice would be a second copy that nobody wipes.
        with memoryview(answer) as view:
            length = size - end - 4
            view[:length] = view[end + 4 : size]
            view[length:size] = bytes(size - length)
        del answer[length:]
        return answer

    def _exchange(self, request: bytes, answer: bytearray) -> int:
        deadline = time.monotonic() + self._timeout_s
        size = 0
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection, memoryview(answer) as view:
            connection.settimeout(self._timeout_s)
            connection.connect(self._path)
            connection.sendall(request)
            while received := connection.recv_into(view[size:]):
                size += received
                left = deadline - time.monotonic()
                if size == len(answer) or left <= 0:
                    raise TeeError("the guest agent's answer is too large or too slow", code="tee.answer")
                connection.settimeout(left)
        return size


def _evidence(value: Any) -> tuple[Platform, bytes]:
    """Platform and evidence of a GetQuote answer: `quote` on TDX, inside `attestation` on SNP."""
    if not isinstance(value, dict):
        raise _unexpected()
    quote = value.get("quote")
    if isinstance(quote, str) and quote:
        return Platform.TDX, _bytes(quote)
    attestation = value.get("attestation")
    if not isinstance(attestation, str):
        raise _unexpected()
    return unwrap(_bytes(attestation))


def unwrap(attestation: bytes) -> tuple[Platform, bytes]:
    """Platform and evidence of a versioned attestation (SCALE: version, platform, compact length, bytes)."""
    if len(attestation) < 4 or attestation[0] != _V0 or attestation[1] not in (_TDX, _SNP):
        raise _unexpected()
    platform = Platform.TDX if attestation[1] == _TDX else Platform.SEV_SNP
    head = int.from_bytes(attestation[2:4], "little")
    if head & 3 != 1:
        # Evidence has 64 to 16383 bytes: the compact form of two bytes, or it is none.
        raise _unexpected()
    length = head >> 2
    if len(attestation) < 4 + length:
        raise _unexpected()
    return platform, attestation[4 : 4 + length]


def _bytes(digits: str) -> bytes:
    if len(digits) > 2 * EVIDENCE_BYTES_MAX:
        raise _unexpected()
    try:
        return bytes.fromhex(digits)
    except ValueError:
        raise _unexpected() from None


def _unexpected() -> TeeError:
    return TeeError("the guest agent did not answer with a quote", code="tee.answer")
