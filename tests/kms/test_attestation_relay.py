"""Trust between nodes is kept current by itself: few quotes, renewed in time, again after a reboot, never by force."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from enclave.errors import RefusedError
from enclave.wire.message import Message
from tests.kms.fabric import Fabric

pytestmark = pytest.mark.asyncio(loop_scope="module")


def count_quotes(fabric: Fabric, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each node's platform is asked for a quote from now on."""
    counts: Counter[str] = Counter()
    for slot, node in fabric.nodes.items():
        original = node.tee.quote

        def quote(report_data: bytes, slot: str = slot, original: object = original) -> bytes:
            counts[slot] += 1
            return bytes(original(report_data))  # type: ignore[operator]

        monkeypatch.setattr(node.tee, "quote", quote)
    return counts


def nonces_held(fabric: Fabric) -> dict[tuple[str, str], bytes]:
    """Which nonce each verifier's row of each peer rests on."""
    return {
        (verifier, peer): row.nonce
        for verifier, node in fabric.nodes.items()
        for peer, row in node.verdicts._rows.items()
        if peer != verifier
    }


async def test_one_quote_serves_all_verifiers(fabric: Fabric, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five nodes that judge each other anew cost five quotes, not twenty."""
    before = nonces_held(fabric)
    counts = count_quotes(fabric, monkeypatch)
    fabric.gateway.relay.recheck(fabric.slots)
    async with asyncio.timeout(5):
        while any(before[pair] == nonce for pair, nonce in nonces_held(fabric).items()):
            await asyncio.sleep(0.02)
    assert counts == dict.fromkeys(fabric.slots, 1)


async def test_evidence_is_renewed_before_it_ages(fabric: Fabric, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any request the relay renews every pair in its time, still with one quote per node and round."""
    monkeypatch.setattr("kms.fleet.attestation.RENEW_MIN_S", 0.4)
    monkeypatch.setattr("kms.fleet.attestation.RENEW_MAX_S", 0.5)
    counts = count_quotes(fabric, monkeypatch)
    fabric.gateway.relay.recheck(fabric.slots)
    await asyncio.sleep(0.2)
    before = nonces_held(fabric)
    async with asyncio.timeout(10):
        while any(before[pair] == nonce for pair, nonce in nonces_held(fabric).items()):
            await asyncio.sleep(0.02)
    assert max(counts.values()) <= 4
    await fabric.trusted(*fabric.slots)


async def test_rebooted_node_is_trusted_again(fabric: Fabric) -> None:
    """A new boot is a new identity: peers judge it anew, and sessions to it are new."""
    old = fabric.nodes["node-3"].identity.public.boot_counter
    await fabric.stop_node("node-3")
    await fabric.start_node("node-3")
    await fabric.trusted(*fabric.slots)
    row = fabric.gateway.fleet.verdicts.row("node-1", "node-3")
    assert row is not None
    assert (row.result, row.boot_counter) == ("trusted", old + 1)


async def test_refused_presentation_is_tried_again_with_pauses(fabric: Fabric, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that cannot judge for a while is asked again, not hammered, and trust comes back."""
    refused: Counter[str] = Counter()

    def overloaded(verb: str, _request: Message, reply: Message) -> Message:
        if verb == "present":
            refused[verb] += 1
            raise RefusedError("busy", code="evidence.rate")
        return reply

    before = nonces_held(fabric)
    fabric.corrupt("node-1", overloaded)
    fabric.gateway.relay.recheck(["node-1", "node-2"])
    await asyncio.sleep(1.2)
    assert 1 <= refused["present"] <= 4
    fabric.corrupt("node-1", None)
    async with asyncio.timeout(10):
        while nonces_held(fabric)["node-1", "node-2"] == before["node-1", "node-2"]:
            await asyncio.sleep(0.05)


async def test_connection_that_ends_elsewhere_is_dropped(fabric: Fabric) -> None:
    """Evidence that names another TLS key than the connection's closes the connection: nothing is sent there."""
    link = fabric.gateway.fleet.links["node-2"]
    generation = link.generation
    assert link._connection is not None
    link._connection.spki = bytes(32)
    fabric.gateway.relay.recheck(["node-1", "node-2"])
    async with asyncio.timeout(10):
        while link.generation == generation or not link.usable:
            await asyncio.sleep(0.02)
    await fabric.trusted(*fabric.slots)
