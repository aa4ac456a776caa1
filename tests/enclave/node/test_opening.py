"""Opening inside an enclave: partials go to the named node only, contexts bind, wrong partials name their senders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke as stock
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from attestation.canonical import canonical_json
from attestation.envelope import b64url
from enclave.certificate import KeyCertificate
from enclave.group.ed25519 import ED25519
from enclave.handlers.decrypt import opened_info, partial_info
from enclave.identity import is_signed
from enclave.payload.ciphertext import KeyReference, describe
from enclave.payload.decrypt import context_info
from enclave.secret import declassify
from enclave.threshold import hpke, opening
from enclave.wire.decrypt import OpenReply, OpenRequest, PartialRequest, SealedRow, opened_bytes
from enclave.wire.message import tagged
from enclave.wire.verbs import decode_request
from tests.enclave.node.codes import code_of
from tests.enclave.node.test_limits import a_budget, put_policy
from tests.enclave.node.world import World

SUITE = stock.Suite(stock.KEM.X25519, stock.KDF.HKDF_SHA256, stock.AEAD.AES_256_GCM)
SIGNERS = ["node-1", "node-3", "node-5"]
OPENER = "node-3"
PLAINTEXT = b"the launch code"
TENANT_A = {"name": "tenant-a", "effect": "allow", "kinds": ["decrypt"], "opened_in_enclave": "required",
            "context": {"tenant": ["a"]}}  # fmt: skip
ANYTHING = {"name": "anything", "effect": "allow", "kinds": ["decrypt"]}


@pytest.fixture
def key(ready: World) -> KeyCertificate:
    """A decryption key usable now."""
    certificate = ready.create_key(spec="hpke-x25519", usage="decrypt")
    ready.now += 1
    return certificate


@pytest.fixture
def recipient() -> X25519PrivateKey:
    """The agent's one-shot key."""
    return X25519PrivateKey.generate()


def sealed(key: KeyCertificate, context: dict[str, str], plaintext: bytes = PLAINTEXT) -> bytes:
    """What any standard HPKE sender makes for the certified key."""
    return SUITE.encrypt(plaintext, X25519PublicKey.from_public_bytes(key.public_key), info=context_info(context))


def body_of(sealed_bytes: bytes, reader: X25519PrivateKey | None, **members: Any) -> bytes:
    """The body of a request to open in an enclave."""
    to = {} if reader is None else {"recipient": b64url(reader.public_key().public_bytes_raw())}
    return canonical_json({"ciphertext": b64url(sealed_bytes), "opened_in_enclave": OPENER} | to | members)


def rows(world: World, token: str, body: bytes, signers: list[str] = SIGNERS) -> list[SealedRow]:
    """Every other signer's partial result on its way to the opener."""
    asked = PartialRequest(token=token, body=body, signers=signers)
    sent = []
    for slot in signers:
        if slot != OPENER:
            world.open_channel(slot, OPENER)
            reply = world.call(slot, "partial", asked)
            assert (reply.partial, reply.sealed, reply.proof) == (None, None, None)
            sent.append(SealedRow(slot, reply.row))
    return sent


def open_at(
    world: World, key: KeyCertificate, body: bytes, signers: list[str] = SIGNERS, **changes: Any
) -> tuple[OpenReply, bytes]:
    """The opener's answer and the request id, as an honest gateway would get them."""
    token = world.token(key, body, act="decrypt")
    sent = changes.pop("rows", None) or rows(world, token, body, signers)
    change: Callable[[list[SealedRow]], list[SealedRow]] = changes.pop("change", lambda items: items)
    request = OpenRequest(token=token, body=body, signers=signers, rows=change(sent))
    return world.call(changes.pop("at", OPENER), "open", request), world.request_id(token, body)


@pytest.mark.parametrize("context", [{}, {"tenant": "a", "purpose": "test"}])
@pytest.mark.parametrize("signers", [SIGNERS, ["node-1", "node-2", "node-4"]])
def test_the_named_node_opens_for_the_recipient_alone(
    ready: World, key: KeyCertificate, recipient: X25519PrivateKey, context: dict[str, str], signers: list[str]
) -> None:
    """The plaintext comes sealed to the recipient and signed by the opener, in the signer set or not."""
    body = body_of(sealed(key, context), recipient, context=context)
    reply, request_id = open_at(ready, key, body, signers)
    assert SUITE.decrypt(reply.sealed, recipient, info=opened_info(request_id, key.key, OPENER)) == PLAINTEXT
    opener = ready.nodes[OPENER].identity.public
    statement = opened_bytes(
        cluster=ready.roster.cluster_id, request_id=request_id, key=key.key, slot=OPENER,
        boot_counter=opener.boot_counter, sealed=reply.sealed, target_version=0,
    )  # fmt: skip
    assert is_signed(opener.identity_key, reply.signature, statement)


