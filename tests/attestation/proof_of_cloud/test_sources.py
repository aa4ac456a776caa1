"""Adapters for other sources: what each proves, what it leaves open, and that none proves more."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from attestation.collateral import Collateral
from attestation.envelope import Envelope
from attestation.errors import StatementError
from attestation.evidence import Claims
from attestation.proof_of_cloud.keys import public_bytes
from attestation.proof_of_cloud.platform_id import PlatformId
from attestation.proof_of_cloud.sources.alliance import Alliance, VerifiedQuote, alliance_statement
from attestation.proof_of_cloud.sources.operator_list import PAYLOAD_TYPE, operator_statements
from attestation.proof_of_cloud.sources.provider_binding import LaunchLabel, binding_statement
from attestation.proof_of_cloud.sources.provider_registry import ArchivedAnswer, provider_statement
from attestation.proof_of_cloud.statement import Source, Statement
from attestation.simulated.authority import Authority, simulated_measurement
from attestation.verifier import Verifier

from .conftest import DAY, MACHINE, NOW, OTHER, code_of

RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ED_KEY = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
ALLIANCE = Alliance(issuer="alliance.example", rsa_key=RSA_KEY.public_key(), ed25519_key=public_bytes(ED_KEY))
QUOTE = b"a quote verified elsewhere"
EXTENSION = b"\x30\x03the whole extension"
EVIDENCE = VerifiedQuote(quote=QUOTE, platform_id=MACHINE, sgx_extension=EXTENSION)
BY_PPID = hashlib.sha256(MACHINE.value).hexdigest()
BY_EXTENSION = hashlib.sha256(EXTENSION).hexdigest()
CLAIMS: dict[str, Any] = {"quote_hash": hashlib.sha256(QUOTE).hexdigest(), "machine_id": BY_PPID, "label": "rack 4"}


def _rs256(**changes: Any) -> bytes:
    return jwt.encode(CLAIMS | {"iat": NOW - 5} | changes, RSA_KEY, algorithm="RS256").encode()


def _eddsa(**changes: Any) -> bytes:
    return jwt.encode(CLAIMS | changes, ED_KEY, algorithm="EdDSA").encode()


def _read(token: bytes, alliance: Alliance = ALLIANCE, evidence: VerifiedQuote = EVIDENCE) -> Statement:
    return alliance_statement(token, alliance=alliance, evidence=evidence, fetched_at=NOW - 60, now=NOW)


def _code(*arguments: Any, **named: Any) -> str:
    return code_of(lambda: _read(*arguments, **named))


def test_an_rs256_token_states_membership() -> None:
    """A token made by a standard library reads as a level-1 statement about our own verified machine."""
    found = _read(_rs256())
    assert (found.commitment, found.source, found.level) == (MACHINE.commitment, Source.ALLIANCE, 1)
    assert (found.issued_at, found.provider, found.facility) == (NOW - 5, "", "rack 4")
    assert found.notes == ("membership-only",)


def test_an_eddsa_token_carries_no_time() -> None:
    """The shared-key form without a time is noted, and dated by when it was fetched."""
    found = _read(_eddsa())
    assert found.notes == ("membership-only", "no-time")
    assert found.issued_at == NOW - 60


def test_a_newer_eddsa_token_carries_a_timestamp() -> None:
    """Where the issuer states a time, that time counts."""
    found = _read(_eddsa(timestamp=NOW - 7))
    assert (found.notes, found.issued_at) == (("membership-only",), NOW - 7)


def test_the_unstable_derivation_is_labelled() -> None:
    """An id over the whole SGX extension is accepted and marked, because TCB recovery changes it."""
    assert "unstable-id" in _read(_rs256(machine_id=BY_EXTENSION)).notes


def test_amd_machines_hash_the_whole_field() -> None:
    """CHIP_ID is hashed as 64 bytes, also on Turin where eight mean anything."""
    turin = PlatformId(kind="amd:chipid", value=bytes(range(1, 9)))
    machine_id = hashlib.sha256(turin.value + bytes(56)).hexdigest()
    found = _read(_rs256(machine_id=machine_id), evidence=VerifiedQuote(quote=QUOTE, platform_id=turin))
    assert found.commitment == turin.commitment


@pytest.mark.parametrize("digits", [32, 40, 64])
def test_prefixes_from_128_bits_match(digits: int) -> None:
    """Both published lengths, and anything between, from 128 bits on."""
    assert _read(_rs256(machine_id=BY_PPID[:digits])).commitment == MACHINE.commitment


@pytest.mark.parametrize("machine_id", [BY_PPID[:2], BY_PPID[:30], "11", ""])
def test_short_prefixes_never_match(machine_id: str) -> None:
    """Row 106: below 128 bits a prefix could be another machine's."""
    assert _code(_rs256(machine_id=machine_id)) == "malformed"


