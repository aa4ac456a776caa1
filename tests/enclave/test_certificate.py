"""Key orders and key certificates: what a key may be, and how many nodes have to vouch for it."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.bindings import crypto_core_ed25519_add, crypto_sign_ed25519_pk_to_curve25519

from attestation.canonical import canonical_json
from attestation.errors import CodedError
from enclave.certificate import (
    KeyCertificate,
    KeyOrder,
    NodeShare,
    certificate_bytes,
    certificate_from_json,
    certificate_to_json,
    verify_certificate,
)
from enclave.errors import CallerError, PeerError
from enclave.key_specs import Custody, Usage
from enclave.signing_key import SigningKey
from enclave.wire.documents import CertificateSignature
from tests.enclave.samples import KEY, NOW, POLICY, a_roster, a_slot, seeded_key

ROSTER = a_roster()
ORDER = {"name": "treasury", "spec": "ed25519", "usage": "solana", "shares_needed": 3, "policy": POLICY}
EVM = {"spec": "secp256k1-ecdsa", "usage": "evm", "custody": "reconstruct"}


def order(**changes: Any) -> KeyOrder:
    """An order for five nodes, three shares needed."""
    return KeyOrder.parse(json.dumps(ORDER | changes).encode(), ROSTER)


def test_an_order_takes_all_nodes_in_roster_order() -> None:
    """Without nodes the key lives on every slot, numbered from one."""
    found = order()
    assert found.participants == {number: f"node-{number}" for number in range(1, 6)}
    assert (found.custody, found.signing_quorum, found.privacy_threshold) == (Custody.THRESHOLD, 3, 3)
    assert found.assemblers == ()


def test_the_order_of_named_nodes_does_not_matter() -> None:
    """Every reader numbers the same set of slots alike."""
    named = order(nodes=["node-5", "node-1", "node-3"])
    assert named.participants == {1: "node-1", 2: "node-3", 3: "node-5"}


def test_a_reconstruct_key_admits_that_one_machine_sees_it() -> None:
    """Custody reconstruct reports privacy threshold 1 and has assemblers: the first two nodes, or those named."""
    found = order(**EVM)
    assert (found.custody, found.signing_quorum, found.privacy_threshold) == (Custody.RECONSTRUCT, 3, 1)
    assert found.assemblers == ("node-1", "node-2")
    assert order(**EVM, assemblers=["node-4"]).assemblers == ("node-4",)
    assert order(**EVM, nodes=["node-2", "node-3", "node-5"]).assemblers == ("node-2", "node-3")


@pytest.mark.parametrize(
    ("members", "shares", "quorum"),
    [
        ({}, 3, 3),
        (EVM, 3, 3),
        (EVM | {"custody": "threshold"}, 2, 3),
        ({"spec": "secp256k1-schnorr", "usage": "bitcoin"}, 3, 3),
    ],
)
def test_shares_needed_has_a_default_per_kind(members: dict[str, Any], shares: int, quorum: int) -> None:
    """An order that does not say takes 3 shares, or 2 where signing takes 2T - 1 nodes."""
    base = {name: value for name, value in ORDER.items() if name != "shares_needed"}
    found = KeyOrder.parse(json.dumps(base | members).encode(), ROSTER)
    assert (found.shares_needed, found.signing_quorum) == (shares, quorum)


def test_threshold_ecdsa_never_exists_in_one_place_and_needs_more_signers() -> None:
    """T = 3 shares reveal the key, five nodes sign; four nodes are not enough for such a key."""
    found = order(**EVM | {"custody": "threshold"})
    assert (found.signing_quorum, found.privacy_threshold, found.assemblers) == (5, 3, ())
    with pytest.raises(CallerError) as caught:
        order(**EVM | {"custody": "threshold", "nodes": ["node-1", "node-2", "node-3", "node-4"]})
    assert caught.value.code == "order.shares-needed"


def test_usage_may_be_left_out_only_where_there_is_one() -> None:
    """A decryption key has one usage; a signing key's usage has to be said."""
    base = {name: value for name, value in ORDER.items() if name != "usage"}
    assert KeyOrder.parse(json.dumps(base | {"spec": "hpke-x25519"}).encode(), ROSTER).usage is Usage.DECRYPT
    with pytest.raises(CallerError) as caught:
        KeyOrder.parse(json.dumps(base).encode(), ROSTER)
    assert caught.value.code == "order.usage"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"name": "null"}, "name.malformed"),
        ({"name": 1}, "name.malformed"),
        ({"name": ""}, "name.malformed"),
        ({"policy": "pol_1"}, "id.malformed"),
        ({"policy": KEY}, "id.malformed"),
        ({"extra": 1}, "order.malformed"),
        ({"labels": {"a": 1}}, "order.malformed"),
        ({"labels": {"a": "b\n"}}, "order.malformed"),
        ({"labels": {"a\n": "b"}}, "order.malformed"),
        ({"labels": {"a": "b" * 129}}, "order.malformed"),
        ({"labels": {str(number): "x" for number in range(17)}}, "order.malformed"),
        ({"spec": "rsa"}, "order.spec"),
        ({"spec": None}, "order.spec"),
        ({"spec": ["ed25519"]}, "order.spec"),
        ({"usage": "evm"}, "order.usage"),
        ({"usage": "decrypt"}, "order.usage"),
        ({"usage": None}, "order.usage"),
        (EVM | {"usage": "solana"}, "order.usage"),
        ({"custody": "reconstruct"}, "order.custody"),
        (EVM | {"custody": "release"}, "order.custody"),
        ({"custody": None}, "order.custody"),
        ({"nodes": []}, "order.nodes"),
        ({"nodes": ["node-1", "node-1"]}, "order.nodes"),
        ({"nodes": ["node-1", "node-9", "node-2"]}, "order.nodes"),
        ({"nodes": [1, 2, 3]}, "order.nodes"),
        ({"nodes": "node-1"}, "order.nodes"),
        ({"nodes": None}, "order.nodes"),
        ({"shares_needed": 1}, "order.shares-needed"),
        ({"shares_needed": 0}, "order.shares-needed"),
        ({"shares_needed": 6}, "order.shares-needed"),
        ({"shares_needed": "3"}, "order.shares-needed"),
        ({"shares_needed": True}, "order.shares-needed"),
        ({"nodes": ["node-1", "node-2"]}, "order.shares-needed"),
        ({"assemblers": ["node-1"]}, "order.assemblers"),
        (EVM | {"assemblers": ["node-9"]}, "order.assemblers"),
        (EVM | {"assemblers": []}, "order.assemblers"),
    ],
)
def test_one_wrong_member_of_an_order_gives_its_own_code(changes: dict[str, Any], code: str) -> None:
    """Each order that differs from a good one in one fact is refused for that fact."""
    with pytest.raises(CallerError) as caught:
        order(**changes)
    assert caught.value.code == code


