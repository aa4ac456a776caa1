"""Requesters that sign in elsewhere or spell their token otherwise: own requests and used ones stay what they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from attestation.errors import DocumentError
from enclave.federation import thumbprint
from enclave.fields import Fields
from enclave.roster import Roster
from enclave.roster_principals import read_oidc
from enclave.signing_key import SigningKey
from enclave.tokens import Token, read_token
from enclave.wire.signing import NoncesRequest, Signer, SignRequest
from tests.enclave.approvals.conftest import MESSAGE
from tests.enclave.approvals.kit import WAITS, Asked, Person, refused_grant
from tests.enclave.node.codes import code_of
from tests.enclave.node.world import World, message_body
from tests.enclave.oidc import ISSUER, SUBJECT, Provider


class FederatedWorld(World):
    """A cluster whose roster pins an identity provider."""

    provider = Provider()

    def _roster(self) -> Roster:
        fields = Fields({"oidc": [self.provider.roster_entry()]}, where="", error=DocumentError)
        return replace(super()._roster(), oidc=read_oidc(fields))


class FederatedAsked(Asked):
    """A request under an access token."""

    @property
    def token(self) -> Token:
        """What the token says."""
        return read_token(self.text, body=self.body, cluster=self.world.roster.cluster_id)


@pytest.fixture
def federated(tmp_path: Path) -> Iterator[FederatedWorld]:
    """A cluster whose agent has a subject at the provider and no key."""
    world = FederatedWorld(tmp_path)
    world.ready(WAITS)
    world.put(replace(world.agent_document(), keys=(), subjects=((ISSUER, SUBJECT),), sequence=2))
    yield world
    world.stop()


def asked_with(world: FederatedWorld, signer: SigningKey) -> FederatedAsked:
    """A request signed by a key that the provider vouches for, parked at every node."""
    key = world.create_key()
    world.now += 1
    access = world.provider.access_token(thumbprint(signer.public), now=world.now)
    made = FederatedAsked(world, key, message_body(MESSAGE), signer=signer, access_token=access)
    made.park()
    return made


def test_the_key_of_a_federated_request_does_not_approve_it(federated: FederatedWorld) -> None:
    """The session key is nowhere registered for the agent, and still is the requester's."""
    requester, other = Person("requester", SigningKey.generate("ES256")), Person("other")
    for person in (requester, other):
        federated.put(person.document(federated))
    made = asked_with(federated, requester.keys[0])
    approvals = [person.decides(federated, made.fingerprint()) for person in (requester, other)]
    assert refused_grant(made, made.request(approvals)) == "approval.own-request"


def test_others_approve_a_federated_request(federated: FederatedWorld) -> None:
    """With two other people the same request is granted."""
    people = [Person("ada"), Person("bob")]
    for person in people:
        federated.put(person.document(federated))
    made = asked_with(federated, SigningKey.generate("ES256"))
    assert len(made.grant(*people)) == len(federated.slots)


def test_another_spelling_of_a_token_executes_nothing_again(asked: Asked, people: list[Person]) -> None:
    """A second relay with the same token and an empty access token behind it is granted alike, and used up alike."""
    world, node = asked.world, "node-1"
    respelled = Asked(world, asked.key, asked.body)
    respelled.text, respelled.statements = asked.text + "~", asked.statements
    asked.grant(*people[:2], connection=1)
    respelled.grant(*people[:2], connection=2)
    slots = ["node-1", "node-2", "node-3"]
    for made, connection, code in ((asked, 1, None), (respelled, 2, "approval.used")):
        taken = {
            slot: world.call(slot, "nonces", NoncesRequest(suite="ed25519", count=1), connection=connection).nonces[0]
            for slot in slots
        }
        signers = [Signer(slot, nonce.hiding, nonce.binding) for slot, nonce in taken.items()]
        request = SignRequest(token=made.text, body=made.body, nonce=taken[node].nonce, signers=signers)
        if code is None:
            assert world.call(node, "sign", request, connection=connection).share
        else:
            assert code_of(world.call, node, "sign", request, connection=connection) == code