def test_another_machine_or_quote_is_not_listed() -> None:
    """The token is only about the quote it hashes and the machine it names."""
    assert _code(_rs256(machine_id="ab" * 32)) == "not-listed"
    assert _code(_rs256(quote_hash="ab" * 32)) == "not-listed"
    assert _code(_rs256(), evidence=replace(EVIDENCE, platform_id=OTHER)) == "not-listed"
    assert _code(_rs256(), evidence=replace(EVIDENCE, platform_id=None)) == "not-listed"


def test_the_key_decides_the_algorithm() -> None:
    """No key, another key, "none", or the public key used as an HMAC secret: all refused."""
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    assert _code(_rs256(), alliance=replace(ALLIANCE, rsa_key=stranger)) == "signatures"
    assert _code(_rs256(), alliance=replace(ALLIANCE, rsa_key=None)) == "signatures"
    assert _code(_rs256(), alliance=replace(ALLIANCE, rsa_key=small.public_key())) == "signatures"
    assert _code(_eddsa(), alliance=replace(ALLIANCE, ed25519_key=None)) == "signatures"
    assert _code(_eddsa(), alliance=replace(ALLIANCE, ed25519_key=b"\x01" * 32)) == "signatures"
    assert _code(jwt.encode(CLAIMS, None, algorithm="none").encode()) == "signatures"
    assert _code(jwt.encode(CLAIMS, "s" * 32, algorithm="HS256").encode()) == "signatures"


def test_a_changed_token_is_refused() -> None:
    """Exchanging the payload under the same signature is noticed."""
    first, second = _rs256().split(b"."), _rs256(label="rack 5").split(b".")
    assert _code(b".".join([first[0], second[1], first[2]])) == "signatures"


@pytest.mark.parametrize("changes", [{"iat": NOW + 301}, {"iat": "now"}, {"iat": True}, {"iat": -1}])
def test_implausible_times_are_refused(changes: dict[str, Any]) -> None:
    """A future or mistyped time makes no statement."""
    token = jwt.api_jws.encode(json.dumps(CLAIMS | changes).encode(), RSA_KEY, algorithm="RS256").encode()
    assert _code(token) == "malformed"


@pytest.mark.parametrize("changes", [{"quote_hash": 7}, {"machine_id": "xy" * 32}, {"machine_id": None}])
def test_claims_of_the_wrong_type_are_refused(changes: dict[str, Any]) -> None:
    """Hashes must be hex text."""
    assert _code(_rs256(**changes)) == "malformed"


def test_critical_extensions_are_not_understood() -> None:
    """A header that demands something unknown is refused."""
    token = jwt.encode(CLAIMS, RSA_KEY, algorithm="RS256", headers={"crit": ["x"], "x": 1}).encode()
    assert _code(token) == "malformed"


def _signed_payload(payload: bytes) -> bytes:
    return jwt.api_jws.encode(payload, RSA_KEY, algorithm="RS256").encode()


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (b"x" * 20_000, "at most"),
        (b"e30.e30", "three parts"),
        (_rs256() + b".e30", "three parts"),
        (_signed_payload(b"[]"), "JSON object"),
        (_signed_payload(json.dumps({"quote_hash": CLAIMS["quote_hash"]}).encode()), "quote_hash and machine_id"),
        (_signed_payload(json.dumps({"machine_id": BY_PPID}).encode()), "quote_hash and machine_id"),
        (_signed_payload(b'{"quote_hash":"aa","quote_hash":"bb"}'), "repeats a key"),
    ],
)
def test_tokens_of_another_form_are_refused(token: bytes, reason: str) -> None:
    """Too large, too few or many parts, no object, missing or repeated claims: each at its own check."""
    with pytest.raises(StatementError, match=reason):
        _read(token)


