"""`attest log`: one entry in a log, two heads of one log, forks."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from attestation.cli import main
from attestation.envelope import b64url, b64url_decode
from attestation.merkle import consistency_proof, inclusion_proof, leaf_hash, tree_root
from attestation.receipts.checkpoint import LogCheckpoint
from attestation.receipts.document import proof_to_json
from attestation.receipts.exported import entry_line, header_line
from tests.attestation.receipts.make_vectors import SEED, entries, vectors

SIGNER = Ed25519PrivateKey.from_private_bytes(SEED)
KEY = SIGNER.public_key().public_bytes_raw()
MADE = [entry.encode() for entry in entries()]
HASHES = [leaf_hash(data) for data in MADE]


def note(**changes: Any) -> bytes:
    """A checkpoint of the vectors' log."""
    head, _ = LogCheckpoint.parse(vectors()["checkpoint"]["note"].encode())
    head = dataclasses.replace(head, **changes)
    return head.note(KEY, SIGNER.sign(head.text().encode()))


def run(*arguments: str | Path) -> Result:
    """`attest log ...`."""
    return CliRunner().invoke(main, ["log", *map(str, arguments)])


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """The vectors' log in files."""
    (tmp_path / "five").write_bytes(note())
    (tmp_path / "three").write_bytes(note(size=3, root=tree_root(HASHES[:3])))
    (tmp_path / "entry").write_bytes(MADE[2])
    proof = {"proof": proof_to_json(inclusion_proof(HASHES, 2))}
    (tmp_path / "proof.json").write_text(json.dumps(proof))
    (tmp_path / "grown.json").write_text(json.dumps(proof_to_json(consistency_proof(HASHES, 3))))
    lines = [header_line("node-1", 3, note())]
    lines += [entry_line(number, data, leaf_hash(data)) for number, data in enumerate(MADE)]
    (tmp_path / "log.jsonl").write_bytes(b"".join(lines))
    return tmp_path


def test_an_entry_is_in_the_log(files: Path) -> None:
    """It is shown if the proof leads to the signed head; another number, proof or key is refused."""
    base = ("include", files / "entry", "--proof", files / "proof.json", "--checkpoint", files / "five")
    found = run(*base, "--index", "2", "--identity-key", KEY.hex())
    assert (found.exit_code, json.loads(found.stdout)["rule"]) == (0, "payments")
    assert run(*base, "--index", "1", "--identity-key", KEY.hex()).exit_code == 1
    assert run(*base, "--index", "2", "--identity-key", bytes(32).hex()).exit_code == 1
    assert run(*base, "--index", "2", "--identity-key", "00").exit_code == 2


def test_heads_are_compared(files: Path) -> None:
    """Equal heads and proven growth pass; growth without a proof cannot be told; a wrong proof is refused."""
    key = ("--identity-key", KEY.hex())
    assert run("compare", files / "five", files / "five", *key).exit_code == 0
    assert run("compare", files / "five", files / "three", *key).exit_code == 3
    assert run("compare", files / "three", files / "five", *key, "--proof", files / "grown.json").exit_code == 0
    wrong = run("compare", files / "three", files / "five", *key, "--proof", files / "proof.json")
    assert (wrong.exit_code, "receipt.consistency" in wrong.stderr) == (1, True)
    (files / "other").write_bytes(note(slot="node-2"))
    foreign = run("compare", files / "five", files / "other", *key)
    assert (foreign.exit_code, "receipt.checkpoint" in foreign.stderr) == (1, True)
    assert run("compare", files / "five", files / "absent", *key).exit_code == 2


def test_a_fork_prints_its_proof(files: Path) -> None:
    """Two signed roots over five entries: exit code 1, and a document with both signed texts."""
    (files / "forked").write_bytes(note(root=bytes(32)))
    found = run("compare", files / "five", files / "forked", "--identity-key", KEY.hex())
    assert (found.exit_code, "receipt.fork" in found.stderr) == (1, True)
    proof = json.loads(found.stdout)
    assert (proof["type"], proof["slot"], proof["size"]) == ("holdfast/log-fork/v1", "node-1", 5)
    heads = [
        LogCheckpoint.verified(b64url_decode(item), bytes.fromhex(proof["identity_key"])) for item in proof["heads"]
    ]
    assert heads[0].root != heads[1].root


def test_a_whole_log_is_verified(files: Path) -> None:
    """Its facts are shown; a pinned key or cluster that differs is refused."""
    found = run("verify", files / "log.jsonl", "--json", "--identity-key", KEY.hex())
    assert found.exit_code == 0, found.stderr
    facts = json.loads(found.stdout)
    assert (facts["size"], facts["previous_boot"], facts["unsigned"]) == (5, 2, 0)
    assert facts["outcomes"] == {"allow": 2, "deny": 1, "deny policy.denied": 1}
    assert run("verify", files / "log.jsonl", "--identity-key", bytes(32).hex()).exit_code == 1
    assert run("verify", files / "log.jsonl", "--cluster", bytes(32).hex()).exit_code == 1
    assert "identity-key" in run("verify", files / "log.jsonl").stderr


@pytest.mark.parametrize("change", ["entry", "order", "missing", "extra", "header", "boot", "hash", "newline"])
def test_a_changed_log_is_refused(files: Path, change: str) -> None:
    """An entry changed, moved, taken out or put in; the first line or the first leaf of another log; bad forms."""
    lines = (files / "log.jsonl").read_bytes().split(b"\n")
    if change == "entry":
        lines[3] = entry_line(2, MADE[3], b"").rstrip()
    elif change == "order":
        lines[3], lines[4] = lines[4], lines[3]
    elif change == "missing":
        del lines[5]
    elif change == "extra":
        lines.insert(1, entry_line(0, MADE[0], b"").rstrip())
    elif change == "header":
        lines[0] = header_line("node-2", 3, note()).rstrip()
    elif change == "boot":
        other = dataclasses.replace(entries()[0], boot_counter=4)
        lines[1] = entry_line(0, other.encode(), b"").rstrip()
    elif change == "hash":
        lines[3] = b'{"entry":"%s","hash":"%s","index":2}' % (b64url(MADE[2]).encode(), HASHES[2].hex().encode())
    else:
        lines.pop()
    (files / "log.jsonl").write_bytes(b"\n".join(lines))
    assert run("verify", files / "log.jsonl").exit_code == 1


def test_pruned_leaves_count_by_their_hash(files: Path) -> None:
    """A log whose old content is gone still leads to its head, and says how much is gone."""
    lines = [header_line("node-1", 3, note()), entry_line(0, MADE[0], HASHES[0])]
    lines += [entry_line(number, None, HASHES[number]) for number in range(1, 5)]
    (files / "log.jsonl").write_bytes(b"".join(lines))
    found = run("verify", files / "log.jsonl", "--json")
    assert (found.exit_code, json.loads(found.stdout)["pruned"]) == (0, 4)
