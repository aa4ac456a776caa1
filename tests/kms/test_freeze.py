"""Freezes end to end: through the gateway, straight to the nodes without it, and what the client reports."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from attestation.canonical import canonical_json
from attestation.envelope import Envelope, b64url
from enclave.documents import sign_document
from enclave.restrictions import CredentialRevocation, Freeze, Scope
from enclave.signing_key import SigningKey
from kms.client import AgentCredentials, Client, OperatorCredentials
from kms.client.trust import TrustAnchors
from tests.kms.fabric import Fabric

pytestmark = pytest.mark.asyncio(loop_scope="module")


@contextlib.asynccontextmanager
async def client_of(fabric: Fabric, credentials: Any = None, *, url: str | None = None) -> AsyncIterator[Client]:
    """The operator's client unless told otherwise, trusting as a cluster file would."""
    trust = TrustAnchors(
        cluster_id=fabric.roster.cluster_id,
        simulated_roots=fabric.roster.simulated_roots,
        roster=fabric.layout.roster.read_bytes(),
    )
    credentials = credentials or OperatorCredentials(issuer=fabric.operator_id, key=fabric.operator)
    async with Client.connect(url=url or fabric.url, trust=trust, credentials=credentials) as client:
        yield client


async def hand_in(fabric: Fabric, path: str, document: Freeze) -> tuple[int, Any]:
    """The operator hands in a document it signed."""
    body = canonical_json({"document": Envelope.parse(sign_document(document, fabric.operator)).to_json()})
    return await fabric.ask("POST", path, token=fabric.operator_token("documents.put", "*", body), body=body)


async def sign(fabric: Fabric, key: dict[str, Any]) -> tuple[int, Any]:
    """The agent asks for a signature."""
    body = canonical_json({"kind": "message", "message": b64url(b"hello")})
    token = fabric.token("sign", f"{key['key']}/1", body)
    return await fabric.ask("POST", f"/v1/keys/{key['key']}/sign", token=token, body=body)


async def test_one_operator_freezes_and_thaws_over_http(fabric: Fabric) -> None:
    """The answer names the nodes that acknowledged; the agent is told what is frozen; the listing shows both states."""
    key = await fabric.create_key()
    async with client_of(fabric) as client:
        freeze = client.restrictions.freeze(Scope.KEY, key["key"])
    thaw = replace(freeze, state="thawed", sequence=freeze.sequence + 1)
    status, answer = await hand_in(fabric, "/v1/thaw", freeze)
    assert (status, answer["code"]) == (400, "document.state")
    status, answer = await hand_in(fabric, "/v1/freeze", freeze)
    assert status == 200, answer
    assert sorted(item["slot"] for item in answer["acknowledgements"]) == fabric.slots
    status, answer = await sign(fabric, key)
    assert (status, answer["code"]) == (409, "frozen.key")
    assert (await hand_in(fabric, "/v1/thaw", thaw))[0] == 200
    assert (await sign(fabric, key))[0] == 200
    status, answer = await fabric.ask("GET", "/v1/freeze", token=fabric.operator_token("agents.list", "*", b""))
    assert [(item["scope"], item["id"], item["state"]) for item in answer["freezes"]] == [("key", key["key"], "thawed")]
    status, answer = await fabric.ask("GET", "/v1/freeze", token=fabric.token("agents.list", "*", b""))
    assert (status, answer["code"]) == (403, "role.missing")


async def test_an_agent_freezes_nothing(fabric: Fabric) -> None:
    """Nodes and gateway look at who signed the document, not at who carries it."""
    freeze = Freeze(
        cluster=fabric.roster.cluster_id, scope=Scope.CLUSTER, target=None, state="frozen", sequence=1, issued_at=1
    )
    body = canonical_json({"document": Envelope.parse(sign_document(freeze, fabric.agent)).to_json()})
    status, answer = await fabric.ask("POST", "/v1/freeze", token=fabric.token("documents.put", "*", body), body=body)
    assert (status, answer["code"]) == (403, "envelope.signatures")


async def test_the_client_counts_what_nodes_signed(fabric: Fabric) -> None:
    """Done means n - s + 1 attested acknowledgements per affected key, whatever else happened."""
    key = await fabric.create_key(name="counted")
    async with client_of(fabric) as client:
        document = client.restrictions.freeze(Scope.CLUSTER, None)
        report = await client.restrictions.deliver(client.restrictions.sign(document))
        assert report.done
        assert sorted(report.acknowledged) == fabric.slots
        assert not report.unproven
        progress = {item.key: item for item in report.keys}
        assert progress[key["key"]].needed == 3
        assert (await sign(fabric, key))[1]["code"] == "frozen.cluster"
        thaw = client.restrictions.freeze(Scope.CLUSTER, None, frozen=False)
        assert (await client.restrictions.deliver(client.restrictions.sign(thaw))).done
        assert (await sign(fabric, key))[0] == 200
        assert [item["state"] for item in await client.restrictions.list(roster=fabric.roster)][-1] == "thawed"


