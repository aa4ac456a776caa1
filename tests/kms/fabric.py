"""A whole cluster inside the test's event loop: five node servers over TLS, and a gateway over HTTP.

Everything is the production code with the simulated authority below it; what a test breaks, it breaks by
changing what one node answers (`faults`) or by taking nodes away.
"""

from __future__ import annotations

import asyncio
import io
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from attestation.canonical import canonical_json
from attestation.envelope import Envelope, b64url
from attestation.proof_of_cloud.registry import Registry
from attestation.simulated.authority import Authority
from attestation.simulated.service import Launch, SimulatedPlatformService
from enclave.ceremonies.steps import Work
from enclave.documents import Agent, Document, KeyState, PolicyDocument, sign_document
from enclave.ids import new_id
from enclave.roster import Roster
from enclave.seal import SealedStore
from enclave.server import NodeServer
from enclave.signing_key import SigningKey
from enclave.state import NodeState
from enclave.tls import new_server_context
from enclave.tokens import make_token
from enclave.wire.message import Message
from kms.app import build
from kms.client import OperatorCredentials
from kms.config import GatewayConfig
from kms.dev.configs import write_gateway_config
from kms.dev.create import create
from kms.dev.layout import Layout
from kms.dev.machines import MEASUREMENT, machine
from kms.gateway import Gateway
from kms.observe import configure
from kms.store.sqlite import SqliteStore
from tests.enclave.node.world import LocalTee

READY_S = 20.0

Fault = Callable[[str, Message, Message], Message]
"""(verb, request, honest reply) -> what the corrupted node answers; it may raise, too."""


def _defects_only(event: str, **facts: object) -> None:
    """Of a node's log only its own defects are worth showing here."""
    if event == "internal-error":
        print(event, facts, file=sys.stderr)


class _Node(NodeState):
    """A node whose answers a test may corrupt."""

    fault: Fault | None = None

    def begin(self, connection: int, verb: str, request: Message, now: int) -> Message | Work[Message]:
        """The honest reply, or what the fault makes of it."""
        reply = super().begin(connection, verb, request, now)
        if self.fault is None:
            return reply
        if isinstance(reply, Message):
            return self.fault(verb, request, reply)
        return self._later(self.fault, verb, request, reply)

    @staticmethod
    def _later(fault: Fault, verb: str, request: Message, work: Work[Message]) -> Work[Message]:
        return fault(verb, request, (yield from work))


