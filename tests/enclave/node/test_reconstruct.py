"""Custody reconstruct: shares go to a named, freshly attested assembler, which signs once."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from eth_account import Account

from enclave.addresses import evm_address
from enclave.certificate import KeyCertificate
from enclave.payload.sign import parse_sign_body, signed_transaction
from enclave.wire.channel import ChannelOpenRequest
from enclave.wire.reconstruct import AssembleRequest, ReleaseRequest, SealedShare
from tests.enclave.node.codes import code_of
from tests.enclave.node.world import World, evm_body

BODY = evm_body()
SIGNERS = ["node-1", "node-2", "node-3"]
ASSEMBLER = "node-1"


@pytest.fixture
def key(ready: World) -> KeyCertificate:
    """An EVM key that node-1 and node-2 may assemble."""
    certificate = ready.create_key(spec="secp256k1-ecdsa", usage="evm", custody="reconstruct")
    ready.now += 1
    assert certificate.assemblers == ("node-1", "node-2")
    return certificate


def release(world: World, token: str, body: bytes = BODY, **changes: Any) -> ReleaseRequest:
    """A request for a share."""
    fields: dict[str, Any] = {"token": token, "body": body, "signers": SIGNERS, "assembler": ASSEMBLER}
    return ReleaseRequest(**(fields | changes))


def released(world: World, token: str, body: bytes = BODY) -> list[SealedShare]:
    """The shares of the signers that are not the assembler."""
    for slot in ("node-2", "node-3"):
        world.open_channel(slot, ASSEMBLER)
    return [world.call(slot, "release", release(world, token, body)) for slot in ("node-2", "node-3")]


def assemble(token: str, shares: list[SealedShare], body: bytes = BODY, **changes: Any) -> AssembleRequest:
    """A request to the assembler."""
    fields: dict[str, Any] = {"token": token, "body": body, "signers": SIGNERS, "shares": shares}
    return AssembleRequest(**(fields | changes))


@pytest.mark.parametrize(
    ("signers", "assembler"),
    [(SIGNERS, "node-1"), (["node-2", "node-4", "node-5"], "node-2"), (["node-3", "node-4", "node-5"], "node-1")],
)
def test_an_evm_transaction_is_signed_as_eth_account_reads_it(
    ready: World, key: KeyCertificate, signers: list[str], assembler: str
) -> None:
    """The signature makes a raw transaction whose sender is the key's address, assembler in the set or not."""
    reply = ready.assemble(key, BODY, signers=signers, assembler=assembler)
    payload = parse_sign_body(BODY, key.usage, key.spec)
    raw = signed_transaction(payload, reply.signature[:32], reply.signature[32:], reply.recovery_id)
    assert Account.recover_transaction(raw) == evm_address(key.public_key)


def test_the_relay_sees_no_share(ready: World, key: KeyCertificate) -> None:
    """Two releases of one share to one assembler have nothing in common."""
    first = released(ready, ready.token(key, BODY))[0]
    second = released(ready, ready.token(key, BODY))[0]
    assert first.ciphertext != second.ciphertext
    assert len(first.ciphertext) == 48


def test_only_a_named_assembler_gets_shares(ready: World, key: KeyCertificate) -> None:
    """A node the certificate does not name gets none, attested or not, and does not assemble."""
    token = ready.token(key, BODY)
    ready.open_channel("node-2", "node-4")
    assert code_of(ready.call, "node-2", "release", release(ready, token, assembler="node-4")) == "assembler.not-named"
    signers = ["node-2", "node-3", "node-4"]
    assert code_of(ready.call, "node-4", "assemble", assemble(token, [], signers=signers)) == "assembler.not-named"


def test_an_assembler_needs_evidence_of_the_last_hour(ready: World, key: KeyCertificate) -> None:
    """Day-old evidence lets a node sign, not hold a whole key."""
    ready.now += 3601
    ready.open_channel("node-2", ASSEMBLER)
    request = release(ready, ready.token(key, BODY))
    assert code_of(ready.call, "node-2", "release", request) == "attestation-stale"
    ready.attest()
    assert ready.call("node-2", "release", request).ciphertext


def test_an_assembler_needs_fresh_evidence_in_its_own_eyes_too(ready: World, key: KeyCertificate) -> None:
    """A node whose own evidence is older than an hour does not assemble, whatever it was given."""
    ready.now += 3601
    request = assemble(ready.token(key, BODY), [])
    assert code_of(ready.call, ASSEMBLER, "assemble", request) == "attestation-stale"


