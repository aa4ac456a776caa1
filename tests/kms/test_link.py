"""Links to nodes: calls travel together, answers find their callers, every failure of a peer is an error in time."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable

import pytest

from enclave.wire.attestation import ChallengeReply
from enclave.wire.documents import ControlRequest
from enclave.wire.frame import Call, Fault
from enclave.wire.message import Empty, Message
from kms.errors import ConfigurationError, LinkError, NodeRefusal
from kms.fleet.link import NodeLink
from tests.kms.frame_server import FrameServer, status

Linked = Callable[[FrameServer], "asyncio.Future[NodeLink]"]


@pytest.fixture
async def link_to() -> AsyncIterator[Callable[..., NodeLink]]:
    """Makes started links and closes them."""
    links: list[NodeLink] = []

    def make(server: FrameServer, *, slot: str = "node-1") -> NodeLink:
        link = NodeLink(slot, server.url, on_up=lambda link: None, on_down=lambda link: None)
        link.start()
        links.append(link)
        return link

    yield make
    for link in links:
        await link.close()


async def up(link: NodeLink, generation: int = 1) -> None:
    """Wait until the link answers on that connection."""
    async with asyncio.timeout(5):
        while not link.connected or link.generation < generation:
            await asyncio.sleep(0.005)


def challenge_numbered() -> Callable[[Call], Message]:
    """Answers every challenge with its call's number."""

    def reply(call: Call) -> Message:
        return status() if call.verb == "status" else ChallengeReply(nonce=call.id.to_bytes(32, "big"))

    return reply


async def test_calls_of_one_tick_share_one_frame(link_to: Callable[..., NodeLink]) -> None:
    """A hundred calls made together are one frame, and each gets its own answer."""
    async with FrameServer(challenge_numbered()) as server:
        link = link_to(server)
        await up(link)
        server.frames.clear()
        replies = await asyncio.gather(*(link.call("challenge", Empty()) for _ in range(100)))
        assert [len(frame) for frame in server.frames] == [100]
        assert len({reply.nonce for reply in replies}) == 100


async def test_large_calls_are_split_into_several_frames(link_to: Callable[..., NodeLink]) -> None:
    """Ten calls of a mebibyte do not make one frame too large for the peer."""
    async with FrameServer() as server:
        server.reply = lambda call: status() if call.verb == "status" else Fault("no", "not today")
        link = link_to(server)
        await up(link)
        server.frames.clear()
        document = ControlRequest(document=bytes(1 << 20))
        answers = await asyncio.gather(*(link.call("control", document) for _ in range(10)), return_exceptions=True)
        assert all(isinstance(answer, NodeRefusal) for answer in answers)
        assert len(server.frames) > 1


async def test_refusal_keeps_code_hint_and_culprits(link_to: Callable[..., NodeLink]) -> None:
    """A fault arrives as the node meant it, with the slot it came from."""
    async with FrameServer() as server:
        fault = Fault("policy.denied", "no rule allows it", "ask the operator", ["node-2"])
        server.reply = lambda call: status() if call.verb == "status" else fault
        link = link_to(server)
        await up(link)
        with pytest.raises(NodeRefusal) as caught:
            await link.call("challenge", Empty())
        found = caught.value
        assert (found.code, found.hint, found.culprits, found.slot) == (
            "policy.denied", "ask the operator", ("node-2",), "node-1",
        )  # fmt: skip


async def test_silence_ends_in_a_timeout_and_a_late_answer_is_ignored(link_to: Callable[..., NodeLink]) -> None:
    """A call that is not answered fails in its time; the connection goes on."""
    async with FrameServer() as server:
        server.reply = lambda call: status() if call.verb == "status" else None
        link = link_to(server)
        await up(link)
        with pytest.raises(LinkError) as caught:
            await link.call("challenge", Empty(), timeout_s=0.05)
        assert caught.value.code == "node-timeout"
        assert link.in_flight == 0
        server.reply = challenge_numbered()
        assert (await link.call("challenge", Empty())).nonce