@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, (64 << 10) - 48])
def test_plaintexts_of_any_size_up_to_the_limit(
    ready: World, key: KeyCertificate, recipient: X25519PrivateKey, size: int
) -> None:
    """From empty to the largest an enclave opens."""
    body = body_of(sealed(key, {}, b"x" * size), recipient)
    reply, request_id = open_at(ready, key, body)
    assert SUITE.decrypt(reply.sealed, recipient, info=opened_info(request_id, key.key, OPENER)) == b"x" * size


def test_cross_context_theft_works_on_plain_partials(
    ready: World, key: KeyCertificate, recipient: X25519PrivateKey
) -> None:
    """Why contexts cannot bind partials: claiming tenant a, an agent opens what was sealed for tenant b."""
    theirs = sealed(key, {"tenant": "b"})
    body = canonical_json(
        {
            "ciphertext": b64url(theirs),
            "context": {"tenant": "a"},
            "recipient": b64url(recipient.public_key().public_bytes_raw()),
        }
    )
    asked = PartialRequest(token=ready.token(key, body, act="decrypt"), body=body, signers=SIGNERS)
    request_id = ready.request_id(asked.token, body)
    points = {}
    for slot in SIGNERS:
        node = key.node(slot)
        assert node is not None
        reply = ready.call(slot, "partial", asked)
        points[node.index] = SUITE.decrypt(reply.sealed, recipient, info=partial_info(request_id, key.key, slot))
    stolen = hpke.open(hpke.combine(points), theirs[:32], theirs[32:], key.public_key, context_info({"tenant": "b"}))
    assert stolen == PLAINTEXT


def test_cross_context_theft_fails_where_policy_binds_the_context(
    ready: World, key: KeyCertificate, recipient: X25519PrivateKey
) -> None:
    """Under a rule for tenant a: no plain partials, no other context, and a false context opens nothing."""
    ready.put(ready.policy_document(TENANT_A, version=2))
    theirs, own = sealed(key, {"tenant": "b"}), sealed(key, {"tenant": "a"})

    def ask(ciphertext: bytes, **members: Any) -> Any:
        body = body_of(ciphertext, recipient, **members)
        return open_at(ready, key, body)

    reply, request_id = ask(own, context={"tenant": "a"})
    assert SUITE.decrypt(reply.sealed, recipient, info=opened_info(request_id, key.key, OPENER)) == PLAINTEXT
    assert code_of(ask, theirs, context={"tenant": "b"}) == "policy.denied"
    assert code_of(ask, theirs, context={}) == "policy.denied"
    assert code_of(ask, theirs, context={"tenant": "a"}) == "decrypt.failed"
    plain = canonical_json(
        {
            "ciphertext": b64url(theirs),
            "context": {"tenant": "a"},
            "recipient": b64url(recipient.public_key().public_bytes_raw()),
        }
    )
    asked = PartialRequest(token=ready.token(key, plain, act="decrypt"), body=plain, signers=SIGNERS)
    assert code_of(ready.call, "node-1", "partial", asked) == "policy.denied"


def test_a_broken_opener_defeats_conditions_on_contexts(
    ready: World, key: KeyCertificate, recipient: X25519PrivateKey
) -> None:
    """What section 9 says: an agent allowed tenant a, with one holder that is broken, reads tenant b's ciphertexts."""
    ready.put(ready.policy_document(TENANT_A, version=2))
    theirs = sealed(key, {"tenant": "b"})
    body = body_of(theirs, recipient, context={"tenant": "a"})
    token = ready.token(key, body, act="decrypt")
    sent = {row.slot: row.sealed for row in rows(ready, token, body)}
    node = ready.nodes[OPENER]
    context = tagged(
        "partial-row", key.key.encode(), (1).to_bytes(4, "big"), (1).to_bytes(4, "big"), ready.request_id(token, body)
    )
    indices = [entry.index for entry in key.nodes if entry.slot in SIGNERS]
    points = {}
    for entry in key.nodes:
        if entry.slot == OPENER:
            held = node.keys.get(key.key, 1)
            points[entry.index] = hpke.partial(held.share, entry.index, indices, theirs[:32])
        elif entry.slot in sent:
            sender = node.verdicts.identity(entry.slot, ready.now)
            row = node.channels.open_row(sender, sent[entry.slot], context, ready.now)
            points[entry.index] = declassify(row)[:32]
    stolen = hpke.open(hpke.combine(points), theirs[:32], theirs[32:], key.public_key, context_info({"tenant": "b"}))
    assert stolen == PLAINTEXT


