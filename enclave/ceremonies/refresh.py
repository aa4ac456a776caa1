"""Refresh of many keys as steps of the engine; the arithmetic is enclave.threshold.refresh (specs/epochs.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from enclave.ceremonies.batch import BatchMessage, Mailbox, batch_transcript, item_context, read_batch
from enclave.ceremonies.facts import Facts
from enclave.ceremonies.steps import Agreed, Effect, Outcome, Result, Work
from enclave.certificate import KeyCertificate, NodeShare
from enclave.errors import CallerError
from enclave.group import GROUPS
from enclave.keys import HeldKey
from enclave.threshold.dkg import KeyShare
from enclave.threshold.refresh import Participant
from enclave.wire.message import encode


class Refreshing:
    """One holder's part; every participant holds every key."""

    prepare_round = 3

    def __init__(self, facts: Facts, keys: Sequence[HeldKey], slot: str) -> None:
        self._facts, self._keys, self._slot = facts, keys, slot
        self._mailbox = Mailbox(facts, slot)
        self._parties: list[Participant] = []

    def first(self) -> Work[bytes]:
        """See Steps."""
        yield
        return self._mailbox.announce()

    def following(self, _number: int, payloads: Mapping[str, bytes]) -> Work[bytes]:
        """See Steps: deal."""
        slots = self._facts.slots
        self._mailbox.hear(payloads, slots)
        wraps = self._mailbox.address(slots)
        items = []
        for number, key in enumerate(self._keys):
            yield
            party = Participant(
                GROUPS[key.certificate.kind.group],
                session=self._facts.session,
                slots={node.index: node.slot for node in key.certificate.nodes},
                share=key.key_share,
                context=item_context(self._facts, number),
                heard=self._mailbox.heard,
                post=self._mailbox.post,
            )
            self._parties.append(party)
            items.append(party.round2({}))
        return encode(BatchMessage(self._mailbox.heard, wraps, items, {}))

    def finish(self, payloads: Mapping[str, bytes], agreed: Agreed) -> Work[Outcome]:
        """See Steps: add what was dealt."""
        slots, heard = self._facts.slots, self._mailbox.heard
        messages = read_batch(payloads, slots, receivers=slots, items=len(self._keys), heard=heard)
        self._mailbox.accept(messages)
        transcripts: list[bytes] = []
        shares: list[KeyShare] = []
        try:
            for number, (key, party) in enumerate(zip(self._keys, self._parties, strict=True)):
                yield
                dealings = {node.index: messages[node.slot].items[number] for node in key.certificate.nodes}
                inner, share = party.round3(dealings)
                transcripts.append(inner)
                shares.append(share)
        except BaseException:
            for share in shares:
                share.secret.wipe()
            raise
        transcript = agreed.transcript(batch_transcript(transcripts))
        results = []
        for key, share in zip(self._keys, shares, strict=True):
            yield
            certificate = renewed(key.certificate, share.public_shares, transcript, agreed.time)
            results.append(
                Result(
                    certificate=certificate,
                    body=certificate.body(),
                    source_epoch=key.certificate.epoch,
                    effect=Effect.HOLD,
                    share=share.secret,
                    commitments=share.commitments,
                )
            )
        return Outcome(transcript=transcript, results=results, extras={})

    def complaint(self) -> bytes:
        """See Steps: what opens to the revealed key is shares of zero, of an epoch that never begins."""
        try:
            return self._mailbox.post.reveal()
        except CallerError:
            return b""

    def wipe(self) -> None:
        """See Steps."""
        self._mailbox.wipe()


def renewed(source: KeyCertificate, public_shares: Mapping[int, bytes], transcript: bytes, time: int) -> KeyCertificate:
    """The certificate of the next epoch for the same holders."""
    return replace(
        source,
        nodes=tuple(
            NodeShare(slot=node.slot, index=node.index, public_share=public_shares[node.index]) for node in source.nodes
        ),
        epoch=source.epoch + 1,
        transcript=transcript,
        renewed_at=max(time, source.since),
    )
