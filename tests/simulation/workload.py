"""What honest clients ask, and what they remember: every token they signed and every answer they got.

Rules kept: a client that hears nothing repeats the very same request, as the SDK does; the book is the truth about
what was authorised.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from attestation.canonical import canonical_json
from attestation.envelope import b64url
from enclave.ceremonies.facts import Kind
from enclave.ceremonies.orders import CeremonyOrder, KeyRef
from enclave.ids import new_id
from enclave.restrictions import Freeze, Scope
from tests.simulation.cluster import Cluster, message_body

if TYPE_CHECKING:
    from tests.simulation.gateway_host import GatewayHost

REPEAT_S = 3.0
"""Pause before a client sends a request again."""

TRIES = 3


@dataclass(slots=True, kw_only=True, eq=False)
class Request:
    """One authorised request."""

    token: str
    body: bytes
    verb: str
    key: str
    """Name of the key, as in Cluster.keys."""
    path: str
    issued_at: float
    nonce: int | None = None
    """EVM nonce of the transaction."""
    answers: list[tuple[float, int, Any]] = field(default_factory=list)

    @property
    def succeeded(self) -> bool:
        """Whether a client holds a result."""
        return any(status == 200 for _, status, _ in self.answers)


class Book:
    """Everything clients did."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.by_token: dict[str, Request] = {}
        self.documents: list[tuple[float, Any, int | None]] = []
        """(when answered, document, status) of control documents handed in."""
        self.orders: list[tuple[CeremonyOrder, int | None, Any]] = []
        self.sequence = 10
        self._count = 0
        self.on_done: list[Callable[[Request], None]] = []

    @property
    def requests(self) -> list[Request]:
        """In the order they were signed."""
        return list(self.by_token.values())

    # --- signatures ------------------------------------------------------------------------------------

    def message(self, key: str) -> Request:
        """A fresh message to be signed with an Ed25519 key."""
        self._count += 1
        return self._request(key, "sign", message_body(b"message %d" % self._count))

    def transaction(self, nonce: int) -> Request:
        """A fresh EVM transaction under a nonce that another one may use as well."""
        self._count += 1
        transaction = {
            "type": 2,
            "chain_id": 1,
            "nonce": nonce,
            "max_fee_per_gas": "1000000000",
            "max_priority_fee_per_gas": "1",
            "gas": 21000,
            "to": "0x" + "11" * 20,
            "value": str(self._count),
            "data": "0x",
            "access_list": [],
        }
        body = canonical_json({"kind": "evm_transaction", "transaction": transaction})
        request = self._request("evm", "sign", body)
        request.nonce = nonce
        return request

    def decryption(self, ciphertext: str) -> Request:
        """A ciphertext to be opened for the gateway."""
        return self._request("hpke", "decrypt", canonical_json({"ciphertext": ciphertext, "context": {}}))

    def _request(self, key: str, verb: str, body: bytes) -> Request:
        cluster = self.cluster
        name = cluster.keys[key]["key"]
        token = cluster.token(verb, f"{name}/1", body)
        request = Request(
            token=token,
            body=body,
            verb=verb,
            key=key,
            path=f"/v1/keys/{name}/{verb}",
            issued_at=cluster.loop.time(),
        )
        self.by_token[token] = request
        return request

    async def carry_out(self, request: Request, gateway: GatewayHost, *, tries: int = TRIES) -> None:
        """As a client does: send, and send again while there is no answer that settles it."""
        for number in range(tries):
            status = await self.send_once(request, gateway)
            if status is not None and status < 500 and status not in (409, 429):
                break
            if number + 1 < tries:
                await asyncio.sleep(REPEAT_S)
        for listener in self.on_done:
            listener(request)

    async def send_once(self, request: Request, gateway: GatewayHost) -> int | None:
        """One exchange; None without an answer."""
        observer = self.cluster.observer
        try:
            status, answer = await gateway.send("POST", request.path, token=request.token, body=request.body)
        except (ConnectionError, TimeoutError) as error:
            observer.event(f"client: {request.verb} {request.key} got {type(error).__name__}")
            return None
        request.answers.append((self.cluster.loop.time(), status, answer))
        code = answer.get("code") if isinstance(answer, dict) else None
        observer.event(f"client: {request.verb} {request.key} got {status} {code or ''}")
        observer.codes[f"http {status} {code or ''}".strip()] += 1
        return status

    # --- what operators do -----------------------------------------------------------------------------

    async def put(self, gateway: GatewayHost, method: str, path: str, document: Any) -> None:
        """Hand in a document."""
        try:
            status, answer = await self.cluster.hand_in(gateway, method, path, document)
        except (ConnectionError, TimeoutError):
            status, answer = None, None
        self.documents.append((self.cluster.loop.time(), document, status))
        code = answer.get("code", "") if isinstance(answer, dict) else ""
        self.cluster.observer.event(f"operator: {document.kind} {getattr(document, 'state', '')} got {status} {code}")

    def freeze(self, key: str, state: str) -> Freeze:
        """Stop a key, or let it go."""
        self.sequence += 1
        return Freeze(
            cluster=self.cluster.roster.cluster_id,
            scope=Scope.KEY,
            target=self.cluster.keys[key]["key"],
            state=state,
            sequence=self.sequence,
            issued_at=self.cluster.now,
        )

    def order(self, action: Kind, key: str, epoch: int, **changes: Any) -> CeremonyOrder:
        """An order about one key in the epoch it is in."""
        now = self.cluster.now
        return CeremonyOrder(
            cluster=self.cluster.roster.cluster_id,
            order=new_id("op"),
            action=action,
            keys=(KeyRef(key=self.cluster.keys[key]["key"], version=1, epoch=epoch),),
            issued_at=now,
            expires_at=now + 3600,
            **changes,
        )

    async def carry_order(self, gateway: GatewayHost, order: CeremonyOrder) -> int | None:
        """Hand in an order; it goes on by itself."""
        import json

        cluster = self.cluster
        envelope = json.loads(order.sign(cluster.operator))
        body = canonical_json({"document": envelope})
        token = cluster.token("documents.put", "*", body, operator=True)
        try:
            status, answer = await gateway.send("POST", "/v1/ceremonies", token=token, body=body)
        except (ConnectionError, TimeoutError):
            status, answer = None, None
        self.orders.append((order, status, answer))
        code = answer.get("code", "") if isinstance(answer, dict) else ""
        cluster.observer.event(f"operator: {order.action} got {status} {code}")
        return status


def encrypt_body(plaintext: bytes) -> bytes:
    """The body of an encryption."""
    return canonical_json({"plaintext": b64url(plaintext), "context": {}})
