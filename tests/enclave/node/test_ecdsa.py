"""Threshold ECDSA at the nodes: ordinary signatures, and nothing left of an attempt that did not go its way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from eth_account import Account

import enclave.ecdsa_sessions as sessions
from enclave.addresses import evm_address
from enclave.certificate import KeyCertificate
from enclave.errors import AbortError, PeerError, SecretLeakError
from enclave.group.secp256k1 import SECP256K1
from enclave.payload.sign import parse_sign_body, signed_transaction
from enclave.roster_terms import WitnessTerms
from enclave.secret import Secret
from enclave.threshold.ecdsa.messages import Round1, Round2, Round3
from enclave.wire.ecdsa import EcdsaAbort, EcdsaMessage, EcdsaStart
from enclave.wire.message import decode_as, encode
from tests.enclave.node.codes import code_of
from tests.enclave.node.ecdsa_run import SIGNERS, EcdsaRun, open_channels
from tests.enclave.node.world import World, evm_body, message_body

BODY = evm_body()
TYPES: dict[int, dict[str, Any]] = {
    0: {"type": 0, "gas_price": "1000000000"},
    1: {"type": 1, "gas_price": "1000000000", "access_list": []},
    2: {},
}


def body_of_type(number: int) -> bytes:
    """A transaction of this type."""
    if number == 2:
        return BODY
    fields = {"type": number, "chain_id": 1, "nonce": 0, "gas": 21000, "to": "0x" + "11" * 20, "value": "1000"}
    from attestation.canonical import canonical_json

    return canonical_json({"kind": "evm_transaction", "transaction": fields | {"data": "0x"} | TYPES[number]})


@pytest.fixture
def key(ready: World) -> KeyCertificate:
    """An EVM key of custody threshold: two of five would know it, three sign."""
    certificate = ready.create_key(spec="secp256k1-ecdsa", usage="evm", shares_needed=2)
    ready.now += 1
    return certificate


@pytest.fixture
def run(ready: World, key: KeyCertificate) -> EcdsaRun:
    """An attempt that has not begun."""
    return EcdsaRun(ready, key, BODY)


def secrets_of(world: World, slot: str) -> list[Secret]:
    """Every secret of the attempts running at a node."""
    signers = [attempt.signer for attempt in world.nodes[slot].ecdsa._live.values()]
    return [secret for signer in signers if (secret := signer._row) is not None]


def assert_gone(world: World, slot: str, held: list[Secret]) -> None:
    """Nothing runs at the node, and what it held is wiped."""
    assert held
    assert len(world.nodes[slot].ecdsa) == 0
    for secret in held:
        with pytest.raises(SecretLeakError):
            _ = secret.p


# --- what works ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", sorted(TYPES))
@pytest.mark.parametrize("signers", [SIGNERS, ("node-2", "node-4", "node-5")])
def test_transactions_are_signed_as_eth_account_reads_them(
    ready: World, key: KeyCertificate, number: int, signers: tuple[str, ...]
) -> None:
    """Any three of five sign transactions of each type; eth-account recovers the key's address."""
    body = body_of_type(number)
    signature, recovery_id = EcdsaRun(ready, key, body, signers=signers).signature()
    raw = signed_transaction(parse_sign_body(body, key.usage, key.spec), signature[:32], signature[32:], recovery_id)
    assert Account.recover_transaction(raw) == evm_address(key.public_key)


def test_custody_is_stated_honestly(key: KeyCertificate) -> None:
    """Two nodes would know the key, three sign, nobody assembles."""
    assert (key.shares_needed, key.privacy_threshold, key.signing_quorum, key.assemblers) == (2, 2, 3, ())


def test_five_sign_for_a_threshold_of_three(ready: World) -> None:
    """With T = 3 all five nodes take part in a signature."""
    key = ready.create_key(spec="secp256k1-ecdsa", usage="generic", shares_needed=3)
    ready.now += 1
    assert key.signing_quorum == 5
    assert EcdsaRun(ready, key, message_body(b"x"), signers=ready.slots).signature()[0]


