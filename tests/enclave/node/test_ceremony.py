"""Key generation among five nodes over a relay that may lie, and what remains of it after restarts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from nacl.signing import VerifyKey

from enclave.ceremonies.engine import CLOCK_SPREAD_S_MAX, LIFETIME_S, LIVE_MAX
from enclave.ceremonies.generate import key_id_of
from enclave.errors import EnclaveError
from enclave.identity import BootIdentity
from enclave.threshold.hpke import public_key_x25519
from enclave.wire.ceremonies import CeremonyMessage, CeremonyRound, ceremony_message_bytes
from enclave.wire.documents import CertificateRequest
from tests.enclave.node.codes import code_of
from tests.enclave.node.world import World

SESSION = b"s" * 32


def first_round(world: World, **changes: Any) -> tuple[list[str], list[CeremonyMessage]]:
    """Everyone's first message."""
    start = world.ceremony_start(world.order(**changes), session=SESSION)
    return start.participants, [world.call(slot, "ceremony-start", start) for slot in start.participants]


def advance(world: World, slots: list[str], number: int, messages: list[CeremonyMessage]) -> list[CeremonyMessage]:
    """One round for everybody."""
    request = CeremonyRound(session=SESSION, round=number, messages=messages)
    return [world.call(slot, "ceremony-round", request) for slot in slots]


def signed(identity: BootIdentity, message: CeremonyMessage, **changes: Any) -> CeremonyMessage:
    """A changed message under its sender's own good signature: what a corrupt node can say."""
    changed = msgspec.structs.replace(message, **changes)
    return msgspec.structs.replace(changed, signature=identity.sign(ceremony_message_bytes(changed)))


# --- honest runs --------------------------------------------------------------------------------------


def test_an_order_from_before_the_boot_is_refused(ready: World) -> None:
    """A node that restarted has forgotten which orders it served, so it takes only later ones."""
    start = ready.ceremony_start(ready.order(), session=b"s" * 32)
    ready.now += 2
    ready.stop("node-1")
    ready.start("node-1")
    ready.attest()
    assert code_of(ready.call, "node-1", "ceremony-start", start) == "token.before-boot"


@pytest.mark.parametrize(
    ("changes", "size"),
    [
        ({}, 32),
        ({"usage": "solana", "nodes": ["node-2", "node-4", "node-5"], "shares_needed": 2}, 32),
        ({"spec": "secp256k1-ecdsa", "usage": "evm", "custody": "reconstruct"}, 33),
        ({"spec": "hpke-x25519", "usage": "decrypt"}, 32),
    ],
)
def test_a_key_of_every_kind_is_made_and_certified(ready: World, changes: dict[str, Any], size: int) -> None:
    """All participants certify the same key, with the facts of the order, and hold it from then on."""
    certificate = ready.create_key(**changes)
    nodes = changes.get("nodes", ready.slots)
    assert certificate.slots == tuple(nodes)
    assert len(certificate.public_key) == size
    assert certificate.policy == ready.policy_id
    assert certificate.activated_at == ready.now
    assert certificate.shares_needed == changes.get("shares_needed", 3)
    if certificate.spec == "hpke-x25519":
        assert certificate.group_key is not None
        assert public_key_x25519(certificate.group_key) == certificate.public_key
    for slot in ready.slots:
        held = [holding.key for holding in ready.call(slot, "holdings").keys]
        assert held == ([certificate.key] if slot in nodes else [])
        assert ready.call(slot, "holdings").pending == []


def test_the_key_id_follows_from_the_order(ready: World) -> None:
    """A relay cannot make two keys of one order: any other id is refused, and so is a second run."""
    body = ready.order()
    token = ready.order_token(body)
    start = ready.ceremony_start(body, session=SESSION, token=token)
    assert start.key == key_id_of(ready.request_id(token, body))
    other = ready.ceremony_start(body, session=SESSION, token=token, key="key_" + "a" * 26)
    assert code_of(ready.call, "node-1", "ceremony-start", other) == "ceremony.key"
    ready.run_rounds(start)
    again = ready.ceremony_start(body, session=b"t" * 32, token=token)
    assert code_of(ready.call, "node-1", "ceremony-start", again) == "key.exists"