def test_every_signer_must_be_trusted_for_a_release(ready: World, key: KeyCertificate) -> None:
    """A revoked member stops the releases of the others, assembler or not."""
    ready.open_channel("node-2", ASSEMBLER)
    ready.registry.revoke(ready.platform("node-3").platform_id, "sold", ready.now)
    ready.push()
    assert code_of(ready.call, "node-2", "release", release(ready, ready.token(key, BODY))) == "attestation-denied"
    others = release(ready, ready.token(key, BODY), signers=["node-1", "node-2", "node-4"])
    assert ready.call("node-2", "release", others).ciphertext


def test_a_revoked_assembler_gets_nothing(ready: World, key: KeyCertificate) -> None:
    """The registry stops releases at each holder."""
    ready.open_channel("node-2", ASSEMBLER)
    ready.registry.revoke(ready.platform(ASSEMBLER).platform_id, "stolen", ready.now)
    ready.push()
    assert code_of(ready.call, "node-2", "release", release(ready, ready.token(key, BODY))) == "attestation-denied"
    assert code_of(ready.call, ASSEMBLER, "assemble", assemble(ready.token(key, BODY), [])) == "attestation-denied"


def test_shares_of_other_custodies_never_leave(ready: World) -> None:
    """A threshold key is not released, whoever asks."""
    certificate = ready.create_key()
    ready.now += 1
    ready.open_channel("node-2", ASSEMBLER)
    assert code_of(ready.call, "node-2", "release", release(ready, ready.token(certificate, BODY))) == "key.custody"


def test_policy_is_asked_before_a_release(ready: World, key: KeyCertificate) -> None:
    """A transfer above the cap, to somebody else, or on another chain releases nothing."""
    ready.open_channel("node-2", ASSEMBLER)
    for change in ({"value": "1001"}, {"to": "0x" + "22" * 20}, {"chain_id": 2}, {"data": "0x00"}):
        body = evm_body(**change)
        request = release(ready, ready.token(key, body), body)
        assert code_of(ready.call, "node-2", "release", request) == "policy.denied"
        refused = assemble(request.token, [], body)
        assert code_of(ready.call, ASSEMBLER, "assemble", refused) == "policy.denied"


def test_a_release_needs_a_session(ready: World, key: KeyCertificate) -> None:
    """Without a channel to this boot of the assembler there is no share, and no attempt is lost for good."""
    request = release(ready, ready.token(key, BODY))
    assert code_of(ready.call, "node-2", "release", request) == "channel.missing"
    ready.open_channel("node-2", ASSEMBLER)
    assert ready.call("node-2", "release", request).ciphertext


def test_a_rebooted_assembler_cannot_open_old_shares(ready: World, key: KeyCertificate) -> None:
    """Sessions die with the boot, on both ends."""
    token = ready.token(key, BODY)
    shares = released(ready, token)
    ready.stop(ASSEMBLER)
    ready.start(ASSEMBLER)
    ready.attest()
    assert code_of(ready.call, ASSEMBLER, "assemble", assemble(token, shares)) == "channel.unknown"
    assert code_of(ready.call, "node-2", "release", release(ready, token)) == "channel.missing"


def test_a_share_serves_one_request_once(ready: World, key: KeyCertificate) -> None:
    """A sealed share is bound to its request and opened once."""
    token = ready.token(key, BODY)
    shares = released(ready, token)
    other = ready.token(key, BODY)
    assert code_of(ready.call, ASSEMBLER, "assemble", assemble(other, shares)) == "channel.unreadable"
    assert ready.call(ASSEMBLER, "assemble", assemble(token, shares)).signature
    assert code_of(ready.call, ASSEMBLER, "assemble", assemble(token, shares)) == "channel.replayed"


def test_a_share_of_another_key_does_not_open(ready: World, key: KeyCertificate) -> None:
    """Shares do not move between keys even inside one session."""
    other = ready.create_key(session=b"t" * 32, spec="secp256k1-ecdsa", usage="evm", custody="reconstruct")
    ready.now += 1
    shares = released(ready, ready.token(other, BODY))
    assert code_of(ready.call, ASSEMBLER, "assemble", assemble(ready.token(key, BODY), shares)) == "channel.unreadable"


