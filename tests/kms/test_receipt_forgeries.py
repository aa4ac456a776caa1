"""Whatever is changed in a receipt, by whoever, it is refused, and with a code that says where."""

from __future__ import annotations

import base64
import copy
import dataclasses
import json
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from attestation.canonical import canonical_json
from attestation.envelope import Envelope, b64url, b64url_decode
from attestation.merkle import inclusion_proof, leaf_hash, tree_root
from attestation.receipts import forks
from attestation.receipts.checkpoint import LogCheckpoint
from attestation.receipts.document import proof_to_json
from attestation.receipts.entry import Decision, SeenVerdict, output_digest, parse_entry
from attestation.receipts.judge import judge
from attestation.roots import Roots
from attestation.verdict import Outcome, Result
from enclave.signing_key import SigningKey
from enclave.wire.heartbeats import Heartbeat, heartbeat_bytes
from enclave.wire.message import decode_as, encode
from tests.kms.fabric import Fabric
from tests.kms.receipt_world import Change, Made, fetch

pytestmark = pytest.mark.asyncio(loop_scope="module")

MESSAGE = b"a message to argue about"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made(fabric: Fabric) -> Made:
    """A true receipt of one Ed25519 signature."""
    fabric.gateway.heartbeats.interval_s = 0.3
    record = await fabric.create_key()
    for _ in range(3):
        status, answer = await fabric.sign(record, MESSAGE)
        assert status == 200
    found = await fetch(fabric, answer["request_id"])
    assert found.judge(message=MESSAGE).result is Result.TRUSTED
    return found


def flipped(text: str) -> str:
    """Base64url with one bit of its first byte changed."""
    data = bytearray(b64url_decode(text))
    data[0] ^= 1
    return b64url(bytes(data))


def leaves_of(value: dict[str, Any], kind: type) -> Iterator[dict[str, Any]]:
    """Leaves whose entry is of that kind."""
    for log in value["logs"]:
        for leaf in log["leaves"]:
            if isinstance(parse_entry(b64url_decode(leaf["entry"])), kind):
                yield leaf


def rewrite(kind: type, **fields: Any) -> Change:
    """Every such entry says something else."""

    def change(value: dict[str, Any]) -> None:
        for leaf in leaves_of(value, kind):
            entry = parse_entry(b64url_decode(leaf["entry"]))
            facts = {name: getattr(entry, name) for name in entry.__slots__} | fields
            leaf["entry"] = b64url(type(entry)(**facts).encode())

    return change


def swap_leaves(value: dict[str, Any]) -> None:
    """Two leaves of one log under each other's number."""
    first, second = value["logs"][0]["leaves"][:2]
    first["index"], second["index"] = second["index"], first["index"]


def swap_checkpoints(value: dict[str, Any]) -> None:
    """Each log under the other's head."""
    one, other = value["logs"][:2]
    one["checkpoint"], other["checkpoint"] = other["checkpoint"], one["checkpoint"]


def grow_checkpoint(value: dict[str, Any]) -> None:
    """A head that claims one leaf more."""
    lines = value["logs"][0]["checkpoint"].split("\n")
    lines[1] = str(int(lines[1]) + 1)
    value["logs"][0]["checkpoint"] = "\n".join(lines)


def repeat_countersignature(value: dict[str, Any]) -> None:
    """One peer counted as many."""
    log = value["logs"][0]
    log["countersignatures"] = [log["countersignatures"][0]] * len(log["countersignatures"])


def other_heartbeats(value: dict[str, Any]) -> None:
    """Heartbeats that echo another log's head, as countersignatures of this one."""
    one, other = value["logs"][:2]
    one["countersignatures"] = [copy.deepcopy(item) for item in other["countersignatures"]]


def unsigned_roster(value: dict[str, Any]) -> None:
    """The roster without a signature."""
    value["rosters"][0]["signatures"] = []


