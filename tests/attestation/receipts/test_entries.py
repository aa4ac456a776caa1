"""Entries, commitments and checkpoints: one spelling each, as published, and nothing hostile gets through."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from attestation.errors import ReceiptError
from attestation.merkle import leaf_hash, tree_root, verify_consistency, verify_inclusion
from attestation.receipts import encoding
from attestation.receipts.checkpoint import LogCheckpoint
from attestation.receipts.entry import Decision, glance, members_bytes, output_digest, parse_entry
from attestation.receipts.frontier import Frontier
from tests.attestation.receipts.make_vectors import FILE, SEED, entries, text

PUBLISHED = json.loads(FILE.read_text())


def code_of(work: Any, *arguments: Any) -> str:
    """The code of the refusal that `work` ends with."""
    with pytest.raises(ReceiptError) as caught:
        work(*arguments)
    return caught.value.code


def test_the_published_file_is_what_the_code_makes() -> None:
    """Every byte that nodes hash or sign for their logs is as published."""
    assert FILE.read_text() == text()


def test_published_proofs_verify() -> None:
    """The published leaves, proofs and commitment hold by RFC 6962 and the specification alone."""
    leaves = [hashlib.sha256(b"\x00" + bytes.fromhex(item["bytes"])).digest() for item in PUBLISHED["entries"]]
    assert [leaf.hex() for leaf in leaves] == [item["leaf"] for item in PUBLISHED["entries"]]
    roots = [bytes.fromhex(root) for root in PUBLISHED["roots"]]
    shown = PUBLISHED["inclusion"]
    verify_inclusion(leaves[2], 2, 5, [bytes.fromhex(item) for item in shown["proof"]], roots[4])
    verify_consistency(3, roots[2], 5, roots[4], [bytes.fromhex(item) for item in PUBLISHED["consistency"]["proof"]])
    parts = b"".join(
        len(part).to_bytes(4, "big") + part
        for part in (b"holdfast/log-output/v1", b"frost-ed25519", *map(bytes.fromhex, PUBLISHED["output"]["parts"]))
    )
    assert hashlib.sha256(parts).hexdigest() == PUBLISHED["output"]["digest"]


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: type(entry).__name__)
def test_entries_read_back_as_written(entry: Any) -> None:
    """Writing and reading is the identity, and the JSON form has every fact."""
    assert parse_entry(entry.encode()) == entry
    names = set(entry.to_json()) - {"kind"}
    assert len(names) >= len(dataclasses.fields(entry)) - 2


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: type(entry).__name__)
def test_no_cut_or_longer_entry_is_read(entry: Any) -> None:
    """No prefix of an entry is one, nor an entry with bytes behind it."""
    data = entry.encode()
    for end in range(len(data)):
        assert code_of(parse_entry, data[:end]) == "receipt.malformed"
    assert code_of(parse_entry, data + b"\x00\x00\x00\x00") == "receipt.malformed"
    assert code_of(parse_entry, data + b"x") == "receipt.malformed"


@pytest.mark.parametrize(
    "fields",
    [
        {"outcome": "perhaps"},
        {"outcome": "allow", "code": "policy.denied"},
        {"outcome": "deny", "code": ""},
        {"request_id": b"short"},
        {"principal": "two\nlines"},
        {"principal": "x" * 129},
        {"certificate": bytes(31)},
        {"output": bytes(33)},
    ],
    ids=str,
)
def test_contradictions_and_sizes_are_refused(fields: dict[str, Any]) -> None:
    """An outcome has a code or not, digests have 32 bytes or none, texts are short printable ASCII."""
    whole = {"time": 1, "verb": "sign", "outcome": "allow"} | fields
    assert code_of(parse_entry, Decision(**whole).encode()) == "receipt.malformed"


def test_a_cut_member_is_refused() -> None:
    """A signer set whose last digest is cut off is none."""
    good = Decision(time=1, verb="sign", outcome="allow", members=(("node-1", bytes(32)),)).encode()
    part = members_bytes((("node-1", bytes(32)),))
    bad = good.replace(encoding.join([part]), encoding.join([part[:-1]]))
    assert code_of(parse_entry, bad) == "receipt.malformed"


@given(st.binary(max_size=300))
def test_bytes_never_do_anything_but_parse_or_refuse(data: bytes) -> None:
    """Hostile bytes raise the one typed error."""
    for work in (parse_entry, glance, LogCheckpoint.parse):
        with contextlib.suppress(ReceiptError):
            work(data)


def test_a_glance_tells_what_storage_looks_up() -> None:
    """Request, resource and certificate of a decision; nothing of other kinds."""
    allowed = entries()[2]
    assert isinstance(allowed, Decision)
    seen = glance(allowed.encode())
    assert (seen.request_id, seen.resource, seen.certificate) == (
        allowed.request_id,
        allowed.resource,
        allowed.certificate,
    )
    assert glance(entries()[0].encode()).request_id == b""


@given(st.lists(st.binary(max_size=8), min_size=1, max_size=70))
def test_the_frontier_has_the_roots_of_the_whole_tree(leaves: list[bytes]) -> None:
    """After each leaf the frontier's root is RFC 6962's."""
    tree, hashes = Frontier(), []
    for number, leaf in enumerate(leaves):
        hashes.append(leaf_hash(leaf))
        assert tree.append(hashes[-1]) == number
        assert tree.root() == tree_root(hashes)


def test_parts_cannot_be_moved_between_each_other() -> None:
    """Lengths are part of what is hashed: the same bytes cut elsewhere commit to something else."""
    assert output_digest("partial", b"ab", b"c") != output_digest("partial", b"a", b"bc")
    assert output_digest("partial", b"ab") != output_digest("opened", b"ab")


# --- checkpoints -------------------------------------------------------------------------------------------


def a_note(**changes: Any) -> bytes:
    """The published checkpoint, perhaps with other facts, signed all the same."""
    signer = Ed25519PrivateKey.from_private_bytes(SEED)
    head, _ = LogCheckpoint.parse(PUBLISHED["checkpoint"]["note"].encode())
    head = dataclasses.replace(head, **changes)
    return head.note(signer.public_key().public_bytes_raw(), signer.sign(head.text().encode()))


KEY = bytes.fromhex(PUBLISHED["identity_key"])


def test_a_checkpoint_is_its_nodes_word() -> None:
    """It verifies under the boot's key and under no other."""
    head = LogCheckpoint.verified(a_note(), KEY)
    assert (head.slot, head.size) == ("node-1", 5)
    other = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    assert code_of(LogCheckpoint.verified, a_note(), other) == "receipt.checkpoint-signature"


