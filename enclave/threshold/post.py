"""Sealing in a ceremony about many keys: one ceremony key per participant, one wrapped key per pair.

Rules kept (specs/ceremonies.md section 6): the pair's key is wrapped once with ML-KEM-768 + X25519 to the receiver's
ceremony key, under context, sender and receiver; every secret has its own number under it, used once as the nonce, and
its own associated data; nothing survives `wipe`.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag

from enclave.aead import ArenaAead
from enclave.errors import CallerError
from enclave.group import Group
from enclave.secret import Secret
from enclave.threshold.ceremony_kem import SHARE_BYTES, TAG_BYTES, WRAPPED_KEY_BYTES, CeremonyKey, wrap_key

NUMBER_BYTES = 4
ITEM_BYTES = NUMBER_BYTES + SHARE_BYTES + TAG_BYTES
"""A sealed scalar: number, ciphertext, tag."""

_NONCE_BYTES = 12


class Post:
    """The ceremony key of one participant and its pair keys with the others, which are named by slot."""

    __slots__ = ("_in", "_key", "_numbers", "_out", "public")

    def __init__(self) -> None:
        self._key = CeremonyKey()
        self.public = self._key.public
        self._out: dict[str, ArenaAead] = {}
        self._in: dict[str, ArenaAead] = {}
        self._numbers: dict[str, int] = {}

    def address(self, receiver: str, public: bytes, info: bytes) -> bytes:
        """The wrapped pair key for `receiver` (1 168 bytes); raises CallerError (`kem.malformed`)."""
        with Secret.random(32) as key:
            wrapped = wrap_key(public, key, info)
            self._out[receiver] = ArenaAead(key)
        self._numbers[receiver] = 0
        return wrapped

    def accept(self, sender: str, wrapped: bytes, info: bytes) -> None:
        """Take the pair key of `sender`; raises CallerError (`share.unreadable`)."""
        if len(wrapped) != WRAPPED_KEY_BYTES:
            raise CallerError("a wrapped key has the wrong length", code="share.unreadable")
        with self._key.unwrap(wrapped, info) as key:
            self._in[sender] = ArenaAead(key)

    def seal(self, receiver: str, secret: Secret, associated: bytes) -> bytes:
        """A scalar sealed to `receiver`, which was addressed before."""
        number = self._numbers[receiver]
        self._numbers[receiver] = number + 1
        sealed = bytearray(SHARE_BYTES + TAG_BYTES)
        self._out[receiver].encrypt_into(number.to_bytes(_NONCE_BYTES, "big"), secret.view, associated, sealed)
        return number.to_bytes(NUMBER_BYTES, "big") + sealed

    def open_scalar(self, group: Group, sender: str, sealed: bytes, associated: bytes) -> Secret:
        """A scalar of `sender`, canonical and not zero; raises CallerError (`share.unreadable`, `scalar.invalid`)."""
        key = self._in.get(sender)
        if key is None or len(sealed) != ITEM_BYTES:
            raise CallerError("sealed share has no key or the wrong length", code="share.unreadable")
        number = int.from_bytes(sealed[:NUMBER_BYTES], "big")
        share = Secret.zero(SHARE_BYTES)
        try:
            key.decrypt_into(number.to_bytes(_NONCE_BYTES, "big"), sealed[NUMBER_BYTES:], associated, share.view)
            group.scalar_check_secret(share)
        except InvalidTag:
            share.wipe()
            raise CallerError("sealed share does not open", code="share.unreadable") from None
        except CallerError:
            share.wipe()
            raise
        return share

    def reveal(self) -> bytes:
        """DANGER: the private seeds of the ceremony key, for a complaint after the session is dead."""
        return self._key.reveal()

    @classmethod
    def from_revealed(cls, seeds: bytes) -> Post:
        """The receiving end of a complaint; raises CallerError (`complaint.malformed`)."""
        post = cls.__new__(cls)
        post._key = CeremonyKey.from_revealed(seeds)
        post.public = post._key.public
        post._out, post._in, post._numbers = {}, {}, {}
        return post

    def wipe(self) -> None:
        """Drop all keys; OpenSSL cleanses them when it frees them."""
        self._key.wipe()
        self._out.clear()
        self._in.clear()