def test_a_large_cluster_has_to_name_the_nodes() -> None:
    """More than sixteen slots are not taken by default."""
    roster = a_roster(slots=tuple(a_slot(number) for number in range(1, 18)))
    with pytest.raises(CallerError) as caught:
        KeyOrder.parse(json.dumps(ORDER).encode(), roster)
    assert caught.value.code == "order.nodes"


SIMPLE = st.none() | st.booleans() | st.integers(0, 9) | st.text(max_size=5) | st.lists(st.text(max_size=3), max_size=2)
ORDER_MEMBERS = st.sampled_from([*ORDER, "nodes", "assemblers", "labels"])
ORDERS = st.dictionaries(ORDER_MEMBERS, SIMPLE).map(lambda value: json.dumps(ORDER | value).encode())


@given(st.binary(max_size=100) | ORDERS)
def test_hostile_orders_only_raise_caller_errors(body: bytes) -> None:
    """Any bytes given as an order parse or raise a CallerError."""
    with contextlib.suppress(CallerError):
        KeyOrder.parse(body, ROSTER)


IDENTITIES = {f"node-{number}": seeded_key(f"identity {number}") for number in range(1, 6)}
PUBLIC = {slot: key.public.key for slot, key in IDENTITIES.items()}


def point(label: str) -> bytes:
    """A valid Ed25519 point."""
    return seeded_key(label).public.key


def a_certificate(**changes: Any) -> KeyCertificate:
    """The certificate of a 3-of-5 Ed25519 key."""
    values: dict[str, Any] = {
        "cluster": ROSTER.cluster_id,
        "key": KEY,
        "name": "treasury",
        "version": 1,
        "spec": "ed25519",
        "usage": Usage.SOLANA,
        "custody": Custody.THRESHOLD,
        "shares_needed": 3,
        "nodes": tuple(
            NodeShare(slot=f"node-{number}", index=number, public_share=point(f"share {number}"))
            for number in range(1, 6)
        ),
        "assemblers": (),
        "public_key": point("group"),
        "chain_code": bytes(32),
        "policy": POLICY,
        "epoch": 1,
        "transcript": bytes(range(32)),
        "activated_at": NOW,
    }
    return KeyCertificate(**values | changes)