@given(st.binary(max_size=120))
def test_any_bytes_are_a_typed_error(data: bytes) -> None:
    """Hostile tokens raise StatementError only."""
    for token in (data, b".".join([data, data, data]), _eddsa().split(b".")[0] + b"." + data + b".AA"):
        with pytest.raises(StatementError):
            _read(token)


def _answer(value: Any, **changes: Any) -> ArchivedAnswer:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    fields = {"host": "cloud.example", "provider": "acme", "fetched_at": NOW - 60, "region": "eu-1"} | changes
    return ArchivedAnswer(body=body, **fields)


PPID = MACHINE.value.hex()


@pytest.mark.parametrize(
    "value", [[PPID], [PPID.upper()], {"ppid": PPID}, {"ppids": [PPID]}, [{"ppid": PPID, "zone": "a"}]]
)
def test_a_provider_lists_a_ppid(value: Any) -> None:
    """The archived answer becomes an unsigned level-1 statement tied to its digest."""
    found = provider_statement(_answer(value), platform_id=MACHINE, now=NOW)
    assert (found.level, found.provider, found.region, found.notes) == (1, "acme", "eu-1", ("unsigned",))
    assert found.evidence == (_answer(value).digest,)
    assert (found.issued_at, found.source) == (NOW - 60, Source.PROVIDER_REGISTRY)


@pytest.mark.parametrize("value", [[], [PPID[:-2]], {"note": PPID}, [PPID + "00"], {"ppid": [PPID]}, 7, None])
def test_a_ppid_elsewhere_in_the_answer_does_not_count(value: Any) -> None:
    """Prefixes, longer strings and other members list nobody."""
    assert code_of(lambda: provider_statement(_answer(value), platform_id=MACHINE, now=NOW)) == "not-listed"


def test_a_ppid_registry_speaks_of_ppids() -> None:
    """An identifier of another kind is not in it, even one with the same bytes."""
    same_bytes = PlatformId(kind="intel:piid", value=MACHINE.value)
    assert code_of(lambda: provider_statement(_answer([PPID]), platform_id=same_bytes, now=NOW)) == "not-listed"


def test_an_answer_from_the_future_is_refused() -> None:
    """The archive time must have passed."""
    late = _answer([PPID], fetched_at=NOW + 301)
    assert code_of(lambda: provider_statement(late, platform_id=MACHINE, now=NOW)) == "malformed"


@given(st.binary(max_size=100))
def test_any_answer_is_a_typed_error(data: bytes) -> None:
    """Hostile bodies raise StatementError only."""
    with pytest.raises(StatementError):
        provider_statement(_answer(data), platform_id=MACHINE, now=NOW)


def test_the_digest_covers_host_time_and_body() -> None:
    """Two archives that differ in any of them are different evidence."""
    base = _answer([PPID])
    others = [replace(base, host="x"), replace(base, fetched_at=NOW - 61), replace(base, body=b"[]")]
    assert len({item.digest for item in (base, *others)}) == 4


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bytes], Claims]:
    """Verified claims of a simulated machine, for a given MROWNER."""
    authority = Authority.create(Path(tmp_path_factory.mktemp("authority")) / "vendor")
    verifier = Verifier.with_root(authority.root_der)
    collateral = Collateral.of(*authority.collateral(NOW))
    machine = authority.platform("m")

    def claims(mrowner: bytes) -> Claims:
        quote = machine.quote(bytes(64), mrtd=simulated_measurement("node"), mrowner=mrowner)
        return verifier.verify(quote, collateral=collateral, now=NOW)

    return claims


LABEL = LaunchLabel(instance_id="4711", project="p", zone="eu-1-a")