def test_nothing_is_left_after_a_release(ready: World, run: EcdsaRun) -> None:
    """A released attempt is over: no state, no second release, no second start."""
    run.up_to(3)
    held = {slot: secrets_of(ready, slot) for slot in SIGNERS}
    request = run.following(4)
    run.advance(4)
    for slot in SIGNERS:
        assert_gone(ready, slot, held[slot])
        assert code_of(ready.call, slot, "ecdsa-round", request) == "ecdsa.unknown"
        assert code_of(ready.call, slot, "ecdsa-start", run.request) == "ecdsa.session"


# --- who may ask ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("signers", [["node-1", "node-2"], ["node-1", "node-2", "node-3", "node-4"], ["node-1"] * 3])
def test_exactly_2t_minus_1_signers_take_part(ready: World, key: KeyCertificate, signers: list[str]) -> None:
    """Fewer, more or repeated signers never begin: with more, parts of them could sign different messages."""
    run = EcdsaRun(ready, key, BODY, channels=False)
    request = msgspec.structs.replace(run.request, signers=signers)
    expected = "signers.order" if len(set(signers)) == 1 else "signers.count"
    assert code_of(ready.call, "node-1", "ecdsa-start", request) == expected


def test_a_node_signs_only_in_sets_it_is_in(ready: World, run: EcdsaRun) -> None:
    """A node outside of the set begins nothing."""
    assert code_of(ready.call, "node-4", "ecdsa-start", run.request) == "signers.not-member"


def test_policy_is_asked_before_anything_begins(ready: World, key: KeyCertificate) -> None:
    """What policy forbids leaves no session behind and costs no attempt."""
    body = evm_body(value="1001")
    run = EcdsaRun(ready, key, body)
    before = len(ready.nodes["node-1"].ledger)
    assert code_of(ready.call, "node-1", "ecdsa-start", run.request) == "policy.denied"
    assert len(ready.nodes["node-1"].ecdsa) == 0
    assert len(ready.nodes["node-1"].ledger) == before


def test_a_revoked_signer_is_refused(ready: World, run: EcdsaRun) -> None:
    """Every member must be trusted by every other."""
    ready.registry.revoke(ready.platform("node-3").platform_id, "stolen", ready.now)
    ready.push()
    assert code_of(ready.call, "node-1", "ecdsa-start", run.request) == "attestation-denied"


def test_other_keys_do_not_enter(ready: World) -> None:
    """Keys of other specs or custody are refused by name."""
    plain = ready.create_key()
    assembled = ready.create_key(session=b"r" * 32, spec="secp256k1-ecdsa", usage="generic", custody="reconstruct")
    ready.now += 1
    body = message_body(b"x")
    for key, code in ((plain, "key.spec"), (assembled, "key.custody")):
        request = EcdsaStart(token=ready.token(key, body), body=body, signers=list(SIGNERS), attempt=1)
        assert code_of(ready.call, "node-1", "ecdsa-start", request) == code


def test_shares_of_threshold_keys_are_not_released(ready: World, key: KeyCertificate) -> None:
    """The verbs of custody reconstruct do not serve a threshold key."""
    from enclave.wire.reconstruct import ReleaseRequest

    request = ReleaseRequest(token=ready.token(key, BODY), body=BODY, signers=list(SIGNERS), assembler="node-1")
    assert code_of(ready.call, "node-2", "release", request) == "key.custody"


def test_attempts_are_few(ready: World, run: EcdsaRun) -> None:
    """Three attempts per request, each under its own number from 1 to 3, whatever sets are tried."""
    open_channels(ready, ["node-1", "node-2", "node-4"])
    for attempt in (0, 4):
        request = msgspec.structs.replace(run.request, attempt=attempt)
        assert code_of(ready.call, "node-1", "ecdsa-start", request) == "ecdsa.attempt"
    for attempt in (1, 2, 3):
        assert ready.call("node-1", "ecdsa-start", msgspec.structs.replace(run.request, attempt=attempt))
    other = msgspec.structs.replace(run.request, signers=["node-1", "node-2", "node-4"])
    assert code_of(ready.call, "node-1", "ecdsa-start", other) == "token.replayed"


