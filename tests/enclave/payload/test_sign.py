"""Sign bodies: which kinds exist for which key, and strict refusal of everything else."""

from __future__ import annotations

import contextlib
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attestation.envelope import b64url
from enclave.errors import CallerError
from enclave.payload import rlp
from enclave.payload.decrypt import context_info, parse_decrypt_body
from enclave.payload.sign import KINDS_ALL, Payload, parse_sign_body, signed_transaction
from tests.enclave.payload.messages import transfer_message
from tests.enclave.payload.psbts import taproot_psbt

ECDSA, ED25519, SCHNORR = "secp256k1-ecdsa", "ed25519", "secp256k1-schnorr"
TO = "0x" + "52" * 20
TRANSACTION = {
    "type": 2,
    "chain_id": 1,
    "nonce": 0,
    "gas": "21000",
    "to": TO,
    "value": "1000000000000000000",
    "data": "0x",
    "max_fee_per_gas": "30000000000",
    "max_priority_fee_per_gas": "1000000000",
    "access_list": [],
}
BODIES: dict[str, dict[str, Any]] = {
    "evm_transaction": {"kind": "evm_transaction", "transaction": TRANSACTION},
    "eip712": {
        "kind": "eip712",
        "typed_data": {
            "types": {"Login": [{"name": "nonce", "type": "uint256"}]},
            "primaryType": "Login",
            "domain": {"name": "example"},
            "message": {"nonce": 1},
        },
    },
    "eip191": {"kind": "eip191", "message": b64url(b"hello")},
    "digest": {"kind": "digest", "digest": b64url(bytes(32))},
    "solana_message": {"kind": "solana_message", "message": b64url(transfer_message())},
    "eip7702_authorization": {
        "kind": "eip7702_authorization",
        "authorization": {"chain_id": 1, "address": TO, "nonce": 0},
    },
    "bitcoin_sighash": {"kind": "bitcoin_sighash", "sighash": b64url(bytes(32))},
    "message": {"kind": "message", "message": b64url(b"hello")},
    "jws": {"kind": "jws", "claims": b64url(b'{"iss":"agent"}')},
    "bitcoin_psbt": {"kind": "bitcoin_psbt", "psbt": b64url(taproot_psbt()), "input": 0},
}


def parse(body: Any, usage: str = "evm", spec: str = ECDSA) -> Payload:
    """Parse a body given as JSON value."""
    return parse_sign_body(json.dumps(body).encode(), usage, spec)


def code_of(body: Any, usage: str = "evm", spec: str = ECDSA) -> str:
    """The code with which a body is refused."""
    with pytest.raises(CallerError) as caught:
        parse(body, usage, spec)
    return caught.value.code


ALLOWED = {
    ("evm", ECDSA): {"evm_transaction", "eip712", "eip191", "eip7702_authorization", "digest"},
    ("solana", ED25519): {"solana_message", "message"},
    ("generic", ED25519): {"message", "jws"},
    ("generic", ECDSA): {"message", "jws", "digest"},
    ("bitcoin", SCHNORR): {"bitcoin_psbt", "bitcoin_sighash", "message"},
    ("decrypt", "hpke-x25519"): set(),
    ("unheard-of", ECDSA): set(),
}


@pytest.mark.parametrize(("usage", "spec"), sorted(ALLOWED))
@pytest.mark.parametrize("kind", sorted(KINDS_ALL))
def test_kinds_do_not_leak_between_usages(usage: str, spec: str, kind: str) -> None:
    """A key signs exactly the kinds of its usage; every other kind has its own refusal."""
    if kind in ALLOWED[usage, spec]:
        payload = parse(BODIES[kind], usage, spec)
        assert payload.kind == kind
        assert (payload.digest is not None) == (spec == ECDSA)
        assert (payload.message is None) == (spec == ECDSA)
        assert payload.summary
        json.dumps(payload.facts)
    else:
        assert code_of(BODIES[kind], usage, spec) == "payload.usage"


def test_ecdsa_signs_the_sha256_of_a_generic_message() -> None:
    """A message under an ECDSA key is hashed with SHA-256, under an Ed25519 key signed as it is."""
    assert parse(BODIES["message"], "generic", ECDSA).digest == hashlib.sha256(b"hello").digest()
    assert parse(BODIES["message"], "generic", ED25519).message == b"hello"