async def test_lost_connection_fails_what_waits_and_comes_back(link_to: Callable[..., NodeLink]) -> None:
    """Calls in flight fail at once, and the link connects again by itself as another generation."""
    async with FrameServer() as server:
        server.reply = lambda call: status() if call.verb == "status" else None
        link = link_to(server)
        await up(link)
        waiting = link.call("challenge", Empty(), timeout_s=30)
        await asyncio.sleep(0.02)
        server.drop()
        with pytest.raises(LinkError):
            await asyncio.wait_for(waiting, 1)
        assert not link.connected
        await up(link, generation=2)


async def test_call_without_connection_fails_at_once(link_to: Callable[..., NodeLink]) -> None:
    """Nobody waits for a node that is not there."""
    async with FrameServer() as server:
        port = server.port
    link = NodeLink("node-1", f"tls://127.0.0.1:{port}", on_up=lambda link: None, on_down=lambda link: None)
    link.start()
    with pytest.raises(LinkError):
        await link.call("challenge", Empty())
    await link.close()


async def test_node_that_starts_late_is_found(link_to: Callable[..., NodeLink]) -> None:
    """The link keeps trying until the node listens."""
    async with FrameServer() as server:
        port = server.port
    link = NodeLink("node-1", f"tls://127.0.0.1:{port}", on_up=lambda link: None, on_down=lambda link: None)
    link.start()
    await asyncio.sleep(0.2)
    async with FrameServer(port=port):
        await up(link)
        await link.close()


@pytest.mark.parametrize(
    "garbage",
    [struct.pack(">I", 1 << 31), struct.pack(">I", 3) + b"abc", struct.pack(">I", 1) + b"\xc1"],
    ids=["huge", "no-msgpack", "reserved-byte"],
)
async def test_garbage_ends_the_connection(link_to: Callable[..., NodeLink], garbage: bytes) -> None:
    """A peer that does not speak frames is dropped, not waited for."""
    async with FrameServer() as server:
        server.reply = lambda call: status() if call.verb == "status" else garbage
        link = link_to(server)
        await up(link)
        with pytest.raises(LinkError):
            await asyncio.wait_for(link.call("challenge", Empty(), timeout_s=30), 2)


async def test_reply_of_another_verb_is_refused(link_to: Callable[..., NodeLink]) -> None:
    """An answer that is not of its verb's type never reaches the caller."""
    async with FrameServer() as server:
        server.reply = lambda call: status()
        link = link_to(server)
        await up(link)
        with pytest.raises(LinkError):
            await link.call("challenge", Empty())


async def test_node_of_another_slot_is_not_accepted(link_to: Callable[..., NodeLink]) -> None:
    """A wrong address in front of the right cluster is noticed."""
    async with FrameServer(slot="node-2") as server:
        link = link_to(server, slot="node-1")
        await asyncio.sleep(0.3)
        assert not link.connected


async def test_connection_must_end_in_the_attested_key(link_to: Callable[..., NodeLink]) -> None:
    """Only the TLS key named in the evidence is admitted; another connection is dropped and made anew."""
    async with FrameServer() as server:
        link = link_to(server)
        await up(link)
        link.refuses = ""  # as its first heartbeat would say
        assert not link.usable
        assert link.admit(server.spki)
        assert link.usable
        assert not link.admit(bytes(32))
        await asyncio.sleep(0.02)
        assert not link.usable
        await up(link, generation=2)
        assert not link.usable


async def test_long_silence_makes_the_link_connect_anew(
    link_to: Callable[..., NodeLink], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that vanished without a word is given up on after a while."""
    monkeypatch.setattr("kms.fleet.link.SILENCE_S_MAX", 0.05)
    async with FrameServer() as server:
        link = link_to(server)
        await up(link)
        link.note_timeout()
        assert link.suspect
        await asyncio.sleep(0.1)
        link.note_timeout()
        await up(link, generation=2)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "tls://127.0.0.1", "tls://:7000", "nonsense"])
async def test_only_tls_urls_are_links(url: str) -> None:
    """A node URL says tls, host and port."""
    with pytest.raises(ConfigurationError):
        NodeLink("node-1", url, on_up=lambda link: None, on_down=lambda link: None)