def test_a_launch_label_binds(launched: Callable[[bytes], Claims]) -> None:
    """MROWNER equals SHA-384 of the compact JSON: a level-1, host-chosen binding for one day."""
    mrowner = hashlib.sha384(b'{"instanceId":"4711","project":"p","zone":"eu-1-a"}').digest()
    assert LABEL.mrowner() == mrowner
    claims = launched(mrowner)
    found = binding_statement(claims, LABEL, provider="acme", now=NOW)
    assert claims.platform_id is not None
    assert (found.commitment, found.level, found.notes) == (claims.platform_id.commitment, 1, ("host-chosen",))
    assert (found.region, found.evidence, found.expires_at) == ("eu-1-a", (claims.evidence_id,), NOW + DAY)


def test_another_launch_label_does_not(launched: Callable[[bytes], Claims]) -> None:
    """A different project, or no MROWNER at all, is not this launch."""
    other = replace(LABEL, project="q")
    for mrowner in (other.mrowner(), bytes(48)):
        claims = launched(mrowner)
        assert code_of(lambda claims=claims: binding_statement(claims, LABEL, provider="acme", now=NOW)) == "not-listed"  # type: ignore[misc]


def test_a_launch_label_without_a_machine_is_absent(launched: Callable[[bytes], Claims]) -> None:
    """Any host can set MROWNER: without a platform id it says nothing."""
    claims = replace(launched(LABEL.mrowner()), platform_id=None)
    assert code_of(lambda: binding_statement(claims, LABEL, provider="acme", now=NOW)) == "absent"


def _list(**changes: Any) -> dict[str, Any]:
    platforms = [{"platform": str(MACHINE), "provider": "own", "region": "cellar"}]
    value = {"type": "holdfast/platform-list/v1", "operator": "opr", "issued_at": NOW, "expires_at": NOW + 9}
    return value | {"platforms": platforms} | changes


def _signed(value: dict[str, Any], key: Ed25519PrivateKey = ED_KEY, kind: str = PAYLOAD_TYPE) -> bytes:
    return json.dumps(Envelope.of(kind, value).signed(key).to_json()).encode()


def test_an_operators_word_is_level_0() -> None:
    """An operator's own list never reaches the default policy's level."""
    commitments = [{"platform": OTHER.commitment.hex(), "provider": "own", "region": ""}]
    (own,) = operator_statements(_signed(_list()), operator_key=public_bytes(ED_KEY))
    (hidden,) = operator_statements(_signed(_list(platforms=commitments)), operator_key=public_bytes(ED_KEY))
    assert (own.level, own.commitment, own.issuer) == (0, MACHINE.commitment, "opr")
    assert hidden.commitment == OTHER.commitment


def test_an_operator_list_needs_its_signature() -> None:
    """Another key, or the same bytes as another kind of document, is not this operator's list."""
    stranger = Ed25519PrivateKey.from_private_bytes(b"\x06" * 32)
    public = public_bytes(ED_KEY)
    assert code_of(lambda: operator_statements(_signed(_list(), stranger), operator_key=public)) == "signatures"
    assert code_of(lambda: operator_statements(_signed(_list(), kind="text/x"), operator_key=public)) == "malformed"


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "other"},
        {"more": 1},
        {"operator": 7},
        {"issued_at": "x"},
        {"issued_at": NOW + 9},
        {"platforms": {}},
        {"platforms": [{"platform": "intel:ppid:00", "provider": "", "region": ""}]},
        {"platforms": [{"platform": "intel:ppid:" + "00" * 16, "provider": "", "region": ""}]},
        {"platforms": [{"platform": str(MACHINE), "provider": 7, "region": ""}]},
        {"platforms": [{"platform": str(MACHINE)}]},
        {"platforms": ["x"]},
        {"platforms": [{"platform": str(MACHINE), "provider": "", "region": ""}] * 1001},
    ],
)
def test_a_wrong_operator_list_is_refused(changes: dict[str, Any]) -> None:
    """Each member's own rule, under a valid signature; blank ids name no machine."""
    data = _signed(_list(**changes))
    assert code_of(lambda: operator_statements(data, operator_key=public_bytes(ED_KEY))) == "malformed"