def test_two_runs_of_one_order_cannot_both_prepare(ready: World) -> None:
    """Of two attempts that race, a node seals a share of at most one."""
    body = ready.order()
    token = ready.order_token(body)
    runs = []
    for session in (SESSION, b"t" * 32):
        start = ready.ceremony_start(body, session=session, token=token)
        messages = [ready.call(slot, "ceremony-start", start) for slot in ready.slots]
        second = CeremonyRound(session=session, round=2, messages=messages)
        runs.append([ready.call(slot, "ceremony-round", second) for slot in ready.slots])
    advance(ready, ready.slots, 3, runs[0])
    late = CeremonyRound(session=b"t" * 32, round=3, messages=runs[1])
    assert {code_of(ready.call, slot, "ceremony-round", late) for slot in ready.slots} == {"ceremony.unresolved"}


# --- orders -------------------------------------------------------------------------------------------


def test_an_order_needs_an_administrator(ready: World) -> None:
    """Another role, an agent, another act, another resource or another body's token starts nothing."""
    body = ready.order()

    def start(**changes: Any) -> str:
        token = ready.order_token(changes.pop("body", body), **changes)
        request = replace_token(ready, body, token)
        return code_of(ready.call, "node-1", "ceremony-start", request)

    assert start(issuer=ready.auditor_id, signer=ready.auditor) == "operator.role"
    assert start(issuer=ready.agent_id, signer=ready.agent) == "token.unknown-key"
    assert start(act="sign") == "token.act"
    assert start(resource="key_" + "a" * 26 + "/1") == "token.resource"
    assert start(body=ready.order(shares_needed=2)) == "token.body"
    ready.call("node-1", "ceremony-start", replace_token(ready, body, ready.order_token(body)))


def replace_token(world: World, body: bytes, token: str) -> Any:
    """A start with exactly this token, whatever it is worth."""
    return msgspec.structs.replace(
        world.ceremony_start(body, session=b"x" * 32, token=world.order_token(body)),
        token=token,
        key=key_id_of(hashlib.sha256(token.encode()).digest()),
    )


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"participants": ["node-1", "node-2", "node-3", "node-4"]}, "ceremony.participants"),
        ({"participants": ["node-2", "node-1", "node-3", "node-4", "node-5"]}, "ceremony.participants"),
        ({"kind": "revive"}, "ceremony.kind"),
        ({"session": b"short"}, "ceremony.session"),
        ({"key": "treasury"}, "id.malformed"),
    ],
)
def test_a_start_must_agree_with_its_order(ready: World, changes: dict[str, Any], code: str) -> None:
    """Participants, kind, session and key id are not the relay's to choose."""
    start = msgspec.structs.replace(ready.ceremony_start(ready.order(), session=SESSION), **changes)
    assert code_of(ready.call, "node-1", "ceremony-start", start) == code


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"shares_needed": 1}, "order.shares-needed"),
        ({"shares_needed": 6}, "order.shares-needed"),
        ({"spec": "rsa"}, "order.spec"),
        ({"usage": "evm"}, "order.usage"),
        ({"colour": "red"}, "order.malformed"),
        (
            {
                "spec": "secp256k1-ecdsa",
                "usage": "evm",
                "custody": "reconstruct",
                "nodes": ["node-1", "node-2", "node-3"],
                "assemblers": ["node-5"],
            },
            "order.assemblers",
        ),
    ],
)
def test_impossible_orders_are_refused(ready: World, changes: dict[str, Any], code: str) -> None:
    """What no key can be is refused before anything is computed, signed by an administrator or not."""
    start = ready.ceremony_start(ready.order(**changes), session=SESSION)
    assert code_of(ready.call, "node-1", "ceremony-start", start) == code


def test_a_node_outside_the_order_takes_no_part(ready: World) -> None:
    """A node that is not named refuses to start."""
    start = ready.ceremony_start(ready.order(nodes=["node-1", "node-2", "node-3"]), session=SESSION)
    assert code_of(ready.call, "node-4", "ceremony-start", start) == "ceremony.participants"


def test_a_session_is_used_once(ready: World) -> None:
    """The same session id starts nothing twice, not even after it failed."""
    start = ready.ceremony_start(ready.order(), session=SESSION)
    ready.call("node-1", "ceremony-start", start)
    assert code_of(ready.call, "node-1", "ceremony-start", start) == "ceremony.session"
    ready.nodes["node-1"].ceremonies.end(SESSION)
    fresh = ready.ceremony_start(ready.order(), session=SESSION)
    assert code_of(ready.call, "node-1", "ceremony-start", fresh) == "ceremony.session"


