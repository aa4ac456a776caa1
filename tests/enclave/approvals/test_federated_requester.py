"""Who signs in at an identity provider does not approve their own request either, though no key is registered."""

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
from tests.enclave.approvals.conftest import MESSAGE
from tests.enclave.approvals.kit import WAITS, Asked, Person, refused_grant
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
