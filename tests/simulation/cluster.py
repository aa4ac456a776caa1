"""A cluster before anything goes wrong: five nodes that trust each other, a gateway, an agent, policies and keys.

Built once per process; every timeline is a fork of it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from attestation.canonical import canonical_json
from attestation.envelope import Envelope, b64url
from attestation.proof_of_cloud.platform_id import INTEL_PPID, PlatformId
from attestation.proof_of_cloud.registry import Registry
from attestation.simulated.authority import Authority, simulated_measurement
from attestation.verifier import Verifier
from enclave.diversity import Dimension, DiversityTerms
from enclave.documents import Agent, Document, PolicyDocument, sign_document
from enclave.ids import new_id
from enclave.roster import Environment, OperatorEntry, Role, Roster
from enclave.roster_chain import read_chain
from enclave.roster_slots import ProofOfCloudTerms, SlotEntry
from enclave.roster_terms import WitnessTerms
from enclave.signing_key import SigningKey
from enclave.tokens import make_token
from kms.config import GatewayConfig, RateLimit
from tests.simulation import randomness, surroundings
from tests.simulation.clocks import EPOCH
from tests.simulation.gateway_host import GatewayHost, Sources
from tests.simulation.loop import SimLoop
from tests.simulation.network import Network
from tests.simulation.node_host import NodeHost
from tests.simulation.observer import Observer
from tests.simulation.quotes import StandInTee

MRTD = simulated_measurement("simulation")
FIRST_PORT = 7001
TEMPLATE_SEED = 20_250
BUDGET = 5
"""Requests of the limited key that its policy allows."""


class Cluster:
    """All parts of one simulated cluster."""

    def __init__(
        self, *, count: int = 5, gateways: int = 1, witness: WitnessTerms | None = None, real: bool = False
    ) -> None:
        self.real = real
        if witness is not None:
            surroundings.believe(witness)
        self.loop = SimLoop(TEMPLATE_SEED)
        surroundings.install(self.loop, real=real)
        randomness.seed(TEMPLATE_SEED)
        self.counters: Counter[str] = Counter()
        self.observer = Observer(self.loop, self.counters)
        self.network = Network(self.loop, self.counters)
        self.loop.connector = self.network
        self.slots = [f"node-{number}" for number in range(1, count + 1)]
        self.directory = Path(tempfile.mkdtemp(prefix="holdfast-sim-", dir="/dev/shm"))
        self.authority = Authority.create(self.directory / "authority")
        self.operator, self.agent = SigningKey.generate(), SigningKey.generate()
        self.operator_id, self.agent_id = new_id("opr"), new_id("agt")
        self.policy_id, self.limited_policy_id = new_id("pol"), new_id("pol")
        self.platforms = {
            slot: PlatformId(kind=INTEL_PPID, value=number.to_bytes(16, "big"))
            for number, slot in enumerate(self.slots, start=1)
        }
        self.registry = Registry.development(self.directory / "registry", now=self.now)
        for number, slot in enumerate(self.slots):
            self.registry.add_platform(self.platforms[slot], provider=f"cloud-{number}", now=self.now)
        envelope = self._roster().sign(self.operator)
        self.links = read_chain(envelope)
        self.roster = self.links[0].roster
        (self.directory / "roster.json").write_bytes(envelope)
        self.revoked = {slot: self._without(slot) for slot in self.slots}
        """Slot -> the registry's next snapshot if its machine is revoked."""
        self.sources = Sources(bytes(self.registry.snapshot().encode()))
        self.nodes = {slot: self._node(slot, number) for number, slot in enumerate(self.slots)}
        self.gateways = [self._gateway(number) for number in range(gateways)]
        self.keys: dict[str, dict[str, Any]] = {}
        self.ciphertext = ""
        """Something to decrypt, where cryptography is real."""

    @property
    def now(self) -> int:
        """True Unix seconds."""
        return EPOCH + int(self.loop.time())

    @property
    def gateway(self) -> GatewayHost:
        """The first gateway."""
        return self.gateways[0]

    def _node(self, slot: str, number: int) -> NodeHost:
        tee = StandInTee(self.platforms[slot].value, mrtd=MRTD, mrconfigid=self.roster.configuration)
        verifier: Verifier = surroundings.stand_in_verifier(self.roster)
        return NodeHost(
            slot,
            self.loop,
            self.network,
            links=self.links,
            tee=tee,
            verifier=verifier,
            observer=self.observer,
            port=FIRST_PORT + number,
        )

    def _without(self, slot: str) -> bytes:
        copy = self.directory / f"registry-without-{slot}"
        shutil.copytree(self.directory / "registry", copy)
        registry = Registry.open(copy)
        registry.revoke(self.platforms[slot], "stolen", self.now)
        return bytes(registry.snapshot().encode())

    def _gateway(self, number: int) -> GatewayHost:
        config = GatewayConfig(
            host="127.0.0.1",
            port=8750 + number,
            data=self.directory / f"gateway-{number}",
            roster=self.directory / "roster.json",
            collateral=(),
            registry=None,
            log_level="error",
            rate_limit=RateLimit(),
        )
        return GatewayHost(
            f"gateway-{number + 1}",
            self.loop,
            config=config,
            roster=self.roster,
            registry=self.sources,
            collateral=Sources(),
            observer=self.observer,
        )

    def _roster(self) -> Roster:
        return Roster(
            version=1,
            environment=Environment.DEVELOPMENT,
            created_at=self.now,
            slots=tuple(
                SlotEntry(
                    slot=slot,
                    url=f"tls://127.0.0.1:{FIRST_PORT + number}",
                    operator=self.operator_id,
                    platform=self.platforms[slot].commitment,
                    measurements={"mrtd": frozenset({MRTD.hex()})},
                )
                for number, slot in enumerate(self.slots)
            ),
            operators=(
                OperatorEntry(
                    operator=self.operator_id,
                    name="someone",
                    key=self.operator.public.key,
                    roles=frozenset({Role.ADMIN, Role.REGISTRAR, Role.AUDITOR}),
                ),
            ),
            quorum={"roster": 1},
            appraisal={"allowed_roots": ["simulated"]},
            proof_of_cloud=ProofOfCloudTerms(
                members=dict(self.registry.config.members),
                threshold=self.registry.config.threshold,
                freshness_key=self.registry.config.freshness_key,
                level=1,
                max_age_s=86_400,
            ),
            diversity=DiversityTerms(accept_common=frozenset({Dimension.OPERATOR, Dimension.PROVIDER})),
            simulated_roots=tuple(self.authority.roots()),
        )

    # --- building --------------------------------------------------------------------------------------

    def build(self) -> None:
        """Start everything, make trust, register the agent, put policies, make keys."""
        for node in self.nodes.values():
            assert node.start(), node.why_down
        for gateway in self.gateways:
            started = gateway.start()
            assert started is not None
            self.loop.run_until(started)
        self.wait(
            lambda: all(len(host.gateway.fleet.trusting()) == len(self.slots) for host in self.gateways if host.gateway)
        )
        self.loop.run_for(3.0)
        self.put("POST", "/v1/agents", self.agent_document())
        self.put("PUT", f"/v1/policies/{self.policy_id}", self.policy_document())
        self.put("PUT", f"/v1/policies/{self.limited_policy_id}", self.limited_policy())
        self.create_key("frost", spec="ed25519", usage="generic", policy=self.policy_id)
        self.create_key("limited", spec="ed25519", usage="generic", policy=self.limited_policy_id)
        self.create_key("evm", spec="secp256k1-ecdsa", usage="evm", policy=self.policy_id, shares_needed=2)
        if self.real:
            self.create_key("hpke", spec="hpke-x25519", usage="decrypt", policy=self.policy_id)
            self._encrypt()
        self.loop.run_for(3.0)

    def _encrypt(self) -> None:
        body = canonical_json({"plaintext": b64url(b"plaintext"), "context": {}})
        name = self.keys["hpke"]["key"]
        token = self.token("encrypt", f"{name}/1", body)
        exchange = self.gateway.send("POST", f"/v1/keys/{name}/encrypt", token=token, body=body)
        status, answer = self.loop.run_until(exchange)
        assert status == 200, answer
        self.ciphertext = answer["ciphertext"]

    def wait(self, ready: Any, limit: float = 60.0) -> None:
        """Let time pass until something holds."""
        end = self.loop.time() + limit
        while not ready():
            if self.loop.time() > end:
                raise TimeoutError("the cluster does not come up")
            self.loop.run_for(0.25)

    # --- requests --------------------------------------------------------------------------------------

    def token(self, act: str, resource: str, body: bytes, *, operator: bool = False, **changes: Any) -> str:
        """A request token of the agent, or of the operator."""
        issuer, signer = (self.operator_id, self.operator) if operator else (self.agent_id, self.agent)
        claims: dict[str, Any] = {"issuer": issuer, "now": self.now} | changes
        return make_token(signer, cluster=self.roster.cluster_id, act=act, resource=resource, body=body, **claims)

    def put(self, method: str, path: str, document: Document) -> None:
        """Hand in a document and wait for the answer."""
        status, answer = self.loop.run_until(self.hand_in(self.gateway, method, path, document))
        assert status == 200, answer

    def hand_in(self, gateway: GatewayHost, method: str, path: str, document: Document) -> Any:
        """Hand in a document signed by the operator."""
        envelope = Envelope.parse(sign_document(document, self.operator))
        body = canonical_json({"document": envelope.to_json()})
        resource = "*" if document.kind == "freeze" else document.subject
        token = self.token("documents.put", resource, body, operator=True)
        return gateway.send(method, path, token=token, body=body)

    def create_key(self, name: str, **changes: Any) -> None:
        """A new key."""
        value = {"name": name, "shares_needed": 3, "custody": "threshold"} | changes
        body = canonical_json(value)
        token = self.token("keys.create", "*", body, operator=True)
        status, record = self.loop.run_until(self.gateway.send("POST", "/v1/keys", token=token, body=body))
        assert status == 201, record
        self.keys[name] = record

    def agent_document(self, **changes: Any) -> Agent:
        """The agent's registration."""
        fields: dict[str, Any] = {
            "cluster": self.roster.cluster_id,
            "agent": self.agent_id,
            "name": "shopper",
            "keys": (self.agent.public,),
            "state": "active",
            "sequence": 1,
            "issued_at": self.now,
        }
        return Agent(**(fields | changes))

    def policy_document(self, *, version: int = 1, **changes: Any) -> PolicyDocument:
        """What the agent may do with most keys."""
        rules: list[dict[str, Any]] = [
            {"name": "messages", "effect": "allow", "kinds": ["message"]},
            {
                "name": "transfers",
                "effect": "allow",
                "kinds": ["evm_transaction"],
                "evm": {"value_max": "1000000", "data": "none"},
            },
            {"name": "reading", "effect": "allow", "kinds": ["decrypt"], "plaintext_to_gateway": "allow"},
        ]
        fields: dict[str, Any] = {
            "cluster": self.roster.cluster_id,
            "policy": self.policy_id,
            "name": "limits",
            "version": version,
            "rules": rules,
            "issued_at": self.now,
        }
        return PolicyDocument(**(fields | changes))

    def limited_policy(self, *, version: int = 1) -> PolicyDocument:
        """Messages, but not many."""
        return self.policy_document(
            version=version,
            policy=self.limited_policy_id,
            rules=[{"name": "messages", "effect": "allow", "kinds": ["message"]}],
            budgets=[
                {
                    "name": "requests",
                    "asset": {"kind": "requests", "kinds": ["message"]},
                    "window": "day",
                    "cap": str(BUDGET),
                    "per": "key",
                }
            ],
        )


def message_body(message: bytes) -> bytes:
    """The body of a request to sign a plain message."""
    return canonical_json({"kind": "message", "message": b64url(message)})
