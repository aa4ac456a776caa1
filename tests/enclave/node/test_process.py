"""One real `kms-node` process with a simulated platform, spoken to in frames over TLS."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import resource
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from attestation.simulated.service import Launch, SimulatedPlatformService
from enclave.documents import sign_document
from enclave.presentation import check_presentation, verifier_for
from enclave.server import CONNECTIONS_MAX
from enclave.wire.attestation import CollateralRequest, EvidenceRequest, RegistryRequest
from enclave.wire.documents import ControlRequest
from enclave.wire.frame import Answer, Call, FrameReader, decode_answers, frame
from enclave.wire.message import Empty, Message, encode
from enclave.wire.signing import NoncesRequest
from enclave.wire.verbs import decode_reply
from tests.enclave.node.world import MRTD, World

pytestmark = pytest.mark.cluster

START_S = 20.0
"""Longest wait for a process to listen, on a slow shared core."""


class Peer:
    """A gateway's side of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._frames = FrameReader()
        self._answers: list[Answer] = []
        certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        key = x509.load_der_x509_certificate(certificate).public_key()
        spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.spki = hashlib.sha256(spki).digest()
        self.version = writer.get_extra_info("ssl_object").version()

    @classmethod
    async def connect(cls, port: int) -> Peer:
        """A TLS connection whose certificate is checked later, against evidence."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return cls(*await asyncio.open_connection("127.0.0.1", port, ssl=context))

    async def send(self, *calls: tuple[str, Message]) -> list[Answer]:
        """All calls in one frame; their answers by id."""
        raw = [Call(i, verb, msgspec.Raw(encode(message))) for i, (verb, message) in enumerate(calls)]
        self._writer.write(frame(raw))
        while len(self._answers) < len(calls):
            data = await asyncio.wait_for(self._reader.read(1 << 16), 10)
            if not data:
                raise ConnectionResetError
            for body in self._frames.feed(data):
                self._answers += decode_answers(body)
        answers, self._answers = sorted(self._answers, key=lambda answer: answer.id), []
        return answers

    async def call(self, verb: str, message: Message | None = None) -> Any:
        """One call; returns the reply or the fault's code."""
        (answer,) = await self.send((verb, message or Empty()))
        return answer.fault.code if answer.fault is not None else decode_reply(verb, answer.body)

    async def raw(self, data: bytes) -> bytes:
        """Bytes as they are; returns what comes back until the node hangs up."""
        self._writer.write(data)
        with contextlib.suppress(ConnectionResetError, ssl.SSLError):
            return await asyncio.wait_for(self._reader.read(), 10)
        return b""

    async def close(self) -> None:
        """Hang up."""
        self._writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await self._writer.wait_closed()


class Process:
    """A running kms-node."""

    def __init__(self, world: World, slot: str) -> None:
        self.world, self.slot = world, slot
        self.directory = world.directory / slot
        self.log = self.directory / "log"
        self.directory.mkdir(exist_ok=True)
        (self.directory / "roster.json").write_bytes(world.roster.sign(world.operator))
        self.socket = self.directory / "tee.sock"
        self.config = self.directory / "node.json"
        self.configure()

    def configure(self, **changes: Any) -> None:
        """Write the configuration."""
        value = {
            "slot": self.slot,
            "data": "data",
            "roster": "roster.json",
            "listen": "127.0.0.1:0",
            "tee": {"kind": "simulated", "socket": "tee.sock"},
            "log_level": "debug",
        }
        self.config.write_text(json.dumps(value | changes))

    def service(self) -> SimulatedPlatformService:
        """The platform this node runs on."""
        launch = Launch(mrtd=MRTD, mrconfigid=self.world.roster.configuration)
        return SimulatedPlatformService(self.world.platform(self.slot), launch, self.socket)

    async def start(self, *, file_bytes_max: int | None = None) -> int:
        """Start the process (on a "disk" that is full at `file_bytes_max`); returns its port once it listens."""

        def full_disk() -> None:
            if file_bytes_max is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes_max, file_bytes_max))

        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", "from enclave.cli import main; main()", "serve", "--config", str(self.config)],
                stdout=subprocess.DEVNULL,
                stderr=log,
                preexec_fn=full_disk,
            )
        async with asyncio.timeout(START_S):
            while True:
                for line in self.lines():
                    if line["event"] == "listening":
                        return int(line["listen"].rpartition(":")[2])
                if self.process.poll() is not None:
                    raise AssertionError(self.log.read_text())
                await asyncio.sleep(0.05)

    def lines(self) -> list[dict[str, Any]]:
        """The log so far."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End the process; returns its exit status."""
        self.process.send_signal(number)
        return await asyncio.to_thread(self.process.wait, 15)

    def memory_mib(self) -> float:
        """Resident memory."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in text.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


@pytest.fixture
async def node(world: World) -> AsyncIterator[Process]:
    """A node's files and platform; the test starts the process."""
    made = Process(world, "node-1")
    async with made.service():
        yield made
        if hasattr(made, "process") and made.process.poll() is None:
            made.process.kill()
            made.process.wait()