def strangers_roster(value: dict[str, Any]) -> None:
    """The same roster under somebody else's signature."""
    envelope = Envelope.parse(value["rosters"][0])
    stranger = Envelope(payload_type=envelope.payload_type, payload=envelope.payload).signed(
        SigningKey.generate().ed25519
    )
    value["rosters"][0] = stranger.to_json()


def swap_evidence(value: dict[str, Any]) -> None:
    """Two machines' evidence under each other's identity."""
    one, other = value["identities"][:2]
    one["evidence"], other["evidence"] = other["evidence"], one["evidence"]


def change_nonce(value: dict[str, Any]) -> None:
    """A nonce the evidence does not answer."""
    value["identities"][0]["nonces"][0] = "00" * 32


def first_log(work: Callable[[dict[str, Any]], Any]) -> Change:
    """A change of the first log."""
    return lambda value: work(value["logs"][0]) and None


def removed(*path: str | int) -> Change:
    """Take one part out."""

    def change(value: Any) -> None:
        for step in path[:-1]:
            value = value[step]
        del value[path[-1]]

    return change


def put(*path: Any) -> Change:
    """Set one part: the last item of `path` is the value."""

    def change(value: Any) -> None:
        for step in path[:-2]:
            value = value[step]
        value[path[-2]] = path[-1]

    return change


def altered(*path: str | int) -> Change:
    """Flip a bit of one base64url part."""

    def change(value: Any) -> None:
        for step in path[:-1]:
            value = value[step]
        value[path[-1]] = flipped(value[path[-1]])

    return change


def drop_verdicts(value: dict[str, Any]) -> None:
    """No log shows why its node trusted the others."""
    for log in value["logs"]:
        log["leaves"] = [
            leaf for leaf in log["leaves"] if not isinstance(parse_entry(b64url_decode(leaf["entry"])), SeenVerdict)
        ]


def forged_later(value: dict[str, Any]) -> None:
    """A later head behind a proof that does not lead to it."""
    log = value["logs"][0]
    later = log.setdefault("later", {"checkpoint": log["checkpoint"], "proof": []})
    later["proof"] = [*later["proof"], b64url(bytes(32))]