def test_an_opener_outside_the_set_takes_no_budget(
    ready: World, key: KeyCertificate, recipient: X25519PrivateKey
) -> None:
    """A request costs as many parts of a budget as it has signers: whoever only opens gives no part of its own."""
    put_policy(ready, a_budget(2, {"kind": "requests", "kinds": ["decrypt"]}))
    body = body_of(sealed(key, {}), recipient)
    open_at(ready, key, body, ["node-1", "node-2", "node-4"])
    used = PartialRequest(
        token=ready.token(key, body, act="decrypt"), body=body, signers=["node-1", "node-2", "node-3"]
    )
    assert code_of(ready.call, "node-1", "partial", used) == "budget.exceeded"
    own = canonical_json(
        {"ciphertext": b64url(sealed(key, {})), "recipient": b64url(recipient.public_key().public_bytes_raw())}
    )
    fresh = PartialRequest(token=ready.token(key, own, act="decrypt"), body=own, signers=["node-3", "node-4", "node-5"])
    assert ready.call(OPENER, "partial", fresh).sealed


def test_a_deny_rule_on_a_context_stops_plain_partials(
    ready: World, key: KeyCertificate, recipient: X25519PrivateKey
) -> None:
    """Plain partials open every context, so a deny rule about one context matches all of them."""
    no_payroll = {"name": "no-payroll", "effect": "deny", "kinds": ["decrypt"], "context": {"tenant": ["payroll"]}}
    ready.put(ready.policy_document(ANYTHING, no_payroll, version=2))
    ciphertext = sealed(key, {"tenant": "a"})
    open_at(ready, key, body_of(ciphertext, recipient, context={"tenant": "a"}))
    denied = body_of(ciphertext, recipient, context={"tenant": "payroll"})
    assert code_of(open_at, ready, key, denied) == "policy.denied"
    members = {
        "ciphertext": b64url(ciphertext), "context": {"tenant": "a"},
        "recipient": b64url(recipient.public_key().public_bytes_raw()),
    }  # fmt: skip
    plain = canonical_json(members)
    asked = PartialRequest(token=ready.token(key, plain, act="decrypt"), body=plain, signers=SIGNERS)
    assert code_of(ready.call, "node-1", "partial", asked) == "policy.denied"


def test_only_the_named_node_opens(ready: World, key: KeyCertificate, recipient: X25519PrivateKey) -> None:
    """Rows cannot be brought to another node: it refuses, and could not read them."""
    body = body_of(sealed(key, {}), recipient)
    assert code_of(open_at, ready, key, body, at="node-1") == "opener.not-named"


def test_rows_are_for_one_request(ready: World, key: KeyCertificate, recipient: X25519PrivateKey) -> None:
    """Rows of one request do not open in another, which could have another recipient."""
    ciphertext = sealed(key, {})
    body = body_of(ciphertext, recipient)
    old = rows(ready, ready.token(key, body, act="decrypt"), body)
    other = body_of(ciphertext, X25519PrivateKey.generate())
    assert code_of(open_at, ready, key, other, rows=old) == "share.unreadable"


def test_rows_are_taken_once(ready: World, key: KeyCertificate, recipient: X25519PrivateKey) -> None:
    """A repeated opening needs fresh rows."""
    body = body_of(sealed(key, {}), recipient)
    token = ready.token(key, body, act="decrypt")
    request = OpenRequest(token=token, body=body, signers=SIGNERS, rows=rows(ready, token, body))
    ready.call(OPENER, "open", request)
    assert code_of(ready.call, OPENER, "open", request) == "channel.replayed"


