"""The derived key of SEV-SNP through an ioctl that behaves as the driver and firmware do."""

from __future__ import annotations

import ctypes
import errno
import hashlib
from pathlib import Path

import pytest

from enclave.secret import declassify
from enclave.tee import TeeError
from enclave.tee.sev_guest import (
    FIELD_MEASUREMENT,
    FIELD_POLICY,
    GET_DERIVED_KEY,
    GuestRequest,
    KeyRequest,
    derived_key,
)


class Firmware:
    """Derives a key from chip secret and the guest fields the request selects; keeps what it was asked."""

    def __init__(self, *, chip: bytes = b"chip", measurement: bytes = b"image", policy: bytes = b"policy") -> None:
        self.chip, self.measurement, self.policy = chip, measurement, policy
        self.fails: int = 0
        self.status = 0
        self.firmware_error = 0
        self.responses: list[int] = []

    def ioctl(self, _handle: int, number: int, arguments: bytearray) -> int:
        """SNP_GET_DERIVED_KEY."""
        assert number == GET_DERIVED_KEY
        assert len(arguments) == 32
        if self.fails:
            raise OSError(self.fails, "driver")
        call = GuestRequest.from_buffer(arguments)
        assert call.message_version == 1
        request = KeyRequest.from_address(call.request)
        material = hashlib.sha256(self.chip)
        assert request.root_key_select == 0
        if request.guest_field_select & FIELD_POLICY:
            material.update(self.policy)
        if request.guest_field_select & FIELD_MEASUREMENT:
            material.update(self.measurement)
        response = (ctypes.c_uint8 * 64).from_address(call.response)
        response[:4] = self.status.to_bytes(4, "little")
        response[32:64] = material.digest()
        call.firmware_error = self.firmware_error
        self.responses.append(call.response)
        return 0


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """Something to open."""
    path = tmp_path / "sev-guest"
    path.touch()
    return path


def key(device: Path, firmware: Firmware, label: str = "store") -> bytes:
    """The key as bytes: these firmwares guard nothing."""
    with derived_key(label, device=device, ioctl=firmware.ioctl) as secret:
        return declassify(secret)


def test_the_key_is_the_same_at_every_boot(device: Path) -> None:
    """Same chip, policy, measurement and label: same 32 bytes."""
    assert key(device, Firmware()) == key(device, Firmware())
    assert len(key(device, Firmware())) == 32


@pytest.mark.parametrize("other", [Firmware(chip=b"other"), Firmware(measurement=b"other"), Firmware(policy=b"other")])
def test_another_machine_policy_or_image_gets_another_key(device: Path, other: Firmware) -> None:
    """Each fact that must not change is mixed in."""
    assert key(device, other) != key(device, Firmware())


def test_each_label_has_its_own_key(device: Path) -> None:
    """A key for one purpose says nothing about another."""
    assert key(device, Firmware(), "store") != key(device, Firmware(), "store-head")


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOTTY, errno.EPERM])
def test_a_driver_that_fails_is_reported(device: Path, number: int) -> None:
    """The error has a code and a hint."""
    firmware = Firmware()
    firmware.fails = number
    with pytest.raises(TeeError) as caught:
        derived_key("store", device=device, ioctl=firmware.ioctl)
    assert caught.value.code == "tee.sealing"
    assert caught.value.hint


@pytest.mark.parametrize("fault", ["status", "firmware_error"])
def test_a_refusal_of_the_firmware_is_no_key(device: Path, fault: str) -> None:
    """A successful ioctl with an error inside gives nothing."""
    firmware = Firmware()
    setattr(firmware, fault, 0x16)
    with pytest.raises(TeeError) as caught:
        derived_key("store", device=device, ioctl=firmware.ioctl)
    assert caught.value.code == "tee.sealing"


def test_no_device_is_reported(tmp_path: Path) -> None:
    """Outside a guest the device is missing."""
    with pytest.raises(TeeError) as caught:
        derived_key("store", device=tmp_path / "absent")
    assert caught.value.code == "tee.sealing"