FORGERIES: dict[str, tuple[Change, str]] = {
    "another type": (put("type", "holdfast/receipt/v9"), "receipt.type"),
    "an unknown member": (put("note", 1), "receipt.malformed"),
    "no logs": (put("logs", []), "receipt.malformed"),
    "a leaf cut off": (put("logs", 0, "leaves", 0, "entry", "AAAA"), "receipt.malformed"),
    "a foreign cluster": (put("cluster", "00" * 32), "receipt.cluster"),
    "a roster nobody signed": (unsigned_roster, "receipt.roster"),
    "a roster a stranger signed": (strangers_roster, "receipt.roster"),
    "a roster's payload": (altered("rosters", 0, "payload"), "receipt.roster"),
    "no evidence of a signer": (lambda value: value["identities"].pop(0) and None, "receipt.identity"),
    "another identity key": (put("identities", 0, "identity_key", "11" * 32), "receipt.identity"),
    "another boot": (put("identities", 0, "boot_counter", 9), "receipt.identity"),
    "another purpose": (put("identities", 0, "purpose", "enrol"), "receipt.identity"),
    "another KEM key": (altered("identities", 0, "kem_key"), "receipt.identity"),
    "another TLS key": (put("identities", 0, "tls_spki", "11" * 32), "receipt.identity"),
    "another roster digest": (put("identities", 0, "roster_digest", "11" * 32), "receipt.identity"),
    "another nonce": (change_nonce, "receipt.identity"),
    "evidence of another machine": (swap_evidence, "receipt.identity"),
    "no collateral": (put("collateral", []), "collateral.missing"),
    "a checkpoint nobody signed": (grow_checkpoint, "receipt.checkpoint-signature"),
    "a checkpoint of another log": (swap_checkpoints, "receipt.checkpoint-signature"),
    "a checkpoint that is none": (put("logs", 0, "checkpoint", "x\n\n"), "receipt.checkpoint"),
    "a log shown twice": (lambda value: value["logs"].append(value["logs"][0]), "receipt.checkpoint"),
    "a later head that does not follow": (forged_later, "receipt.consistency"),
    "another time": (rewrite(Decision, time=1_790_000_000), "collateral."),
    "an agent it was not": (rewrite(Decision, principal="agt_" + "a" * 26), "receipt.inclusion"),
    "a key it was not": (rewrite(Decision, resource="key_" + "a" * 26 + "/1"), "receipt.inclusion"),
    "another policy version": (rewrite(Decision, policy_version=9), "receipt.inclusion"),
    "another rule": (rewrite(Decision, rule="anything"), "receipt.inclusion"),
    "another outcome": (rewrite(Decision, outcome="deny", code="policy.denied"), "receipt.inclusion"),
    "another signer set": (rewrite(Decision, members=()), "receipt.inclusion"),
    "another output": (rewrite(Decision, output=bytes(32)), "receipt.inclusion"),
    "another verdict": (rewrite(SeenVerdict, result="attestation-denied"), "receipt.inclusion"),
    "swapped leaves": (swap_leaves, "receipt.inclusion"),
    "a leaf twice": (first_log(lambda log: log["leaves"].append(log["leaves"][0])), "receipt.inclusion"),
    "a proof's hash": (altered("logs", 0, "leaves", 1, "proof", 0), "receipt.inclusion"),
    "a proof too short": (removed("logs", 0, "leaves", 1, "proof", 0), "receipt.inclusion"),
    "no first leaf": (removed("logs", 0, "leaves", 0), "receipt.boot"),
    "no countersignatures": (put("logs", 0, "countersignatures", []), "receipt.countersignatures"),
    "one peer for all": (repeat_countersignature, "receipt.countersignatures"),
    "a countersignature's signature": (
        altered("logs", 0, "countersignatures", 0, "signature"), "receipt.countersignature"
    ),
    "a countersignature's body": (put("logs", 0, "countersignatures", 0, "body", "gA"), "receipt.heartbeat"),
    "a log left out": (removed("logs", 0), "receipt.signers"),
    "another request": (put("request_id", "00" * 32), "receipt.request"),
    "verdicts left out": (drop_verdicts, "receipt.verdict"),
    "no certificate": (put("certificate", None), "receipt.certificate"),
    "a certificate's signature": (altered("certificate", "signatures", 0, "signature"), "receipt.certificate"),
    "a certificate's body": (altered("certificate", "body"), "receipt.certificate"),
    "an opening": (altered("openings", 0, "parts", 0), "receipt.output"),
    "an opening's scheme": (put("openings", 0, "scheme", "bip340"), "receipt.output"),
    "an opening of another leaf": (put("openings", 0, "index", 0), "receipt.output"),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(FORGERIES))
async def test_a_forgery_fails_with_its_own_code(made: Made, name: str) -> None:
    """Each change alone is found by the step that answers for it."""
    change, code = FORGERIES[name]
    verdict = made.judge_changed(change)
    assert verdict.result is not Result.TRUSTED
    assert len(verdict.reasons) == 1
    assert verdict.reasons[0].startswith(code), verdict.reasons


async def test_missing_collateral_is_cannot_tell(made: Made) -> None:
    """What was not enough to decide is not called a lie."""
    assert made.judge_changed(put("collateral", [])).result is Result.INDETERMINATE


async def test_nothing_is_trusted_without_a_named_cluster(made: Made) -> None:
    """Everything fits together, and still nobody said which cluster is meant."""
    verdict = judge(made.data, cluster=None, roots=made.roots)
    assert (verdict.result, verdict.reasons) == (Result.INDETERMINATE, ())
    assert [step.step for step in verdict.steps if step.result is Outcome.SKIPPED] == ["2"]
    other = judge(made.data, cluster=bytes(32), roots=made.roots)
    assert (other.result, other.reasons) == (Result.UNTRUSTED, ("receipt.cluster",))


async def test_vendors_roots_do_not_vouch_for_simulated_machines(made: Made) -> None:
    """Under the pinned roots a development receipt is refused at its evidence."""
    verdict = judge(made.data, cluster=made.cluster, roots=Roots.production())
    assert (verdict.result, verdict.reasons) == (Result.UNTRUSTED, ("certificate.root",))


