"""Verifies a proof of a culprit offline: nothing is believed but attested identity keys and signatures.

Steps (specs/ceremonies.md section 8):
1. every participant's identity key is the one its evidence attested;
2. the culprit's messages are signed, and begin with the context of exactly these facts;
3. the public checks of the kind of ceremony are run over the rounds; the first fault found must be the culprit's;
4. a bad share is proven by the accuser's opened ceremony key, in ceremonies where that reveals nothing of a living key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from enclave.ceremonies import messages as signed
from enclave.ceremonies.batch import accept, announced, heard_of, item_context, pair_info, read_batch
from enclave.ceremonies.committee import Committee
from enclave.ceremonies.facts import Facts, Kind
from enclave.ceremonies.generate import GenerationTerms
from enclave.ceremonies.pending import LIMITS
from enclave.ceremonies.proof import Proof
from enclave.ceremonies.source import Source
from enclave.certificate import KeyCertificate
from enclave.errors import CallerError, EnclaveError, PeerError, WireError
from enclave.group import GROUPS, Group
from enclave.limits.transfer import check_table
from enclave.threshold import dkg_messages, vss
from enclave.threshold.ceremony import Ceremony
from enclave.threshold.dealing import Dealt, Terms, read_dealings
from enclave.threshold.dkg_complaint import verify_complaint
from enclave.threshold.post import Post
from enclave.threshold.refresh import refresh_terms
from enclave.threshold.repair_messages import echo_of, read_parts, repair_terms
from enclave.threshold.reshare import reshare_terms
from enclave.wire.message import decode_as

Rounds = Mapping[int, Mapping[str, bytes]]


def read_proof(data: bytes) -> Proof:
    """A proof as a node gave it; raises CallerError (`proof.malformed`)."""
    try:
        return decode_as(Proof, data)
    except WireError:
        raise CallerError("not a proof", code="proof.malformed") from None


def verify_proof(proof: Proof, identities: Mapping[str, bytes]) -> None:
    """Return only if `proof.culprit` is guilty; `identities` are attested keys by slot.

    Raises CallerError: `proof.identity`, `proof.malformed`, `proof.unfounded`.
    """
    facts = proof.facts
    # 1
    if any(identities.get(member.slot) != member.identity_key for member in facts.members):
        raise CallerError("a participant's key is not the attested one", code="proof.identity")
    # 2
    try:
        rounds = {
            number: signed.read(said, facts.session, number, facts.members) for number, said in proof.rounds.items()
        }
        rounds = {number: signed.in_context(payloads, facts.context) for number, payloads in rounds.items()}
        _, rounds[1] = signed.clocks(rounds[1])
    except (EnclaveError, KeyError):
        raise CallerError("the messages are not those of these facts", code="proof.malformed") from None
    # 3, 4
    try:
        _judge(proof, facts, rounds)
    except PeerError as error:
        if error.culprits == (proof.culprit,):
            return
    except (EnclaveError, KeyError, AssertionError):
        pass
    raise CallerError("the messages do not show a fault of that participant", code="proof.unfounded")


def _judge(proof: Proof, facts: Facts, rounds: Rounds) -> None:
    """Raise the PeerError that the rounds deserve; return if there is none."""
    if facts.kind in (Kind.DKG, Kind.ROTATE):
        _generation(proof, facts, rounds)
        return
    committee = decode_as(Committee, facts.terms)
    sources = [Source(certificate=KeyCertificate.parse(body), body=body, held=None) for body in facts.sources]
    receivers = list(committee.receivers.values()) if facts.kind is Kind.RESHARE else committee.participants
    announced(rounds[1], receivers)
    heard = heard_of(facts, rounds[1])
    if 2 not in rounds:
        return
    if facts.kind is Kind.REPAIR:
        _repair(facts, committee, sources, rounds, heard)
        return
    dealt = read_batch(rounds[2], committee.givers, receivers=receivers, items=len(sources), heard=heard)
    if facts.kind is Kind.RESHARE:
        for slot, message in dealt.items():
            check_table(slot, message.extras.get(LIMITS, b""), [source.certificate for source in sources])
    for number, terms in enumerate(_dealings(facts, committee, sources, heard)):
        items = {index: dealt[slot].items[number] for index, slot in terms.dealers.slots.items()}
        found, _ = read_dealings(terms, terms.echo({}), items)
        if proof.complaint and facts.kind is Kind.REFRESH:
            index = next(index for index, slot in terms.dealers.slots.items() if slot == proof.culprit)
            post = _opened(proof, rounds[1])
            info = pair_info(facts, heard, proof.culprit, proof.accuser)
            accept(post, proof.culprit, dealt[proof.culprit].wraps[proof.accuser], info)
            _check_share(proof, terms, index, found[index], post)


def _generation(proof: Proof, facts: Facts, rounds: Rounds) -> None:
    terms = decode_as(GenerationTerms, facts.terms)
    ceremony = Ceremony(
        protocol=dkg_messages.PROTOCOL,
        group=_group(terms.group),
        session=facts.session,
        slots=terms.participants,
        threshold=terms.threshold,
        context=facts.context,
    )
    index = {slot: index for index, slot in terms.participants.items()}
    first = {index[slot]: payload for slot, payload in rounds[1].items()}
    dkg_messages.read_round1(ceremony, first)
    if 2 not in rounds:
        return
    second = {index[slot]: payload for slot, payload in rounds[2].items()}
    dkg_messages.verify_transcript(ceremony, first, second)
    if proof.complaint:
        dealer, receiver = index[proof.culprit], index[proof.accuser]
        verify_complaint(ceremony, first, second, dealer=dealer, receiver=receiver, revealed=proof.complaint)
        raise PeerError("the dealt share is bad", culprits=[proof.culprit], code="share.invalid")


def _dealings(facts: Facts, committee: Committee, sources: list[Source], heard: bytes) -> Iterator[Terms]:
    for number, source in enumerate(sources):
        key, context = source.certificate, item_context(facts, number)
        group = GROUPS[key.kind.group]
        slots = {node.index: node.slot for node in key.nodes}
        if facts.kind is Kind.REFRESH:
            yield refresh_terms(
                group,
                session=facts.session,
                slots=slots,
                commitments=source.commitments,
                context=context,
                heard=heard,
            )
            continue
        yield reshare_terms(
            group,
            session=facts.session,
            dealers={index: slot for index, slot in slots.items() if slot in committee.givers},
            receivers=committee.receivers,
            threshold=committee.shares_needed,
            commitments=source.commitments,
            context=context,
            heard=heard,
        )


def _repair(facts: Facts, committee: Committee, sources: list[Source], rounds: Rounds, heard: bytes) -> None:
    assert committee.target is not None
    helpers = committee.givers
    parts = read_batch(rounds[2], helpers, receivers=helpers, items=len(sources), heard=heard)
    for number, source in enumerate(sources):
        key = source.certificate
        target = key.node(committee.target)
        assert target is not None
        terms = repair_terms(
            GROUPS[key.kind.group],
            session=facts.session,
            helpers={node.index: node.slot for node in key.nodes if node.slot in helpers},
            target=target.index,
            target_slot=committee.target,
            commitments=source.commitments,
            context=item_context(facts, number),
            heard=heard,
        )
        items = {index: parts[slot].items[number] for index, slot in terms.helpers.slots.items()}
        read_parts(terms, echo_of(terms, {}), items)
    if 3 in rounds:
        read_batch(rounds[3], helpers, receivers=[committee.target], items=len(sources), heard=heard)


def _opened(proof: Proof, announcements: Mapping[str, bytes]) -> Post:
    """The accuser's end of its pairs, from the key it opened; raises CallerError if it is not the announced one."""
    post = Post.from_revealed(proof.complaint)
    if post.public != announced(announcements, [proof.accuser])[proof.accuser]:
        raise CallerError("revealed key is not the accuser's ceremony key", code="complaint.malformed")
    return post


def _check_share(proof: Proof, terms: Terms, dealer: int, message: Dealt, post: Post) -> None:
    """Raise PeerError naming the dealer unless what it sealed to the accuser opens and fits."""
    receiver = next(index for index, slot in terms.receivers.slots.items() if slot == proof.accuser)
    associated = terms.share_context(message.echo, dealer, receiver)
    try:
        share = post.open_scalar(terms.dealers.group, proof.culprit, message.sealed[receiver], associated)
    except CallerError:
        raise PeerError("the share does not open", culprits=[proof.culprit], code="share.unreadable") from None
    with share:
        vss.verify_share_through_zero(terms.dealers.group, share, receiver, message.commitments, dealer=proof.culprit)


def _group(name: str) -> Group:
    found = GROUPS.get(name)
    if found is None:
        raise CallerError("no such group", code="proof.malformed")
    return found