@pytest.mark.parametrize(
    "change",
    [
        lambda items: items[:1],
        lambda items: [*items, items[0]],
        lambda items: [items[0], SealedRow("node-2", items[1].sealed)],
        lambda items: [items[0], SealedRow(OPENER, items[1].sealed)],
    ],
)
def test_rows_are_exactly_those_of_the_signers(
    ready: World, key: KeyCertificate, recipient: X25519PrivateKey, change: Any
) -> None:
    """Missing, repeated, foreign and own rows are refused."""
    body = body_of(sealed(key, {}), recipient)
    assert code_of(open_at, ready, key, body, change=change) == "signers.rows"


def test_a_wrong_partial_names_its_sender(
    ready: World, key: KeyCertificate, recipient: X25519PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The opener finds the row whose proof does not hold, and only that one."""
    body = body_of(sealed(key, {}), recipient)
    token = ready.token(key, body, act="decrypt")
    sent = rows(ready, token, body)
    honest = opening.partial_point

    def lying(share: Any, index: int, ids: Any, enc: bytes) -> Any:
        return honest(ED25519.random_scalar(), index, ids, enc)

    monkeypatch.setattr(opening, "partial_point", lying)
    sent[1] = rows(ready, token, body, SIGNERS)[1]
    monkeypatch.undo()
    with pytest.raises(Exception) as caught:
        ready.call(OPENER, "open", OpenRequest(token=token, body=body, signers=SIGNERS, rows=sent))
    assert (caught.value.code, caught.value.culprits) == ("partial.invalid", ("node-5",))  # type: ignore[attr-defined]


@pytest.mark.parametrize("at", [0, 31, 32, -1])
def test_a_changed_ciphertext_is_nobodys_fault(
    ready: World, key: KeyCertificate, recipient: X25519PrivateKey, at: int
) -> None:
    """With every proof right the answer is `decrypt.failed`."""
    ciphertext = bytearray(sealed(key, {}))
    ciphertext[at] ^= 1
    assert code_of(open_at, ready, key, body_of(bytes(ciphertext), recipient)) == "decrypt.failed"


def test_an_opener_without_fresh_evidence_gets_nothing(
    ready: World, key: KeyCertificate, recipient: X25519PrivateKey
) -> None:
    """As for assemblers, evidence older than an hour is too old for a node that sees plaintexts."""
    ready.now += 3601
    body = body_of(sealed(key, {}), recipient)
    asked = PartialRequest(token=ready.token(key, body, act="decrypt"), body=body, signers=SIGNERS)
    assert code_of(ready.call, "node-1", "partial", asked) == "attestation-stale"


def test_an_opener_that_holds_no_share_is_refused(ready: World, recipient: X25519PrivateKey) -> None:
    """The node that opens is one of the key's own."""
    four = ready.create_key(spec="hpke-x25519", usage="decrypt", nodes=["node-1", "node-2", "node-4", "node-5"])
    ready.now += 1
    body = body_of(sealed(four, {}), recipient)
    asked = PartialRequest(
        token=ready.token(four, body, act="decrypt"), body=body, signers=["node-1", "node-2", "node-4"]
    )
    assert code_of(ready.call, "node-1", "partial", asked) == "payload.opener"


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"opened_in_enclave": 5}, "payload.malformed"),
        ({"opened_in_enclave": "null"}, "payload.malformed"),
        ({"recipient": None}, "payload.malformed"),
        ({"proofs": True}, "payload.opener"),
        ({"proofs": 1}, "payload.malformed"),
        ({"without": ["node-3"]}, "payload.opener"),
        ({"without": []}, "payload.malformed"),
        ({"without": ["node-1", "node-1"]}, "payload.malformed"),
        ({"without": ["Node 1"]}, "name.malformed"),
        ({"to_context": {}}, "payload.malformed"),
        ({"to": "key_x"}, "id.malformed"),
        ({"ciphertext": b64url(bytes((64 << 10) + 1))}, "payload.too-large"),
    ],
)
def test_malformed_bodies_are_refused(
    ready: World, key: KeyCertificate, recipient: X25519PrivateKey, members: dict[str, Any], code: str
) -> None:
    """Each member of the body has its form, and some do not go together."""
    body = body_of(sealed(key, {}), recipient, **members)
    asked = PartialRequest(token=ready.token(key, body, act="decrypt"), body=body, signers=SIGNERS)
    assert code_of(ready.call, "node-1", "partial", asked) == code


