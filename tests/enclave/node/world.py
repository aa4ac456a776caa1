"""A whole cluster in one process: simulated vendor, registry, operator, agent, and five nodes without sockets."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from attestation.canonical import canonical_json
from attestation.envelope import b64url
from attestation.proof_of_cloud.registry import Registry
from attestation.simulated.authority import Authority, simulated_measurement
from attestation.simulated.service import Launch, SimulatedPlatformService
from enclave.ceremonies import key_id_of
from enclave.certificate import KeyCertificate, verify_certificate
from enclave.diversity import Dimension, DiversityTerms
from enclave.documents import Agent, Document, KeyState, PolicyDocument, sign_document
from enclave.errors import RefusedError
from enclave.heartbeats.bounds import INTERVAL_S
from enclave.ids import new_id
from enclave.roster import Environment, OperatorEntry, Role, Roster
from enclave.roster_chain import Link
from enclave.roster_slots import ProofOfCloudTerms, SlotEntry
from enclave.seal import SealedStore
from enclave.secret import Secret
from enclave.signing_key import SigningKey
from enclave.state import NodeState
from enclave.threshold import frost
from enclave.tokens import key_resource, make_token, verify_token
from enclave.wire.attestation import CollateralRequest, EvidenceRequest, Presentation, RegistryRequest
from enclave.wire.ceremonies import CeremonyMessage, CeremonyRound, CeremonyStart
from enclave.wire.channel import ChannelOpenRequest
from enclave.wire.documents import CertificateSignature, ControlRequest, PolicyActivation
from enclave.wire.heartbeats import HeartbeatReply, HeartbeatsReply, HeartbeatsRequest, SignedHeartbeat
from enclave.wire.message import Empty, Message
from enclave.wire.reconstruct import AssembleReply, AssembleRequest, ReleaseRequest
from enclave.wire.signing import NoncesRequest, Signer, SignRequest

MRTD = simulated_measurement("tests")
GATEWAY = 1
"""Connection number the tests use unless they say otherwise."""

RELAY = 90
"""Connection number of heartbeats."""

BEFORE_HEARTBEATS = ("challenge", "evidence", "present", "collateral", "registry", "status")
"""Verbs that need no heartbeats, and after which the next exchange is due."""


ONE_OF_ALL = DiversityTerms(accept_common=frozenset({Dimension.OPERATOR, Dimension.PROVIDER}))
"""One operator and one provider for all nodes, and said so."""


class LocalTee:
    """The platform's answers without its socket."""

    can_seal = True

    def __init__(self, service: SimulatedPlatformService) -> None:
        self.service = service

    def quote(self, report_data: bytes) -> bytes:
        """Evidence over `report_data`."""
        return bytes.fromhex(self._ask({"op": "quote", "report_data": report_data.hex()})["quote"])

    def sealing_key(self, label: str) -> Secret:
        """The platform's key for `label`."""
        return Secret.take(bytearray.fromhex(self._ask({"op": "sealing-key", "label": label})["key"]))

    def _ask(self, request: dict[str, str]) -> dict[str, Any]:
        return self.service.answer(json.dumps(request).encode())


