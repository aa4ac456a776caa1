"""Sealing keys of SEV-SNP guests: the firmware's derived key through `/dev/sev-guest`.

Rules kept (SEV-SNP firmware ABI 1.55, MSG_KEY_REQ; kernel's uapi/linux/sev-guest.h): the key is derived from
the chip's own root and mixes guest policy and launch measurement, so another machine or other code gets
another key; it does not mix firmware versions, which would lose the store at every update; the answer is
read into buffers of this module alone and wiped.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from enclave.derive import hkdf_sha256
from enclave.secret import Secret
from enclave.tee import SEALING_KEY_BYTES, TeeError

DEVICE = Path("/dev/sev-guest")

GET_DERIVED_KEY = 0xC0205301
"""_IOWR('S', 1, struct snp_guest_request_ioctl) with its 32 bytes."""

MESSAGE_VERSION = 1

ROOT_KEY_VCEK = 0
FIELD_POLICY = 1 << 0
FIELD_MEASUREMENT = 1 << 3

_KEY_OFFSET = 32
"""MSG_KEY_RSP: u32 status, 28 reserved bytes, then the key."""

Ioctl = Callable[[int, int, bytearray], int]


class KeyRequest(ctypes.Structure):
    """struct snp_derived_key_req."""

    _fields_ = (
        ("root_key_select", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
        ("guest_field_select", ctypes.c_uint64),
        ("vmpl", ctypes.c_uint32),
        ("guest_svn", ctypes.c_uint32),
        ("tcb_version", ctypes.c_uint64),
    )


class KeyResponse(ctypes.Structure):
    """struct snp_derived_key_resp."""

    _fields_ = (("data", ctypes.c_uint8 * 64),)


class GuestRequest(ctypes.Structure):
    """struct snp_guest_request_ioctl."""

    _fields_ = (
        ("message_version", ctypes.c_uint8),
        ("request", ctypes.c_uint64),
        ("response", ctypes.c_uint64),
        ("firmware_error", ctypes.c_uint32),
        ("host_error", ctypes.c_uint32),
    )


def derived_key(label: str, *, device: Path = DEVICE, ioctl: Ioctl = fcntl.ioctl) -> Secret:
    """32 bytes for this chip, guest policy and measurement, one per label; raises TeeError (`tee.sealing`)."""
    request = KeyRequest(root_key_select=ROOT_KEY_VCEK, guest_field_select=FIELD_POLICY | FIELD_MEASUREMENT)
    response = KeyResponse()
    call = GuestRequest(
        message_version=MESSAGE_VERSION,
        request=ctypes.addressof(request),
        response=ctypes.addressof(response),
    )
    arguments = bytearray(call)
    answer = memoryview(response).cast("B")
    try:
        _call(device, ioctl, arguments)
        done = GuestRequest.from_buffer_copy(arguments)
        if done.firmware_error or done.host_error or int.from_bytes(answer[:4], "little"):
            raise TeeError("the firmware refused a derived key", code="tee.sealing")
        material = answer[_KEY_OFFSET : _KEY_OFFSET + SEALING_KEY_BYTES]
        with Secret.take(material) as root:
            return hkdf_sha256(root, salt=None, info=b"holdfast/sealing/sev-snp/v1/" + label.encode())
    finally:
        answer[:] = bytes(len(answer))


def _call(device: Path, ioctl: Ioctl, arguments: bytearray) -> None:
    try:
        handle = os.open(device, os.O_RDWR | os.O_CLOEXEC)
        try:
            ioctl(handle, GET_DERIVED_KEY, arguments)
        finally:
            os.close(handle)
    except OSError as error:
        raise TeeError(
            f"no derived key: {error.strerror or type(error).__name__}",
            code="tee.sealing",
            hint="load the sev-guest driver and give the node's user access to the device",
        ) from None
