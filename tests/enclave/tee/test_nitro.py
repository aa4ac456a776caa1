"""The security module of Nitro enclaves behind an ioctl that reads and writes the caller's buffers."""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from attestation.nitro import cbor as reader
from attestation.simulated import cbor_writer as cbor
from attestation.simulated.authority import Authority, simulated_measurement
from attestation.simulated.nitro import NitroFields, registers
from enclave.tee import TeeError
from enclave.tee.nitro import NSM_REQUEST, Message, NitroTee

NOW = 1_790_000_000
REPORT_DATA = bytes(range(64))


class Module:
    """Answers each request with what `answer` makes of it."""

    def __init__(self, answer: Callable[[Any], bytes]) -> None:
        self.answer = answer
        self.requests: list[Any] = []
        self.fails = 0
        self.length: int | None = None

    def ioctl(self, _handle: int, number: int, arguments: bytearray) -> int:
        """NSM's one call."""
        assert number == NSM_REQUEST
        if self.fails:
            raise OSError(self.fails, "driver")
        message = Message.from_buffer(arguments)
        request = reader.decode(ctypes.string_at(message.request, message.request_bytes))
        self.requests.append(request)
        answer = self.answer(request)
        ctypes.memmove(message.response, answer, min(len(answer), message.response_bytes))
        message.response_bytes = len(answer) if self.length is None else self.length
        return 0


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """Something to open."""
    path = tmp_path / "nsm"
    path.touch()
    return path


@pytest.fixture
def module(authority: Authority) -> Module:
    """A module that signs what it is asked for."""

    def answer(request: Any) -> bytes:
        user_data = request["Attestation"]["user_data"]
        fields = NitroFields(pcrs=registers(simulated_measurement("node")), user_data=user_data)
        return cbor.encode({"Attestation": {"document": authority.nitro.document(fields, now=NOW)}})

    return Module(answer)


def refused(device: Path, module: Module) -> TeeError:
    """The error of one request."""
    with pytest.raises(TeeError) as caught:
        NitroTee(device=device, ioctl=module.ioctl).quote(REPORT_DATA)
    return caught.value


def test_a_document_over_the_report_data(device: Path, module: Module) -> None:
    """The data travels as user_data; the other optional fields are absent."""
    document = NitroTee(device=device, ioctl=module.ioctl).quote(REPORT_DATA)
    assert REPORT_DATA in document
    assert module.requests == [{"Attestation": {"user_data": REPORT_DATA, "nonce": None, "public_key": None}}]


def test_a_document_over_other_data_never_leaves(device: Path, module: Module) -> None:
    """A module that answers somebody else's request is caught."""
    genuine = module.answer
    module.answer = lambda _request: genuine({"Attestation": {"user_data": bytes(64)}})
    assert refused(device, module).code == "tee.answer"


def test_an_error_of_the_module_is_reported(device: Path) -> None:
    """`{"Error": ...}` names the reason."""
    error = refused(device, Module(lambda _request: cbor.encode({"Error": "InvalidArgument"})))
    assert error.code == "tee.unavailable"
    assert "InvalidArgument" in error.detail


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\xff",
        cbor.encode([1]),
        cbor.encode({}),
        cbor.encode({"Attestation": {}}),
        cbor.encode({"Attestation": {"document": "text"}}),
        cbor.encode({"Attestation": {"document": b"not a document"}}),
    ],
)
def test_other_answers_are_refused(device: Path, answer: bytes) -> None:
    """Whatever is not the stated form has one code."""
    assert refused(device, Module(lambda _request: answer)).code == "tee.answer"


@pytest.mark.parametrize("length", [0, 0x3001, 1 << 40])
def test_a_length_beyond_the_buffer_is_refused(device: Path, module: Module, length: int) -> None:
    """The driver's length is checked before any byte is read."""
    module.length = length
    assert refused(device, module).code == "tee.answer"


@pytest.mark.parametrize("number", [errno.ENOTTY, errno.EMSGSIZE, errno.EACCES])
def test_a_driver_that_fails_is_reported(device: Path, module: Module, number: int) -> None:
    """The error has a code and a hint."""
    module.fails = number
    error = refused(device, module)
    assert error.code == "tee.unavailable"
    assert error.hint


def test_there_is_no_sealing_key() -> None:
    """Said by the capability and by the call."""
    tee = NitroTee()
    assert not tee.can_seal
    with pytest.raises(TeeError) as caught:
        tee.sealing_key("store")
    assert caught.value.code == "tee.no-sealing-key"
