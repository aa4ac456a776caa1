"""A gateway that lost its database learns keys from the nodes that hold them, and believes no single node."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import msgspec

from enclave.wire.documents import CertificateSignature, Holdings, KeyHolding
from enclave.wire.message import Message
from kms.fleet.adoption import SETTLE_S, adopt
from tests.kms.fabric import Fabric


async def test_keys_come_back_from_their_holders(tmp_path: Path) -> None:
    """An empty database: the key is known again with its certificate; one that a lone node invents is not."""
    fabric = Fabric(tmp_path, count=3)
    await fabric.start()
    try:
        record = await fabric.create_key(shares_needed=2)
        await fabric.stop_gateway()
        shutil.rmtree(fabric.layout.gateway)
        fabric.layout.gateway.mkdir()
        await fabric.start_gateway()
        await fabric.trusted(*fabric.slots)
        gateway = fabric.gateway
        assert await gateway.keyring.get(record["key"]) is None
        name = (record["key"], 1)
        # Young keys are left to whoever is making them.
        assert await adopt(gateway.fleet, gateway.store, gateway.keyring, {name}) == []
        gateway.fleet.clock = lambda: int(time.time()) + int(SETTLE_S) + 60

        def lies(verb: str, _request: Message, reply: Message) -> Message:
            if verb == "holdings" and isinstance(reply, Holdings):
                extra = KeyHolding(key="key_" + "a" * 26, version=1, epoch=1, state="active")
                return msgspec.structs.replace(reply, keys=[*reply.keys, extra])
            if verb == "certificate" and isinstance(reply, CertificateSignature):
                body = reply.body.replace(b'"treasury"', b'"trickery"')
                return msgspec.structs.replace(reply, body=body)
            return reply

        fabric.corrupt("node-1", lies)
        invented = ("key_" + "a" * 26, 1)
        (found,) = await adopt(gateway.fleet, gateway.store, gateway.keyring, {name, invented})
        assert (found.key, found.certificate.name) == (record["key"], "treasury")
        assert {item.slot for item in found.record.signatures} == {"node-2", "node-3"}
        stored: Any = await gateway.store.key(record["key"])
        assert stored is not None
        assert await gateway.keyring.get(invented[0]) is None
    finally:
        await fabric.close()
