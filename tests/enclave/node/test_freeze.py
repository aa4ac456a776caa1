"""Freezes at the nodes: every scope, every use of a share, between rounds, across restarts; and revoked credentials."""

from __future__ import annotations

from typing import Any

import pytest

from attestation.canonical import canonical_json
from attestation.envelope import b64url
from enclave.certificate import KeyCertificate
from enclave.documents import sign_document
from enclave.payload.sign import parse_sign_body
from enclave.restrictions import CredentialRevocation, Freeze, Scope
from enclave.signing_key import SigningKey
from enclave.threshold import hpke
from enclave.wire.ceremonies import CeremonyRound
from enclave.wire.decrypt import PartialRequest
from enclave.wire.documents import ControlRequest
from enclave.wire.reconstruct import AssembleRequest, ReleaseRequest
from tests.enclave.node.codes import code_of
from tests.enclave.node.ecdsa_run import EcdsaRun
from tests.enclave.node.world import ALLOW_MESSAGES, World, evm_body

SEQUENCES = iter(range(1, 10_000))
EVM_RULES: tuple[dict[str, Any], ...] = (
    ALLOW_MESSAGES,
    {"name": "evm", "effect": "allow", "kinds": ["evm_transaction"], "evm": {"chain_ids": [1, 10]}},
    {
        "name": "rest",
        "effect": "allow",
        "kinds": ["eip191", "eip712", "digest", "eip7702_authorization"],
        "digest": "allow",
        "evm": {"primary_types": ["Vote"], "delegates": ["0x" + "22" * 20]},
    },
    {"name": "reading", "effect": "allow", "kinds": ["decrypt"], "plaintext_to_gateway": "allow"},
)


@pytest.fixture
def evm(world: World) -> World:
    """A cluster whose policy allows every kind of EVM payload on two chains."""
    world.ready(*EVM_RULES)
    return world


def freeze(world: World, scope: Scope, target: str | None = None, state: str = "frozen") -> None:
    """Deliver a freeze, or a thaw, to every node."""
    world.put(
        Freeze(
            cluster=world.roster.cluster_id,
            scope=scope,
            target=target,
            state=state,
            sequence=next(SEQUENCES),
            issued_at=world.now,
        )
    )


def key_of(world: World, spec: str, usage: str, session: bytes = b"s" * 32, **changes: Any) -> KeyCertificate:
    """A key that can be used at once."""
    key = world.create_key(spec=spec, usage=usage, session=session, **changes)
    world.now += 1
    return key


@pytest.mark.parametrize("scope", [Scope.CLUSTER, Scope.AGENT, Scope.KEY])
def test_a_freeze_stops_frost_until_the_thaw(ready: World, scope: Scope) -> None:
    """Each scope stops signing at once, and only its own thaw lets it go again."""
    key = key_of(ready, "ed25519", "generic")
    target = {Scope.CLUSTER: None, Scope.AGENT: ready.agent_id, Scope.KEY: key.key}[scope]
    freeze(ready, scope, target)
    assert code_of(ready.sign, key, b"x") == f"frozen.{scope}"
    freeze(ready, scope, target, "thawed")
    assert ready.sign(key, b"x")


def test_a_freeze_names_only_its_own(ready: World) -> None:
    """Another key and another agent go on."""
    key, other = key_of(ready, "ed25519", "generic"), key_of(ready, "ed25519", "generic", b"o" * 32)
    freeze(ready, Scope.KEY, other.key)
    freeze(ready, Scope.AGENT, "agt_" + "b" * 26)
    freeze(ready, Scope.CHAIN, "evm:1", "thawed")
    assert ready.sign(key, b"x")
    assert code_of(ready.sign, other, b"x") == "frozen.key"


def test_a_freeze_survives_restarts(ready: World) -> None:
    """It is sealed before it is acknowledged."""
    key = key_of(ready, "ed25519", "generic")
    freeze(ready, Scope.CLUSTER)
    ready.stop()
    ready.start()
    ready.attest()
    ready.now += 1
    assert code_of(ready.sign, key, b"x") == "frozen.cluster"
    freeze(ready, Scope.CLUSTER, state="thawed")
    assert ready.sign(key, b"x")


