"""The roster's optional terms: what they mean when absent, that they read back, and every way to state them wrongly."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from attestation.canonical import canonical_json
from attestation.envelope import b64url
from attestation.errors import DocumentError
from enclave.roster import Roster
from enclave.roster_terms import WitnessTerms
from tests.enclave.samples import a_production_roster, a_roster, seeded_key


def _number(value: int) -> str:
    return b64url(value.to_bytes((value.bit_length() + 7) // 8, "big"))


RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key().public_numbers()
POINT = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()
KEYS: list[dict[str, Any]] = [
    {"kid": "r", "alg": "RS256", "kty": "RSA", "use": "sig", "n": _number(RSA.n), "e": "AQAB"},
    {"kid": "e", "alg": "ES256", "kty": "EC", "crv": "P-256", "x": b64url(POINT.x.to_bytes(32, "big")),
     "y": b64url(POINT.y.to_bytes(32, "big"))},
    {"kid": "d", "alg": "EdDSA", "kty": "OKP", "crv": "Ed25519", "x": b64url(seeded_key("oidc").public.key)},
]  # fmt: skip


def approver(name: str) -> dict[str, str]:
    """One member of a group."""
    return {"approver": name, "alg": "EdDSA", "key": b64url(seeded_key(name).public.key)}


TERMS: dict[str, Any] = {
    "oidc": [{"issuer": "https://id.example.org/tenant", "audiences": ["holdfast"], "jwks": {"keys": KEYS}}],
    "approvers": [{"group": "treasury", "members": [approver("ann"), approver("bob")]}],
    "witness": {"q": 3, "f": 1, "a": 3},
    "refresh": {"interval_s": 86_400, "spread_s": 3600},
    "backup": {
        "slots": [
            {"slot": "node-1", "key": b64url(b"1" * 32), "custodians": "north"},
            {"slot": "node-2", "key": b64url(b"2" * 1216), "custodians": "south"},
        ],
        "custodians": [
            {"set": "north", "threshold": 2, "members": ["ann", "bob", "cleo"]},
            {"set": "south", "threshold": 1, "members": ["dan"]},
        ],
        "accept_common_custodians": False,
    },
    "upgrade_delay_s": 3600,
    "incarnation": 2,
}


def payload(**changes: Any) -> dict[str, Any]:
    """A roster that states every term."""
    return copy.deepcopy(a_roster().payload() | TERMS | changes)


def test_every_term_reads_back_under_the_digest_that_was_signed() -> None:
    """What is stated is what is signed: the canonical payload of the parsed roster is the one that went in."""
    stated = payload()
    roster = Roster.from_payload(stated)
    assert canonical_json(roster.payload()) == canonical_json(stated)
    assert roster.upgrade_delay == 3600
    assert roster.witness_terms == WitnessTerms(q=3, f=1, a=3)
    issuer = roster.oidc_issuer("https://id.example.org/tenant")
    assert issuer is not None
    assert issuer.key("e") == KEYS[1]
    assert issuer.key("x") is None
    group = roster.approver_group("treasury")
    assert group is not None
    assert group.key(seeded_key("bob").kid) == seeded_key("bob").public
    assert roster.backup is not None
    custodians = roster.backup.set_of("node-1")
    assert custodians is not None
    assert custodians.threshold == 2
    assert roster.backup.set_of("node-3") is None


def test_absent_terms_change_no_digest_and_have_defaults() -> None:
    """A roster without the terms has the payload it had before they existed."""
    roster = a_roster()
    assert not set(TERMS) & set(roster.payload())
    assert (roster.upgrade_delay, a_production_roster().upgrade_delay) == (0, 72 * 3600)
    assert roster.incarnation == 1
    assert roster.quorum_for("enrol") == a_production_roster().quorum_for("cold-start") == 1
    assert a_production_roster().quorum_for("reshare") == 2


@pytest.mark.parametrize("slots", range(1, 65))
def test_default_witness_numbers_keep_the_inequalities(slots: int) -> None:
    """For every size of a cluster the defaults outvote the faulty peer and starve a twin."""
    terms, peers = WitnessTerms.default(slots), slots - 1
    assert terms.q <= peers
    assert terms.f == (1 if slots >= 5 else 0)
    if peers:
        assert 2 * terms.q > peers + terms.f
        assert terms.a + terms.q > peers


def _set(*path: Any, to: Any) -> Callable[[dict[str, Any]], None]:
    def edit(value: dict[str, Any]) -> None:
        target: Any = value
        for step in path[:-1]:
            target = target[step]
        if to is ...:
            del target[path[-1]]
        else:
            target[path[-1]] = to

    return edit


_JWK = ("oidc", 0, "jwks", "keys")
BAD: dict[str, Callable[[dict[str, Any]], None]] = {
    "no issuers": _set("oidc", to=[]),
    "issuer twice": _set("oidc", to=TERMS["oidc"] * 2),
    "issuer over http": _set("oidc", 0, "issuer", to="http://id.example.org"),
    "issuer with user": _set("oidc", 0, "issuer", to="https://a@id.example.org"),
    "issuer with query": _set("oidc", 0, "issuer", to="https://id.example.org?x=1"),
    "no audience": _set("oidc", 0, "audiences", to=[]),
    "no keys": _set(*_JWK, to=[]),
    "key id twice": _set(*_JWK, 1, "kid", to="r"),
    "symmetric key": _set(*_JWK, 0, "alg", to="HS256"),
    "no algorithm": _set(*_JWK, 0, "alg", to="none"),
    "key type of another algorithm": _set(*_JWK, 0, "kty", to="EC"),
    "private member": _set(*_JWK, 0, "d", to="AQAB"),
    "key for encryption": _set(*_JWK, 0, "use", to="enc"),
    "short modulus": _set(*_JWK, 0, "n", to=_number(RSA.n >> 1024 | 1)),
    "even modulus": _set(*_JWK, 0, "n", to=_number(RSA.n - 1)),
    "exponent three": _set(*_JWK, 0, "e", to="Aw"),
    "point off the curve": _set(*_JWK, 1, "y", to=b64url((POINT.y ^ 2).to_bytes(32, "big"))),
    "another curve": _set(*_JWK, 1, "crv", to="P-384"),
    "short Ed25519 key": _set(*_JWK, 2, "x", to=b64url(bytes(31))),
    "small-order Ed25519 key": _set(*_JWK, 2, "x", to=b64url(bytes(32))),
    "group twice": _set("approvers", to=TERMS["approvers"] * 2),
    "approver twice": _set("approvers", 0, "members", 1, "approver", to="ann"),
    "approver key twice": _set("approvers", 0, "members", 1, "key", to=approver("ann")["key"]),
    "empty group": _set("approvers", 0, "members", to=[]),
    "unknown approver algorithm": _set("approvers", 0, "members", 0, "alg", to="RS256"),
    "witnesses that do not meet": _set("witness", to={"q": 2, "f": 1, "a": 3}),
    "witnesses that liars outvote": _set("witness", to={"q": 3, "f": 2, "a": 3}),
    "lease a twin can hold": _set("witness", to={"q": 3, "f": 1, "a": 1}),
    "more witnesses than peers": _set("witness", to={"q": 5, "f": 1, "a": 3}),
    "refresh every second": _set("refresh", "interval_s", to=1),
    "spread beyond the interval": _set("refresh", "spread_s", to=86_401),
    "backup of no slot": _set("backup", "slots", 0, "slot", to="node-9"),
    "backup slot twice": _set("backup", "slots", 1, "slot", to="node-1"),
    "backup key of another size": _set("backup", "slots", 0, "key", to=b64url(b"1" * 33)),
    "one backup key for two slots": _set("backup", "slots", 1, "key", to=b64url(b"1" * 32)),
    "unknown custodian set": _set("backup", "slots", 0, "custodians", to="west"),
    "custodian set twice": _set("backup", "custodians", 1, "set", to="north"),
    "one set for two slots": _set("backup", "slots", 1, "custodians", to="north"),
    "a custodian in two sets": _set("backup", "custodians", 1, "members", to=["ann"]),
    "threshold above the set": _set("backup", "custodians", 1, "threshold", to=2),
    "unstated acceptance": _set("backup", "accept_common_custodians", to=...),
    "endless delay": _set("upgrade_delay_s", to=91 * 86_400),
    "first incarnation stated": _set("incarnation", to=1),
    "unknown member": _set("witness", "z", to=1),
    "unknown quorum": _set("quorum", "everything", to=1),
    "quorum that cannot be met": _set("quorum", "restore", to=3),
}


@pytest.mark.parametrize("name", BAD)
def test_each_malformed_term_is_refused(name: str) -> None:
    """One defect at a time, from a roster that is otherwise accepted."""
    stated = payload()
    BAD[name](stated)
    with pytest.raises(DocumentError) as caught:
        Roster.from_payload(stated)
    assert caught.value.code == "roster.malformed"


def test_common_custodians_can_be_accepted_openly() -> None:
    """One set for two slots, and one person in two sets, are allowed where the roster says so."""
    stated = payload()
    stated["backup"]["accept_common_custodians"] = True
    stated["backup"]["slots"][1]["custodians"] = "north"
    stated["backup"]["custodians"][1]["members"] = ["ann"]
    assert Roster.from_payload(stated).backup is not None


def test_production_has_no_local_issuer() -> None:
    """An identity provider on this machine is for development."""
    local = _set("oidc", 0, "issuer", to="http://127.0.0.1:8080")
    stated = payload()
    local(stated)
    assert Roster.from_payload(stated).oidc[0].is_local
    stated = copy.deepcopy(a_production_roster().payload() | {"oidc": TERMS["oidc"]})
    Roster.from_payload(stated)
    local(stated)
    with pytest.raises(DocumentError) as caught:
        Roster.from_payload(stated)
    assert caught.value.code == "roster.production"
