"""The dstack guest agent on a real unix socket: quotes, reports, keys, and everything that is not one."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from attestation.simulated.authority import Authority, simulated_measurement
from enclave.secret import declassify
from enclave.tee import TeeError
from enclave.tee.dstack import DstackTee, unwrap

IMAGE = simulated_measurement("node")
REPORT_DATA = bytes(range(64))
KEY = "5a" * 32


class Agent:
    """Serves one connection after another; `answer` gets path and JSON and gives the bytes to send, or None to hang."""

    def __init__(self, path: Path, answer: Callable[[str, Any], bytes | None]) -> None:
        self.answer = answer
        self.requests: list[tuple[str, Any]] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(timeout=5)
        for connection in (*self._open, self._listener):
            connection.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            received = b""
            while b"\r\n\r\n" not in received:
                received += connection.recv(65536)
            head, _, body = received.partition(b"\r\n\r\n")
            length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
            while len(body) < length:
                body += connection.recv(65536)
            path = head.split(b" ")[1].decode()
            fields = json.loads(body)
            self.requests.append((path, fields))
            answer = self.answer(path, fields)
            if answer is None:
                self._open.append(connection)
                continue
            with connection, suppress(BrokenPipeError, ConnectionResetError):  # a client may stop reading
                connection.sendall(answer)


def ok(value: Any) -> bytes:
    """A 200 answer with JSON."""
    body = json.dumps(value).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., tuple[Agent, DstackTee]]]:
    """Starts an agent and gives it with its adapter."""
    agents: list[Agent] = []

    def start(answer: Callable[[str, Any], bytes | None], timeout_s: float = 5.0) -> tuple[Agent, DstackTee]:
        path = tmp_path / f"{len(agents)}.sock"
        agents.append(Agent(path, answer))
        return agents[-1], DstackTee(path, timeout_s=timeout_s)

    yield start
    for agent in agents:
        agent.close()


Serve = Callable[..., tuple[Agent, DstackTee]]


def refused(tee: DstackTee) -> TeeError:
    """The error of one quote."""
    with pytest.raises(TeeError) as caught:
        tee.quote(REPORT_DATA)
    return caught.value


def test_a_tdx_quote(serve: Serve, authority: Authority) -> None:
    """The quote comes as hex; the report data goes as it is, unhashed."""
    platform = authority.platform("dstack-tdx")

    def answer(_path: str, fields: Any) -> bytes:
        quote = platform.quote(bytes.fromhex(fields["report_data"]), mrtd=IMAGE)
        return ok({"quote": quote.hex(), "event_log": "[]", "vm_config": ""})

    agent, tee = serve(answer)
    assert REPORT_DATA in tee.quote(REPORT_DATA)
    assert agent.requests == [("/GetQuote", {"report_data": REPORT_DATA.hex()})]


def test_a_snp_report_inside_a_versioned_attestation(serve: Serve, authority: Authority) -> None:
    """On SEV-SNP `quote` is empty and the report lies behind four bytes."""
    machine = authority.amd.platform("dstack-snp", chip_id=bytes(range(64)))

    def answer(_path: str, fields: Any) -> bytes:
        report = machine.quote(bytes.fromhex(fields["report_data"]), mrtd=IMAGE)
        head = b"\x00\x03" + (len(report) << 2 | 1).to_bytes(2, "little")
        return ok({"quote": "", "attestation": (head + report + b"certificates").hex()})

    _, tee = serve(answer)
    report = tee.quote(REPORT_DATA)
    assert report[0x50:0x90] == REPORT_DATA
    assert len(report) == 1184


def test_genuine_versioned_attestations(shared_dstack: Path) -> None:
    """The recorded answers of real machines unwrap to a report and a quote."""
    platform, report = unwrap((shared_dstack / "sev_snp_attestation.bin").read_bytes())
    assert (platform, len(report)) == ("sev-snp", 1184)
    platform, quote = unwrap((shared_dstack / "tdx_attestation.bin").read_bytes())
    assert (platform, quote[:2]) == ("tdx", b"\x04\x00")


@pytest.fixture
def shared_dstack() -> Path:
    """Recorded answers, where this checkout has them."""
    path = Path(__file__).resolve().parents[4] / "shared" / "vectors" / "attestation" / "dstack"
    if not path.is_dir():
        pytest.skip("recorded guest-agent answers are not beside this checkout")
    return path


def test_evidence_over_other_data_never_leaves(serve: Serve, authority: Authority) -> None:
    """The agent serves every container of the guest: another one's quote is not ours."""
    platform = authority.platform("dstack-other")
    _, tee = serve(lambda _path, _fields: ok({"quote": platform.quote(bytes(64), mrtd=IMAGE).hex()}))
    assert refused(tee).code == "tee.answer"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"garbage",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nnot json",
        ok([]),
        ok({}),
        ok({"quote": 5}),
        ok({"quote": "zz"}),
        ok({"quote": "00"}),
        ok({"quote": "", "attestation": "00"}),
        ok({"quote": "", "attestation": "0103810000"}),
        ok({"quote": "", "attestation": "0002810000"}),
        ok({"quote": "", "attestation": "0003811200"}),
        ok({"quote": "", "attestation": "0003800000"}),
    ],
)
def test_other_answers_are_refused(serve: Serve, answer: bytes) -> None:
    """Whatever is not the stated form has one code."""
    _, tee = serve(lambda _path, _fields: answer)
    assert refused(tee).code == "tee.answer"


def test_an_error_status_is_reported(serve: Serve) -> None:
    """A failing agent is unavailable, not wrong."""
    _, tee = serve(lambda _path, _fields: b"HTTP/1.1 500 Internal Server Error\r\n\r\n{}")
    assert refused(tee).code == "tee.unavailable"


def test_an_agent_that_hangs_is_given_up(serve: Serve) -> None:
    """The wait is bounded."""
    _, tee = serve(lambda _path, _fields: None, timeout_s=0.2)
    assert refused(tee).code == "tee.unavailable"


def test_an_endless_answer_is_cut_off(serve: Serve) -> None:
    """The size is bounded before anything is parsed."""
    _, tee = serve(lambda _path, _fields: ok({"quote": "00" * (4 << 20)}))
    assert refused(tee).code == "tee.answer"


def test_no_socket_is_reported(tmp_path: Path) -> None:
    """Outside a dstack guest there is no socket, and the hint names it."""
    error = refused(DstackTee(tmp_path / "absent.sock"))
    assert error.code == "tee.unavailable"
    assert "absent.sock" in (error.hint or "")


def test_sealing_keys_follow_from_the_label(serve: Serve) -> None:
    """One key per label, the same each time, and never the agent's own bytes."""
    agent, tee = serve(lambda _path, fields: ok({"key": KEY if "a" in fields["path"][9:] else "6b" * 32}))
    with tee.sealing_key("a") as first, tee.sealing_key("a") as again, tee.sealing_key("b") as other:
        assert declassify(first) == declassify(again)
        assert declassify(first) != declassify(other)
        assert declassify(first) != bytes.fromhex(KEY)
    assert [request for request in agent.requests if request[0] != "/GetKey"] == []


@pytest.mark.parametrize("value", [{}, {"key": "5a"}, {"key": "zz" * 32}, {"key": 5}, {"key": "5a" * 33}])
def test_a_malformed_key_is_refused(serve: Serve, value: Any) -> None:
    """A key of another size or form is no key."""
    _, tee = serve(lambda _path, _fields: ok(value))
    with pytest.raises(TeeError) as caught:
        tee.sealing_key("a")
    assert caught.value.code == "tee.answer"