def test_a_missing_session_costs_no_attempt(ready: World, key: KeyCertificate) -> None:
    """Without channels nothing begins, and the same attempt goes through once they are open."""
    run = EcdsaRun(ready, key, BODY, channels=False)
    before = len(ready.nodes["node-1"].ledger)
    assert code_of(ready.call, "node-1", "ecdsa-start", run.request) == "channel.missing"
    assert len(ready.nodes["node-1"].ledger) == before
    open_channels(ready, run.signers)
    assert run.signature()


# --- single use ----------------------------------------------------------------------------------------


def test_an_attempt_begins_once(ready: World, run: EcdsaRun) -> None:
    """The same request, signers and number never run twice, running or failed."""
    run.start()
    assert code_of(ready.call, "node-1", "ecdsa-start", run.request) == "ecdsa.session"
    for slot in SIGNERS:
        ready.call(slot, "ecdsa-abort", EcdsaAbort(session=run.messages[0].session))
        assert code_of(ready.call, slot, "ecdsa-start", run.request) == "ecdsa.session"
    run.attempt = 2
    assert run.signature()


@pytest.mark.parametrize("change", ["signers", "token", "attempt", "body"])
def test_session_ids_tell_attempts_apart(ready: World, key: KeyCertificate, run: EcdsaRun, change: str) -> None:
    """Another set, request, number or payload is another session."""
    open_channels(ready, ["node-1", "node-2", "node-4"])
    body = evm_body(nonce=1)
    changes: dict[str, dict[str, Any]] = {
        "signers": {"signers": ["node-1", "node-2", "node-4"]},
        "token": {"token": ready.token(key, BODY)},
        "attempt": {"attempt": 2},
        "body": {"body": body, "token": ready.token(key, body)},
    }
    other = msgspec.structs.replace(run.request, **changes[change])
    first, second = (ready.call("node-1", "ecdsa-start", request).session for request in (run.request, other))
    assert first != second


@pytest.mark.parametrize("number", [1, 2, 3, 5])
def test_rounds_run_once_in_order(ready: World, run: EcdsaRun, number: int) -> None:
    """A round out of order ends the attempt."""
    run.up_to(2 if number == 2 else 1)
    held = secrets_of(ready, "node-1")
    assert code_of(ready.call, "node-1", "ecdsa-round", run.following(number)) in ("ceremony.order", "ecdsa.messages")
    assert_gone(ready, "node-1", held)


def test_a_restart_ends_every_attempt(ready: World, run: EcdsaRun) -> None:
    """A rebooted node knows nothing of the attempt, and its peers do not go on with another boot of it."""
    run.up_to(2)
    held = secrets_of(ready, "node-1")
    ready.stop("node-2")
    ready.start("node-2")
    ready.attest()
    assert code_of(ready.call, "node-2", "ecdsa-round", run.following(3)) == "ecdsa.unknown"
    assert code_of(ready.call, "node-1", "ecdsa-round", run.following(3)) == "attestation-stale"
    assert_gone(ready, "node-1", held)
    assert code_of(ready.call, "node-2", "ecdsa-start", run.request) in ("token.before-boot", "channel.missing")


# --- time, connections, changes on the way ------------------------------------------------------------


def test_an_attempt_has_ten_seconds(ready: World, run: EcdsaRun) -> None:
    """What is not finished in time is wiped as time passes, without anybody asking for it."""
    run.up_to(3)
    held = secrets_of(ready, "node-1")
    ready.now += sessions.LIFETIME_S
    ready.call("node-1", "status")
    assert len(ready.nodes["node-1"].ecdsa) == 1
    ready.now += 1
    ready.nodes["node-1"].tick(ready.now)
    assert_gone(ready, "node-1", held)


