"""The node's own paths of a secret: sealed store and channel, measured like the arithmetic."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from enclave.channel import Channels, ShareContext
from enclave.ecdsa_sessions import RowChannels
from enclave.group import ED25519
from enclave.identity import BootIdentity
from enclave.seal import LABEL_HEAD, SealedStore
from enclave.secret import Secret
from enclave.secret_wrap import unwrap, wrap
from enclave.threshold.post import Post
from tests.ct.prepared import Case, Prepared

NOW = 1_700_000_000


class SealingKeys:
    """A platform that knows one sealing key per label, and gives no evidence.

    The key of the head authenticates rows and hides nothing, so it stays public here; the key of the values is
    poisoned as it is drawn.
    """

    can_seal = True

    def quote(self, report_data: bytes) -> bytes:
        """Never asked for."""
        raise NotImplementedError

    def sealing_key(self, label: str) -> Secret:
        """A key for `label`."""
        return Secret.take(bytearray(b"\x0b" * 32)) if label == LABEL_HEAD else Secret.random()


def node_cases() -> Iterator[tuple[str, Case]]:
    """Every (name, case)."""
    yield "seal.SealedStore.put_secret", store_put
    yield "seal.SealedStore.get_secret", store_get
    yield "channel.Channels.open and accept", channel_open
    yield "channel.Channels.seal", channel_seal
    yield "channel.Channels.unseal", channel_unseal
    yield "channel.Channels.seal_row", row_seal
    yield "channel.Channels.open_row", row_open
    yield "post.Post", post
    yield "secret_wrap.wrap", wrap_secret
    yield "secret_wrap.unwrap", unwrap_secret


def store_put() -> Prepared:
    """A share written under the sealing key."""
    store, share = _store(), Secret.random()

    def run() -> None:
        store.put_secret("share", "key_1", share)
        store.commit()

    return Prepared(secrets=[share], call=run)


def store_get() -> Prepared:
    """A share read back into the arena."""
    store = _store()
    store.put_secret("share", "key_1", Secret.random())
    store.commit()
    return Prepared(call=lambda: store.get_secret("share", "key_1"))


def channel_open() -> Prepared:
    """A session key drawn, sealed, sent and taken in."""
    sender, receiver = _identity("node-1"), _identity("node-2")
    outbound, inbound = Channels(sender), Channels(receiver)
    return Prepared(call=lambda: inbound.accept(outbound.open(1, receiver.public, NOW), sender.public, NOW))


def channel_seal() -> Prepared:
    """A share sealed for the assembler."""
    _, receiver, outbound, _ = _session()
    share = Secret.random()
    return Prepared(secrets=[share], call=lambda: outbound.seal(1, receiver.public, share, _context(), NOW))


def channel_unseal() -> Prepared:
    """The same share opened there."""
    sender, receiver, outbound, inbound = _session()
    sealed = outbound.seal(1, receiver.public, Secret.random(), _context(), NOW)
    return Prepared(call=lambda: inbound.unseal(sealed, sender.public, _context(), NOW))


def row_seal() -> Prepared:
    """A row of threshold ECDSA sealed for another signer."""
    _, receiver, outbound, _ = _session()
    row = Secret.random(160)
    return Prepared(secrets=[row], call=lambda: outbound.seal_row(1, receiver.public, row, b"terms", NOW))


def row_open() -> Prepared:
    """The same row opened there."""
    sender, receiver, outbound, inbound = _session()
    _skip_zero(outbound, receiver)
    sealed = outbound.seal_row(1, receiver.public, Secret.random(160), b"terms", NOW)
    return Prepared(call=lambda: inbound.open_row(sender.public, sealed, b"terms", NOW))


def post() -> Prepared:
    """A scalar of a batch ceremony, sealed under a pair's key and opened again; the key is poisoned as it is drawn."""
    sender, receiver, scalar = Post(), Post(), ED25519.random_scalar()

    def run() -> None:
        wrapped = sender.address("node-2", receiver.public, b"info")
        receiver.accept("node-1", wrapped, b"info")
        sender.seal("node-2", Secret.random(), b"unused")  # number 0, as in _skip_zero
        sealed = sender.seal("node-2", scalar, b"associated")
        receiver.open_scalar(ED25519, "node-1", sealed, b"associated").wipe()

    return Prepared(secrets=[scalar], call=run)


def wrap_secret() -> Prepared:
    """An opaque secret under its scalar, at the client."""
    scalar, plaintext = Secret.random(), Secret.random(48)
    return Prepared(
        secrets=[scalar, plaintext],
        call=lambda: wrap(scalar, plaintext.view, cluster=bytes(32), secret="sec_1", version=1),
    )


def unwrap_secret() -> Prepared:
    """The same opened, in the workload."""
    scalar = Secret.random()
    wrapped = wrap(scalar, bytes(48), cluster=bytes(32), secret="sec_1", version=1)
    return Prepared(
        secrets=[scalar], call=lambda: unwrap(scalar, wrapped, cluster=bytes(32), secret="sec_1", version=1)
    )


def row_channels(indices: Iterable[int]) -> dict[int, RowChannels]:
    """Every signer's private channels to the others, with sessions open in all directions."""
    identities = {i: _identity(f"node-{i}") for i in indices}
    nodes = {i: Channels(identity) for i, identity in identities.items()}
    for i, sender in nodes.items():
        for j, receiver in nodes.items():
            if i != j:
                receiver.accept(sender.open(1, identities[j].public, NOW), identities[i].public, NOW)
                _skip_zero(sender, identities[j])
    members = {i: identity.public for i, identity in identities.items()}
    return {i: RowChannels(channels, 1, members, NOW) for i, channels in nodes.items()}


def _skip_zero(outbound: Channels, receiver: BootIdentity) -> None:
    """Use up counter 0: CPython reads a digit that a zero does not have, and memcheck takes that for a secret."""
    outbound.seal_row(1, receiver.public, Secret.random(), b"unused", NOW)


def _store() -> SealedStore:
    directory = Path(tempfile.mkdtemp(dir=tempfile.gettempdir()))
    return SealedStore.open(directory / "store.db", cluster=bytes(32), slot="node-1", tee=SealingKeys())


def _identity(slot: str) -> BootIdentity:
    return BootIdentity(cluster=bytes(32), slot=slot, boot_counter=1, roster_digest=bytes(32), tls_spki=bytes(32))


def _session() -> tuple[BootIdentity, BootIdentity, Channels, Channels]:
    sender, receiver = _identity("node-1"), _identity("node-2")
    outbound, inbound = Channels(sender), Channels(receiver)
    inbound.accept(outbound.open(1, receiver.public, NOW), sender.public, NOW)
    return sender, receiver, outbound, inbound


def _context() -> ShareContext:
    return ShareContext(key="key_1", version=1, epoch=1, request_id=bytes(32))
