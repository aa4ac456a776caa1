"""A node's log: what gets a leaf and what does not, how much it holds, what a checkpoint says."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from attestation.errors import CodedError
from attestation.merkle import leaf_hash, tree_root
from attestation.receipts.checkpoint import LogCheckpoint
from attestation.receipts.entry import Boot, Decision, Entry, SeenVerdict, entry_digest, output_digest, parse_entry
from enclave.certificate import KeyCertificate
from enclave.receipts import log as node_log
from enclave.wire.receipts import LogCheckpointRequest, LogEntriesRequest
from enclave.wire.signing import SignRequest
from tests.enclave.node.world import ALLOW_MESSAGES, World, message_body

NODE = "node-1"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Five nodes that trust each other, an agent and a policy."""
    made = World(tmp_path)
    made.ready(ALLOW_MESSAGES)
    yield made
    made.stop()


@pytest.fixture
def key(world: World) -> KeyCertificate:
    """An Ed25519 key, 3 of 5."""
    made = world.create_key()
    world.now += 1
    return made


def entries(world: World, slot: str = NODE) -> list[Entry]:
    """The whole log of a node."""
    boot = world.nodes[slot].identity.public.boot_counter
    found: list[Entry] = []
    while True:
        page = world.call(slot, "log-entries", LogEntriesRequest(boot_counter=boot, start=len(found), count=7))
        if not page.entries:
            return found
        found += [parse_entry(data) for data in page.entries]


def decisions(world: World, slot: str = NODE) -> list[Decision]:
    """The decisions in it."""
    return [entry for entry in entries(world, slot) if isinstance(entry, Decision)]


def sign_request(world: World, key: KeyCertificate, body: bytes, **changes: Any) -> SignRequest:
    """What node-1 is asked by three signers."""
    return world.sign_requests(world.slots[:3], world.token(key, body, **changes), body)[NODE]


def refused(world: World, request: SignRequest) -> str:
    """The code node-1 refuses a signature with."""
    with pytest.raises(CodedError) as caught:
        world.call(NODE, "sign", request)
    return caught.value.code


def test_a_log_begins_with_its_boot(world: World) -> None:
    """The first leaf says whose log it is; a first boot has nothing before it."""
    own = world.nodes[NODE].identity.public
    first = entries(world)[0]
    assert isinstance(first, Boot)
    assert (first.slot, first.boot_counter, first.identity_key) == (NODE, own.boot_counter, own.identity_key)
    assert (first.cluster, first.roster_digest) == (own.cluster, own.roster_digest)
    assert (first.previous_boot, first.previous_size, first.previous_root) == (0, 0, b"")


def test_a_signature_is_one_leaf_with_everything_it_rests_on(world: World, key: KeyCertificate) -> None:
    """Request, key, policy, signers, their verdicts, and a commitment to message, R and share."""
    body = message_body(b"hello")
    request = sign_request(world, key, body)
    before = len(decisions(world))
    reply = world.call(NODE, "sign", request)
    leaf = decisions(world)[before]
    assert len(decisions(world)) == before + 1
    assert (leaf.verb, leaf.outcome, leaf.code, leaf.time) == ("sign", "allow", "", world.now)
    assert leaf.request_id == world.request_id(request.token, body)
    assert (leaf.principal, leaf.credential) == (world.agent_id, world.agent.kid)
    assert (leaf.resource, leaf.epoch) == (f"{key.key}/1", 1)
    assert leaf.certificate == hashlib.sha256(key.body()).digest()
    assert (leaf.policy, leaf.policy_version, leaf.rule) == (world.policy_id, 1, "messages")
    digest = hashlib.sha256(b"hello").digest()
    assert leaf.output == output_digest("frost-ed25519", digest, reply.group_commitment, reply.share)
    verdicts = {entry_digest(entry.encode()): entry for entry in entries(world) if isinstance(entry, SeenVerdict)}
    assert [slot for slot, _ in leaf.members] == world.slots[:3]
    for slot, named in leaf.members:
        seen = verdicts[named]
        public = world.nodes[slot].identity.public
        assert (seen.slot, seen.identity_key, seen.result) == (slot, public.identity_key, "trusted")


def test_verdicts_are_written_once_until_something_changes(world: World, key: KeyCertificate) -> None:
    """Ten signatures need no more verdicts than one; a new registry snapshot makes new ones."""

    def count() -> int:
        return sum(isinstance(entry, SeenVerdict) for entry in entries(world))

    world.call(NODE, "sign", sign_request(world, key, message_body(b"first")))
    once = count()
    for number in range(10):
        world.call(NODE, "sign", sign_request(world, key, message_body(b"%d" % number)))
    assert count() == once
    world.now += 2
    world.registry.restate(now=world.now)
    world.push()
    world.call(NODE, "sign", sign_request(world, key, message_body(b"later")))
    assert count() == once + 3


def test_what_was_refused_is_logged_with_its_reason(world: World, key: KeyCertificate) -> None:
    """A denial by policy names the policy; one by a disabled key the key."""
    body = b'{"digest":"%s","kind":"digest"}' % (b"A" * 43)
    code = refused(world, sign_request(world, key, body))
    leaf = decisions(world)[-1]
    assert (leaf.outcome, leaf.code, leaf.output) == ("deny", code, b"")
    world.put(world.key_state(key.key, "disabled"))
    assert refused(world, sign_request(world, key, message_body(b"x"))) == "key.disabled"
    leaf = decisions(world)[-1]
    assert (leaf.code, leaf.certificate) == ("key.disabled", hashlib.sha256(key.body()).digest())