def test_an_attempt_belongs_to_its_connection(ready: World, run: EcdsaRun) -> None:
    """Another gateway can neither continue nor end it; losing its own connection ends it."""
    session = run.up_to(2)[0].session
    held = secrets_of(ready, "node-1")
    assert code_of(ready.call, "node-1", "ecdsa-round", run.following(3), connection=7) == "ecdsa.unknown"
    ready.call("node-1", "ecdsa-abort", EcdsaAbort(session=session), connection=7)
    assert len(ready.nodes["node-1"].ecdsa) == 1
    ready.nodes["node-1"].disconnect(1)
    assert_gone(ready, "node-1", held)


def test_an_abort_wipes(ready: World, run: EcdsaRun) -> None:
    """A gateway that gives up has the node forget at once; twice does no harm."""
    session = run.up_to(2)[0].session
    held = secrets_of(ready, "node-1")
    for _ in range(2):
        ready.call("node-1", "ecdsa-abort", EcdsaAbort(session=session))
    assert_gone(ready, "node-1", held)


def test_attempts_at_once_are_bounded(ready: World, run: EcdsaRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full table refuses the next attempt instead of growing."""
    monkeypatch.setattr(sessions, "LIVE_MAX", 1)
    run.start()
    other = msgspec.structs.replace(run.request, attempt=2)
    assert code_of(ready.call, "node-1", "ecdsa-start", other) == "ecdsa.busy"


def test_stopping_a_node_wipes_its_attempts(ready: World, run: EcdsaRun) -> None:
    """Nothing of an attempt outlives its node."""
    run.up_to(2)
    node, held = ready.nodes["node-1"], secrets_of(ready, "node-1")
    ready.stop("node-1")
    assert len(node.ecdsa) == 0
    for secret in held:
        with pytest.raises(SecretLeakError):
            _ = secret.p


@pytest.mark.parametrize("number", [2, 3, 4])
def test_a_disabled_key_stops_between_rounds(ready: World, key: KeyCertificate, run: EcdsaRun, number: int) -> None:
    """Whoever disables a key stops releases that were on their way."""
    run.up_to(number - 1)
    held = secrets_of(ready, "node-1")
    ready.put(ready.key_state(key.key, "disabled"))
    assert code_of(ready.call, "node-1", "ecdsa-round", run.following(number)) == "key.disabled"
    assert_gone(ready, "node-1", held)


def test_a_revoked_agent_stops_between_rounds(ready: World, run: EcdsaRun) -> None:
    """Whoever revokes an agent stops releases that were on their way."""
    run.up_to(3)
    held = secrets_of(ready, "node-1")
    ready.put(ready.agent_document(state="revoked", sequence=2))
    assert code_of(ready.call, "node-1", "ecdsa-round", run.following(4)) == "agent.revoked"
    assert_gone(ready, "node-1", held)


def test_a_lost_lease_stops_between_rounds(ready: World, run: EcdsaRun) -> None:
    """A node that too few peers echo releases nothing, though it hears every signer and the attempt was begun."""
    run.up_to(3)
    held = secrets_of(ready, "node-1")
    ready.nodes["node-1"].heartbeats.lease.follow(WitnessTerms(q=3, f=1, a=3))
    ready.relays = False
    for _ in range(2):
        ready.now += 5
        ready.relay(*run.signers)
    assert code_of(ready.call, "node-1", "ecdsa-round", run.following(4)) == "lease-lost"
    assert_gone(ready, "node-1", held)


def test_a_revoked_machine_stops_between_rounds(ready: World, run: EcdsaRun) -> None:
    """A signer whose machine is revoked before the release gets none."""
    run.up_to(3)
    held = secrets_of(ready, "node-1")
    ready.registry.revoke(ready.platform("node-3").platform_id, "stolen", ready.now)
    ready.push()
    assert code_of(ready.call, "node-1", "ecdsa-round", run.following(4)) == "attestation-denied"
    assert_gone(ready, "node-1", held)


# --- a lying relay -------------------------------------------------------------------------------------


def _payload(message: EcdsaMessage) -> EcdsaMessage:
    return msgspec.structs.replace(message, payload=message.payload[:-1] + bytes([message.payload[-1] ^ 1]))


def _round(message: EcdsaMessage) -> EcdsaMessage:
    return msgspec.structs.replace(message, round=message.round + 1)


def _boot(message: EcdsaMessage) -> EcdsaMessage:
    return msgspec.structs.replace(message, boot_counter=message.boot_counter + 1)


def _session(message: EcdsaMessage) -> EcdsaMessage:
    return msgspec.structs.replace(message, session=bytes(32))


def _signature(message: EcdsaMessage) -> EcdsaMessage:
    return msgspec.structs.replace(message, signature=bytes(64))


def _sender(message: EcdsaMessage) -> EcdsaMessage:
    return msgspec.structs.replace(message, slot="node-4")


CHANGES: tuple[Callable[[EcdsaMessage], EcdsaMessage], ...] = (_payload, _round, _boot, _session, _signature, _sender)


@pytest.mark.parametrize("number", [2, 3, 4])
@pytest.mark.parametrize("slot", ["node-1", "node-3"])
def test_a_changed_message_ends_the_attempt(ready: World, key: KeyCertificate, number: int, slot: str) -> None:
    """Whatever the relay changes of a message, own or foreign, in whatever round: abort, nobody named, nothing left."""
    for change in CHANGES:
        run = EcdsaRun(ready, key, BODY)
        run.up_to(number - 1)
        held = secrets_of(ready, "node-1")
        changed = [change(message) if message.slot == slot else message for message in run.messages]
        with pytest.raises(PeerError) as caught:
            ready.call("node-1", "ecdsa-round", run.following(number, changed))
        assert (caught.value.code, caught.value.culprits) == ("ecdsa.messages", ())
        assert_gone(ready, "node-1", held)
        assert code_of(ready.call, "node-1", "ecdsa-round", run.following(number)) == "ecdsa.unknown"


@pytest.mark.parametrize("number", [2, 3, 4])
def test_the_set_of_messages_is_exact(ready: World, key: KeyCertificate, number: int) -> None:
    """A missing, doubled or surplus message ends the attempt."""
    for keep in ([0, 1], [0, 1, 1], [0, 1, 2, 2]):
        run = EcdsaRun(ready, key, BODY)
        run.up_to(number - 1)
        held = secrets_of(ready, "node-1")
        request = run.following(number, [run.messages[position] for position in keep])
        assert code_of(ready.call, "node-1", "ecdsa-round", request) == "ecdsa.messages"
        assert_gone(ready, "node-1", held)


def test_messages_of_another_attempt_do_not_fit(ready: World, key: KeyCertificate, run: EcdsaRun) -> None:
    """A true message of the same round of another attempt is refused."""
    other = EcdsaRun(ready, key, BODY, token=run.token, attempt=2, channels=False)
    run.start()
    theirs = other.start()
    held = secrets_of(ready, "node-1")[:1]
    mixed = [*run.messages[:2], theirs[2]]
    assert code_of(ready.call, "node-1", "ecdsa-round", run.following(2, mixed)) == "ecdsa.messages"
    for secret in held:
        with pytest.raises(SecretLeakError):
            _ = secret.p


# --- a signer and the relay together ---------------------------------------------------------------------


def test_different_rows_for_different_signers_are_noticed_before_a_release(ready: World, run: EcdsaRun) -> None:
    """Round 1 told two ways by a corrupt signer: the echoes of round 2 differ, and both honest nodes abort."""
    honest = run.start()
    rows = dict(decode_as(Round1, honest[2].payload).sealed)
    rows[1] = bytes(len(rows[1]))
    other = run.forged("node-3", encode(Round1(rows)))
    session = honest[0].session
    second = [
        ready.call("node-1", "ecdsa-round", run.following(2, honest)),
        ready.call("node-2", "ecdsa-round", run.following(2, run.replaced(other))),
        ready.call("node-3", "ecdsa-round", run.following(2, honest)),
    ]
    held = {slot: secrets_of(ready, slot) for slot in ("node-1", "node-2")}
    run.messages = second
    assert second[0].session == session
    for slot in ("node-1", "node-2"):
        assert code_of(ready.call, slot, "ecdsa-round", run.following(3)) == "ceremony.equivocation"
        assert_gone(ready, slot, held[slot])


def test_different_nonce_shares_for_different_signers_are_noticed(ready: World, run: EcdsaRun) -> None:
    """Round 2 told two ways: whoever saw the other version stops, and round 3 shows the rest."""
    run.up_to(2)
    told = decode_as(Round2, run.messages[2].payload)
    masked = (int.from_bytes(told.masked, "big") + 1).to_bytes(32, "big")
    other = run.forged("node-3", encode(Round2(told.echo, told.nonce_share, masked)))
    third = [
        ready.call("node-1", "ecdsa-round", run.following(3)),
        ready.call("node-2", "ecdsa-round", run.following(3, run.replaced(other))),
        ready.call("node-3", "ecdsa-round", run.following(3)),
    ]
    held = {slot: secrets_of(ready, slot) for slot in ("node-1", "node-2")}
    run.messages = third
    for slot in ("node-1", "node-2"):
        assert code_of(ready.call, slot, "ecdsa-round", run.following(4)) == "ceremony.equivocation"
        assert_gone(ready, slot, held[slot])


def test_a_wrong_check_share_shown_to_one_costs_the_signature_and_opens_nothing(ready: World, run: EcdsaRun) -> None:
    """Round 3 is not echoed before the release: the deceived node aborts anonymously and wipes; no signature comes."""
    run.up_to(3)
    told = decode_as(Round3, run.messages[2].payload)
    wrong = SECP256K1.point_add(told.check_share, SECP256K1.base_mult_public(1))
    other = run.forged("node-3", encode(Round3(told.echo, wrong)))
    held = secrets_of(ready, "node-1")
    with pytest.raises(AbortError) as caught:
        ready.call("node-1", "ecdsa-round", run.following(4, run.replaced(other)))
    assert caught.value.culprits == ()
    assert_gone(ready, "node-1", held)
    releases = [ready.call(slot, "ecdsa-round", run.following(4)) for slot in ("node-2", "node-3")]
    assert all(len(ready.nodes[slot].ecdsa) == 0 for slot in SIGNERS)
    with pytest.raises(AbortError):
        run.finished(releases)


@pytest.mark.parametrize("number", [2, 3, 4])
def test_a_malformed_payload_names_its_signer(ready: World, run: EcdsaRun, number: int) -> None:
    """What a node signed and what does not have its form proves that node guilty; its victims keep nothing."""
    run.up_to(number - 1)
    held = secrets_of(ready, "node-1")
    request = run.following(number, run.replaced(run.forged("node-3", b"\xc0")))
    with pytest.raises(PeerError) as caught:
        ready.call("node-1", "ecdsa-round", request)
    assert (caught.value.code, caught.value.culprits) == ("ceremony.malformed", ("node-3",))
    assert_gone(ready, "node-1", held)


def test_rows_open_only_where_and_when_they_were_meant(ready: World, run: EcdsaRun) -> None:
    """A row dealt to another signer, truly signed again by a corrupt node, does not open; nobody is named."""
    honest = run.start()
    rows = dict(decode_as(Round1, honest[2].payload).sealed)
    rows[1], rows[2] = rows[2], rows[1]
    held = secrets_of(ready, "node-1")
    request = run.following(2, run.replaced(run.forged("node-3", encode(Round1(rows)))))
    code = code_of(ready.call, "node-1", "ecdsa-round", request)
    assert code in ("protocol.abort", "channel.unknown")
    assert_gone(ready, "node-1", held)


def test_the_relay_sees_no_row(run: EcdsaRun) -> None:
    """Rows travel sealed: session, counter, 160 bytes of ciphertext, tag."""
    for message in run.start():
        assert {len(row) for row in decode_as(Round1, message.payload).sealed.values()} == {16 + 8 + 160 + 16}