def test_every_participant_must_be_trusted_at_every_round(ready: World) -> None:
    """A participant that is revoked in between ends the attempt at all others."""
    slots, messages = first_round(ready)
    ready.registry.revoke(ready.platform("node-5").platform_id, "stolen", ready.now)
    ready.push()
    request = CeremonyRound(session=SESSION, round=2, messages=messages)
    for slot in slots:
        assert code_of(ready.call, slot, "ceremony-round", request) == "attestation-denied"


def test_a_participant_that_rebooted_is_another_one(ready: World) -> None:
    """The attested identity at the start is the one of every round."""
    _, messages = first_round(ready)
    ready.stop("node-5")
    ready.start("node-5")
    ready.attest()
    request = CeremonyRound(session=SESSION, round=2, messages=messages)
    assert code_of(ready.call, "node-1", "ceremony-round", request) == "attestation-stale"
    assert code_of(ready.call, "node-1", "ceremony-round", request) == "ceremony.unknown"


# --- lying relays and participants ---------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 2])
def test_an_altered_message_is_refused_and_blames_nobody(ready: World, number: int) -> None:
    """A relay that changes a payload is caught by the signature, and cannot frame a participant."""
    slots, messages = first_round(ready)
    if number == 2:
        messages = advance(ready, slots, 2, messages)
    victim = messages[1]
    changed = msgspec.structs.replace(victim, payload=victim.payload[:-1] + bytes([victim.payload[-1] ^ 1]))
    request = CeremonyRound(session=SESSION, round=number + 1, messages=[messages[0], changed, *messages[2:]])
    with pytest.raises(EnclaveError) as caught:
        ready.call("node-1", "ceremony-round", request)
    assert (caught.value.code, caught.value.culprits) == ("ceremony.messages", ())
    assert code_of(ready.call, "node-1", "ceremony-round", request) == "ceremony.unknown"


def _drop(messages: list[CeremonyMessage], world: World) -> list[CeremonyMessage]:
    return messages[:-1]


def _double(messages: list[CeremonyMessage], world: World) -> list[CeremonyMessage]:
    return [*messages[:-1], messages[0]]


def _other_session(messages: list[CeremonyMessage], world: World) -> list[CeremonyMessage]:
    return [signed(world.nodes["node-1"].identity, messages[0], session=b"t" * 32), *messages[1:]]


def _other_round(messages: list[CeremonyMessage], world: World) -> list[CeremonyMessage]:
    return [signed(world.nodes["node-1"].identity, messages[0], round=2), *messages[1:]]


def _other_boot(messages: list[CeremonyMessage], world: World) -> list[CeremonyMessage]:
    return [signed(world.nodes["node-1"].identity, messages[0], boot_counter=9), *messages[1:]]


@pytest.mark.parametrize("spoil", [_drop, _double, _other_session, _other_round, _other_boot])
def test_a_round_takes_exactly_one_true_message_of_each(
    ready: World, spoil: Callable[[list[CeremonyMessage], World], list[CeremonyMessage]]
) -> None:
    """Missing, doubled and misplaced messages end the attempt."""
    _, messages = first_round(ready)
    request = CeremonyRound(session=SESSION, round=2, messages=spoil(messages, ready))
    assert code_of(ready.call, "node-2", "ceremony-round", request) == "ceremony.messages"


def test_a_participant_that_says_different_things_in_round_one_makes_all_abort(ready: World) -> None:
    """Two signed first messages of one corrupt node, shown to different nodes: nobody prepares."""
    slots, messages = first_round(ready)
    liar = ready.nodes["node-5"].identity
    payload = messages[4].payload
    other = [*messages[:4], signed(liar, messages[4], payload=payload[:40] + _flip_commitment(payload[40:]))]
    second = []
    for slot, shown in zip(slots[:4], (messages, messages, other, other), strict=True):
        request = CeremonyRound(session=SESSION, round=2, messages=shown)
        second.append(ready.call(slot, "ceremony-round", request))
    second.append(ready.call("node-5", "ceremony-round", CeremonyRound(session=SESSION, round=2, messages=messages)))
    request = CeremonyRound(session=SESSION, round=3, messages=second)
    assert {code_of(ready.call, slot, "ceremony-round", request) for slot in slots[:4]} <= {
        "ceremony.equivocation",
        "ceremony.commitment",
    }
    assert all(ready.call(slot, "holdings").pending == [] for slot in slots[:4])


