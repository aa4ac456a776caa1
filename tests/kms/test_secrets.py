"""Opaque secrets over HTTP, by the client library: uploads, releases, and what a gateway or a node may try."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from attestation.canonical import canonical_json
from attestation.simulated.authority import simulated_measurement
from enclave.state import NodeState
from enclave.wire.message import Message
from enclave.wire.secrets import ReleasedShare
from kms.client import AgentCredentials, Client, OperatorCredentials, RequestRefusedError
from kms.client.errors import ClientError, ConfigurationError, UnavailableError
from kms.client.release import Release
from kms.client.trust import TrustAnchors
from tests.kms.fabric import Fabric

pytestmark = pytest.mark.asyncio(loop_scope="module")

WORKLOAD = simulated_measurement("workload")
CONTENT = b"the database password"
POLICY = "pol_" + "c" * 26


class Workload:
    """A simulated machine of the cluster's own authority, which runs the workload."""

    def __init__(self, fabric: Fabric, name: str = "workload") -> None:
        self.platform = fabric.authority.platform(name)
        self.asked: list[bytes] = []

    def quote(self, report_data: bytes) -> bytes:
        """Evidence of the right workload."""
        self.asked.append(report_data)
        return bytes(self.platform.quote(report_data, mrtd=WORKLOAD, now=0))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def workload(fabric: Fabric) -> Workload:
    """A listed machine and a policy that releases to its workload."""
    made = Workload(fabric)
    fabric.registry.add_platform(made.platform.platform_id, provider="cloud", now=fabric.gateway.fleet.clock())
    fabric.registry.write_snapshot(fabric.layout.snapshot)
    rule = {
        "name": "workload", "effect": "allow", "agents": [fabric.agent_id], "kinds": ["release"],
        "workload": {"measurements": {"mrtd": [WORKLOAD.hex()]}},
    }  # fmt: skip
    document = fabric.policy_document(policy=POLICY, rules=(rule,))
    status, answer = await fabric.put("PUT", f"/v1/policies/{POLICY}", document)
    assert status == 200, answer
    sequence = fabric.registry.snapshot().sequence
    async with asyncio.timeout(20):
        while any(
            (node.verdicts.snapshot is None or node.verdicts.snapshot.sequence < sequence)
            for node in fabric.nodes.values()
        ):
            await asyncio.sleep(0.05)
    return made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def operator(fabric: Fabric) -> AsyncIterator[Client]:
    """The operator's client."""
    async with connect(fabric, OperatorCredentials(issuer=fabric.operator_id, key=fabric.operator)) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def agent(fabric: Fabric) -> AsyncIterator[Client]:
    """The agent's client: the workload's side."""
    async with connect(fabric, AgentCredentials(issuer=fabric.agent_id, key=fabric.agent)) as client:
        yield client


def _sequence(node: NodeState) -> int:
    snapshot = node.verdicts.snapshot
    return 0 if snapshot is None else snapshot.sequence


def connect(fabric: Fabric, credentials: Any, **options: Any) -> Client:
    """A client of the fabric's gateway."""
    trust = TrustAnchors(cluster_id=fabric.roster.cluster_id, simulated_roots=fabric.roster.simulated_roots)
    return Client.connect(url=fabric.url, trust=trust, credentials=credentials, **options)


async def test_a_secret_reaches_its_workload(
    fabric: Fabric, operator: Client, agent: Client, workload: Workload
) -> None:
    """Uploaded sealed, certified by all nodes, released to the attested workload; the gateway's disk has none of it."""
    stored = await operator.secrets.put("database", CONTENT, policy=POLICY)
    assert (stored.missing, stored.certified.certificate.privacy_threshold) == ((), 3)
    assert await agent.secrets.release(stored.secret, workload.quote) == CONTENT
    assert (await agent.secrets.get(stored.secret)).certified.certificate == stored.certified.certificate
    assert stored.secret in [item.secret for item in await agent.secrets.list()]
    assert CONTENT not in fabric.database
    assert stored.secret not in [key.key async for key in operator.keys.list()]


async def test_release_survives_two_lost_nodes(
    fabric: Fabric, operator: Client, agent: Client, workload: Workload
) -> None:
    """Three of five shares are enough."""
    stored = await operator.secrets.put("database", CONTENT, policy=POLICY)
    for slot in ("node-2", "node-5"):
        await fabric.stop_node(slot)
    try:
        assert await agent.secrets.release(stored.secret, workload.quote) == CONTENT
    finally:
        for slot in ("node-2", "node-5"):
            await fabric.start_node(slot)
        await fabric.trusted(*fabric.slots)