def test_mixed_up_shares_are_refused(ready: World, key: KeyCertificate) -> None:
    """Each share counts for the slot whose session it came over."""
    token = ready.token(key, BODY)
    second, third = released(ready, token)
    mixed = [
        msgspec.structs.replace(second, slot="node-3"),
        msgspec.structs.replace(third, slot="node-2"),
    ]
    assert code_of(ready.call, ASSEMBLER, "assemble", assemble(token, mixed)) == "channel.unknown"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"signers": ["node-1", "node-2"]}, "signers.count"),
        ({"signers": ["node-1", "node-2", "node-3", "node-4"]}, "signers.count"),
        ({"signers": ["node-1", "node-3", "node-2"]}, "signers.order"),
        ({"signers": ["node-1", "node-2", "node-9"]}, "signers.unknown"),
        ({"shares": []}, "signers.shares"),
    ],
)
def test_signer_sets_are_exact(ready: World, key: KeyCertificate, changes: dict[str, Any], code: str) -> None:
    """Exactly as many distinct holders as the key needs, each with its share."""
    token = ready.token(key, BODY)
    request = msgspec.structs.replace(assemble(token, released(ready, token)), **changes)
    assert code_of(ready.call, ASSEMBLER, "assemble", request) == code


def test_a_holder_outside_the_set_releases_nothing(ready: World, key: KeyCertificate) -> None:
    """A node gives its share only to a set that names it."""
    ready.open_channel("node-5", ASSEMBLER)
    assert code_of(ready.call, "node-5", "release", release(ready, ready.token(key, BODY))) == "signers.not-member"


def test_a_wrong_share_names_its_sender(ready: World, key: KeyCertificate) -> None:
    """A corrupt holder that seals another scalar is named by the assembler, and nothing is signed."""
    from dataclasses import replace

    from enclave.errors import PeerError
    from enclave.group.secp256k1 import SECP256K1

    keys = ready.nodes["node-3"].keys
    held = keys.get(key.key, 1)
    keys._keys[f"{key.key}/1"] = replace(held, share=SECP256K1.random_scalar())
    token = ready.token(key, BODY)
    shares = released(ready, token)
    with pytest.raises(PeerError) as caught:
        ready.call(ASSEMBLER, "assemble", assemble(token, shares))
    assert (caught.value.code, caught.value.culprits) == ("share.invalid", ("node-3",))


def test_attempts_are_counted_at_both_ends(ready: World, key: KeyCertificate) -> None:
    """Holder and assembler each stop at the fourth execution of one request."""
    token = ready.token(key, BODY)
    for _ in range(3):
        ready.call(ASSEMBLER, "assemble", assemble(token, released(ready, token)))
    assert code_of(ready.call, "node-2", "release", release(ready, token)) == "token.replayed"
    assert code_of(ready.call, ASSEMBLER, "assemble", assemble(token, released_again(ready))) == "token.replayed"


def released_again(world: World) -> list[SealedShare]:
    """Placeholders: the assembler refuses before it looks at them."""
    return [SealedShare(slot=slot, session=b"", counter=0, ciphertext=b"") for slot in ("node-2", "node-3")]


def test_an_assemblers_own_share_does_not_travel(ready: World, key: KeyCertificate) -> None:
    """Asked for its own share, the assembler gives nothing that could leak."""
    own = ready.call(ASSEMBLER, "release", release(ready, ready.token(key, BODY)))
    assert (own.ciphertext, own.session) == (b"", b"")


def test_channels_need_trust(ready: World) -> None:
    """No session to, or from, a node this one does not trust, and none to itself."""
    ready.registry.revoke(ready.platform("node-3").platform_id, "sold", ready.now)
    opening = ready.call("node-3", "channel-open", ChannelOpenRequest(slot="node-1"))
    ready.push()
    assert code_of(ready.call, "node-1", "channel-accept", opening) == "attestation-denied"
    assert code_of(ready.call, "node-1", "channel-open", ChannelOpenRequest(slot="node-3")) == "attestation-denied"
    assert code_of(ready.call, "node-1", "channel-open", ChannelOpenRequest(slot="node-1")) == "channel.self"
    assert code_of(ready.call, "node-1", "channel-open", ChannelOpenRequest(slot="?")) == "attestation-unavailable"