def test_an_enclave_opens_for_a_recipient_only(ready: World, key: KeyCertificate) -> None:
    """Without a recipient the gateway would get what no partial gives it."""
    body = body_of(sealed(key, {}), None)
    asked = PartialRequest(token=ready.token(key, body, act="decrypt"), body=body, signers=SIGNERS)
    assert code_of(ready.call, "node-1", "partial", asked) == "payload.recipient"


def test_excluded_signers_do_not_take_part(ready: World, key: KeyCertificate, recipient: X25519PrivateKey) -> None:
    """A gateway that ignores the exclusion is refused by every honest signer."""
    members = {
        "ciphertext": b64url(sealed(key, {})), "without": ["node-5"],
        "recipient": b64url(recipient.public_key().public_bytes_raw()),
    }  # fmt: skip
    body = canonical_json(members)
    token = ready.token(key, body, act="decrypt")
    asked = PartialRequest(token=token, body=body, signers=SIGNERS)
    assert code_of(ready.call, "node-1", "partial", asked) == "signers.excluded"
    without = PartialRequest(token=token, body=body, signers=["node-1", "node-2", "node-3"])
    assert ready.call("node-1", "partial", without).sealed is not None


def test_proofs_come_sealed_behind_the_points(ready: World, key: KeyCertificate, recipient: X25519PrivateKey) -> None:
    """With `proofs` the recipient can tell a right partial from a wrong one; the gateway sees neither."""
    ciphertext = sealed(key, {})
    members = {
        "ciphertext": b64url(ciphertext), "proofs": True,
        "recipient": b64url(recipient.public_key().public_bytes_raw()),
    }  # fmt: skip
    body = canonical_json(members)
    asked = PartialRequest(token=ready.token(key, body, act="decrypt"), body=body, signers=SIGNERS)
    reply = ready.call("node-5", "partial", asked)
    assert (reply.partial, reply.proof) == (None, None)
    request_id = ready.request_id(asked.token, body)
    content = SUITE.decrypt(reply.sealed, recipient, info=partial_info(request_id, key.key, "node-5"))
    node = key.node("node-5")
    assert node is not None
    facts: dict[str, Any] = {
        "index": node.index, "ids": [1, 3, 5], "enc": ciphertext[:32], "public_share": node.public_share,
    }  # fmt: skip
    hpke.verify_partial(content[:32], proof=content[32:], **facts)
    wrong = ED25519.base_mult_public(7)
    assert code_of(lambda: hpke.verify_partial(wrong, proof=content[32:], **facts)) == "partial.invalid"


# --- rewrapping --------------------------------------------------------------------------------------


def rewrapping(ready: World, target: str) -> dict[str, Any]:
    """A rule that lets plaintexts move to one key."""
    return {"name": "moving", "effect": "allow", "kinds": ["rewrap"], "rewrap_to": [target]}


@pytest.fixture
def target(ready: World) -> KeyCertificate:
    """The key to move to."""
    certificate = ready.create_key(spec="hpke-x25519", usage="decrypt", session=b"t" * 32)
    ready.now += 1
    return certificate


def test_rewrapping_moves_a_plaintext_from_key_to_key(
    ready: World, key: KeyCertificate, target: KeyCertificate, recipient: X25519PrivateKey
) -> None:
    """The new ciphertext is stock HPKE for the other key under its own context, opened there like any other."""
    ready.put(ready.policy_document(rewrapping(ready, target.key), ANYTHING, version=2))
    old = sealed(key, {"tenant": "a"})
    body = body_of(old, None, context={"tenant": "a"}, to=target.key, to_context={"tenant": "b"})
    reply, _ = open_at(ready, key, body)
    assert reply.target_version == 1
    again = body_of(reply.sealed, recipient, context={"tenant": "b"})
    opened, request_id = open_at(ready, target, again)
    assert SUITE.decrypt(opened.sealed, recipient, info=opened_info(request_id, target.key, OPENER)) == PLAINTEXT
    with pytest.raises(InvalidTag):
        SUITE.decrypt(reply.sealed, recipient, info=context_info({"tenant": "b"}))


