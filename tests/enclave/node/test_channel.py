"""Sessions between nodes: bound to both boots, one direction, each message once."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from enclave.channel import INBOUND_PER_SENDER_MAX, SESSION_S_MAX, WINDOW, Channels, ShareContext
from enclave.identity import BootIdentity
from enclave.secret import Secret, declassify
from enclave.wire.channel import ChannelOpening, channel_opening_bytes
from enclave.wire.reconstruct import SealedShare
from tests.enclave.node.codes import code_of

CONTEXT = ShareContext(key="key_a", version=1, epoch=1, request_id=b"r" * 32)


def identity(slot: str, boot: int = 1) -> BootIdentity:
    """A node's keys for one boot."""
    return BootIdentity(cluster=bytes(32), slot=slot, boot_counter=boot, roster_digest=bytes(32), tls_spki=bytes(32))


class Pair:
    """Two nodes with a session from `a` to `b`."""

    def __init__(self) -> None:
        self.a, self.b = identity("node-1"), identity("node-2")
        self.from_a, self.to_b = Channels(self.a), Channels(self.b)
        self.opening = self.from_a.open(1, self.b.public, 0)
        self.to_b.accept(self.opening, self.a.public, 0)

    def seal(self, *, context: ShareContext = CONTEXT, now: int = 0) -> SealedShare:
        """A share on its way."""
        return self.from_a.seal(1, self.b.public, Secret.take(bytearray(b"k" * 32)), context, now)

    def open(self, sealed: SealedShare, *, context: ShareContext = CONTEXT, now: int = 0) -> bytes:
        """The share as it arrives."""
        with self.to_b.unseal(sealed, self.a.public, context, now) as share:
            return declassify(share)


@pytest.fixture
def pair() -> Pair:
    """Two nodes with a session."""
    return Pair()


def test_a_share_arrives_and_is_not_readable_on_the_way(pair: Pair) -> None:
    """What was sealed comes out, and the relay's copy does not contain it."""
    sealed = pair.seal()
    assert b"k" * 8 not in sealed.ciphertext
    assert pair.open(sealed) == b"k" * 32


def test_a_replayed_message_is_refused(pair: Pair) -> None:
    """The same ciphertext is accepted once."""
    sealed = pair.seal()
    pair.open(sealed)
    assert code_of(pair.open, sealed) == "channel.replayed"


def test_messages_may_arrive_out_of_order_within_a_window(pair: Pair) -> None:
    """Reordering is fine, repeating is not, and what is far behind is refused."""
    sealed = [pair.seal() for _ in range(WINDOW + 2)]
    for number in (5, 3, 4, WINDOW + 1, 0 + 3 + 3):
        assert pair.open(sealed[number]) == b"k" * 32
    for number in (0, 1, 3, 4, 5, WINDOW + 1):
        assert code_of(pair.open, sealed[number]) == "channel.replayed"
    assert pair.open(sealed[2]) == b"k" * 32


@pytest.mark.parametrize("change", [{"key": "key_b"}, {"version": 2}, {"epoch": 2}, {"request_id": b"q" * 32}])
def test_a_share_opens_only_for_its_request(pair: Pair, change: dict[str, object]) -> None:
    """Key, version, epoch and request are part of what is authenticated, and a failure does not spend the message."""
    sealed = pair.seal()
    assert code_of(pair.open, sealed, context=replace(CONTEXT, **change)) == "channel.unreadable"  # type: ignore[arg-type]
    assert pair.open(sealed) == b"k" * 32


def test_a_counter_cannot_be_relabelled(pair: Pair) -> None:
    """A message under another counter, or a changed one, does not open."""
    sealed = pair.seal()
    assert code_of(pair.open, msgspec.structs.replace(sealed, counter=1)) == "channel.unreadable"
    assert code_of(pair.open, msgspec.structs.replace(sealed, counter=-1)) == "channel.malformed"
    changed = bytes([sealed.ciphertext[0] ^ 1]) + sealed.ciphertext[1:]
    assert code_of(pair.open, msgspec.structs.replace(sealed, ciphertext=changed)) == "channel.unreadable"
    for ciphertext in (b"", b"short", bytes(64)):
        assert code_of(pair.open, msgspec.structs.replace(sealed, ciphertext=ciphertext)) == "channel.unreadable"


def test_a_row_opens_once_and_only_for_what_it_was_sealed(pair: Pair) -> None:
    """Rows of protocols between nodes keep the rules of shares, and neither opens as the other."""

    def opened(sealed: bytes, associated: bytes = b"attempt 1") -> bytes:
        with pair.to_b.open_row(pair.a.public, sealed, associated, 0) as row:
            return declassify(row)

    with Secret.take(bytearray(b"r" * 160)) as row:
        sealed, second = (pair.from_a.seal_row(1, pair.b.public, row, b"attempt 1", 0) for _ in range(2))
    assert code_of(opened, sealed, b"attempt 2") == "share.unreadable"
    assert code_of(opened, sealed[:16] + second[16:24] + sealed[24:]) == "share.unreadable"
    assert opened(sealed) == b"r" * 160
    assert code_of(opened, sealed) == "channel.replayed"
    assert opened(second) == b"r" * 160
    share = pair.seal()
    as_row = share.session + share.counter.to_bytes(8, "big") + share.ciphertext
    assert code_of(opened, as_row) == "share.unreadable"
    assert pair.open(share) == b"k" * 32


