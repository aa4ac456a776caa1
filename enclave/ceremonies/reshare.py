"""Reshare of keys as steps of the engine; the arithmetic is enclave.threshold.reshare (specs/epochs.md section 5).

Rules kept: every old holder that takes part deals; their nonces and budgets travel in the signed transcript, and what
forbids most counts for the new holders; an old holder that gets nothing checks and signs the same transcript.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from enclave.ceremonies.batch import BatchMessage, Mailbox, batch_transcript, item_context, read_batch
from enclave.ceremonies.extras import WRAPPED_KINDS, check_wrapped
from enclave.ceremonies.facts import Facts
from enclave.ceremonies.pending import LIMITS
from enclave.ceremonies.source import Source
from enclave.ceremonies.steps import Agreed, Effect, Outcome, Result, Work
from enclave.certificate import KeyCertificate, NodeShare
from enclave.group import GROUPS
from enclave.limits.transfer import check_table
from enclave.secret import Secret
from enclave.threshold import vss
from enclave.threshold.dealing import Terms
from enclave.threshold.reshare import NewHolder, deal_share, reshare_terms, verify_reshare
from enclave.wire.message import encode


@dataclass(frozen=True, slots=True, kw_only=True)
class ResharePlan:
    """Who holds the keys afterwards, and who deals."""

    receivers: Mapping[int, str]
    """New share index -> slot."""
    dealers: tuple[str, ...]
    """Old holders that take part, in roster order."""
    shares_needed: int
    assemblers: tuple[str, ...]
    limits: Callable[[], bytes]
    """This node's nonces and budgets about the keys, asked for when it deals."""
    wrapped: Mapping[str, bytes]
    """Sealed rows of the keys that are wrapped, by `kind/id`, where this node has them."""


class Resharing:
    """One participant's part, as old holder, new holder, or both."""

    prepare_round = 3

    def __init__(self, facts: Facts, plan: ResharePlan, sources: Sequence[Source], slot: str) -> None:
        self._facts, self._plan, self._sources, self._slot = facts, plan, sources, slot
        self._mailbox = Mailbox(facts, slot)
        self._receives = slot in plan.receivers.values()
        self._terms: list[Terms] = []

    def first(self) -> Work[bytes]:
        """See Steps."""
        yield
        return self._mailbox.announce() if self._receives else b""

    def following(self, _number: int, payloads: Mapping[str, bytes]) -> Work[bytes]:
        """See Steps: deal, and tell what the keys have used up."""
        receivers = tuple(self._plan.receivers.values())
        self._mailbox.hear(payloads, receivers)
        for number, source in enumerate(self._sources):
            yield
            self._terms.append(self._term(number, source))
        if self._slot not in self._plan.dealers:
            return b""
        wraps = self._mailbox.address(receivers)
        items = []
        for source, terms in zip(self._sources, self._terms, strict=True):
            yield
            assert source.held is not None
            items.append(
                deal_share(
                    terms,
                    index=source.held.index,
                    share=source.held.share,
                    announcements={},
                    post=self._mailbox.post,
                )
            )
        extras = {LIMITS: self._plan.limits()}
        if self._slot == self._plan.dealers[0]:
            extras |= self._plan.wrapped
        return encode(BatchMessage(self._mailbox.heard, wraps, items, extras))

    def finish(self, payloads: Mapping[str, bytes], agreed: Agreed) -> Work[Outcome]:
        """See Steps: check what was dealt, and add it where this node is a new holder."""
        plan = self._plan
        messages = read_batch(
            payloads,
            plan.dealers,
            receivers=plan.receivers.values(),
            items=len(self._sources),
            heard=self._mailbox.heard,
        )
        certificates = [source.certificate for source in self._sources]
        for slot, message in messages.items():
            check_table(slot, message.extras.get(LIMITS, b""), certificates)
        if self._receives:
            self._mailbox.accept(messages)
        transcripts: list[bytes] = []
        made: list[tuple[Secret | None, tuple[bytes, ...]]] = []
        try:
            for number, (source, terms) in enumerate(zip(self._sources, self._terms, strict=True)):
                yield
                dealings = {index: messages[slot].items[number] for index, slot in terms.dealers.slots.items()}
                inner, share, commitments = self._take(source, terms, dealings)
                transcripts.append(inner)
                made.append((share, commitments))
            transcript = agreed.transcript(batch_transcript(transcripts))
            extras = self._extras(messages)
        except BaseException:
            for share, _ in made:
                if share is not None:
                    share.wipe()
            raise
        results = []
        for source, (share, commitments) in zip(self._sources, made, strict=True):
            yield
            results.append(self._result(source, share, commitments, transcript, agreed.time))
        return Outcome(transcript=transcript, results=results, extras=extras)

    def complaint(self) -> bytes:
        """See Steps: never, because what was dealt is shares of a living key."""
        return b""

    def wipe(self) -> None:
        """See Steps."""
        self._mailbox.wipe()

    def _term(self, number: int, source: Source) -> Terms:
        facts = source.certificate
        return reshare_terms(
            GROUPS[facts.kind.group],
            session=self._facts.session,
            dealers={node.index: node.slot for node in facts.nodes if node.slot in self._plan.dealers},
            receivers=self._plan.receivers,
            threshold=self._plan.shares_needed,
            commitments=source.commitments,
            context=item_context(self._facts, number),
            heard=self._mailbox.heard,
        )

    def _take(
        self, source: Source, terms: Terms, dealings: Mapping[int, bytes]
    ) -> tuple[bytes, Secret | None, tuple[bytes, ...]]:
        public_key = source.certificate.group_point
        if not self._receives:
            inner, commitments = verify_reshare(terms, {}, dealings, public_key=public_key)
            return inner, None, commitments
        index = next(index for index, slot in self._plan.receivers.items() if slot == self._slot)
        holder = NewHolder(terms, index=index, public_key=public_key, post=self._mailbox.post)
        inner, share = holder.receive({}, dealings)
        return inner, share.secret, share.commitments

    def _result(
        self, source: Source, share: Secret | None, commitments: tuple[bytes, ...], transcript: bytes, time: int
    ) -> Result:
        plan, old = self._plan, source.certificate
        group = GROUPS[old.kind.group]
        certificate: KeyCertificate = replace(
            old,
            shares_needed=plan.shares_needed,
            nodes=tuple(
                NodeShare(slot=slot, index=index, public_share=vss.public_share(group, commitments, index))
                for index, slot in plan.receivers.items()
            ),
            assemblers=plan.assemblers,
            epoch=old.epoch + 1,
            transcript=transcript,
            renewed_at=max(time, old.since),
        )
        return Result(
            certificate=certificate,
            body=certificate.body(),
            source_epoch=old.epoch,
            effect=Effect.HOLD if share is not None else Effect.DROP,
            share=share,
            commitments=commitments,
        )

    def _extras(self, messages: Mapping[str, BatchMessage]) -> dict[str, bytes]:
        """What a new holder seals beside its shares: everybody's limits, and wrapped rows that match certificates."""
        if not self._receives:
            return {}
        extras = {f"{LIMITS}/{slot}": message.extras[LIMITS] for slot, message in messages.items()}
        first = self._plan.dealers[0]
        rows = {name: value for name, value in messages[first].extras.items() if name.startswith(WRAPPED_KINDS)}
        return extras | check_wrapped(first, rows, [source.certificate for source in self._sources])