def signatures(body: bytes, *numbers: int) -> list[CertificateSignature]:
    """Signatures of these nodes."""
    return [
        CertificateSignature(
            slot=f"node-{number}",
            boot_counter=1,
            identity_key=PUBLIC[f"node-{number}"],
            body=body,
            signature=IDENTITIES[f"node-{number}"].sign(certificate_bytes(body)),
        )
        for number in numbers
    ]


def verified(body: bytes, given_signatures: list[CertificateSignature], **changes: Any) -> KeyCertificate:
    """Verify against the five identities."""
    return verify_certificate(body, given_signatures, **{"identities": PUBLIC, "cluster": ROSTER.cluster_id} | changes)


def code_of(body: bytes, given_signatures: list[CertificateSignature], **changes: Any) -> str:
    """The code with which a certificate is refused."""
    with pytest.raises(PeerError) as caught:
        verified(body, given_signatures, **changes)
    return caught.value.code


def test_three_of_five_signatures_make_a_certificate() -> None:
    """T signatures of any of the key's nodes suffice, and the body reads back equal."""
    certificate = a_certificate()
    body = certificate.body()
    assert verified(body, signatures(body, 5, 2, 4)) == certificate
    assert verified(body, signatures(body, 1, 2, 3, 4, 5)) == certificate


def test_fewer_than_t_distinct_signers_do_not() -> None:
    """Two signers, also when one signs twice, are not three."""
    body = a_certificate().body()
    assert code_of(body, signatures(body, 1, 2)) == "certificate.signatures"
    assert code_of(body, signatures(body, 1, 2, 2, 1)) == "certificate.signatures"


def test_only_attested_identities_of_the_keys_nodes_count() -> None:
    """Signatures of unverified, foreign or re-labelled nodes add nothing."""
    body = a_certificate().body()
    good = signatures(body, 1, 2)
    third = signatures(body, 3)[0]
    assert verified(body, [*good, third])
    without = {slot: key for slot, key in PUBLIC.items() if slot != "node-3"}
    assert code_of(body, [*good, third], identities=without) == "certificate.signatures"
    relabelled = CertificateSignature(
        slot="node-3", boot_counter=1, identity_key=PUBLIC["node-1"], body=body, signature=good[0].signature
    )
    assert code_of(body, [*good, relabelled]) == "certificate.signatures"
    one_key = PUBLIC | {"node-3": PUBLIC["node-1"]}
    assert code_of(body, [*good, relabelled], identities=one_key) == "certificate.signatures"
    smaller = a_certificate(nodes=a_certificate().nodes[:4]).body()
    assert code_of(smaller, signatures(smaller, 1, 2, 5)) == "certificate.signatures"


def test_signatures_are_over_this_body_and_this_kind() -> None:
    """A signature over another body, or over the bare body without its tag, adds nothing."""
    body, other = a_certificate().body(), a_certificate(name="other").body()
    good = signatures(body, 1, 2)
    foreign = signatures(other, 3)[0]
    assert code_of(body, [*good, foreign]) == "certificate.signatures"
    bare = CertificateSignature(
        slot="node-3",
        boot_counter=1,
        identity_key=PUBLIC["node-3"],
        body=body,
        signature=IDENTITIES["node-3"].sign(body),
    )
    assert code_of(body, [*good, bare]) == "certificate.signatures"


def test_another_clusters_certificate_is_refused() -> None:
    """A fully signed certificate counts in its own cluster only."""
    body = a_certificate(cluster=bytes(32)).body()
    assert code_of(body, signatures(body, 1, 2, 3)) == "certificate.cluster"


def test_a_caller_that_knows_t_is_not_talked_down() -> None:
    """Two corrupt nodes can sign a body that claims T = 2; a caller that knows T = 3 refuses it."""
    body = a_certificate(shares_needed=2).body()
    assert verified(body, signatures(body, 1, 2)).shares_needed == 2
    assert code_of(body, signatures(body, 1, 2), signers_min=3) == "certificate.signatures"


def test_a_decryption_key_shows_both_forms_of_one_point() -> None:
    """An hpke-x25519 certificate carries the X25519 form of eight times its group key, and nothing else."""
    group = eightfold = point("group")
    for _ in range(3):
        eightfold = crypto_core_ed25519_add(eightfold, eightfold)
    changes = {"spec": "hpke-x25519", "usage": Usage.DECRYPT, "group_key": group}
    good = a_certificate(**changes, public_key=crypto_sign_ed25519_pk_to_curve25519(eightfold))
    assert KeyCertificate.parse(good.body()) == good
    with pytest.raises(PeerError):
        KeyCertificate.parse(a_certificate(**changes, public_key=point("another")).body())