def test_another_boot_of_the_receiver_gets_nothing(pair: Pair) -> None:
    """A session belongs to one boot: after a restart of the peer the sender has none."""
    assert code_of(pair.from_a.seal, 1, identity("node-2", 2).public, Secret.random(), CONTEXT, 0) == "channel.missing"


def test_another_boot_of_the_sender_is_not_the_sender(pair: Pair) -> None:
    """A receiver that knows a newer boot of the sender does not open what the older one sealed."""
    sealed = pair.seal()
    assert code_of(pair.to_b.unseal, sealed, identity("node-1", 2).public, CONTEXT, 0) == "channel.unknown"


def test_a_session_ends(pair: Pair) -> None:
    """After an hour neither side uses the session."""
    sealed = pair.seal()
    assert code_of(pair.seal, now=SESSION_S_MAX + 1) == "channel.missing"
    assert code_of(pair.open, sealed, now=SESSION_S_MAX + 1) == "channel.unknown"


def test_sessions_belong_to_a_connection(pair: Pair) -> None:
    """Another gateway's connection has no session, and a closed one loses its own."""
    assert code_of(pair.from_a.seal, 2, pair.b.public, Secret.random(), CONTEXT, 0) == "channel.missing"
    pair.from_a.disconnect(1)
    assert code_of(pair.seal) == "channel.missing"


def test_an_opening_is_accepted_once(pair: Pair) -> None:
    """A relay cannot replay an opening."""
    assert code_of(pair.to_b.accept, pair.opening, pair.a.public, 0) == "channel.replayed"


def signed(sender: BootIdentity, opening: ChannelOpening) -> ChannelOpening:
    """An opening with a good signature of `sender`."""
    return msgspec.structs.replace(opening, signature=sender.sign(channel_opening_bytes(opening)))


def test_an_opening_must_be_signed_by_the_attested_key(pair: Pair) -> None:
    """An opening made by somebody else in the sender's name is refused."""
    fresh = pair.from_a.open(1, pair.b.public, 0)
    forged = signed(identity("node-1"), fresh)
    assert code_of(pair.to_b.accept, forged, pair.a.public, 0) == "channel.signature"
    pair.to_b.accept(fresh, pair.a.public, 0)


def test_an_opening_is_for_one_receiver_and_boot(pair: Pair) -> None:
    """An opening for another node, or another boot of this one, is refused although its signature holds."""
    fresh = pair.from_a.open(1, pair.b.public, 0)
    for change in ({"receiver": "node-3"}, {"receiver_boot": 2}):
        moved = signed(pair.a, msgspec.structs.replace(fresh, **change))
        assert code_of(pair.to_b.accept, moved, pair.a.public, 0) == "channel.misdirected"
    moved = signed(pair.a, msgspec.structs.replace(fresh, sender_boot=2))
    assert code_of(pair.to_b.accept, moved, pair.a.public, 0) == "channel.boot"


def test_a_sealed_key_does_not_move_between_sessions(pair: Pair) -> None:
    """The sealed key names its session, so one cannot be put into another's opening."""
    first, second = pair.from_a.open(1, pair.b.public, 0), pair.from_a.open(1, pair.b.public, 0)
    mixed = signed(pair.a, msgspec.structs.replace(first, sealed=second.sealed))
    assert code_of(pair.to_b.accept, mixed, pair.a.public, 0) == "share.unreadable"


def test_malformed_openings_are_refused(pair: Pair) -> None:
    """Wrong sizes are refused before any key is touched."""
    for change in ({"session": b"short"}, {"sealed": b"short"}):
        broken = signed(pair.a, msgspec.structs.replace(pair.from_a.open(1, pair.b.public, 0), **change))
        assert code_of(pair.to_b.accept, broken, pair.a.public, 0) == "channel.malformed"


def test_sessions_per_sender_are_bounded(pair: Pair) -> None:
    """A sender that opens many sessions loses its oldest, nobody else's."""
    other = identity("node-3")
    theirs = Channels(other).open(1, pair.b.public, 0)
    pair.to_b.accept(theirs, other.public, 0)
    sealed = pair.seal()
    for _ in range(INBOUND_PER_SENDER_MAX):
        pair.to_b.accept(pair.from_a.open(1, pair.b.public, 0), pair.a.public, 0)
    assert code_of(pair.open, sealed) == "channel.unknown"
    assert code_of(pair.to_b.accept, theirs, other.public, 0) == "channel.replayed"