@pytest.mark.parametrize("trailing", [b"", b"\x00", b" and more"])
def test_a_disguised_solana_message_is_refused_as_message(trailing: bytes) -> None:
    """Bytes a validator might read as a transaction message need the kind that policy can read."""
    body = {"kind": "message", "message": b64url(transfer_message() + trailing)}
    assert code_of(body, "solana", ED25519) == "payload.looks-like-transaction"
    assert parse(body, "generic", ED25519).message == transfer_message() + trailing


@pytest.mark.parametrize("first", [0x80, 0x81, 0xBF])
def test_version_prefixes_are_reserved(first: int) -> None:
    """Anything that starts like a versioned message, of any version, is refused as message."""
    body = {"kind": "message", "message": b64url(bytes([first]) + b"sign in")}
    assert code_of(body, "solana", ED25519) == "payload.looks-like-transaction"


@pytest.mark.parametrize(
    "text", ["", "hello", "Sign in to example.org\nNonce: 1234", "\u00e9t\u00e9 \U0001f600", "\U0001f600" * 300]
)
def test_ordinary_texts_are_not_mistaken_for_transactions(text: str) -> None:
    """Log-in texts in any language sign as messages."""
    body = {"kind": "message", "message": b64url(text.encode())}
    assert parse(body, "solana", ED25519).message == text.encode()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (None, "payload.malformed"),
        ([], "payload.malformed"),
        ({}, "payload.malformed"),
        ({"kind": None}, "payload.kind"),
        ({"kind": "Message", "message": ""}, "payload.kind"),
        ({"kind": ["message"]}, "payload.kind"),
        ({"kind": "eip191"}, "payload.malformed"),
        ({"kind": "eip191", "message": "aGk="}, "payload.malformed"),
        ({"kind": "eip191", "message": "aG k"}, "payload.malformed"),
        ({"kind": "eip191", "message": 5}, "payload.malformed"),
        ({"kind": "eip191", "message": "aGk", "text": "hi"}, "payload.malformed"),
        ({"kind": "eip191", "message": "aGk", "not_after": -1}, "payload.malformed"),
        ({"kind": "eip191", "message": "aGk", "not_after": "1"}, "payload.malformed"),
        ({"kind": "eip191", "message": "aGk", "not_after": True}, "payload.malformed"),
        ({"kind": "digest", "digest": b64url(bytes(31))}, "payload.malformed"),
        ({"kind": "digest", "digest": "0x" + "00" * 32}, "payload.malformed"),
    ],
)
def test_one_wrong_member_gives_its_own_code(body: Any, code: str) -> None:
    """Missing, mistyped, unknown and badly encoded members are refused."""
    assert code_of(body) == code


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"kind":"eip191","kind":"digest","message":"aGk"}', "json.duplicate-key"),
        (b'{"kind":"eip191","message":NaN}', "json.number"),
        (b'{"kind":"eip191","message":1e3}', "json.number"),
        (b'{"kind":"eip191","not_after":9007199254740992}', "json.number"),
        (b"\xff\xfe", "json.malformed"),
        (b'{"kind":"eip191"} {}', "json.malformed"),
        (b"[" * 40, "json.too-deep"),
        (b'"' + b"a" * (1 << 20) + b'"', "json.too-large"),
    ],
)
def test_json_is_strict(body: bytes, code: str) -> None:
    """Repeated keys, fractions, big integers, depth and size are refused before anything is believed."""
    with pytest.raises(CallerError) as caught:
        parse_sign_body(body, "evm", ECDSA)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "changes",
    [
        {"chain_id": 0},
        {"chain_id": True},
        {"chain_id": None},
        {"chain_id": "1e3"},
        {"chain_id": "01"},
        {"chain_id": "+1"},
        {"chain_id": "0x1"},
        {"chain_id": " 1"},
        {"chain_id": "\u0661"},
        {"nonce": -1},
        {"nonce": str((1 << 64) - 1)},
        {"gas": 20999},
        {"gas": str(1 << 64)},
        {"value": str(1 << 256)},
        {"value": "1" * 79},
        {"value": "-1"},
        {"value": ""},
        {"max_fee_per_gas": "1"},
        {"to": ""},
        {"to": "0x"},
        {"to": None},
        {"to": "0X" + "52" * 20},
        {"to": "52" * 20},
        {"to": "0x" + "52" * 19},
        {"to": "vitalik.eth"},
        {"to": "0x52908400098527886E0F7030069857D2E4169Ee7"},
        {"data": "0x1"},
        {"data": "00"},
        {"data": None},
        {"data": "0xzz"},
        {"gas_price": "1"},
        {"gasPrice": "1"},
        {"input": "0x"},
        {"access_list": None},
        {"access_list": [{}]},
        {"access_list": [{"address": TO, "storage_keys": ["0x00"]}]},
        {"access_list": [{"address": TO, "storage_keys": ["0x" + "zz" * 32]}]},
        {"access_list": [{"address": TO, "storage_keys": [5]}]},
        {"access_list": [{"address": TO, "storage_keys": [["0x"] * 66]}]},
        {"data": "0x" + "00" * (128 * 1024 + 1)},
        {"access_list": [{"address": TO, "storageKeys": []}]},
        {"authorization_list": []},
        {"blob_versioned_hashes": []},
        {"v": 27},
    ],
)
def test_one_wrong_transaction_field_is_refused(changes: dict[str, Any]) -> None:
    """Every field is required, exact and known; nothing is guessed or filled in."""
    assert code_of({"kind": "evm_transaction", "transaction": TRANSACTION | changes}) == "payload.malformed"