def _flip_commitment(payload: bytes) -> bytes:
    """The same first payload with another commitment hash."""
    fields = msgspec.msgpack.decode(payload)
    key = next(iter(fields)) if isinstance(fields, dict) else 0
    fields[key] = bytes([fields[key][0] ^ 1]) + fields[key][1:]
    return msgspec.msgpack.encode(fields)


def test_a_clock_shown_differently_makes_all_abort_at_the_commit(ready: World) -> None:
    """A corrupt node that tells different times (outside the arithmetic) splits the transcript: no key."""
    slots, messages = first_round(ready)
    liar = ready.nodes["node-5"].identity
    later = messages[4].payload[:32] + (ready.now + 3).to_bytes(8, "big") + messages[4].payload[40:]
    other = [*messages[:4], signed(liar, messages[4], payload=later)]
    second = []
    for slot in slots:
        shown = other if slot in ("node-1", "node-2") else messages
        second.append(ready.call(slot, "ceremony-round", CeremonyRound(session=SESSION, round=2, messages=shown)))
    prepares = advance(ready, slots, 3, second)
    commit = CeremonyRound(session=SESSION, round=4, messages=prepares)
    assert {code_of(ready.call, slot, "ceremony-commit", commit) for slot in slots} == {"ceremony.transcript"}
    for slot in slots:
        holdings = ready.call(slot, "holdings")
        assert (holdings.keys, holdings.pending) == ([], [SESSION])


def test_a_commit_needs_every_participant(ready: World) -> None:
    """Four of five prepares, or one forged, activate nothing and delete nothing."""
    start = ready.ceremony_start(ready.order(), session=SESSION)
    prepares = ready.run_rounds(start)
    forged = signed(ready.nodes["node-1"].identity, prepares[4])
    for messages in (prepares[:4], [*prepares[:4], forged]):
        request = CeremonyRound(session=SESSION, round=4, messages=messages)
        assert code_of(ready.call, "node-1", "ceremony-commit", request) == "ceremony.messages"
    assert ready.call("node-1", "holdings").pending == [SESSION]
    ready.call("node-1", "ceremony-commit", CeremonyRound(session=SESSION, round=4, messages=prepares))


def test_clocks_far_apart_end_the_attempt(ready: World) -> None:
    """The activation time is agreed among clocks, so they must be near each other."""
    start = ready.ceremony_start(ready.order(), session=SESSION)
    messages = [ready.call(slot, "ceremony-start", start) for slot in ready.slots[:4]]
    now = ready.now
    ready.now += CLOCK_SPREAD_S_MAX + 1
    messages.append(ready.call("node-5", "ceremony-start", start))
    request = CeremonyRound(session=SESSION, round=2, messages=messages)
    assert code_of(ready.call, "node-5", "ceremony-round", request) == "clock-skew"
    ready.now = now
    assert code_of(ready.call, "node-1", "ceremony-round", request) == "clock-skew"


def test_rounds_come_in_order(ready: World) -> None:
    """A round that is not next ends nothing else than itself, an unknown session is named as such."""
    slots, messages = first_round(ready)
    wrong = CeremonyRound(session=SESSION, round=4, messages=messages)
    assert code_of(ready.call, "node-1", "ceremony-round", wrong) == "ceremony.order"
    unknown = CeremonyRound(session=b"u" * 32, round=2, messages=messages)
    assert code_of(ready.call, "node-1", "ceremony-round", unknown) == "ceremony.unknown"
    assert code_of(ready.call, "node-1", "ceremony-commit", wrong) == "ceremony.unknown"
    advance(ready, slots, 2, messages)


def test_attempts_are_bounded_and_end_by_themselves(ready: World) -> None:
    """A node runs so many attempts at once, and forgets those that stopped coming."""
    for number in range(LIVE_MAX):
        start = ready.ceremony_start(ready.order(), session=bytes([number]) * 32)
        ready.call("node-1", "ceremony-start", start)
    start = ready.ceremony_start(ready.order(), session=SESSION)
    assert code_of(ready.call, "node-1", "ceremony-start", start) == "ceremony.busy"
    ready.now += LIFETIME_S + 1
    fresh = ready.ceremony_start(ready.order(), session=SESSION)
    assert ready.call("node-1", "ceremony-start", fresh).round == 1