@pytest.mark.parametrize("following", [2, 3, 4])
@pytest.mark.parametrize("scope", [Scope.CLUSTER, Scope.AGENT, Scope.KEY, Scope.CHAIN])
def test_a_freeze_ends_running_ecdsa_sessions(evm: World, scope: Scope, following: int) -> None:
    """Whatever round has come, the next one is refused and the attempt wiped: no release leaves."""
    key = key_of(evm, "secp256k1-ecdsa", "evm", shares_needed=2)
    run = EcdsaRun(evm, key, evm_body())
    run.up_to(following - 1)
    target = {Scope.CLUSTER: None, Scope.AGENT: evm.agent_id, Scope.KEY: key.key, Scope.CHAIN: "evm:1"}[scope]
    freeze(evm, scope, target)
    for slot in run.signers:
        assert code_of(evm.call, slot, "ecdsa-round", run.following(following)) == f"frozen.{scope}"
        assert len(evm.nodes[slot].ecdsa) == 0
    assert code_of(EcdsaRun(evm, key, evm_body(), attempt=2).start) == f"frozen.{scope}"


def test_a_revoked_credential_ends_running_ecdsa_sessions(evm: World) -> None:
    """The check between rounds looks at the very credential that asked."""
    key = key_of(evm, "secp256k1-ecdsa", "evm", shares_needed=2)
    run = EcdsaRun(evm, key, evm_body())
    run.up_to(3)
    take_back(evm, evm.agent.kid)
    assert code_of(evm.call, "node-1", "ecdsa-round", run.following(4)) == "credential.revoked"


EVERYWHERE = {
    "eip191": {"kind": "eip191", "message": b64url(b"hello")},
    "digest": {"kind": "digest", "digest": b64url(bytes(31) + b"1")},
    "typed data without chain": {
        "kind": "eip712",
        "typed_data": {
            "types": {"Vote": [{"name": "choice", "type": "uint256"}]},
            "primaryType": "Vote",
            "domain": {"name": "Poll"},
            "message": {"choice": 1},
        },
    },
    "delegation for every chain": {
        "kind": "eip7702_authorization",
        "authorization": {"chain_id": 0, "address": "0x" + "22" * 20, "nonce": 1},
    },
}


@pytest.mark.parametrize("name", EVERYWHERE)
def test_a_frozen_chain_stops_what_counts_everywhere(evm: World, name: str) -> None:
    """What names no chain may take effect on the frozen one."""
    key = key_of(evm, "secp256k1-ecdsa", "evm", shares_needed=2)
    body = canonical_json(EVERYWHERE[name])
    freeze(evm, Scope.CHAIN, "solana")
    assert EcdsaRun(evm, key, body).start()
    freeze(evm, Scope.CHAIN, "evm:10")
    assert code_of(EcdsaRun(evm, key, body, attempt=2).start) == "frozen.chain"


def test_other_chains_go_on(evm: World) -> None:
    """Transactions name their chain; the frozen one alone is stopped."""
    key = key_of(evm, "secp256k1-ecdsa", "evm", shares_needed=2)
    freeze(evm, Scope.CHAIN, "evm:10")
    assert EcdsaRun(evm, key, evm_body(chain_id=1)).signature()
    assert code_of(EcdsaRun(evm, key, evm_body(chain_id=10)).start) == "frozen.chain"


def test_a_frozen_chain_stops_opaque_signatures_and_not_decryption(evm: World) -> None:
    """A generic key's message may be a transaction of any chain; a ciphertext is none."""
    key = key_of(evm, "ed25519", "generic")
    reader = key_of(evm, "hpke-x25519", "decrypt", b"d" * 32)
    freeze(evm, Scope.CHAIN, "bitcoin")
    assert code_of(evm.sign, key, b"x") == "frozen.chain"
    assert partial(evm, reader)
    freeze(evm, Scope.KEY, reader.key)
    assert code_of(partial, evm, reader) == "frozen.key"


def partial(world: World, key: KeyCertificate) -> Any:
    """One node's partial decryption."""
    sealed = hpke.seal(key.public_key, b"secret", b"")
    body = canonical_json({"ciphertext": b64url(sealed), "context": {}})
    token = world.token(key, body, act="decrypt")
    return world.call("node-1", "partial", PartialRequest(token=token, body=body, signers=world.slots[:3]))