async def test_a_node_serves_frames_whose_tls_key_its_evidence_names(node: Process, world: World) -> None:
    """Evidence fetched over TLS 1.3 verifies as a client would verify it and names the connection's own key."""
    peer = await Peer.connect(await node.start())
    blobs = world.authority.collateral(world.now)
    assert await peer.call("collateral", CollateralRequest(blobs=blobs))
    assert (await peer.call("registry", RegistryRequest(snapshot=world.snapshot()))).sequence > 0
    nonce = os.urandom(32)
    presentation = await peer.call("evidence", EvidenceRequest(nonces=[nonce]))
    from attestation.collateral import Collateral

    standing = check_presentation(
        presentation,
        roster=world.roster,
        own_nonce=nonce,
        verifier=verifier_for(world.roster),
        collateral=Collateral.of(*blobs),
        snapshot=world.registry.verified_snapshot(world.now, 86_400),
        now=world.now,
    )
    assert standing.identity.tls_spki == peer.spki
    assert peer.version == "TLSv1.3"
    verdicts = (await peer.call("verdicts")).verdicts
    assert [row.result for row in verdicts if row.slot == "node-1"] == ["trusted"]
    assert node.memory_mib() < 100
    await peer.close()


async def test_a_frame_of_many_calls_is_answered_in_full(node: Process, world: World) -> None:
    """Calls of one frame all get their own answer, refused and malformed ones included."""
    peer = await Peer.connect(await node.start())
    document = sign_document(world.agent_document(), world.operator)
    calls: list[tuple[str, Message]] = [("status", Empty())] * 200
    calls += [("control", ControlRequest(document=document)), ("sorcery", Empty()), ("nonces", Empty())]
    answers = await peer.send(*calls)
    assert [answer.fault for answer in answers[:201]] == [None] * 201
    assert [answer.fault.code for answer in answers[201:] if answer.fault] == ["wire.unknown-verb", "wire.malformed"]
    await peer.close()


async def test_a_restart_keeps_documents_and_raises_the_boot_counter(node: Process, world: World) -> None:
    """SIGTERM ends the process with status 0; SIGKILL loses nothing that was acknowledged."""
    peer = await Peer.connect(await node.start())
    document = sign_document(world.agent_document(), world.operator)
    acknowledged = await peer.call("control", ControlRequest(document=document))
    before = await peer.call("status")
    assert await node.stop(signal.SIGKILL) == -signal.SIGKILL
    again = await Peer.connect(await node.start())
    status = await again.call("status")
    assert status.boot_counter == before.boot_counter + 1
    assert status.identity_key != before.identity_key
    assert (await again.call("holdings")).documents == [acknowledged.digest]
    assert await node.stop() == 0
    assert node.lines()[-1]["event"] == "stopped"


async def test_garbage_ends_only_its_own_connection(node: Process) -> None:
    """Oversized and malformed frames are hung up on, and the node keeps serving others."""
    port = await node.start()
    for data in (b"\xff\xff\xff\xff", b"\0\0\0\x03abc", frame([]) + b"\0\0\0\x01\xc1"):
        peer = await Peer.connect(port)
        assert await peer.raw(data) == b""
        await peer.close()
    peer = await Peer.connect(port)
    assert (await peer.call("status")).slot == "node-1"
    await peer.close()


async def test_nonces_die_with_their_connection(node: Process) -> None:
    """Each connection has its own pool of bounded size."""
    port = await node.start()
    peer = await Peer.connect(port)
    for _ in range(4):
        assert len((await peer.call("nonces", NoncesRequest(suite="ed25519", count=256))).nonces) == 256
    assert await peer.call("nonces", NoncesRequest(suite="ed25519", count=1)) == "nonces.full"
    await peer.close()
    other = await Peer.connect(port)
    assert len((await other.call("nonces", NoncesRequest(suite="ed25519", count=1))).nonces) == 1
    await other.close()