@pytest.mark.parametrize("line", range(4))
def test_a_changed_line_breaks_the_signature(line: int) -> None:
    """Origin, size, root, time and gateway head are all signed."""
    lines = a_note().decode().split("\n")
    replaced = {0: lines[0].replace("node-1", "node-2"), 1: "6", 2: lines[2][::-1].lstrip("="), 3: lines[3]}
    if line == 2:
        replaced[2] = "AAAA" + lines[2][4:]
    if line == 3:
        replaced[3] = lines[3].replace("time 1", "time 2")
    lines[line] = replaced[line]
    assert code_of(LogCheckpoint.verified, "\n".join(lines).encode(), KEY) == "receipt.checkpoint-signature"


@pytest.mark.parametrize(
    "note",
    [b"", b"x", b"\xff" * 40, b"a\n\nb\n", a_note() + b"\n", a_note().replace(b"holdfast/log", b"holdfast/gol"),
     a_note().replace(b"\n5\n", b"\n05\n"), a_note().replace(b" gateway ", b" other "), b"y" * 2000],
)  # fmt: skip
def test_other_forms_are_refused(note: bytes) -> None:
    """There is one spelling of a checkpoint."""
    assert code_of(LogCheckpoint.parse, note) == "receipt.checkpoint"


def test_checkpoints_are_never_mistaken_for_other_signed_bytes() -> None:
    """The signed text begins with a letter, everything tagged with a zero byte."""
    head, _ = LogCheckpoint.parse(a_note())
    assert head.text().encode()[0] == ord("h")
    assert encoding.tagged("heartbeat", b"")[0] == 0