# --- restarts -------------------------------------------------------------------------------------------


def test_a_prepared_share_survives_a_restart_and_commits_after_it(ready: World) -> None:
    """A node that lost power between prepare and commit still gets its key, under its new identity."""
    prepares = ready.run_rounds(ready.ceremony_start(ready.order(), session=SESSION))
    commit = CeremonyRound(session=SESSION, round=4, messages=prepares)
    for slot in ready.slots[:4]:
        ready.commit(slot, commit)
    ready.stop("node-5")
    ready.start("node-5")
    assert ready.call("node-5", "holdings").pending == [SESSION]
    ready.attest()
    signature = ready.commit("node-5", commit)
    assert signature.boot_counter == 2
    others = [ready.commit(slot, commit) for slot in ready.slots[:4]]
    certificate = ready.verified([*others, signature])
    ready.now += 1
    assert ready.sign(certificate, b"after", ["node-3", "node-4", "node-5"])


def test_a_commit_is_repeatable(ready: World) -> None:
    """Delivering a commit again returns the same body and changes nothing."""
    prepares = ready.run_rounds(ready.ceremony_start(ready.order(), session=SESSION))
    commit = CeremonyRound(session=SESSION, round=4, messages=prepares)
    first = ready.commit("node-1", commit)
    assert ready.commit("node-1", commit) == first


def test_a_lost_prepare_can_be_asked_for_again(ready: World) -> None:
    """The same round-2 messages give the same prepare, also after a restart; others are refused."""
    slots, messages = first_round(ready)
    second = advance(ready, slots, 2, messages)
    third = CeremonyRound(session=SESSION, round=3, messages=second)
    prepared = ready.call("node-1", "ceremony-round", third)
    ready.stop("node-1")
    ready.start("node-1")
    ready.attest()
    assert ready.call("node-1", "ceremony-round", third) == prepared
    changed = CeremonyRound(session=SESSION, round=3, messages=messages)
    assert code_of(ready.call, "node-1", "ceremony-round", changed) == "ceremony.session"


def test_what_was_not_prepared_is_gone_after_a_restart(ready: World) -> None:
    """Before the prepare nothing is kept: the attempt is simply over."""
    _, messages = first_round(ready)
    ready.stop("node-1")
    ready.start("node-1")
    request = CeremonyRound(session=SESSION, round=2, messages=messages)
    assert code_of(ready.call, "node-1", "ceremony-round", request) == "ceremony.unknown"
    assert ready.call("node-1", "holdings").pending == []


def test_keys_survive_a_restart_and_are_certified_by_the_new_identity(ready: World) -> None:
    """After all nodes rebooted the key signs again and its certificate is signed by the new boots."""
    certificate = ready.create_key()
    ready.stop()
    ready.now += 1
    ready.start()
    ready.attest()
    ready.now += 1
    signatures = [ready.call(slot, "certificate", CertificateRequest(key=certificate.key)) for slot in ready.slots]
    assert {signature.boot_counter for signature in signatures} == {2}
    assert ready.verified(signatures) == certificate
    VerifyKey(certificate.public_key).verify(b"again", ready.sign(certificate, b"again"))


def test_an_unknown_key_has_no_certificate(ready: World) -> None:
    """A node certifies only what it holds."""
    assert code_of(ready.call, "node-1", "certificate", CertificateRequest(key="key_" + "a" * 26)) == "key.unknown"


def test_no_share_is_readable_on_disk(ready: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes of every share a node sealed appear nowhere in its files."""
    from enclave.seal import SealedStore
    from enclave.secret import declassify

    canaries: list[bytes] = []
    put = SealedStore.put_secret

    def watched(store: SealedStore, kind: str, name: str, secret: Any) -> None:
        canaries.append(declassify(secret))
        put(store, kind, name, secret)

    monkeypatch.setattr(SealedStore, "put_secret", watched)
    ready.create_key()
    assert len(canaries) == 10
    for slot in ready.slots:
        for file in ready.store_path(slot).parent.iterdir():
            data = file.read_bytes()
            assert not any(canary in data or canary.hex().encode() in data for canary in canaries)