def test_a_freeze_stops_release_and_assembly(ready: World) -> None:
    """A share that was released before the freeze is not assembled after it."""
    key = key_of(ready, "secp256k1-ecdsa", "evm", custody="reconstruct", assemblers=["node-1"])
    body, signers = evm_body(), ready.slots[:3]
    token = ready.token(key, body)
    request = ReleaseRequest(token=token, body=body, signers=signers, assembler="node-1")
    shares = []
    for slot in signers[1:]:
        ready.open_channel(slot, "node-1")
        shares.append(ready.call(slot, "release", request))
    freeze(ready, Scope.KEY, key.key)
    assert code_of(ready.call, signers[1], "release", request) == "frozen.key"
    assembly = AssembleRequest(token=token, body=body, signers=signers, shares=shares)
    assert code_of(ready.call, "node-1", "assemble", assembly) == "frozen.key"
    freeze(ready, Scope.KEY, key.key, "thawed")
    freeze(ready, Scope.CHAIN, "evm:1")
    assert code_of(ready.call, "node-1", "assemble", assembly) == "frozen.chain"
    assert parse_sign_body(body, key.usage, key.spec).digest


def test_a_frozen_cluster_makes_no_keys(ready: World) -> None:
    """Orders are refused, running ceremonies end; what everyone has prepared may still be committed."""
    prepared = ready.ceremony_start(ready.order(), session=b"p" * 32)
    prepares = ready.run_rounds(prepared)
    running = ready.ceremony_start(ready.order(), session=b"r" * 32)
    messages = [ready.call(slot, "ceremony-start", running) for slot in ready.slots]
    freeze(ready, Scope.CLUSTER)
    ordered = ready.ceremony_start(ready.order(), session=b"n" * 32)
    assert code_of(ready.call, "node-1", "ceremony-start", ordered) == "frozen.cluster"
    following = CeremonyRound(session=running.session, round=2, messages=messages)
    assert code_of(ready.call, "node-1", "ceremony-round", following) == "frozen.cluster"
    commit = CeremonyRound(session=prepared.session, round=4, messages=prepares)
    key = ready.verified([ready.commit(slot, commit) for slot in ready.slots])
    ready.now += 1
    assert code_of(ready.sign, key, b"x") == "frozen.cluster"
    freeze(ready, Scope.CLUSTER, state="thawed")
    assert ready.sign(key, b"x")
    assert code_of(ready.call, "node-1", "ceremony-round", following) == "ceremony.unknown"


def take_back(world: World, credential: str, *, signer: SigningKey | None = None) -> None:
    """The agent revokes one of its credentials at every node."""
    document = CredentialRevocation(
        cluster=world.roster.cluster_id,
        agent=world.agent_id,
        credential=credential,
        sequence=next(SEQUENCES),
        issued_at=world.now,
    )
    envelope = sign_document(document, signer or world.agent)
    for slot in world.nodes:
        world.call(slot, "control", ControlRequest(document=envelope))


def test_an_agent_takes_one_credential_back(ready: World) -> None:
    """Its other key goes on; the revocation holds across restarts, re-registration and repetition."""
    spare = SigningKey.generate("ES256K")
    ready.put(ready.agent_document(keys=(ready.agent.public, spare.public), sequence=2))
    key = key_of(ready, "ed25519", "generic")
    take_back(ready, ready.agent.kid)
    assert code_of(ready.sign, key, b"x") == "credential.revoked"
    first, ready.agent = ready.agent, spare
    assert ready.sign(key, b"x")
    # Gone from the registration, the key that signed the revocation cannot be checked again: it counts all the same.
    ready.put(ready.agent_document(keys=(spare.public,), sequence=3))
    ready.stop()
    ready.start()
    ready.attest()
    ready.now += 1
    assert ready.sign(key, b"x")
    ready.put(ready.agent_document(keys=(first.public, spare.public), sequence=4))
    ready.agent = first
    assert code_of(ready.sign, key, b"x") == "credential.revoked"


def test_a_revoked_credential_revokes_nothing_more(ready: World) -> None:
    """A stolen key that was taken back cannot take the others back; repeating its own revocation is harmless."""
    spare = SigningKey.generate()
    ready.put(ready.agent_document(keys=(ready.agent.public, spare.public), sequence=2))
    document = CredentialRevocation(
        cluster=ready.roster.cluster_id,
        agent=ready.agent_id,
        credential=ready.agent.kid,
        sequence=1,
        issued_at=ready.now,
    )
    request = ControlRequest(document=sign_document(document, ready.agent))
    assert ready.call("node-1", "control", request).digest == ready.call("node-1", "control", request).digest
    assert code_of(take_back, ready, spare.kid) == "envelope.signatures"
    assert code_of(take_back, ready, "A" * 43, signer=spare) == "envelope.signatures"
