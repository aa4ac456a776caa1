"""Real receipts of a cluster for tests that verify and forge them."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from attestation.canonical import canonical_json
from attestation.receipts.judge import ReceiptVerdict, judge
from attestation.roots import Roots
from enclave.errors import TokenError
from enclave.tokens import verify_token
from tests.kms.fabric import Fabric

WAIT_S = 25.0

Change = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A receipt and what its reader pins."""

    data: bytes
    cluster: bytes
    roots: Roots

    @property
    def value(self) -> dict[str, Any]:
        """A copy to change."""
        return copy.deepcopy(json.loads(self.data))

    def judge(self, *, message: bytes | None = None) -> ReceiptVerdict:
        """The verdict on it as it is."""
        return judge(self.data, cluster=self.cluster, roots=self.roots, message=message)

    def judge_changed(self, change: Change) -> ReceiptVerdict:
        """The verdict after a change."""
        value = self.value
        change(value)
        return judge(canonical_json(value), cluster=self.cluster, roots=self.roots)


async def fetch(fabric: Fabric, request_id: str, *, as_operator: bool = False) -> Made:
    """The receipt of a request, once peers have countersigned."""
    maker = fabric.operator_token if as_operator else fabric.token
    async with asyncio.timeout(WAIT_S):
        while True:
            token = maker("receipts.get", request_id, b"")
            status, data, _ = await fabric.send("GET", f"/v1/receipts/{request_id}", token=token)
            if status == 200:
                return made(fabric, data)
            assert json.loads(data)["code"] in ("receipt.pending", "receipt.unknown"), data
            await asyncio.sleep(0.1)


def made(fabric: Fabric, data: bytes) -> Made:
    """A receipt file with this cluster's pins."""
    return Made(data=data, cluster=fabric.roster.cluster_id, roots=Roots.of(fabric.roster.simulated_roots))


def request_id_of(fabric: Fabric, token: str, body: bytes) -> str:
    """The id of a request, for answers that do not tell it."""
    known = {fabric.agent_id: fabric.agent, fabric.operator_id: fabric.operator}
    try:
        verified = verify_token(
            token,
            body=body,
            cluster=fabric.roster.cluster_id,
            now=fabric.gateway.fleet.clock(),
            keys=lambda issuer, _kid: known[issuer].public,
            act=None,
        )
    except TokenError as error:
        raise AssertionError(error) from None
    return verified.request_id.hex()
