"""Somebody on the network between gateway and node ends TLS himself: no request may reach him."""

from __future__ import annotations

import asyncio
import os
import time

import msgspec
import pytest

from attestation.errors import CodedError
from enclave.wire.attestation import Presentation
from enclave.wire.frame import Call, Fault
from enclave.wire.message import Message
from enclave.wire.verbs import decode_request
from kms.errors import KmsError
from kms.fleet.admittance import Admittance
from kms.fleet.sources import WatchedFiles
from tests.kms.fabric import Fabric
from tests.kms.frame_server import FrameServer

pytestmark = pytest.mark.asyncio(loop_scope="module")

VICTIM = "node-3"
CONNECTION = 900
"""Number under which the real node knows the interceptor."""


class Interceptor(FrameServer):
    """Relays every call to the real node under its own TLS key, and puts that key into the node's evidence."""

    def __init__(self, fabric: Fabric, *, lies: bool) -> None:
        super().__init__(self._relay, slot=VICTIM)
        self._fabric = fabric
        self._lies = lies
        self.verbs: list[str] = []

    def _relay(self, call: Call) -> Message | Fault:
        self.verbs.append(call.verb)
        node = self._fabric.nodes[VICTIM]
        try:
            reply = node.handle(CONNECTION, call.verb, decode_request(call.verb, call.body), int(time.time()))
        except CodedError as error:
            return Fault(error.code, error.detail)
        node.commit()
        if isinstance(reply, Presentation) and self._lies:
            return msgspec.structs.replace(reply, identity=msgspec.structs.replace(reply.identity, tls_spki=self.spki))
        return reply


@pytest.mark.parametrize("lies", [False, True])
async def test_an_intercepted_connection_is_never_used(fabric: Fabric, lies: bool) -> None:
    """Evidence that names another TLS key, or that was altered to name this one, closes the door."""
    key = await fabric.create_key()
    link = fabric.gateway.fleet.links[VICTIM]
    port, before = link.port, link.generation
    async with Interceptor(fabric, lies=lies) as between:
        link.port = between.port
        link.reset()
        async with asyncio.timeout(5):
            while link.generation == before or "evidence" not in between.verbs:
                await asyncio.sleep(0.02)
        await asyncio.sleep(2.5)  # the gateway has read the verdict tables anew
        for slot in ("node-1", "node-2"):
            await fabric.stop_node(slot)
        status, _ = await fabric.sign(key, b"for the nodes' eyes only")
        assert status == 503
        assert not link.usable
        assert not {"sign", "nonces", "partial", "release", "assemble", "ceremony-start"} & set(between.verbs)
        link.port = port
    for slot in ("node-1", "node-2"):
        await fabric.start_node(slot)
    await fabric.trusted(*fabric.slots)


async def test_evidence_counts_for_the_gateways_own_nonce(fabric: Fabric) -> None:
    """Evidence for somebody else's nonce, or that no registry stands behind, opens nothing."""
    gateway, nonce = fabric.gateway, os.urandom(32)
    registry = gateway.registry
    judge = Admittance(fabric.roster, collateral=gateway.collateral, registry=registry, clock=gateway.fleet.clock)
    presentation = await gateway.relay.desks[VICTIM].ask([nonce])
    judge.check(presentation, nonce)
    blind = Admittance(
        fabric.roster, collateral=gateway.collateral, registry=WatchedFiles([]), clock=gateway.fleet.clock
    )
    for other, asked, code in (
        (judge, os.urandom(32), "presentation.nonce"),
        (blind, nonce, "evidence.unjudged"),
    ):
        with pytest.raises(KmsError) as caught:
            other.check(presentation, asked)
        assert caught.value.code == code