def test_the_largest_call_data_and_an_absent_access_list_are_accepted() -> None:
    """128 KiB of call data pass, and leaving out the access list means an empty one."""
    large = parse({"kind": "evm_transaction", "transaction": TRANSACTION | {"data": "0x" + "00" * (128 * 1024)}})
    assert large.facts["data_bytes"] == 128 * 1024
    without = {name: value for name, value in TRANSACTION.items() if name != "access_list"}
    assert parse({"kind": "evm_transaction", "transaction": without}) == parse(BODIES["evm_transaction"])


@pytest.mark.parametrize("changes", [{"to": None, "data": "0x00"}, {"authorization_list": []}])
def test_a_delegating_transaction_has_a_recipient_and_authorizations(changes: dict[str, Any]) -> None:
    """A type 4 transaction that creates a contract, or carries no authorization, is refused."""
    item = {"chain_id": 1, "address": TO, "nonce": 0, "y_parity": 0, "r": "0x" + "01" * 32, "s": "0x" + "01" * 32}
    good = {name: value for name, value in TRANSACTION.items() if name != "type"}
    good |= {"type": 4, "authorization_list": [item]}
    assert parse({"kind": "evm_transaction", "transaction": good})
    assert code_of({"kind": "evm_transaction", "transaction": good | changes}) == "payload.malformed"


@pytest.mark.parametrize("name", sorted(set(TRANSACTION) - {"type", "data", "access_list"}))
def test_no_transaction_field_is_filled_in(name: str) -> None:
    """Leaving out any field that changes meaning is refused."""
    transaction = {key: value for key, value in TRANSACTION.items() if key != name}
    assert code_of({"kind": "evm_transaction", "transaction": transaction}) == "payload.malformed"


@pytest.mark.parametrize("kind", [3, 5, -1, "2", None, True, 127])
def test_unknown_transaction_types_are_refused(kind: Any) -> None:
    """Blob transactions, future types and mistyped ones have their own code."""
    assert code_of({"kind": "evm_transaction", "transaction": TRANSACTION | {"type": kind}}) == "payload.evm-type"


def test_a_checksummed_recipient_is_checked() -> None:
    """An address in mixed case has to carry the right EIP-55 checksum; one case needs none."""
    right = "0x52908400098527886E0F7030069857D2E4169EE7"
    for address in (right, right.lower(), "0x" + right[2:].upper()):
        payload = parse({"kind": "evm_transaction", "transaction": TRANSACTION | {"to": address}})
        assert payload.facts["to"] == right


def test_facts_state_what_policy_counts() -> None:
    """Value and largest fee are separate facts in wei."""
    facts = parse(BODIES["evm_transaction"]).facts
    assert facts["value"] == "1000000000000000000"
    assert facts["fee_max"] == str(21000 * 30_000_000_000)


def test_only_transactions_become_raw_transactions() -> None:
    """Asking for the raw transaction of another kind is refused."""
    with pytest.raises(CallerError):
        signed_transaction(parse(BODIES["eip191"]), 1, 1, 0)


@given(st.binary(max_size=120))
def test_hostile_rlp_only_raises_caller_errors(data: bytes) -> None:
    """Any bytes decode to what encodes back to them, or raise a CallerError."""
    with contextlib.suppress(CallerError):
        assert rlp.encode(rlp.decode(data)) == data  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "data", ["", "8100", "b801ff", "b90001ff", "c281", "f800", "83aabb", "c0c0", "bf" + "ff" * 8, "c1" * 12 + "c0"]
)
def test_non_canonical_rlp_is_refused(data: str) -> None:
    """Needless headers, long lengths, truncation, trailing items and deep nesting are refused."""
    with pytest.raises(CallerError):
        rlp.decode(bytes.fromhex(data))


