"""Ask one node directly over its own port, as a gateway would: to show that the node decides."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import msgspec

from enclave.wire.frame import Call, Fault, FrameReader, decode_answers, frame
from enclave.wire.message import encode
from enclave.wire.verbs import VERBS
from kms.dev.cluster import DevCluster

TIMEOUT_S = 10.0


async def ask_node(cluster: DevCluster, slot: str, verb: str, fields: dict[str, Any]) -> Fault | None:
    """The node's refusal, or None if it carried the call out."""
    entry = cluster.roster.slot(slot)
    # The node's certificate is of this boot and bound by its evidence; who relays need not check it.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    reader, writer = await asyncio.open_connection(entry.host, entry.port, ssl=context)
    try:
        body = msgspec.Raw(encode(VERBS[verb][0](**fields)))
        writer.write(frame([Call(1, verb, body)]))
        await writer.drain()
        frames = FrameReader()
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                for content in frames.feed(await reader.read(1 << 16)):
                    for answer in decode_answers(content):
                        return answer.fault
    finally:
        writer.close()