def scalars(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every text and number in a document, with its place; of lists the first three items, which are alike."""
    members = value.items() if isinstance(value, dict) else enumerate(value[:3]) if isinstance(value, list) else None
    if members is None:
        yield path, value
        return
    for name, item in members:
        yield from scalars(item, (*path, name))


async def test_no_scalar_can_be_changed(made: Made) -> None:
    """Every single text or number of a receipt, changed alone, keeps it from being trusted.

    Vendors' documents that no evidence in it needs may be there or not; they are all signed by vendors.
    """
    accepted = []
    for path, found in scalars(made.value):
        if isinstance(found, bool) or found is None:
            continue
        changed = found + 1 if isinstance(found, int) else _other_text(found)
        verdict = made.judge_changed(put(*path, changed))
        if verdict.result is Result.TRUSTED:
            accepted.append(path)
    assert {path[0] for path in accepted} <= {"collateral"}
    assert len(accepted) <= 2


def _other_text(text: str) -> str:
    middle = len(text) // 2
    return text[:middle] + ("A" if text[middle : middle + 1] != "A" else "B") + text[middle + 1 :]


async def test_bytes_cut_anywhere_are_refused(made: Made) -> None:
    """No prefix of a receipt is one, and none raises."""
    for end in range(0, len(made.data) - 2, len(made.data) // 40):
        verdict = judge(made.data[:end], cluster=made.cluster, roots=made.roots)
        assert verdict.result is Result.UNTRUSTED
        assert verdict.reasons[0] in ("receipt.malformed", "receipt.type")


# --- forgeries by whoever holds a node's identity key -------------------------------------------------------


def forged_log(fabric: Fabric, log: dict[str, Any], entry: bytes, *, size: int | None = None) -> None:
    """The log as its own node might rewrite it: `entry` in place of the decision, all hashes and the head anew."""
    identity = fabric.nodes[log["slot"]].identity
    head, _ = LogCheckpoint.parse(log["checkpoint"].encode())
    entries = fabric.nodes[log["slot"]].receipts.page(log["boot_counter"], 0, 1000).entries[: head.size]
    number = next(
        leaf["index"] for leaf in log["leaves"] if isinstance(parse_entry(b64url_decode(leaf["entry"])), Decision)
    )
    entries[number] = entry
    if size is not None:
        entries += [b"filler"] * (size - len(entries))
    hashes = [leaf_hash(item) for item in entries]
    text = LogCheckpoint(
        cluster=head.cluster,
        slot=head.slot,
        boot_counter=head.boot_counter,
        size=len(entries),
        root=tree_root(hashes),
        time=head.time,
    )
    log["checkpoint"] = text.note(identity.public.identity_key, identity.sign(text.text().encode())).decode()
    log.pop("later", None)
    for leaf in log["leaves"]:
        leaf["entry"] = b64url(entries[leaf["index"]])
        leaf["proof"] = proof_to_json(inclusion_proof(hashes, leaf["index"]))


def decision_of(log: dict[str, Any]) -> Decision:
    """The decision that a log shows."""
    found = (parse_entry(b64url_decode(leaf["entry"])) for leaf in log["leaves"])
    return next(entry for entry in found if isinstance(entry, Decision))


def changed_decision(decision: Decision, **fields: Any) -> bytes:
    """The decision with other facts, as bytes."""
    return Decision(**({name: getattr(decision, name) for name in decision.__slots__} | fields)).encode()


async def test_a_node_cannot_rewrite_what_peers_have_seen(fabric: Fabric, made: Made) -> None:
    """With its own key a node signs another history of the same size: its peers' countersignatures call it a fork."""

    def change(value: dict[str, Any]) -> None:
        log = value["logs"][0]
        forged_log(fabric, log, changed_decision(decision_of(log), rule="anything"))

    assert made.judge_changed(change).reasons == ("receipt.fork",)


async def test_a_node_cannot_show_a_head_nobody_has_seen(fabric: Fabric, made: Made) -> None:
    """A longer rewritten log has no countersignatures at all."""

    def change(value: dict[str, Any]) -> None:
        log = value["logs"][0]
        forged_log(fabric, log, changed_decision(decision_of(log), rule="anything"), size=500)
        log["countersignatures"] = []

    assert made.judge_changed(change).reasons == ("receipt.countersignatures",)

    def keeps(value: dict[str, Any]) -> None:
        log = value["logs"][0]
        forged_log(fabric, log, changed_decision(decision_of(log), rule="anything"), size=500)

    assert made.judge_changed(keeps).reasons == ("receipt.countersignature",)


async def test_an_older_checkpoint_does_not_hold_a_later_decision(fabric: Fabric, made: Made) -> None:
    """A genuine head of before the decision, signed by its node: the decision is not in it."""

    def change(value: dict[str, Any]) -> None:
        log = value["logs"][0]
        identity = fabric.nodes[log["slot"]].identity
        head, _ = LogCheckpoint.parse(log["checkpoint"].encode())
        older = dataclasses.replace(head, size=1, root=leaf_hash(b64url_decode(log["leaves"][0]["entry"])))
        signature = identity.sign(older.text().encode())
        log["checkpoint"] = older.note(identity.public.identity_key, signature).decode()
        log["leaves"][0]["proof"] = []
        log.pop("later", None)

    assert made.judge_changed(change).reasons == ("receipt.inclusion",)


def colluding(fabric: Fabric, log: dict[str, Any], *peers: str) -> None:
    """Countersignatures by peers whose keys the forger has as well."""
    head, _ = LogCheckpoint.parse(log["checkpoint"].encode())
    made = []
    for item in log["countersignatures"]:
        heartbeat = decode_as(Heartbeat, b64url_decode(item["body"]))
        if heartbeat.slot not in peers:
            continue
        seen = [
            msgspec.structs.replace(row, log_size=head.size, log_root=head.root) if row.slot == log["slot"] else row
            for row in heartbeat.seen
        ]
        body = encode(msgspec.structs.replace(heartbeat, seen=seen))
        signature = fabric.nodes[heartbeat.slot].identity.sign(heartbeat_bytes(heartbeat.cluster, body))
        made.append({"body": b64url(body), "signature": b64url(signature)})
    log["countersignatures"] = made


FALSE_DECISIONS: dict[str, tuple[dict[str, Any], str]] = {
    "another rule": ({"rule": "anything"}, "receipt.signers"),
    "another policy version": ({"policy_version": 7}, "receipt.signers"),
    "another epoch": ({"epoch": 2}, "receipt.signers"),
    "another certificate": ({"certificate": bytes(range(32))}, "receipt.signers"),
    "another request": ({"request_id": bytes(32)}, "receipt.request"),
    "another principal": ({"principal": "agt_" + "b" * 26}, "receipt.request"),
    "another output": ({"output": output_digest("frost-ed25519", b"", b"", b"")}, "receipt.output"),
    "a refusal": ({"outcome": "deny", "code": "policy.denied"}, "receipt.signers"),
}


@pytest.mark.parametrize("name", sorted(FALSE_DECISIONS))
async def test_one_lying_node_with_colluding_peers_stands_against_the_others(
    fabric: Fabric, made: Made, name: str
) -> None:
    """Even countersigned by accomplices, a decision that differs from the other signers' makes no receipt."""
    fields, code = FALSE_DECISIONS[name]

    def change(value: dict[str, Any]) -> None:
        log = value["logs"][0]
        forged_log(fabric, log, changed_decision(decision_of(log), **fields))
        colluding(fabric, log, *fabric.slots)

    assert made.judge_changed(change).reasons == (code,)


async def test_a_verdict_must_rest_on_the_evidence_shown(fabric: Fabric, made: Made) -> None:
    """A decision that names verdicts which its log does not show is refused, whoever countersigned it."""

    def change(value: dict[str, Any]) -> None:
        for log in value["logs"]:
            decision = decision_of(log)
            members = tuple((slot, bytes(range(32))) for slot, _ in decision.members)
            forged_log(fabric, log, changed_decision(decision, members=members))
            colluding(fabric, log, *fabric.slots)

    assert made.judge_changed(change).reasons == ("receipt.verdict",)


async def test_times_that_contradict_each_other(fabric: Fabric, made: Made) -> None:
    """Decisions of one request more than a minute apart, or after their checkpoint, are refused."""

    def apart(value: dict[str, Any]) -> None:
        log = value["logs"][0]
        forged_log(fabric, log, changed_decision(decision_of(log), time=decision_of(log).time - 90))
        colluding(fabric, log, *fabric.slots)

    def ahead(value: dict[str, Any]) -> None:
        for log in value["logs"]:
            forged_log(fabric, log, changed_decision(decision_of(log), time=decision_of(log).time + 40))
            colluding(fabric, log, *fabric.slots)

    assert made.judge_changed(apart).reasons in (("receipt.time",), ("receipt.verdict",))
    assert made.judge_changed(ahead).reasons == ("receipt.time",)


async def test_two_heads_of_one_size_are_proof_against_their_author(fabric: Fabric, made: Made) -> None:
    """Two signed heads of one size with different roots are a fork; equal ones and extensions are not."""
    value = made.value
    log = copy.deepcopy(value["logs"][0])
    forged_log(fabric, log, changed_decision(decision_of(log), rule="anything"))
    key = fabric.nodes[log["slot"]].identity.public.identity_key
    true, false = value["logs"][0]["checkpoint"].encode(), log["checkpoint"].encode()
    found = forks.compare(true, false, key)
    assert found.is_fork
    proof = forks.fork_to_json(found, key)
    heads = [forks.read_head(b64url_decode(item), key) for item in proof["heads"]]
    assert heads[0].size == heads[1].size
    assert heads[0].root != heads[1].root
    assert not forks.compare(true, true, key).is_fork
    beat = fabric.nodes[log["slot"]].heartbeats.beat(fabric.gateway.fleet.clock())
    signed = canonical_json({"body": b64url(beat.body), "signature": b64url(beat.signature)})
    later = forks.compare(true, signed, key)
    assert (later.is_fork, later.first.size <= later.second.size) == (False, True)
    assert base64.b64encode(heads[0].root) != base64.b64encode(heads[1].root)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a document, containers included; of lists the first item."""
    if path:
        yield path
    members = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for name, item in members:
        yield from places(item, (*path, name))


async def test_no_shape_raises(made: Made) -> None:
    """Whatever stands in any place, also inside signed parts, the answer is a verdict."""
    accepted = set()
    for path in places(made.value):
        for other in (None, -1, [], {"": 0}):
            verdict = made.judge_changed(put(*path, other))
            if verdict.result is Result.TRUSTED:
                accepted.add(path[-1] if isinstance(path[-1], str) else path[-2])
    assert accepted <= {"later", "openings", "parts", "signatures", "collateral"}


async def test_no_shape_of_a_signed_part_raises(made: Made) -> None:
    """The roster and the certificate are read before they are believed: any shape of theirs is refused, none raises."""
    for read, write in (
        (lambda v: v["rosters"][0]["payload"], lambda v, text: v["rosters"][0].update(payload=text)),
        (lambda v: v["certificate"]["body"], lambda v, text: v["certificate"].update(body=text)),
    ):
        inner = json.loads(b64url_decode(read(made.value)))
        for path in places(inner):
            for other in (None, -1, "zz", [None]):
                changed = copy.deepcopy(inner)
                put(*path, other)(changed)

                def change(
                    value: dict[str, Any], text: str = b64url(canonical_json(changed)), into: Any = write
                ) -> None:
                    into(value, text)

                verdict = made.judge_changed(change)
                if canonical_json(changed) != canonical_json(inner):
                    assert verdict.reasons[0] in ("receipt.roster", "receipt.certificate", "receipt.cluster"), path
