"""Distributed key generation: SimplPedPoP with a commit-then-reveal first round, as a sans-I/O state machine.

Every participant runs round1, round2, round3 once each; the node signs each payload, checks the others'
signatures before handing payloads in, seals the resulting share and signs the transcript hash.  A key exists
only when all participants signed the same hash (specs/dkg.md).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from enclave.errors import AbortError, CallerError, EnclaveError
from enclave.group import Group
from enclave.secret import Secret
from enclave.threshold import dkg_messages as messages
from enclave.threshold import pop, shamir, vss
from enclave.threshold.ceremony import Ceremony, StrictRounds
from enclave.threshold.ceremony_kem import CeremonyKey, open_scalar, seal
from enclave.wire.message import encode


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyShare:
    """One holder's part of a key, and the public data all holders share."""

    secret: Secret
    index: int
    commitments: tuple[bytes, ...]
    public_key: bytes
    public_shares: Mapping[int, bytes]


class Participant:
    """One participant of one attempt; any failure ends it, and it wipes what it held."""

    def __init__(
        self,
        group: Group,
        *,
        session: bytes,
        index: int,
        slots: Mapping[int, str],
        threshold: int,
        context: bytes,
    ) -> None:
        """Raises CallerError for an impossible committee; `session` must never have been used before."""
        self._ceremony = Ceremony(
            protocol=messages.PROTOCOL,
            group=group,
            session=session,
            slots=dict(slots),
            threshold=threshold,
            context=context,
        )
        if index not in slots:
            raise CallerError("this participant is not among the slots", code="ceremony.participants")
        self._index = index
        self._rounds = StrictRounds()
        self._polynomial = shamir.Polynomial.random(group, threshold)
        self._commitments = self._polynomial.commitments()
        self._opening = os.urandom(messages.OPENING_BYTES)
        self._key = CeremonyKey()
        self._sent: dict[int, bytes] = {}
        self._round1: dict[int, bytes] = {}
        self._firsts: dict[int, messages.Round1] = {}
        self._may_complain = False

    def round1(self) -> bytes:
        """First payload: commit to the polynomial, publish the ceremony key."""
        self._rounds.enter(1)
        commitment = messages.commit(self._ceremony, self._index, self._opening, self._commitments)
        self._sent[1] = encode(messages.Round1(commitment, self._key.public))
        self._rounds.done(1)
        return self._sent[1]

    def round2(self, payloads: Mapping[int, bytes]) -> bytes:
        """Second payload: reveal, prove, and seal a share for every other participant.

        `payloads` are everyone's first payloads, this participant's included.  Raises PeerError with the
        culprit's slot, AbortError, CallerError (`ceremony.order`).
        """
        self._rounds.enter(2)
        with _WipeOnFailure(self):
            self._check_own(1, payloads)
            ceremony = self._ceremony
            firsts = messages.read_round1(ceremony, payloads)
            self._round1, self._firsts = dict(payloads), firsts
            echo = messages.echo_of(ceremony, payloads)
            proof = pop.prove(
                ceremony.group,
                self._polynomial.constant,
                self._commitments[0],
                messages.proof_context(ceremony, echo, self._index),
            )
            sealed = {}
            for receiver in ceremony.indices:
                if receiver != self._index:
                    with self._polynomial.at(receiver) as share:
                        associated = messages.share_context(ceremony, echo, self._index, receiver)
                        sealed[receiver] = self._seal(receiver, firsts[receiver].kem_key, share, associated)
            reveal = messages.Round2(echo, self._opening, list(self._commitments), proof, sealed)
            self._sent[2] = encode(reveal)
        self._rounds.done(2)
        return self._sent[2]

    def round3(self, payloads: Mapping[int, bytes]) -> tuple[bytes, KeyShare]:
        """The transcript hash to sign and this participant's share, once everything checked.

        Raises PeerError with the culprit's slot (`share.invalid` for a dealer whose share does not match),
        AbortError where no culprit is proven.  After a `share.*` failure `complaint` still works; call `wipe`
        when done with it.
        """
        self._rounds.enter(3)
        ceremony = self._ceremony
        with _WipeOnFailure(self, keep_for_complaint=True):
            self._check_own(2, payloads)
            outcome, seconds = messages.read_transcript(ceremony, self._round1, self._firsts, payloads, own=self._index)
            shares = [self._polynomial.at(self._index)]
            try:
                others = [dealer for dealer in ceremony.indices if dealer != self._index]
                shares.extend(self._open(dealer, seconds[dealer]) for dealer in others)
                secret = self._sum(shares, outcome.public_shares[self._index])
                if secret is None:
                    # Only a misfit has to be found; a sum that fits is all anybody needs.
                    for dealer, share in zip(others, shares[1:], strict=True):
                        commitments, slot = seconds[dealer].commitments, ceremony.slots[dealer]
                        vss.verify_share(ceremony.group, share, self._index, commitments, dealer=slot)
                    raise AbortError("own share does not match the sum of commitments")
            finally:
                for share in shares:
                    share.wipe()
        self.wipe()
        self._rounds.done(3)
        return outcome.transcript, KeyShare(
            secret=secret,
            index=self._index,
            commitments=outcome.commitments,
            public_key=outcome.public_key,
            public_shares=outcome.public_shares,
        )

    def complaint(self) -> bytes:
        """DANGER: reveals what every dealer sealed to this participant; ends the attempt for good.

        Only after round3 raised `share.*`: the key of this attempt can then never become active, because this
        participant does not sign its transcript.  Raises CallerError (`ceremony.order`).
        """
        if not self._may_complain:
            raise CallerError("a complaint follows a bad share, nothing else", code="ceremony.order")
        revealed = self._key.reveal()
        self.wipe()
        return revealed

    def wipe(self) -> None:
        """Forget polynomial and ceremony key; the participant is unusable afterwards."""
        self._polynomial.wipe()
        self._key.wipe()

    def _open(self, dealer: int, message: messages.Round2) -> Secret:
        ceremony = self._ceremony
        associated = messages.share_context(ceremony, message.echo, dealer, self._index)
        try:
            return open_scalar(ceremony.group, self._key, message.sealed[self._index], associated)
        except CallerError:
            raise ceremony.blame(
                dealer, "sealed share is not a scalar sealed to this participant", code="share.unreadable"
            ) from None

    def _sum(self, shares: list[Secret], public_share: bytes) -> Secret | None:
        """The sum of the shares, or None if its public point is not the expected one."""
        group = self._ceremony.group
        try:
            secret = shamir.add_all(group, shares)
        except AbortError:
            return None
        if group.base_mult(secret) == public_share:
            return secret
        secret.wipe()
        return None

    def _seal(self, receiver: int, kem_key: bytes, share: Secret, associated: bytes) -> bytes:
        try:
            return seal(kem_key, share, associated)
        except CallerError:
            raise self._ceremony.blame(receiver, "ceremony key is not usable", code="ceremony.malformed") from None

    def _check_own(self, number: int, payloads: Mapping[int, bytes]) -> None:
        if payloads.get(self._index) != self._sent[number]:
            raise AbortError("own payload is missing or was altered on the way", code="ceremony.equivocation")


class _WipeOnFailure:
    """Wipes the participant when its round fails, except where a complaint may follow."""

    def __init__(self, participant: Participant, *, keep_for_complaint: bool = False) -> None:
        self._participant = participant
        self._keep_for_complaint = keep_for_complaint

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is None:
            return
        about_share = isinstance(error, EnclaveError) and error.code in ("share.invalid", "share.unreadable")
        self._participant._may_complain = self._keep_for_complaint and about_share
        if not self._participant._may_complain:
            self._participant.wipe()