class World:
    """Everything a test needs to run, use and attack a cluster; time moves only when `now` is set."""

    def __init__(
        self, directory: Path, *, count: int = 5, snp: Sequence[str] = (), diversity: DiversityTerms = ONE_OF_ALL
    ) -> None:
        """`snp` names the slots on SEV-SNP machines; the others are TDX."""
        self.directory = directory
        self.snp = tuple(snp)
        self.diversity = diversity
        self._now = int(time.time())
        self.elapsed = 0.0
        """What the nodes' monotonic clocks show: it follows `now` forward and never goes back."""
        self.relays = True
        """Whether heartbeats are relayed on their own, before whatever else is asked."""
        self._relayed_at = float("-inf")
        self.slots = [f"node-{number}" for number in range(1, count + 1)]
        self.authority = Authority.create(directory / "authority")
        self.registry = Registry.development(directory / "registry", now=self.now)
        for slot in self.slots:
            self.registry.add_platform(self.platform(slot).platform_id, provider="cloud", now=self.now)
        self.operator, self.auditor, self.agent = SigningKey.generate(), SigningKey.generate(), SigningKey.generate()
        self.operator_id, self.auditor_id = new_id("opr"), new_id("opr")
        self.agent_id, self.policy_id = new_id("agt"), new_id("pol")
        self.roster = Roster.parse(self._roster().sign(self.operator))
        self.nodes: dict[str, NodeState] = {}

    @property
    def now(self) -> int:
        """Every clock of the world, Unix seconds."""
        return self._now

    @now.setter
    def now(self, value: int) -> None:
        self.elapsed += max(0, value - self._now)
        self._now = value

    # --- parts -------------------------------------------------------------------------------------

    def platform(self, slot: str) -> Any:
        """The simulated machine of a slot."""
        return (self.authority.amd if slot in self.snp else self.authority).platform(slot)

    def tee(self, slot: str, *, mrtd: bytes = MRTD) -> LocalTee:
        """The platform as the node in `slot` sees it."""
        launch = Launch(mrtd=mrtd, mrconfigid=self.roster.configuration)
        return LocalTee(SimulatedPlatformService(self.platform(slot), launch, self.directory / "unused"))

    def store_path(self, slot: str) -> Path:
        """Where a node keeps its sealed values."""
        return self.directory / slot / "node.db"

    def _roster(self) -> Roster:
        operators = ((self.operator_id, self.operator, Role.ADMIN), (self.auditor_id, self.auditor, Role.AUDITOR))
        return Roster(
            version=1,
            environment=Environment.DEVELOPMENT,
            created_at=self.now,
            slots=tuple(
                SlotEntry(
                    slot=slot,
                    url=f"tls://127.0.0.1:{7000 + number}",
                    operator=self.operator_id,
                    platform=self.platform(slot).platform_id.commitment,
                    measurements={"measurement" if slot in self.snp else "mrtd": frozenset({MRTD.hex()})},
                )
                for number, slot in enumerate(self.slots)
            ),
            operators=tuple(
                OperatorEntry(operator=name, name="someone", key=key.public.key, roles=frozenset({role}))
                for name, key, role in operators
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
            diversity=self.diversity,
            simulated_roots=tuple(self.authority.roots()),
        )

    # --- life --------------------------------------------------------------------------------------

    def start(self, *slots: str, **changes: Any) -> None:
        """Boot nodes (all by default)."""
        for slot in slots or self.slots:
            tee = changes.get("tee") or self.tee(slot)
            store = SealedStore.open(self.store_path(slot), cluster=self.roster.cluster_id, slot=slot, tee=tee)
            self.boot(slot, store, tee=tee)

    def boot(self, slot: str, store: SealedStore, *, tee: LocalTee | None = None, rosters: Sequence[Link] = ()) -> None:
        """Boot one node on an open store, configured with a roster's later versions too if given."""
        self.nodes[slot] = NodeState(
            roster=self.roster,
            rosters=rosters,
            slot=slot,
            store=store,
            tee=tee or self.tee(slot),
            tls_spki=bytes(32),
            now=self.now,
            monotonic=lambda: self.elapsed,
        )
        self._relayed_at = float("-inf")

    def stop(self, *slots: str) -> None:
        """Stop nodes (all by default)."""
        for slot in slots or tuple(self.nodes):
            self.nodes.pop(slot).close()

    def crash(self, *slots: str) -> None:
        """End nodes without an orderly stop."""
        for slot in slots:
            self.nodes.pop(slot).store.close()

    def call(self, slot: str, verb: str, request: Message | None = None, *, connection: int = GATEWAY) -> Any:
        """One request to one node, committed as the server does."""
        if verb in BEFORE_HEARTBEATS:
            self._relayed_at = float("-inf")
        elif self.relays and self.elapsed - self._relayed_at >= INTERVAL_S:
            self.relay()
        try:
            return self.ask(slot, verb, request, connection=connection)
        except RefusedError as error:
            if error.code != "witness-pending" or not self.relays:
                raise
            self.relay()  # as a gateway does before it asks again
            return self.ask(slot, verb, request, connection=connection)

    def ask(self, slot: str, verb: str, request: Message | None = None, *, connection: int = GATEWAY) -> Any:
        """As `call`, without heartbeats before it."""
        node = self.nodes[slot]
        reply = node.handle(connection, verb, request or Empty(), self.now)
        node.commit()
        return reply

    # --- heartbeats --------------------------------------------------------------------------------

    def relay(self, *slots: str, rounds: int = 2) -> None:
        """Carry heartbeats between nodes (all by default): one round to be heard, one to hear of it."""
        self._relayed_at = self.elapsed
        members = slots or tuple(self.nodes)
        for _ in range(rounds):
            beats = {slot: self.beat(slot) for slot in members}
            for slot in members:
                self.hear(slot, *(beat for author, beat in beats.items() if author != slot))

    def beat(self, slot: str) -> SignedHeartbeat:
        """A node's newest heartbeat."""
        reply: HeartbeatReply = self.ask(slot, "heartbeat", connection=RELAY)
        return reply.heartbeat

    def hear(self, slot: str, *heartbeats: SignedHeartbeat) -> dict[str, str]:
        """Give a node heartbeats; returns the codes of those it refused, by slot."""
        reply: HeartbeatsReply = self.ask(
            slot, "heartbeats", HeartbeatsRequest(heartbeats=list(heartbeats)), connection=RELAY
        )
        return {refusal.slot: refusal.code for refusal in reply.refused}

    # --- trust -------------------------------------------------------------------------------------

    def snapshot(self) -> bytes:
        """The registry's newest snapshot."""
        return bytes(self.registry.snapshot().encode())

    def push(self, *slots: str) -> None:
        """Give nodes collateral and registry."""
        for slot in slots or tuple(self.nodes):
            self.call(slot, "collateral", CollateralRequest(blobs=self.authority.collateral(self.now)))
            self.call(slot, "registry", RegistryRequest(snapshot=self.snapshot()))

    def evidence(self, peer: str, *verifiers: str) -> Presentation:
        """Fresh evidence of `peer` over the verifiers' nonces."""
        nonces = [self.call(verifier, "challenge").nonce for verifier in verifiers]
        presentation: Presentation = self.call(peer, "evidence", EvidenceRequest(nonces=nonces))
        return presentation

    def attest(self) -> None:
        """Every node judges every node."""
        self.push()
        for peer in self.nodes:
            others = [slot for slot in self.nodes if slot != peer]
            presentation = self.evidence(peer, *others)
            for verifier in others:
                row = self.call(verifier, "present", presentation)
                assert row.result == "trusted", row

    # --- documents -----------------------------------------------------------------------------------

    def put(self, document: Document, *, signer: SigningKey | None = None) -> None:
        """Deliver a signed document to every node, and put a policy in force everywhere."""
        envelope = sign_document(document, signer or self.operator)
        held = [self.call(slot, "control", ControlRequest(document=envelope)) for slot in self.nodes]
        if isinstance(document, PolicyDocument):
            message = PolicyActivation(policy=document.policy, digest=held[0].digest, acknowledgements=held)
            for slot in self.nodes:
                self.call(slot, "policy-activate", message)

    def agent_document(self, **changes: Any) -> Agent:
        """The agent's registration."""
        document = Agent(
            cluster=self.roster.cluster_id,
            agent=self.agent_id,
            name="shopper",
            keys=(self.agent.public,),
            state="active",
            sequence=1,
            issued_at=self.now,
        )
        return replace(document, **changes)

    def policy_document(self, *rules: dict[str, Any], version: int = 1) -> PolicyDocument:
        """The key's policy."""
        return PolicyDocument(
            cluster=self.roster.cluster_id,
            policy=self.policy_id,
            name="limits",
            version=version,
            rules=rules,
            issued_at=self.now,
        )

    def key_state(self, key: str, state: str, sequence: int = 1) -> KeyState:
        """A key switched on or off."""
        return KeyState(cluster=self.roster.cluster_id, key=key, state=state, sequence=sequence, issued_at=self.now)

    def ready(self, *rules: dict[str, Any]) -> None:
        """Boot, attest, register the agent and put a policy."""
        self.start()
        self.attest()
        self.now += 1
        self.put(self.agent_document())
        self.put(self.policy_document(*(rules or (ALLOW_MESSAGES, ALLOW_EVM, ALLOW_DECRYPT))))

    # --- keys --------------------------------------------------------------------------------------

    def order(self, **changes: Any) -> bytes:
        """The body of a key order."""
        value = {
            "name": "treasury",
            "spec": "ed25519",
            "usage": "generic",
            "custody": "threshold",
            "shares_needed": 3,
            "policy": self.policy_id,
        }
        return canonical_json(value | changes)

    def order_token(self, body: bytes, **changes: Any) -> str:
        """The operator's signature over an order."""
        claims = {"issuer": self.operator_id, "act": "keys.create", "resource": "*"} | changes
        signer = claims.pop("signer", self.operator)
        return make_token(signer, cluster=self.roster.cluster_id, body=body, now=self.now, **claims)

    def ceremony_start(self, body: bytes, *, session: bytes, token: str | None = None, **changes: Any) -> CeremonyStart:
        """Round 1 of a key generation, as an honest gateway would send it."""
        token = token or self.order_token(body)
        value = json.loads(body)
        fields: dict[str, Any] = {
            "session": session,
            "kind": "dkg",
            "token": token,
            "body": body,
            "key": key_id_of(self.request_id(token, body)),
            "participants": value.get("nodes", self.slots),
        }
        return CeremonyStart(**(fields | changes))

    def request_id(self, token: str, body: bytes) -> bytes:
        """The request id nodes derive from a token."""
        known = {self.operator_id: self.operator, self.auditor_id: self.auditor, self.agent_id: self.agent}
        return verify_token(
            token,
            body=body,
            cluster=self.roster.cluster_id,
            now=self.now,
            keys=lambda issuer, _kid: known[issuer].public,
            act=None,
        ).request_id

    def run_rounds(self, start: CeremonyStart) -> list[CeremonyMessage]:
        """Rounds 1 to 3 among all participants; returns the prepares."""
        messages = [self.call(slot, "ceremony-start", start) for slot in start.participants]
        for number in (2, 3):
            following = CeremonyRound(session=start.session, round=number, messages=messages)
            messages = [self.call(slot, "ceremony-round", following) for slot in start.participants]
        return messages

    def create_key(self, *, session: bytes = b"s" * 32, **changes: Any) -> KeyCertificate:
        """A new key, its certificate verified as a client would."""
        start = self.ceremony_start(self.order(**changes), session=session)
        commit = CeremonyRound(session=session, round=4, messages=self.run_rounds(start))
        return self.verified([self.commit(slot, commit) for slot in start.participants])

    def commit(self, slot: str, commit: CeremonyRound) -> CertificateSignature:
        """One node's signature over the certificate of the one key of a committed ceremony."""
        (signature,) = self.call(slot, "ceremony-commit", commit).certificates
        assert isinstance(signature, CertificateSignature)
        return signature

    def verified(self, signatures: list[CertificateSignature]) -> KeyCertificate:
        """The certificate under the nodes' present identity keys."""
        identities = {slot: node.identity.public.identity_key for slot, node in self.nodes.items()}
        return verify_certificate(signatures[0].body, signatures, identities=identities, cluster=self.roster.cluster_id)

    # --- use of keys -------------------------------------------------------------------------------

    def token(self, key: KeyCertificate | str, body: bytes, *, act: str = "sign", **changes: Any) -> str:
        """The agent's signature over one request."""
        resource = key if isinstance(key, str) else key_resource(key.key, key.version)
        claims: dict[str, Any] = {"issuer": self.agent_id, "act": act, "resource": resource, "now": self.now} | changes
        signer = claims.pop("signer", self.agent)
        return make_token(signer, cluster=claims.pop("cluster", self.roster.cluster_id), body=body, **claims)

    def sign_requests(self, slots: list[str], token: str, body: bytes) -> dict[str, SignRequest]:
        """One FROST request per signer, with fresh nonces."""
        taken = {slot: self.call(slot, "nonces", NoncesRequest(suite="ed25519", count=1)).nonces[0] for slot in slots}
        signers = [Signer(slot, nonce.hiding, nonce.binding) for slot, nonce in taken.items()]
        return {
            slot: SignRequest(token=token, body=body, nonce=nonce.nonce, signers=signers)
            for slot, nonce in taken.items()
        }

    def sign(self, key: KeyCertificate, message: bytes, slots: list[str] | None = None) -> bytes:
        """A FROST signature over `message`."""
        slots = slots or self.slots[: key.shares_needed]
        body = message_body(message)
        requests = self.sign_requests(slots, self.token(key, body), body)
        index = {node.slot: node.index for node in key.nodes}
        first = next(iter(requests.values()))
        return frost.aggregate(
            public_key=key.public_key,
            message=message,
            commitments=[(index[signer.slot], signer.hiding, signer.binding) for signer in first.signers],
            shares={index[slot]: self.call(slot, "sign", request).share for slot, request in requests.items()},
            public_shares={node.index: node.public_share for node in key.nodes},
        )

    def open_channel(self, sender: str, receiver: str) -> None:
        """A session from one node to another, carried by the gateway."""
        opening = self.call(sender, "channel-open", ChannelOpenRequest(slot=receiver))
        self.call(receiver, "channel-accept", opening)

    def assemble(
        self, key: KeyCertificate, body: bytes, *, signers: list[str], assembler: str, token: str | None = None
    ) -> AssembleReply:
        """Release and assemble, as an honest gateway would."""
        token = token or self.token(key, body)
        shares = []
        for slot in signers:
            if slot != assembler:
                self.open_channel(slot, assembler)
                request = ReleaseRequest(token=token, body=body, signers=signers, assembler=assembler)
                shares.append(self.call(slot, "release", request))
        reply: AssembleReply = self.call(
            assembler, "assemble", AssembleRequest(token=token, body=body, signers=signers, shares=shares)
        )
        return reply


ALLOW_MESSAGES = {"name": "messages", "effect": "allow", "kinds": ["message"]}
ALLOW_EVM = {
    "name": "payments",
    "effect": "allow",
    "kinds": ["evm_transaction"],
    "evm": {
        "chain_ids": [1],
        "recipients": ["0x" + "11" * 20],
        "value_max": "1000",
        "data": "none",
        "fee_max": "100000000000000000",
    },
}
ALLOW_DECRYPT = {"name": "reading", "effect": "allow", "kinds": ["decrypt"]}


def message_body(message: bytes) -> bytes:
    """The body of a request to sign a plain message."""
    return canonical_json({"kind": "message", "message": b64url(message)})


def evm_body(**changes: Any) -> bytes:
    """The body of a request to sign an EVM transaction."""
    transaction = {
        "type": 2,
        "chain_id": 1,
        "nonce": 0,
        "max_fee_per_gas": "1000000000",
        "max_priority_fee_per_gas": "1",
        "gas": 21000,
        "to": "0x" + "11" * 20,
        "value": "1000",
        "data": "0x",
        "access_list": [],
    }
    return canonical_json({"kind": "evm_transaction", "transaction": transaction | changes})
