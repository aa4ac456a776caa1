"""Documents that need two operators: each signs what it read, and a short quorum is noticed before sending."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from attestation.canonical import canonical_json
from attestation.envelope import Envelope
from enclave.documents import PolicyDocument, parse_document
from enclave.errors import RefusedError
from enclave.ids import new_id
from enclave.roster import OperatorEntry, Role, Roster
from kms.client import AgentCredentials, Client, ConfigurationError, OperatorCredentials, TrustAnchors
from kms.dev.create import create

ONE, TWO = OperatorCredentials.create(), OperatorCredentials.create()


@pytest.fixture(scope="module")
def roster(tmp_path_factory: pytest.TempPathFactory) -> Roster:
    """A roster whose policies need both operators."""
    layout = create(tmp_path_factory.mktemp("made") / "dev", nodes=3, first_port=0)
    made = Roster.parse(Path(layout.roster).read_bytes())
    return dataclasses.replace(
        made,
        operators=tuple(
            OperatorEntry(operator=one.issuer, name=name, key=one.public.key, roles=frozenset({Role.ADMIN}))
            for one, name in ((ONE, "one"), (TWO, "two"))
        ),
        quorum={"roster": 2, "policy": 2},
    )


def _client(roster: Roster, who: Any, url: str = "http://127.0.0.1:1") -> Client:
    return Client.connect(url=url, trust=TrustAnchors(cluster_id=roster.cluster_id), credentials=who)


def _policy(roster: Roster) -> PolicyDocument:
    return PolicyDocument(
        cluster=roster.cluster_id, policy=new_id("pol"), name="shared", version=1, rules=[], issued_at=1
    )


async def test_two_signatures_make_a_quorum(roster: Roster) -> None:
    """Signed by one operator the document is refused here, before anything is sent; cosigned it is sent as it is."""
    received: list[Any] = []

    async def take(request: web.Request) -> web.Response:
        received.append((request.path, (await request.json())["document"]))
        return web.json_response({})

    app = web.Application()
    app.router.add_put("/v1/policies/{policy}", take)
    async with TestServer(app) as server:
        one, two = (_client(roster, who, str(server.make_url(""))) for who in (ONE, TWO))
        document = _policy(roster)
        envelope = one.documents.sign(document)
        with pytest.raises(RefusedError) as caught:
            await one.documents.put(envelope, roster=roster)
        assert caught.value.code == "document.quorum"
        assert received == []
        both = two.documents.cosign(envelope)
        await two.documents.put(both, roster=roster)
        await one.close()
        await two.close()
    assert received == [(f"/v1/policies/{document.policy}", Envelope.parse(both).to_json())]
    assert parse_document(both, roster).subject == document.policy


def test_cosigning_twice_counts_once(roster: Roster) -> None:
    """The same operator's second signature does not make a quorum."""
    one = _client(roster, ONE)
    with pytest.raises(RefusedError) as caught:
        parse_document(one.documents.cosign(one.documents.sign(_policy(roster))), roster)
    assert caught.value.code == "document.quorum"


def test_foreign_documents_are_not_cosigned(roster: Roster) -> None:
    """A document of another cluster, and anything that is not a control document, gets no signature."""
    one = _client(roster, ONE)
    other = dataclasses.replace(_policy(roster), cluster=bytes(32))
    for envelope in (
        one.documents.sign(other),
        Envelope.of("application/vnd.holdfast.roster+json", {"cluster": roster.cluster_id.hex()}),
    ):
        data = envelope if isinstance(envelope, bytes) else _bytes(envelope)
        with pytest.raises(ConfigurationError) as caught:
            one.documents.cosign(data)
        assert caught.value.code == "client.document"


def test_agents_sign_no_documents(roster: Roster) -> None:
    """An agent's credentials do not sign control documents."""
    with pytest.raises(ConfigurationError):
        _client(roster, AgentCredentials.create()).documents.sign(_policy(roster))


def _bytes(envelope: Envelope) -> bytes:
    return canonical_json(envelope.to_json())
