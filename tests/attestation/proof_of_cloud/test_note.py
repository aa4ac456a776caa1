"""Signed notes and checkpoints: a published note, forgeries, and strict reading."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from attestation.errors import StatementError
from attestation.proof_of_cloud.checkpoint import Checkpoint, Role
from attestation.proof_of_cloud.note import Note, key_hash

# The example of the Go module golang.org/x/mod/sumdb/note, whose format C2SP signed-note describes.
PUBLISHED = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
).encode()
PUBLISHED_KEY = base64.b64decode("ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")[1:]

KEY = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
PUBLIC = KEY.public_key().public_bytes_raw()
HEAD = Checkpoint(origin="log.example", size=3, root=b"\x05" * 32, role=Role.MEMBERS, sequence=9, time=8)


def test_the_published_note_verifies() -> None:
    """A note made by another implementation reads, verifies, and writes back to the same bytes."""
    note = Note.parse(PUBLISHED)
    assert note.signers({"PeterNeumann": PUBLISHED_KEY}) == {"PeterNeumann"}
    assert note.encode() == PUBLISHED
    assert key_hash("PeterNeumann", PUBLISHED_KEY).hex() == "c74f20a3"


def test_a_changed_text_has_no_signer() -> None:
    """The signature covers every byte of the text."""
    assert Note.parse(PUBLISHED.replace(b"answer", b"Answer")).signers({"PeterNeumann": PUBLISHED_KEY}) == frozenset()


def test_a_key_counts_only_under_its_name() -> None:
    """The same key under another name is another signer, because the name is in the key hash."""
    note = HEAD.note().signed("alice", KEY)
    assert note.signers({"alice": PUBLIC}) == {"alice"}
    assert note.signers({"bob": PUBLIC}) == frozenset()
    renamed = replace(note, signatures=(("bob", note.signatures[0][1]),))
    assert renamed.signers({"bob": PUBLIC}) == frozenset()


def test_unknown_signers_are_ignored() -> None:
    """Extra signatures of strangers change nothing."""
    stranger = Ed25519PrivateKey.from_private_bytes(b"\x02" * 32)
    note = HEAD.note().signed("stranger", stranger).signed("alice", KEY)
    assert note.signers({"alice": PUBLIC}) == {"alice"}


def test_signing_twice_leaves_one_signature() -> None:
    """A member who signs again does not count twice."""
    assert len(HEAD.note().signed("alice", KEY).signed("alice", KEY).signatures) == 1


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text without signatures\n",
        b"text\n\n",
        b"text\n\n- alice AAAAAAAA\n",
        "text\n\n— alice\n".encode(),
        "text\n\n— alice AAAAAAAA".encode(),
        "text\n\n— al+ice AAAAAAAA\n".encode(),
        "text\n\n— alice !!!!\n".encode(),
        "text\n\n— alice AAAA\n".encode(),
        "te\x00xt\n\n— alice AAAAAAAA\n".encode(),
        "te\rxt\n\n— alice AAAAAAAA\n".encode(),
        b"\xff\n\n" + "— alice AAAAAAAA\n".encode(),
        b"text\n\n" + "— alice AAAAAAAA\n".encode() * 65,
    ],
)
def test_malformed_notes_are_refused(data: bytes) -> None:
    """Missing parts, control characters, bad base64, too many signatures: one typed error."""
    with pytest.raises(StatementError) as caught:
        Note.parse(data)
    assert caught.value.code == "proof-of-cloud.malformed"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("— alice AAAAAAAA\n".encode(), "a text, a blank line"),
        ("\n\n— alice AAAAAAAA\n".encode(), "a text, a blank line"),
        ("text\n\n— alice AAAAAAAA".encode(), "a text, a blank line"),
        (b"text\n\n- alice AAAAAAAA\n", "of the form"),
        ("text\n\n— aliceAAAAAAAA\n".encode(), "of the form"),
    ],
)
def test_each_part_of_a_note_is_needed(data: bytes, reason: str) -> None:
    """Text, blank line, closing newline, dash and name: refused at the check that says so."""
    with pytest.raises(StatementError, match=reason):
        Note.parse(data)


def test_oversized_notes_are_not_read() -> None:
    """More bytes than any note has, although otherwise well formed."""
    with pytest.raises(StatementError, match="at most"):
        Note.parse(b"x" * 20_000 + "\n\n— alice AAAAAAAA\n".encode())


@given(st.binary(max_size=300))
def test_any_bytes_are_a_note_or_a_typed_error(data: bytes) -> None:
    """Parsing never raises anything else, and what parses writes back unchanged."""
    try:
        note = Note.parse(data)
    except StatementError:
        return
    assert note.encode() == data


def test_a_checkpoint_reads_back() -> None:
    """Origin, size, root, role, sequence and time survive the text form."""
    assert Checkpoint.parse(HEAD.note(), Role.MEMBERS) == HEAD


def test_a_role_is_not_the_other() -> None:
    """A members' head never reads as a freshness head: one signature cannot serve both."""
    with pytest.raises(StatementError):
        Checkpoint.parse(HEAD.note(), Role.FRESHNESS)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("log.example", "log example"),
        ("\n3\n", "\n03\n"),
        ("\n3\n", "\n-3\n"),
        ("\n3\n", "\n9007199254740992\n"),
        ("BQU=", "BQV="),
        ("members 9 8", "members 9"),
        ("members 9 8", "members 9 8 7"),
        ("members 9 8\n", "members 9 8\nextra\n"),
        ("members 9 8", "members ٣ 8"),
    ],
)
def test_other_spellings_of_a_checkpoint_are_refused(old: str, new: str) -> None:
    """Leading zeros, signs, numbers beyond 2^53, loose base64, more or fewer words."""
    text = HEAD.note().text
    assert old in text
    with pytest.raises(StatementError):
        Checkpoint.parse(Note(text=text.replace(old, new)), Role.MEMBERS)