class Fabric:
    """The cluster; `start` before use, `close` after."""

    def __init__(self, directory: Path, *, count: int = 5) -> None:
        self.layout: Layout = create(directory / "cluster", nodes=count, first_port=0)
        self.authority = Authority.load(self.layout.authority)
        self.registry = Registry.open(self.layout.registry)
        self.roster = Roster.parse(self.layout.roster.read_bytes())
        self.slots = [entry.slot for entry in self.roster.slots]
        operator = OperatorCredentials.load(self.layout.operator_key)
        self.operator_id, self.operator = operator.issuer, operator.key
        self.agent_id, self.agent = new_id("agt"), SigningKey.generate()
        self.policy_id = new_id("pol")
        self.nodes: dict[str, _Node] = {}
        self._servers: dict[str, tuple[NodeServer, asyncio.Server]] = {}

    async def start(self) -> None:
        """Nodes, gateway, trust, one agent and one policy."""
        configure("info")
        for slot in self.slots:
            await self.start_node(slot)
        await self.start_gateway()
        await self.trusted(*self.slots)
        await self.register()

    async def close(self) -> None:
        """Stop everything."""
        await self.stop_gateway()
        for slot in list(self.nodes):
            await self.stop_node(slot)

    # --- nodes --------------------------------------------------------------------------------------

    async def start_node(self, slot: str) -> None:
        """Boot one node on its port of the roster."""
        entry = self.roster.slot(slot)
        launch = Launch(mrtd=MEASUREMENT, mrconfigid=self.roster.configuration)
        tee = LocalTee(SimulatedPlatformService(machine(self.authority, slot), launch, self.layout.root / "unused"))
        tls, spki = new_server_context(slot)
        store = SealedStore.open(self.layout.node(slot) / "node.db", cluster=self.roster.cluster_id, slot=slot, tee=tee)
        node = _Node(roster=self.roster, slot=slot, store=store, tee=tee, tls_spki=spki, now=int(time.time()) - 1)
        server = NodeServer(node, _defects_only)
        listener = await asyncio.get_running_loop().create_server(server.protocol, entry.host, entry.port, ssl=tls)
        self.nodes[slot], self._servers[slot] = node, (server, listener)

    async def stop_node(self, slot: str) -> None:
        """Take a node away; its disk stays."""
        server, listener = self._servers.pop(slot)
        listener.close()
        await server.close()
        await asyncio.sleep(0)
        self.nodes.pop(slot).close()

    def corrupt(self, slot: str, fault: Fault | None) -> None:
        """Let a node answer wrongly, or honestly again."""
        self.nodes[slot].fault = fault

    # --- gateway ------------------------------------------------------------------------------------

    async def start_gateway(self) -> None:
        """A gateway on a free port."""
        config = GatewayConfig.load(write_gateway_config(self.layout, 0))
        self.gateway = Gateway(config, SqliteStore(config.data))
        await self.gateway.start()
        self._runner = web.AppRunner(build(self.gateway), access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        self._session = aiohttp.ClientSession()

    async def stop_gateway(self) -> None:
        """Stop it in order."""
        await self._session.close()
        await self._runner.cleanup()
        await self.gateway.close()

    async def trusted(self, *slots: str) -> None:
        """Wait until these nodes can work with each other."""
        fleet = self.gateway.fleet
        async with asyncio.timeout(READY_S):
            while not set(slots) <= set(fleet.trusting()):
                await asyncio.sleep(0.02)

    @property
    def database(self) -> bytes:
        """Every byte the gateway keeps on disk."""
        return b"".join(path.read_bytes() for path in sorted(self.layout.gateway.rglob("*")) if path.is_file())

    # --- requests -----------------------------------------------------------------------------------

    def token(self, act: str, resource: str, body: bytes, **changes: Any) -> str:
        """A request token of the agent."""
        claims: dict[str, Any] = {"issuer": self.agent_id, "now": int(time.time()), "signer": self.agent} | changes
        return make_token(
            claims.pop("signer"), cluster=self.roster.cluster_id, act=act, resource=resource, body=body, **claims
        )

    def operator_token(self, act: str, resource: str, body: bytes) -> str:
        """A request token of the operator."""
        return self.token(act, resource, body, issuer=self.operator_id, signer=self.operator)

    async def send(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
    ) -> tuple[int, bytes, Mapping[str, str]]:
        """One HTTP exchange: status, body, headers."""
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        data = io.BytesIO(body) if body else None
        async with self._session.request(method, self.url + path, data=data, headers=sent) as answer:
            return answer.status, await answer.read(), answer.headers

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """As `send`, with the JSON parsed."""
        status, content, _ = await self.send(method, path, **options)
        return status, json.loads(content)

    async def put(self, method: str, path: str, document: Document) -> tuple[int, Any]:
        """Hand in a document signed by the operator."""
        envelope = Envelope.parse(sign_document(document, self.operator))
        body = canonical_json({"document": envelope.to_json()})
        token = self.operator_token("documents.put", document.subject, body)
        return await self.ask(method, path, token=token, body=body)

    async def register(self) -> None:
        """The agent and its policy."""
        status, answer = await self.put("POST", "/v1/agents", self.agent_document())
        assert status == 200, answer
        status, answer = await self.put("PUT", f"/v1/policies/{self.policy_id}", self.policy_document())
        assert status == 200, answer

    def agent_document(self, **changes: Any) -> Agent:
        """The agent's registration."""
        fields: dict[str, Any] = {
            "cluster": self.roster.cluster_id,
            "agent": self.agent_id,
            "name": "shopper",
            "keys": (self.agent.public,),
            "state": "active",
            "sequence": 1,
            "issued_at": int(time.time()),
        }
        return Agent(**(fields | changes))

    def policy_document(self, *, version: int = 1, policy: str | None = None, **changes: Any) -> PolicyDocument:
        """What the agent may do: any message, small transfers, decryption here and sealed."""
        rules: list[dict[str, Any]] = [
            {"name": "messages", "effect": "allow", "agents": [self.agent_id], "kinds": ["message", "eip191"]},
            {
                "name": "transfers",
                "effect": "allow",
                "agents": [self.agent_id],
                "kinds": ["evm_transaction"],
                "evm": {"value_max": "1000000", "data": "none"},
            },
            {
                "name": "reading",
                "effect": "allow",
                "agents": [self.agent_id],
                "kinds": ["decrypt"],
                "plaintext_to_gateway": "allow",
            },
        ]
        fields: dict[str, Any] = {
            "cluster": self.roster.cluster_id,
            "policy": policy or self.policy_id,
            "name": "limits",
            "version": version,
            "rules": rules,
            "issued_at": int(time.time()),
        }
        return PolicyDocument(**(fields | changes))

    def key_state(self, key: str, state: str, sequence: int) -> KeyState:
        """A key switched on or off."""
        return KeyState(
            cluster=self.roster.cluster_id, key=key, state=state, sequence=sequence, issued_at=int(time.time())
        )

    def order(self, **changes: Any) -> bytes:
        """The body of a key order: 3 of 5, Ed25519."""
        value = {"name": "treasury", "spec": "ed25519", "usage": "generic", "shares_needed": 3}
        return canonical_json(value | {"policy": self.policy_id} | changes)

    async def create_key(self, **changes: Any) -> dict[str, Any]:
        """A new key's record."""
        body = self.order(**changes)
        token = self.operator_token("keys.create", "*", body)
        status, record = await self.ask("POST", "/v1/keys", token=token, body=body)
        assert status == 201, record
        return dict(record)

    async def use(
        self, record: dict[str, Any], verb: str, value: dict[str, Any], *, token: str | None = None, **options: Any
    ) -> tuple[int, Any]:
        """One use of a key by the agent."""
        body = canonical_json(value)
        token = token or self.token(verb, f"{record['key']}/1", body)
        return await self.ask("POST", f"/v1/keys/{record['key']}/{verb}", token=token, body=body, **options)

    async def sign(self, record: dict[str, Any], message: bytes, **options: Any) -> tuple[int, Any]:
        """A plain message signed."""
        return await self.use(record, "sign", {"kind": "message", "message": b64url(message)}, **options)
