"""Evidence of Nitro enclaves through the security module's device `/dev/nsm`.

Rules kept (NSM API: one ioctl with two iovecs, CBOR inside): report data travels as `user_data`; the answer
is read under a limit before anything is parsed; only a document over the very report data is returned.  The
platform has no sealing key, and no machine id: where a roster admits it, that is a class of its own.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attestation.errors import CodedError
from attestation.evidence import Tee as Platform
from attestation.nitro import cbor
from enclave.secret import Secret
from enclave.tee import REPORT_DATA_BYTES, TeeError, no_sealing_key
from enclave.tee.report_data import carries

DEVICE = Path("/dev/nsm")

NSM_REQUEST = 0xC0200A00
"""_IOWR(0x0A, 0, struct with two iovecs)."""

REQUEST_BYTES_MAX = 0x1000
RESPONSE_BYTES_MAX = 0x3000

Ioctl = Callable[[int, int, bytearray], int]


class Message(ctypes.Structure):
    """struct nsm_message: where the request lies and where the answer may go."""

    _fields_ = (
        ("request", ctypes.c_uint64),
        ("request_bytes", ctypes.c_uint64),
        ("response", ctypes.c_uint64),
        ("response_bytes", ctypes.c_uint64),
    )


class NitroTee:
    """The `Tee` of a Nitro enclave."""

    can_seal = False

    def __init__(self, *, device: Path = DEVICE, ioctl: Ioctl = fcntl.ioctl) -> None:
        self._device = device
        self._ioctl = ioctl

    def quote(self, report_data: bytes) -> bytes:
        """An attestation document over `report_data` (64 bytes).

        Raises TeeError (`tee.request`, `tee.unavailable`, `tee.answer`).
        """
        if len(report_data) != REPORT_DATA_BYTES:
            raise TeeError(f"expected {REPORT_DATA_BYTES} bytes of report data", code="tee.request")
        return carries(report_data, self._document(attestation_request(report_data)), Platform.NITRO)

    def sealing_key(self, label: str) -> Secret:
        """Always TeeError (`tee.no-sealing-key`): a node here recovers its shares from its peers at each boot."""
        return no_sealing_key(label)

    def _document(self, request: bytes) -> bytes:
        answer = _read(self._exchange(request))
        if not isinstance(answer, dict):
            raise _unexpected()
        if isinstance(answer.get("Error"), str):
            raise TeeError(f"the security module refused: {answer['Error'][:64]}", code="tee.unavailable")
        attestation = answer.get("Attestation")
        if not isinstance(attestation, dict) or not isinstance(attestation.get("document"), bytes):
            raise _unexpected()
        return bytes(attestation["document"])

    def _exchange(self, request: bytes) -> bytes:
        outgoing = ctypes.create_string_buffer(request, len(request))
        incoming = ctypes.create_string_buffer(RESPONSE_BYTES_MAX)
        arguments = bytearray(
            Message(
                request=ctypes.addressof(outgoing),
                request_bytes=len(request),
                response=ctypes.addressof(incoming),
                response_bytes=RESPONSE_BYTES_MAX,
            )
        )
        try:
            handle = os.open(self._device, os.O_RDWR | os.O_CLOEXEC)
            try:
                self._ioctl(handle, NSM_REQUEST, arguments)
            finally:
                os.close(handle)
        except OSError as error:
            raise TeeError(
                f"the security module did not answer: {error.strerror or type(error).__name__}",
                code="tee.unavailable",
                hint="does this process run inside a Nitro enclave?",
            ) from None
        length = Message.from_buffer_copy(arguments).response_bytes
        if not 0 < length <= RESPONSE_BYTES_MAX:
            raise _unexpected()
        return incoming.raw[:length]


def attestation_request(user_data: bytes) -> bytes:
    """CBOR of `{"Attestation": {"user_data": ..., "nonce": null, "public_key": null}}`."""
    fields = [
        cbor.encode_text("user_data") + cbor.encode_bytes(user_data),
        cbor.encode_text("nonce") + cbor.NULL,
        cbor.encode_text("public_key") + cbor.NULL,
    ]
    request = cbor.encode_map_head(1) + cbor.encode_text("Attestation") + cbor.encode_map_head(3) + b"".join(fields)
    if len(request) > REQUEST_BYTES_MAX:
        raise TeeError("request is larger than the device takes", code="tee.request")
    return request


def _read(answer: bytes) -> Any:
    try:
        return cbor.decode(answer)
    except CodedError:
        raise _unexpected() from None


def _unexpected() -> TeeError:
    return TeeError("the security module answered in another form", code="tee.answer")
