"""A node that gives wrong partial results is named to the caller by proof, and left out of the next request."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from enclave.group.ed25519 import ED25519
from enclave.handlers import decrypt as handler
from kms.client import AgentCredentials, Client
from kms.client.trust import TrustAnchors
from tests.kms.fabric import Fabric

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fabric(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fabric]:
    """Five nodes and a gateway in this process."""
    made = Fabric(tmp_path_factory.mktemp("fabric"))
    try:
        await made.start()
        yield made
    finally:
        await made.close()


async def test_the_liar_is_named_and_the_plaintext_comes(fabric: Fabric, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of five holders lie: both are proven wrong, none else, and the third set opens."""
    record = await fabric.create_key(spec="hpke-x25519", usage="decrypt")
    liars = {slot: fabric.nodes[slot].keys.get(record["key"], 1).share for slot in ("node-2", "node-5")}
    honest = handler.partial_point

    def lying(share: Any, index: int, ids: Any, enc: bytes) -> bytes:
        is_liar = any(share is other for other in liars.values())
        return honest(ED25519.random_scalar() if is_liar else share, index, ids, enc)

    monkeypatch.setattr(handler, "partial_point", lying)
    trust = TrustAnchors(cluster_id=fabric.roster.cluster_id, simulated_roots=fabric.roster.simulated_roots)
    credentials = AgentCredentials(issuer=fabric.agent_id, key=fabric.agent)
    named: set[str] = set()
    async with Client.connect(url=fabric.url, trust=trust, credentials=credentials) as client:
        while named != set(liars):  # until chance chose both
            sealed = await client.decryption.encrypt(record["key"], b"the launch code")
            opened = await client.decryption.decrypt_checked(record["key"], sealed)
            assert opened.plaintext == b"the launch code"
            assert set(opened.culprits) <= set(liars)
            assert not set(opened.signers) & set(liars)
            named |= set(opened.culprits)