def test_what_nobody_signed_leaves_no_trace(world: World, key: KeyCertificate) -> None:
    """Requests whose token does not verify cannot fill a log, however many there are."""
    size = world.nodes[NODE].receipts.size
    body = message_body(b"x")
    good = sign_request(world, key, body)
    head, _, _ = good.token.rpartition(".")
    for token in ("", "x.y.z", f"{head}.AAAA", world.token(key, body + b" ")):
        changed = SignRequest(token=token, body=body, nonce=good.nonce, signers=good.signers)
        assert refused(world, changed).startswith("token.")
    assert world.nodes[NODE].receipts.size == size


def test_one_refused_request_is_logged_three_times_at_most(world: World, key: KeyCertificate) -> None:
    """Whoever repeats a refused request a hundred times gets a hundred refusals and three leaves."""
    world.put(world.key_state(key.key, "disabled"))
    request = sign_request(world, key, message_body(b"again"))
    before = len(decisions(world))
    for _ in range(100):
        assert refused(world, request) == "key.disabled"
    assert len(decisions(world)) == before + 3


def test_documents_are_logged_once(world: World) -> None:
    """A document that counts from now on is a leaf; delivered again it is not."""
    document = world.policy_document(ALLOW_MESSAGES, version=2)
    before = len(decisions(world))
    world.put(document)
    world.put(document)
    found = decisions(world)[before:]
    assert [(leaf.verb, leaf.outcome, len(leaf.subject)) for leaf in found] == [("control", "allow", 32)]


def test_a_new_key_is_logged_by_everybody(world: World, key: KeyCertificate) -> None:
    """The order with its participants, and the key that came of it."""
    for slot in world.slots:
        found = {leaf.verb: leaf for leaf in decisions(world, slot)}
        assert [name for name, _ in found["ceremony-start"].members] == world.slots
        assert found["ceremony-commit"].certificate == hashlib.sha256(key.body()).digest()


def test_checkpoints_are_of_the_log_and_of_nothing_else(world: World, key: KeyCertificate) -> None:
    """The note's root is that of all leaves, its signature the boot's; only announced heads get one."""
    node = world.nodes[NODE]
    reply = world.call(NODE, "log-checkpoint", LogCheckpointRequest(gateway_head=b"g" * 32))
    head = LogCheckpoint.verified(reply.note, node.identity.public.identity_key)
    hashes = [leaf_hash(entry.encode()) for entry in entries(world)]
    assert (head.size, head.root) == (len(hashes), tree_root(hashes))
    assert (head.gateway_head, head.slot, head.cluster) == (b"g" * 32, NODE, world.roster.cluster_id)
    for request, code in (
        (LogCheckpointRequest(size=head.size + 1), "log.head"),
        (LogCheckpointRequest(size=min(set(range(1, head.size)) - set(node.receipts._heads))), "log.head"),
        (LogCheckpointRequest(gateway_head=b"short"), "log.gateway-head"),
    ):
        with pytest.raises(CodedError) as caught:
            world.call(NODE, "log-checkpoint", request)
        assert caught.value.code == code
    announced = node.receipts.head()
    world.call(NODE, "sign", sign_request(world, key, message_body(b"more")))
    again = world.call(NODE, "log-checkpoint", LogCheckpointRequest(size=announced[0]))
    assert LogCheckpoint.parse(again.note)[0].root == announced[1]


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"boot_counter": 9}, "log.boot"), ({"start": -1}, "log.page"), ({"start": 10**6}, "log.page"),
     ({"count": 0}, "log.page"), ({"count": 10**6}, "log.page")],
)  # fmt: skip
def test_pages_are_of_this_boot_and_bounded(world: World, changes: dict[str, int], code: str) -> None:
    """Another boot, places outside and too much at once are refused."""
    fields = {"boot_counter": world.nodes[NODE].identity.public.boot_counter, "start": 0, "count": 1} | changes
    with pytest.raises(CodedError) as caught:
        world.call(NODE, "log-entries", LogEntriesRequest(**fields))
    assert caught.value.code == code


def test_memory_is_bounded_and_full_means_stop(
    world: World, key: KeyCertificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unfetched leaves stop the node; fetching lets it work again and lets go of all but the newest leaves."""
    node = world.nodes[NODE]
    receipts, boot = node.receipts, node.identity.public.boot_counter
    monkeypatch.setattr(node_log, "UNFETCHED_MAX", receipts.size + 1)
    monkeypatch.setattr(node_log, "RECENT_MAX", 4)
    request = sign_request(world, key, message_body(b"a"))
    world.call(NODE, "sign", request)
    late = sign_request(world, key, message_body(b"b"))
    assert refused(world, late) == "log.full"
    size = receipts.size
    assert refused(world, late) == "log.full"
    assert receipts.size == size
    world.call(NODE, "log-entries", LogEntriesRequest(boot_counter=boot, start=size, count=1))
    world.call(NODE, "sign", late)
    page = world.call(NODE, "log-entries", LogEntriesRequest(boot_counter=boot, start=0, count=1000))
    assert page.start == receipts.size - 4
    assert page.start + len(page.entries) == receipts.size == page.size


def test_pages_end_at_half_a_mebibyte(world: World) -> None:
    """However much is asked for, one page stays below what a slice of the node's loop can carry."""
    node = world.nodes[NODE]
    for _ in range(300):
        node.receipts.append(b"x" * 4000)
    page = node.receipts.page(node.identity.public.boot_counter, 0, 1000)
    assert sum(map(len, page.entries)) <= node_log.PAGE_BYTES_MAX
    assert len(page.entries) > 100