async def test_a_forged_acknowledgement_counts_for_nothing(fabric: Fabric) -> None:
    """Nodes that acknowledge something else are named, and with three of them the key is not stopped."""
    key = await fabric.create_key(name="lied-about")

    def wrong(verb: str, _request: Any, reply: Any) -> Any:
        import msgspec

        return msgspec.structs.replace(reply, signature=bytes(64)) if verb == "control" else reply

    for slot in fabric.slots[:3]:
        fabric.corrupt(slot, wrong)
    try:
        async with client_of(fabric) as client:
            document = client.restrictions.freeze(Scope.KEY, key["key"])
            report = await client.restrictions.deliver(client.restrictions.sign(document))
    finally:
        for slot in fabric.slots[:3]:
            fabric.corrupt(slot, None)
    assert not report.done
    assert report.unproven == dict.fromkeys(fabric.slots[:3], "verify.acknowledgement")
    assert [(item.key, item.acknowledged, item.needed) for item in report.keys] == [
        (key["key"], tuple(fabric.slots[3:]), 3)
    ]


async def test_a_freeze_reaches_the_nodes_without_the_gateway(fabric: Fabric) -> None:
    """With no gateway the document still arrives, and the report says that nothing was proven."""
    key = await fabric.create_key(name="unproven")
    async with client_of(fabric, url="http://127.0.0.1:9") as client:
        document = client.restrictions.freeze(Scope.KEY, key["key"])
        report = await client.restrictions.deliver(client.restrictions.sign(document))
    assert not report.done
    assert not report.acknowledged
    assert set(report.unproven.values()) == {"verify.collateral"}
    assert (await sign(fabric, key))[1]["code"] == "frozen.key"


async def test_a_node_that_was_away_learns_of_a_freeze_first(fabric: Fabric) -> None:
    """Two of five may be away while the freeze is complete; back, they get it before anything else."""
    key = await fabric.create_key(name="away")
    for slot in fabric.slots[3:]:
        await fabric.stop_node(slot)
    async with client_of(fabric) as client:
        document = client.restrictions.freeze(Scope.KEY, key["key"])
        report = await client.restrictions.deliver(client.restrictions.sign(document))
    assert report.done
    assert report.acknowledged == tuple(fabric.slots[:3])
    assert set(report.unproven) == set(fabric.slots[3:])
    for slot in fabric.slots[3:]:
        await fabric.start_node(slot)
    await fabric.trusted(*fabric.slots)
    for slot in fabric.slots:
        assert fabric.nodes[slot].directory.is_frozen(Scope.KEY, key["key"])
    assert fabric.gateway.directory.newest()[0][0] in fabric.nodes["node-5"].directory.digests


async def test_an_agent_takes_its_credential_back(fabric: Fabric) -> None:
    """By its own word alone: the gateway and every node refuse the credential, and the other one goes on."""
    first, second = SigningKey.generate(), SigningKey.generate("ES256")
    agent = "agt_" + "c" * 26
    document = fabric.agent_document(agent=agent, name="twin", keys=(first.public, second.public))
    assert (await fabric.put("POST", "/v1/agents", document))[0] == 200
    async with client_of(fabric, AgentCredentials(issuer=agent, key=first)) as client:
        revocation = client.restrictions.revocation(agent, first.kid)
        report = await client.restrictions.deliver(client.restrictions.sign(revocation))
    assert sorted(report.acknowledged) == fabric.slots
    token = fabric.token("agents.list", "*", b"", issuer=agent, signer=first)
    status, answer = await fabric.ask("GET", "/v1/agents", token=token)
    assert (status, answer["code"]) == (401, "token.unknown-key")
    token = fabric.token("agents.list", "*", b"", issuer=agent, signer=second)
    assert (await fabric.ask("GET", "/v1/agents", token=token))[0] == 200
    assert all(node.directory.is_taken_back(agent, first.kid) for node in fabric.nodes.values())


async def test_a_credential_is_taken_back_under_its_own_path(fabric: Fabric) -> None:
    """The document is about the agent and credential of the path, and about no agent but the signer."""
    document = CredentialRevocation(
        cluster=fabric.roster.cluster_id, agent=fabric.agent_id, credential=fabric.agent.kid, sequence=1, issued_at=1
    )
    other = SigningKey.generate()
    for signer, path, code in (
        (fabric.agent, "A" * 43, "document.subject"),
        (other, fabric.agent.kid, "envelope.signatures"),
    ):
        body = canonical_json({"document": Envelope.parse(sign_document(document, signer)).to_json()})
        status, answer = await fabric.ask(
            "DELETE",
            f"/v1/agents/{fabric.agent_id}/credentials/{path}",
            token=fabric.token("documents.put", "*", body),
            body=body,
        )
        assert (status >= 400, answer["code"]) == (True, code)