def test_rewrapping_needs_a_rule_that_names_the_target(
    ready: World, key: KeyCertificate, target: KeyCertificate
) -> None:
    """Neither permission to decrypt nor one for another target is enough."""
    body = body_of(sealed(key, {}), None, to=target.key)
    unnamed = {"name": "moving", "effect": "allow", "kinds": ["rewrap"]}
    for version, rule in enumerate((ANYTHING, rewrapping(ready, key.key), unnamed), start=2):
        ready.put(ready.policy_document(rule, version=version))
        assert code_of(open_at, ready, key, body) == "policy.denied"


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"recipient": b64url(bytes([9]) + bytes(31))}, "payload.recipient"),
        ({"to": "key_" + "a" * 26}, "key.unknown"),
        ({"opened_in_enclave": "node-1"}, "opener.not-named"),
    ],
)
def test_bad_rewraps(
    ready: World, key: KeyCertificate, target: KeyCertificate, members: dict[str, Any], code: str
) -> None:
    """No recipient, a key that exists, and the named node."""
    named = members.get("to", target.key)
    ready.put(ready.policy_document(rewrapping(ready, named), version=2))
    body = body_of(sealed(key, {}), None, **({"to": target.key} | members))
    if "opened_in_enclave" in members:
        token = ready.token(key, body, act="decrypt")
        request = OpenRequest(token=token, body=body, signers=SIGNERS, rows=[])
        assert code_of(ready.call, OPENER, "open", request) == code
    else:
        assert code_of(open_at, ready, key, body) == code


def test_rewrapping_to_a_disabled_key_or_one_that_signs(ready: World, key: KeyCertificate) -> None:
    """The target is an enabled decryption key."""
    signing = ready.create_key(session=b"u" * 32)
    target = ready.create_key(spec="hpke-x25519", usage="decrypt", session=b"v" * 32)
    ready.now += 1
    rule = rewrapping(ready, signing.key) | {"rewrap_to": [signing.key, target.key]}
    ready.put(ready.policy_document(rule, version=2))
    ready.put(ready.key_state(target.key, "disabled"))
    for name, code in ((signing.key, "key.spec"), (target.key, "key.disabled")):
        assert code_of(open_at, ready, key, body_of(sealed(key, {}), None, to=name)) == code


# --- self-describing ciphertexts ---------------------------------------------------------------------


def test_described_ciphertexts_open_and_name_their_key(
    ready: World, key: KeyCertificate, recipient: X25519PrivateKey
) -> None:
    """The header is taken off; one that names another key or version is refused."""
    ciphertext = sealed(key, {})
    reference = KeyReference(key=key.key, version=1)
    reply, request_id = open_at(ready, key, body_of(describe(reference, ciphertext), recipient))
    assert SUITE.decrypt(reply.sealed, recipient, info=opened_info(request_id, key.key, OPENER)) == PLAINTEXT
    for other in (KeyReference(key="key_" + "a" * 26, version=1), KeyReference(key=key.key, version=2)):
        body = body_of(describe(other, ciphertext), recipient)
        assert code_of(open_at, ready, key, body) == "decrypt.other-key"


@pytest.mark.parametrize("cut", [8, 9, 23, 27, 28, 60, 75])
def test_cut_off_headers_and_contents(ready: World, key: KeyCertificate, recipient: X25519PrivateKey, cut: int) -> None:
    """Whatever is left after cutting is no ciphertext."""
    described = describe(KeyReference(key=key.key, version=1), sealed(key, {}))[:cut]
    body = body_of(described, recipient)
    asked = PartialRequest(token=ready.token(key, body, act="decrypt"), body=body, signers=SIGNERS)
    assert code_of(ready.call, "node-1", "partial", asked) == "payload.ciphertext"


def test_rows_have_their_exact_form(ready: World, key: KeyCertificate, recipient: X25519PrivateKey) -> None:
    """Bytes that are no row of this session are refused."""
    body = body_of(sealed(key, {}), recipient)
    for damage in (b"", bytes(10), bytes(300)):
        change = lambda items, damage=damage: [SealedRow(items[0].slot, damage), items[1]]  # noqa: E731
        assert code_of(open_at, ready, key, body, change=change) == "share.unreadable"


def test_messages_are_strict() -> None:
    """Unknown members of the new messages are refused."""
    with pytest.raises(Exception, match="stated form"):
        decode_request("open", msgspec.msgpack.encode({"token": "", "body": b"", "signers": [], "rows": [], "x": 1}))