async def test_the_log_says_only_what_is_listed(node: Process, world: World) -> None:
    """No body, token or document of a request appears in the log, and every field is a known one."""
    from enclave.logs import FIELDS

    peer = await Peer.connect(await node.start())
    document = sign_document(world.agent_document(), world.auditor)
    assert await peer.call("control", ControlRequest(document=document)) == "document.role"
    await peer.close()
    await node.stop()
    lines = node.lines()
    assert {"listening", "refused", "stopped"} <= {line["event"] for line in lines}
    assert {name for line in lines for name in line} <= FIELDS
    assert world.agent_id not in node.log.read_text()


async def test_nothing_is_acknowledged_that_is_not_on_disk(node: Process, world: World) -> None:
    """When the disk fails the node ends without answering, and every earlier acknowledgement holds after a restart."""
    peer = await Peer.connect(await node.start(file_bytes_max=256 << 10))
    acknowledged = []

    async def fill() -> None:
        for number in range(1, 400):
            rules = tuple({"name": f"rule-{i}", "effect": "deny", "kinds": ["message"]} for i in range(20))
            document = sign_document(world.policy_document(*rules, version=number), world.operator)
            acknowledged.append((await peer.call("control", ControlRequest(document=document))).digest)

    with pytest.raises((ConnectionError, ssl.SSLError)):
        await fill()
    assert await asyncio.to_thread(node.process.wait, 15) == 3
    assert node.lines()[-1]["code"] == "storage.failed"
    assert len(acknowledged) > 5
    again = await Peer.connect(await node.start())
    assert (await again.call("holdings")).documents == [acknowledged[-1]]
    await again.close()


async def test_half_sent_frames_cannot_fill_memory(node: Process) -> None:
    """Connections that announce large frames and never finish them are hung up on before memory runs out."""
    port = await node.start()
    peers = [await Peer.connect(port) for _ in range(10)]
    chunk = (8 << 20).to_bytes(4, "big") + bytes((8 << 20) - 1)
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        for peer in peers:
            peer._writer.write(chunk)
            await asyncio.wait_for(peer._writer.drain(), 10)
    async with asyncio.timeout(10):
        while not any(line["event"] == "hung-up" for line in node.lines()):
            await asyncio.sleep(0.05)
    assert {line["code"] for line in node.lines() if line["event"] == "hung-up"} == {"too-much-buffered"}
    for peer in peers:
        peer._writer.transport.abort()
    fresh = await Peer.connect(port)
    assert (await fresh.call("status")).slot == "node-1"
    await fresh.close()


async def test_connections_are_bounded(node: Process) -> None:
    """One connection too many is refused, and those that exist go on."""
    port = await node.start()
    peers = [await Peer.connect(port) for _ in range(CONNECTIONS_MAX)]
    with pytest.raises((ConnectionError, ssl.SSLError)):
        await (await Peer.connect(port)).call("status")
    assert (await peers[0].call("status")).slot == "node-1"
    for peer in peers:
        await peer.close()


def _no_config(node: Process) -> None:
    node.config.write_text("{")


def _no_roster(node: Process) -> None:
    (node.directory / "roster.json").unlink()


def _unknown_slot(node: Process) -> None:
    node.configure(slot="node-9")


def _no_platform(node: Process) -> None:
    node.configure(tee={"kind": "simulated", "socket": "nobody.sock"})


def _damaged_store(node: Process) -> None:
    (node.directory / "data").mkdir()
    (node.directory / "data" / "node.db").write_bytes(b"damaged" * 1000)


@pytest.mark.parametrize(
    ("damage", "status", "code"),
    [
        (_no_config, 2, "config.malformed"),
        (_no_roster, 2, "config.roster"),
        (_unknown_slot, 2, "roster.slot"),
        (_no_platform, 3, "tee.unavailable"),
        (_damaged_store, 3, "storage.corrupt"),
    ],
)
async def test_a_node_that_cannot_be_sure_of_itself_does_not_start(
    node: Process, damage: Callable[[Process], None], status: int, code: str
) -> None:
    """Each missing or damaged part ends the process with its own code and exit status."""
    damage(node)
    with pytest.raises(AssertionError, match=code):
        await node.start()
    assert node.process.returncode == status


async def test_check_tells_whether_a_stopped_node_would_start(node: Process) -> None:
    """`kms-node check` opens everything without serving or claiming a boot."""
    await node.start()
    await node.stop()
    command = [sys.executable, "-c", "from enclave.cli import main; main()", "check", "--config", str(node.config)]
    for _ in range(2):
        result = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=20)
        assert result.returncode == 0, result.stderr
        assert json.loads(result.stdout)["values"] == {"boot": 1, "boot-chain": 1, "roster-state": 1}
