"""A node's side of threshold ECDSA: four rounds, one message, one release, no opening.

Rules kept (specs/threshold-ecdsa.md): every payload but the last is echoed by hash before anything is released; any
failed check is an anonymous abort after which nothing of the attempt is left; **nothing received in private is ever
shown**, to anyone, for any reason: one opened row and the others' releases give the key away.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from enclave.errors import AbortError, CallerError
from enclave.group.secp256k1 import SECP256K1
from enclave.group.secp256k1_rows import add_row, check_row, product_plus, random_row, values_at
from enclave.secret import Secret
from enclave.threshold import shamir
from enclave.threshold.ceremony import StrictRounds
from enclave.threshold.ecdsa.degree import at_zero, check_degree
from enclave.threshold.ecdsa.messages import DEALT_BYTES, Release, Round1, Round2, Round3
from enclave.threshold.ecdsa.private import PrivateChannels
from enclave.threshold.ecdsa.session import Session
from enclave.threshold.scalars import decode_public
from enclave.wire.message import encode, tagged

SCALAR_BYTES = 32
K, A, B, D, E = range(5)
"""Positions in a row: nonce, its mask, and three sharings of zero."""

_ENDS = struct.Struct(">6I")
"""Sender, receiver and round as `tagged` writes them: each with its length."""

T = TypeVar("T")


class Signer:
    """One signer of one attempt.  `share` stays the caller's; everything else is wiped at the end or on failure."""

    def __init__(self, session: Session, *, index: int, share: Secret, channels: PrivateChannels) -> None:
        if index not in session.slots:
            raise CallerError("this signer is not among the slots", code="ceremony.participants")
        self._session = session
        self._ceremony = session.ceremony()
        self._index = index
        self._share = share
        self._channels = channels
        self._row_head = tagged("ecdsa-row", self._ceremony.binding)
        self._rounds = StrictRounds()
        self._degree = session.threshold - 1
        self._row: Secret | None = None
        """Own row until round 2, then the sums k, a, b, d, e."""
        self._sent: dict[int, bytes] = {}
        self._echo = b""
        self._nonce_point = b""
        self._masked = 0

    def round1(self) -> bytes:
        """Deal shares of a random nonce k, a random mask a and three zeros b, d, e to every signer."""
        self._rounds.enter(1)
        with self._wiped_on_failure():
            shapes = self._shapes()
            sealed = {}
            with random_row(sum(count for count, _ in shapes)) as coefficients:
                for j in self._ceremony.indices:
                    row = values_at(coefficients, shapes, j)
                    if j == self._index:
                        self._row = row
                        continue
                    with row:
                        sealed[j] = self._channels.seal(j, row, self._associated(self._index, j))
        return self._send(1, Round1(sealed))

    def round2(self, payloads: Mapping[int, bytes]) -> bytes:
        """Add up what was dealt; publish R_i = k_i G and w_i = a_i k_i + b_i."""
        self._rounds.enter(2)
        with self._wiped_on_failure():
            self._check_own(1, payloads)
            self._echo = self._ceremony.digest("ecdsa-round-1", payloads)
            sums = self._receive(payloads)
            with product_plus(sums, A, K, B) as masked:
                published = SECP256K1.scalar_to_public_bytes(masked)
            with self._sum(K) as k:
                nonce_share = SECP256K1.base_mult(k)
        return self._send(2, Round2(self._echo, nonce_share, published))

    def round3(self, payloads: Mapping[int, bytes]) -> bytes:
        """Check echo and degree of the nonce shares; publish W_i = a_i R."""
        self._rounds.enter(3)
        with self._wiped_on_failure():
            self._check_own(2, payloads)
            ids, messages = self._ceremony.indices, self._decode(Round2, payloads)
            self._check_echo([m.echo for m in messages.values()])
            points = {i: self._point(i, messages[i].nonce_share) for i in ids}
            check_degree(points, self._degree)
            self._nonce_point = at_zero(points, self._degree)
            values = {i: self._scalar(i, messages[i].masked) for i in ids}
            self._masked = sum(shamir.lagrange(ids, i, SECP256K1.order) * values[i] for i in ids) % SECP256K1.order
            if self._masked == 0:
                raise AbortError("the masked nonce is zero")
            self._echo = self._ceremony.digest("ecdsa-round-2", payloads)
            with self._sum(A) as a:
                check_share = SECP256K1.mult(a, self._nonce_point)
        return self._send(3, Round3(self._echo, check_share))

    def round4(self, payloads: Mapping[int, bytes]) -> bytes:
        """Check echo and W; release this signer's share of s, once.  Nothing is left afterwards."""
        self._rounds.enter(4)
        with self._wiped_on_failure():
            self._check_own(3, payloads)
            messages = self._decode(Round3, payloads)
            self._check_echo([m.echo for m in messages.values()])
            points = {i: self._point(i, message.check_share) for i, message in messages.items()}
            check_degree(points, self._degree)
            if at_zero(points, self._degree) != SECP256K1.base_mult_public(self._masked):
                raise AbortError("the mask does not belong to the nonce")
            share = self._release()
        self.wipe()
        return encode(Release(self._nonce_point, share))

    def wipe(self) -> None:
        """Forget everything of the attempt."""
        if self._row is not None:
            self._row.wipe()
        self._row = None

    def _shapes(self) -> tuple[tuple[int, bool], ...]:
        """Of the polynomials k and a, uniform of degree t, and b, d, e, of degree 2t through zero."""
        low, high = (self._degree + 1, False), (2 * self._degree, True)
        return low, low, high, high, high

    def _sum(self, position: int) -> Secret:
        assert self._row is not None
        return self._row.part(position * SCALAR_BYTES, SCALAR_BYTES)

    def _receive(self, payloads: Mapping[int, bytes]) -> Secret:
        """Every row added to the own one, which is random, so that a sum on the way is zero only by accident."""
        sums = self._row
        assert sums is not None
        for sender, message in self._decode(Round1, payloads).items():
            if not self._ceremony.is_one_for_each_other(sender, message.sealed):
                raise self._ceremony.blame(sender, "not one row for each other signer", code="ceremony.malformed")
            if sender != self._index:
                self._add(sums, sender, message.sealed[self._index])
        return sums

    def _add(self, sums: Secret, sender: int, sealed: bytes) -> None:
        # Nobody is named: only the two ends can see into a sealed row, and showing it is forbidden.
        try:
            with self._channels.open(sender, sealed, self._associated(sender, self._index)) as row:
                if row.size != DEALT_BYTES:
                    raise AbortError("a dealt row has the wrong size")
                check_row(row)
                add_row(sums, row)
        except CallerError:
            raise AbortError("a dealt row does not open to scalars") from None

    def _release(self) -> bytes:
        session, group = self._session, SECP256K1
        r = int.from_bytes(self._nonce_point[1:], "big") % group.order
        if r == 0:
            raise AbortError("the nonce point has no usable x-coordinate")
        weight = shamir.lagrange(self._ceremony.indices, self._index, group.order)
        with (
            self._sum(A) as a,
            self._sum(D) as d,
            self._sum(E) as e,
            _tweaked(self._share, session.tweak) as x,
            group.mul_public(a, pow(self._masked, -1, group.order)) as c,
            group.add(c, d) as masked_c,
            group.mul_public(masked_c, session.hash) as first,
            group.mul(c, x) as product,
            group.mul_public(product, r) as second,
            group.add(first, second) as unmasked,
            group.add(unmasked, e) as total,
            group.mul_public(total, weight) as share,
        ):
            return group.scalar_to_public_bytes(share)

    def _send(self, number: int, message: Round1 | Round2 | Round3) -> bytes:
        self._sent[number] = encode(message)
        self._rounds.done(number)
        return self._sent[number]

    def _decode(self, kind: type[T], payloads: Mapping[int, bytes]) -> dict[int, T]:
        return {i: self._ceremony.decode(kind, i, payloads[i]) for i in self._ceremony.indices}

    def _check_own(self, number: int, payloads: Mapping[int, bytes]) -> None:
        self._ceremony.check_complete(payloads)
        if payloads[self._index] != self._sent[number]:
            raise AbortError("own payload was altered on the way", code="ceremony.equivocation")

    def _check_echo(self, echoes: Iterable[bytes]) -> None:
        if any(echo != self._echo for echo in echoes):
            # The relay, a signer, or a signer that lies about it: the payloads do not tell which.
            raise AbortError("signers saw different payloads", code="ceremony.equivocation")

    def _point(self, sender: int, point: bytes) -> bytes:
        try:
            SECP256K1.validate_point(point)
        except CallerError:
            raise self._ceremony.blame(sender, "not a valid point", code="ceremony.malformed") from None
        return point

    def _scalar(self, sender: int, scalar: bytes) -> int:
        try:
            return decode_public(SECP256K1, scalar)
        except CallerError:
            raise self._ceremony.blame(sender, "not a canonical scalar", code="ceremony.malformed") from None

    def _associated(self, sender: int, receiver: int) -> bytes:
        return self._row_head + _ENDS.pack(4, sender, 4, receiver, 4, 1)

    @contextmanager
    def _wiped_on_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.wipe()
            raise


def _tweaked(share: Secret, tweak: int) -> Secret:
    if tweak == 0:
        return share.duplicate()
    with SECP256K1.scalar_from_public(tweak) as addend:
        return SECP256K1.add(share, addend)
