"""Repair of one node's shares as steps of the engine; the arithmetic is enclave.threshold.repair (specs/epochs.md)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from enclave.ceremonies.batch import BatchMessage, Mailbox, item_context, read_batch
from enclave.ceremonies.extras import check_wrapped
from enclave.ceremonies.facts import Facts
from enclave.ceremonies.source import Source
from enclave.ceremonies.steps import Agreed, Effect, Outcome, Result, Work
from enclave.group import GROUPS
from enclave.threshold.dkg import KeyShare
from enclave.threshold.repair import Helper, Target
from enclave.threshold.repair_messages import Terms, repair_terms
from enclave.wire.message import encode, tagged


class Repairing:
    """One participant's part: one of T helpers, or the target that lost its shares."""

    prepare_round = 4

    def __init__(
        self,
        facts: Facts,
        sources: Sequence[Source],
        *,
        helpers: tuple[str, ...],
        target: str,
        slot: str,
        wrapped: Mapping[str, bytes],
    ) -> None:
        """`wrapped` are the sealed rows of wrapped keys, where this node has them."""
        self._facts, self._sources, self._slot = facts, sources, slot
        self._helpers, self._target, self._wrapped = helpers, target, wrapped
        self._mailbox = Mailbox(facts, slot)
        self._parties: list[Helper] = []
        self._parts: dict[str, BatchMessage] = {}
        self._said: list[bytes] = []

    def first(self) -> Work[bytes]:
        """See Steps."""
        yield
        return self._mailbox.announce()

    def following(self, number: int, payloads: Mapping[str, bytes]) -> Work[bytes]:
        """See Steps: split the weighted shares, then add up the parts for the target."""
        if number == 2:
            self._mailbox.hear(payloads, self._facts.slots)
            return (yield from self._split()) if self._slot in self._helpers else b""
        self._parts = read_batch(
            payloads,
            self._helpers,
            receivers=self._helpers,
            items=len(self._sources),
            heard=self._mailbox.heard,
        )
        self._said.append(self._digest(payloads))
        return (yield from self._add()) if self._slot in self._helpers else b""

    def finish(self, payloads: Mapping[str, bytes], agreed: Agreed) -> Work[Outcome]:
        """See Steps: the target rebuilds its shares; helpers only sign the transcript."""
        sums = read_batch(
            payloads,
            self._helpers,
            receivers=[self._target],
            items=len(self._sources),
            heard=self._mailbox.heard,
        )
        self._said.append(self._digest(payloads))
        inner = hashlib.sha256(tagged("ceremony-repair", self._mailbox.heard, *self._said)).digest()
        transcript = agreed.transcript(inner)
        shares: list[KeyShare] = []
        extras: dict[str, bytes] = {}
        if self._slot == self._target:
            first = self._helpers[0]
            certificates = [source.certificate for source in self._sources]
            extras = check_wrapped(first, self._parts[first].extras, certificates)
            self._mailbox.accept(sums)
            try:
                for number, source in enumerate(self._sources):
                    yield
                    shares.append(self._rebuild(number, source, sums))
            except BaseException:
                for share in shares:
                    share.secret.wipe()
                raise
        results = [
            Result(
                certificate=source.certificate,
                body=source.body,
                source_epoch=source.certificate.epoch,
                effect=Effect.HOLD if shares else Effect.KEEP,
                share=shares[number].secret if shares else None,
                commitments=shares[number].commitments if shares else (),
            )
            for number, source in enumerate(self._sources)
        ]
        return Outcome(transcript=transcript, results=results, extras=extras)

    def complaint(self) -> bytes:
        """See Steps: never, because parts are of shares of a living key."""
        return b""

    def wipe(self) -> None:
        """See Steps."""
        self._mailbox.wipe()

    def _split(self) -> Work[bytes]:
        wraps = self._mailbox.address(self._helpers)
        items = []
        for number, source in enumerate(self._sources):
            yield
            assert source.held is not None
            party = Helper(
                self._terms(number, source),
                index=source.held.index,
                share=source.held.share,
                post=self._mailbox.post,
            )
            self._parties.append(party)
            items.append(party.round2({}))
        extras = dict(self._wrapped) if self._slot == self._helpers[0] else {}
        return encode(BatchMessage(self._mailbox.heard, wraps, items, extras))

    def _add(self) -> Work[bytes]:
        self._mailbox.accept(self._parts)
        wraps = self._mailbox.address([self._target])
        items = []
        for number, (source, party) in enumerate(zip(self._sources, self._parties, strict=True)):
            yield
            items.append(party.round3(self._items(self._parts, number, source)))
        return encode(BatchMessage(self._mailbox.heard, wraps, items, {}))

    def _rebuild(self, number: int, source: Source, sums: Mapping[str, BatchMessage]) -> KeyShare:
        target = Target(self._terms(number, source), self._mailbox.post)
        return target.finish({}, self._items(self._parts, number, source), self._items(sums, number, source))

    def _items(self, messages: Mapping[str, BatchMessage], number: int, source: Source) -> dict[int, bytes]:
        nodes = source.certificate.nodes
        return {node.index: messages[node.slot].items[number] for node in nodes if node.slot in self._helpers}

    def _terms(self, number: int, source: Source) -> Terms:
        facts = source.certificate
        target = facts.node(self._target)
        assert target is not None
        return repair_terms(
            GROUPS[facts.kind.group],
            session=self._facts.session,
            helpers={node.index: node.slot for node in facts.nodes if node.slot in self._helpers},
            target=target.index,
            target_slot=self._target,
            commitments=source.commitments,
            context=item_context(self._facts, number),
            heard=self._mailbox.heard,
        )

    def _digest(self, payloads: Mapping[str, bytes]) -> bytes:
        return hashlib.sha256(tagged("ceremony-round", *(payloads[slot] for slot in self._facts.slots))).digest()