FIELDS = st.sampled_from([*TRANSACTION, "x"])
MEMBERS = st.sampled_from(["transaction", "message", "digest", "not_after"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 1 << 60) | st.text(max_size=6) | st.sampled_from([TO, "0x", "1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=4),
    max_leaves=8,
)


@given(st.sampled_from(sorted(KINDS_ALL)), st.dictionaries(MEMBERS, json_values), st.sampled_from(sorted(ALLOWED)))
def test_hostile_bodies_only_raise_caller_errors(kind: str, members: dict[str, Any], key: tuple[str, str]) -> None:
    """Bodies with any values in known members parse or raise a CallerError."""
    with contextlib.suppress(CallerError):
        parse({"kind": kind} | members, *key)


@given(st.sampled_from(sorted(TRANSACTION)), json_values)
def test_hostile_transaction_fields_only_raise_caller_errors(name: str, value: Any) -> None:
    """Transactions with any value in any field parse or raise a CallerError."""
    with contextlib.suppress(CallerError):
        parse({"kind": "evm_transaction", "transaction": TRANSACTION | {name: value}})


@given(st.binary(max_size=100))
def test_hostile_bytes_only_raise_caller_errors(data: bytes) -> None:
    """Any bytes given as a sign or decrypt body raise a CallerError."""
    for read in (lambda: parse_sign_body(data, "evm", ECDSA), lambda: parse_decrypt_body(data)):
        with pytest.raises(CallerError):
            read()


# --- decrypt ----------------------------------------------------------------------------------------

CIPHERTEXT = b64url(bytes(range(32)) + b"c" * 20)
RECIPIENT = b64url(b"\x09" + bytes(31))


def decrypt_code(**changes: Any) -> str:
    """The code with which a decrypt body is refused."""
    with pytest.raises(CallerError) as caught:
        parse_decrypt_body(json.dumps({"ciphertext": CIPHERTEXT} | changes).encode())
    return caught.value.code


def test_a_decrypt_body_splits_the_ciphertext() -> None:
    """The first 32 bytes are the encapsulated key; without a recipient the gateway would see the plaintext."""
    found = parse_decrypt_body(json.dumps({"ciphertext": CIPHERTEXT, "context": {"a": "1"}}).encode())
    assert (found.enc, found.ciphertext) == (bytes(range(32)), b"c" * 20)
    assert found.recipient is None
    assert found.info == context_info({"a": "1"}) != b""
    sealed = parse_decrypt_body(json.dumps({"ciphertext": CIPHERTEXT, "recipient": RECIPIENT}).encode())
    assert sealed.recipient == b"\x09" + bytes(31)


def test_context_is_bound_by_content_not_by_order() -> None:
    """Equal contexts give equal info, different ones different info, none gives none."""
    assert context_info({"a": "1", "b": "2"}) == context_info({"b": "2", "a": "1"})
    assert context_info({"a": "1", "b": "2"}) != context_info({"a": "12", "b": ""})
    assert context_info({}) == b""


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"ciphertext": b64url(bytes(47))}, "payload.ciphertext"),
        ({"ciphertext": ""}, "payload.ciphertext"),
        ({"ciphertext": None}, "payload.malformed"),
        ({"context": {"a": 1}}, "payload.malformed"),
        ({"context": {"": "x"}}, "payload.malformed"),
        ({"context": {"a": "x" * 1025}}, "payload.malformed"),
        ({"context": []}, "payload.malformed"),
        ({"context": {str(number): "" for number in range(33)}}, "payload.malformed"),
        ({"recipient": None}, "payload.malformed"),
        ({"recipient": b64url(bytes(32))}, "payload.recipient"),
        ({"recipient": b64url(b"\x01" + bytes(31))}, "payload.recipient"),
        ({"recipient": b64url(bytes(31) + b"\x80")}, "payload.recipient"),
        ({"recipient": b64url(b"\xed" + b"\xff" * 30 + b"\xff")}, "payload.recipient"),
        ({"recipient": b64url(b"\x09" * 31)}, "payload.recipient"),
        ({"aad": ""}, "payload.malformed"),
    ],
)
def test_one_wrong_member_of_a_decrypt_body_gives_its_own_code(changes: dict[str, Any], code: str) -> None:
    """Short ciphertexts, mistyped contexts and keys that would keep no secret are refused."""
    assert decrypt_code(**changes) == code