async def test_a_reboot_between_evidence_and_upload(
    fabric: Fabric, operator: Client, agent: Client, workload: Workload, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The share is sealed again to the boot that runs now, and nobody is missing."""
    attestor = operator.secrets._attestor
    assert attestor is not None
    honest, rebooted = attestor.view, []

    async def view(*, again: bool = False) -> Any:
        found = await honest(again=again)
        if not rebooted:
            rebooted.append("node-3")
            await fabric.stop_node("node-3")
            await fabric.start_node("node-3")
            await fabric.trusted(*fabric.slots)
        return found

    monkeypatch.setattr(attestor, "view", view)
    stored = await operator.secrets.put("database", CONTENT, policy=POLICY)
    assert stored.missing == ()
    assert fabric.nodes["node-3"].keys.knows(stored.secret)


async def test_a_lying_node_costs_nothing(fabric: Fabric, operator: Client, agent: Client, workload: Workload) -> None:
    """A share that is not the certified one is passed over while three others are true."""
    stored = await operator.secrets.put("database", CONTENT, policy=POLICY)

    def lie(_verb: str, _request: Message, reply: Message) -> Message:
        return msgspec.structs.replace(reply, sealed=bytes(80)) if isinstance(reply, ReleasedShare) else reply

    fabric.corrupt("node-1", lie)
    try:
        assert await agent.secrets.release(stored.secret, workload.quote) == CONTENT
    finally:
        fabric.corrupt("node-1", None)


async def test_other_code_is_refused(fabric: Fabric, operator: Client, agent: Client, workload: Workload) -> None:
    """A genuine enclave on a listed machine with another measurement."""
    stored = await operator.secrets.put("database", CONTENT, policy=POLICY)
    other = simulated_measurement("something else")
    with pytest.raises(RequestRefusedError) as caught:
        await agent.secrets.release(stored.secret, lambda data: bytes(workload.platform.quote(data, mrtd=other, now=0)))
    assert caught.value.code == "policy.denied"


async def test_an_unlisted_machine_is_refused(fabric: Fabric, operator: Client, agent: Client) -> None:
    """The right code on a machine nobody vouches for."""
    stored = await operator.secrets.put("database", CONTENT, policy=POLICY)
    with pytest.raises(RequestRefusedError) as caught:
        await agent.secrets.release(stored.secret, Workload(fabric, "desk").quote)
    assert caught.value.code == "proof-of-cloud.not-listed"


async def test_what_is_no_evidence_is_refused(operator: Client, agent: Client) -> None:
    """The verifier's refusal comes under one code that is about evidence."""
    stored = await operator.secrets.put("database", CONTENT, policy=POLICY)
    for evidence in (b"", b"hello", bytes(4000)):
        with pytest.raises(RequestRefusedError) as caught:
            await agent.secrets.release(stored.secret, lambda _data, evidence=evidence: evidence)
        assert caught.value.code == "release.evidence"


async def test_replayed_requests_get_nothing_new(
    fabric: Fabric, operator: Client, agent: Client, workload: Workload, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an eavesdropper of a stopped workload kept (the whole body) is refused under a fresh token."""
    stored = await operator.secrets.put("database", CONTENT, policy=POLICY)
    bodies: list[bytes] = []
    honest = agent.caller.send

    async def watched(method: str, path: str, **options: Any) -> Any:
        if path.endswith("/release"):
            bodies.append(options["body"])
        return await honest(method, path, **options)

    monkeypatch.setattr(agent.caller, "send", watched)
    await agent.secrets.release(stored.secret, workload.quote)
    token = fabric.token("secrets.release", f"{stored.secret}/1", bodies[0])
    path = f"/v1/secrets/{stored.secret}/release"
    status, answer = await fabric.ask("POST", path, token=token, body=bodies[0])
    assert (status, answer["code"]) == (403, "release.nonce")


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        (b"hunter2", True),
        (b'{"value":"hunter2"}', True),
        (b'{"plaintext":"hunter2","name":"x"}', True),
        (b"\xff", True),
    ],
)
async def test_plaintext_uploads_are_400_with_a_hint(
    fabric: Fabric, workload: Workload, body: bytes, hint: bool
) -> None:
    """Nothing of the body is kept, not even its digest, and the answer says how to do it."""
    secret = "sec_" + "d" * 26
    token = fabric.operator_token("secrets.put", secret, body)
    status, answer = await fabric.ask("PUT", f"/v1/secrets/{secret}", token=token, body=body)
    assert (status, answer["code"]) == (400, "secret.plaintext")
    assert "kms secrets put" in answer["hint"]
    assert "hunter2" not in json.dumps(answer)
    assert b"hunter2" not in fabric.database


async def test_uploads_are_operators_and_of_their_path(fabric: Fabric, operator: Client, workload: Workload) -> None:
    """An agent may not upload, and an upload names the secret of the path."""
    secret, body = "sec_" + "e" * 26, canonical_json({"wrapped": "AAAA", "shares": []})
    token = fabric.token("secrets.put", secret, body)
    status, answer = await fabric.ask("PUT", f"/v1/secrets/{secret}", token=token, body=body)
    assert (status, answer["code"]) == (403, "role.missing")
    token = fabric.operator_token("secrets.put", secret, body)
    status, answer = await fabric.ask("PUT", f"/v1/secrets/{secret}", token=token, body=body)
    assert (status, answer["code"]) == (400, "secret.malformed")


async def test_hidden_and_missing_secrets_answer_alike(fabric: Fabric, operator: Client, workload: Workload) -> None:
    """An agent no rule names learns nothing of a secret; nor is a secret a key."""
    stored = await operator.secrets.put("database", CONTENT, policy=fabric.policy_id)
    missing = "sec_" + "f" * 26
    answers = []
    for secret in (stored.secret, missing):
        token = fabric.token("secrets.release", f"{secret}/1", b"{}")
        answers.append(await fabric.ask("POST", f"/v1/secrets/{secret}/challenge", token=token, body=b"{}"))
        token = fabric.operator_token("keys.get", secret, b"")
        assert (await fabric.ask("GET", f"/v1/keys/{secret}", token=token))[0] == 404
    # The fabric's own policy names the agent for other kinds, so this one is visible and refused by kind instead.
    assert answers[1][0] == 404


async def test_a_policy_without_release_rules_releases_nothing(
    fabric: Fabric, operator: Client, agent: Client, workload: Workload
) -> None:
    """Default deny."""
    stored = await operator.secrets.put("database", CONTENT, policy=fabric.policy_id)
    with pytest.raises(RequestRefusedError) as caught:
        await agent.secrets.release(stored.secret, workload.quote)
    assert caught.value.code == "policy.denied"


async def test_uploads_need_verified_nodes(fabric: Fabric, operator: Client) -> None:
    """A share is never sealed to a node whose evidence this client has not verified."""
    with pytest.raises(UnavailableError) as caught:
        await operator.secrets.put("database", CONTENT, policy=POLICY, nodes=["node-1", "node-9"])
    assert caught.value.code == "unavailable.nodes"
    credentials = OperatorCredentials(issuer=fabric.operator_id, key=fabric.operator)
    async with connect(fabric, credentials, insecure_skip_attestation=True) as client:
        with pytest.raises(ConfigurationError):
            await client.secrets.put("database", CONTENT, policy=POLICY)


@pytest.mark.parametrize("content", [b"", bytes((64 << 10) + 1)])
async def test_sizes_are_checked_before_anything_is_sent(operator: Client, content: bytes) -> None:
    """One byte to 64 KiB."""
    with pytest.raises(Exception, match="bytes") as caught:
        await operator.secrets.put("database", content, policy=POLICY)
    assert caught.value.code == "secret.too-large"  # type: ignore[attr-defined]


async def test_a_large_secret(operator: Client, agent: Client, workload: Workload) -> None:
    """The largest one goes through every limit on the way."""
    content = bytes(range(256)) * 256
    stored = await operator.secrets.put("large", content, policy=POLICY)
    assert await agent.secrets.release(stored.secret, workload.quote) == content


@pytest.mark.parametrize(
    ("path_end", "change", "code"),
    [
        ("/challenge", lambda value: value["nonces"][0].update(nonce="A" * 43), "verify.nonce"),
        ("/challenge", lambda value: value["nonces"][0].update(expires_at=1), "verify.nonce"),
        ("/challenge", lambda value: value["nonces"][0].update(slot="node-2"), "verify.nonce"),
        ("/challenge", lambda value: value["nonces"][0].update(signature=5), "verify.malformed"),
        ("/release", lambda value: value.update(wrapped="A" * 80), "verify.secret"),
        ("/release", lambda value: value.pop("wrapped"), "verify.malformed"),
        ("/release", lambda value: value.update(shares=value["shares"][:2]), "verify.share"),
        ("/release", lambda value: value.update(shares=value["shares"][:1] * 5), "verify.share"),
        ("/release", lambda value: value["shares"][0].update(slot="node-9"), "verify.share"),
        ("/release", lambda value: value.pop("shares"), "verify.malformed"),
    ],
)
async def test_changed_answers_are_noticed(
    operator: Client, agent: Client, workload: Workload, monkeypatch: pytest.MonkeyPatch,
    path_end: str, change: Any, code: str,
) -> None:  # fmt: skip
    """A lying gateway gets evidence over no nonce of its own and hands on no other secret."""
    stored = await operator.secrets.put("database", CONTENT, policy=POLICY)
    honest = agent.caller.send

    async def lying(method: str, path: str, **options: Any) -> Any:
        answer = await honest(method, path, **options)
        if path.endswith(path_end):
            change(answer)
        return answer

    monkeypatch.setattr(agent.caller, "send", lying)
    with pytest.raises(ClientError) as caught:
        await agent.secrets.release(stored.secret, workload.quote)
    assert caught.value.code == code


async def test_one_release_has_one_key(agent: Client, operator: Client, workload: Workload) -> None:
    """Each release has a recipient key of its own."""
    stored = await operator.secrets.put("database", CONTENT, policy=POLICY)
    first, second = (Release(agent.caller, agent.secrets._sender, stored.certified) for _ in range(2))
    assert first._recipient.private_bytes_raw() != second._recipient.private_bytes_raw()