def evm_certificate(**changes: Any) -> KeyCertificate:
    """The certificate of a reconstruct key."""
    signer = SigningKey.generate("ES256K").public.key
    values = {
        "spec": "secp256k1-ecdsa",
        "usage": Usage.EVM,
        "custody": Custody.RECONSTRUCT,
        "public_key": signer,
        "assemblers": ("node-1",),
        "nodes": tuple(replace(node, public_share=signer) for node in a_certificate().nodes),
    }
    return a_certificate(**values | changes)


def test_a_reconstruct_certificate_names_its_assemblers() -> None:
    """Custody reconstruct without assemblers, or threshold with them, is malformed."""
    good = evm_certificate()
    assert KeyCertificate.parse(good.body()).privacy_threshold == 1
    for wrong in (evm_certificate(assemblers=()), a_certificate(assemblers=("node-1",))):
        with pytest.raises(PeerError) as caught:
            KeyCertificate.parse(wrong.body())
        assert caught.value.code == "certificate.malformed"


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "x"},
        {"key": "key_1"},
        {"spec": "rsa"},
        {"usage": "evm"},
        {"custody": "release"},
        {"shares_needed": 1},
        {"shares_needed": 6, "signing_quorum": 6, "privacy_threshold": 6},
        {"signing_quorum": 2},
        {"privacy_threshold": 1},
        {"version": 0},
        {"epoch": 0},
        {"public_key": "00" * 32},
        {"public_key": point("group").hex().upper()},
        {"public_key": point("group").hex() + "00"},
        {"chain_code": ""},
        {"transcript": "00"},
        {"group_key": point("group").hex()},
        {"nodes": []},
        {"nodes": [{"slot": "node-1", "index": 1, "public_share": "ff" * 32}]},
        {"extra": 0},
        {"activated_at": -1},
    ],
)
def test_one_wrong_member_makes_a_certificate_malformed(changes: dict[str, Any]) -> None:
    """Unknown, inconsistent and out-of-range members are refused before any signature counts."""
    body = canonical_json(json.loads(a_certificate().body()) | changes)
    assert code_of(body, signatures(body, 1, 2, 3)) == "certificate.malformed"


@pytest.mark.parametrize(("slot", "index"), [("node-2", 1), ("node-1", 2), ("node-1", 0), ("null", 1)])
def test_nodes_are_distinct_and_numbered(slot: str, index: int) -> None:
    """Repeated slots, repeated or unordered indexes and index zero are malformed."""
    value = json.loads(a_certificate().body())
    value["nodes"][0] |= {"slot": slot, "index": index}
    with pytest.raises(PeerError) as caught:
        KeyCertificate.parse(canonical_json(value))
    assert caught.value.code == "certificate.malformed"


def test_the_body_has_one_spelling() -> None:
    """White space or another member order is malformed: what is signed is what is parsed."""
    body = a_certificate().body()
    spaced = json.dumps(json.loads(body)).encode()
    assert code_of(spaced, signatures(spaced, 1, 2, 3)) == "certificate.malformed"


def test_the_http_form_reads_back() -> None:
    """Body and signatures survive the JSON form of answers; extra members are refused."""
    body = a_certificate().body()
    made = certificate_to_json(body, signatures(body, 1, 2, 3))
    assert certificate_from_json(json.loads(json.dumps(made))) == (body, tuple(signatures(body, 1, 2, 3)))
    for wrong in (None, [], made | {"x": 1}, made | {"signatures": [{"slot": "node-1"}]}, made | {"body": "="}):
        with pytest.raises(PeerError) as caught:
            certificate_from_json(wrong)
        assert caught.value.code == "certificate.malformed"


@given(st.binary(max_size=200))
def test_hostile_bodies_only_raise_peer_errors(body: bytes) -> None:
    """Any bytes given as a certificate raise a PeerError that accuses nobody."""
    with pytest.raises(PeerError) as caught:
        verified(body, [])
    assert caught.value.culprits == ()


@given(st.sampled_from(sorted(json.loads(a_certificate().body()))), SIMPLE)
def test_hostile_members_only_raise_our_errors(name: str, value: Any) -> None:
    """A certificate with any value in any place parses or raises one of this project's errors."""
    with contextlib.suppress(CodedError):
        KeyCertificate.parse(canonical_json(json.loads(a_certificate().body()) | {name: value}))
