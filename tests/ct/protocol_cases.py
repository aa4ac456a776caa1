"""What follows key generation, measured whole: refresh, reshare, repair, derived children, a refused share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from enclave.errors import PeerError
from enclave.group import ED25519, SECP256K1, Group
from enclave.threshold import derive, reconstruct, refresh, repair, repair_messages, reshare, shamir, vss
from enclave.threshold.dkg import KeyShare
from tests.ct.prepared import Case, Prepared

SESSION = bytes(range(32))
SLOTS = {1: "node-1", 2: "node-2", 3: "node-3"}
TWO = {1: "node-1", 2: "node-2"}
CONTEXT = b"key and epoch"
TWEAK = 2**200 + 7


def protocol_cases() -> Iterator[tuple[str, Case]]:
    """Every (name, case)."""
    for group in (ED25519, SECP256K1):
        yield f"vss.verify_share_through_zero[{group.name}]", lambda group=group: verify_through_zero(group)
        yield f"derive.child_share[{group.name}]", lambda group=group: child_share(group)
        yield f"refresh.Participant[{group.name}]", lambda group=group: whole_refresh(group)
        yield f"reshare.NewHolder[{group.name}]", lambda group=group: whole_reshare(group)
        yield f"repair.Helper and Target[{group.name}]", lambda group=group: whole_repair(group)
    yield "reconstruct.joined, wrong share", reconstruct_wrong_share


def verify_through_zero(group: Group) -> Prepared:
    """The check of a share of zero."""
    with shamir.Polynomial.random_through_zero(group, 3) as polynomial:
        share, commitments = polynomial.at(2), polynomial.commitments()
    return Prepared(secrets=[share], call=lambda: vss.verify_share_through_zero(group, share, 2, commitments))


def child_share(group: Group) -> Prepared:
    """A holder's share of a child key."""
    share = group.random_scalar()
    return Prepared(secrets=[share], call=lambda: derive.child_share(group, share, TWEAK))


def whole_refresh(group: Group) -> Prepared:
    """Two holders of a 2-of-2 key, every round; polynomials and sealing keys are poisoned as they are drawn."""
    shares = _key(group, TWO)

    def run() -> None:
        parties = {
            i: refresh.Participant(group, session=SESSION, slots=TWO, share=share, context=CONTEXT)
            for i, share in shares.items()
        }
        first = {i: party.round1() for i, party in parties.items()}
        second = {i: party.round2(first) for i, party in parties.items()}
        for party in parties.values():
            party.round3(second)

    return Prepared(secrets=[share.secret for share in shares.values()], call=run)


def whole_reshare(group: Group) -> Prepared:
    """Holders 1 and 2 of a 2-of-3 key deal to two new ones."""
    shares = _key(group, SLOTS)
    terms = reshare.reshare_terms(
        group,
        session=SESSION,
        dealers=TWO,
        receivers=TWO,
        threshold=2,
        commitments=shares[1].commitments,
        context=CONTEXT,
    )

    def run() -> None:
        holders = {i: reshare.NewHolder(terms, index=i, public_key=shares[1].public_key) for i in TWO}
        announced = {i: holder.announce() for i, holder in holders.items()}
        dealt = {i: reshare.deal_share(terms, index=i, share=shares[i].secret, announcements=announced) for i in TWO}
        for holder in holders.values():
            holder.receive(announced, dealt)

    return Prepared(secrets=[share.secret for share in shares.values()], call=run)


def whole_repair(group: Group) -> Prepared:
    """Holders 1 and 2 of a 2-of-3 key give holder 3 its share back."""
    shares = _key(group, SLOTS)
    terms = repair_messages.repair_terms(
        group,
        session=SESSION,
        helpers=TWO,
        target=3,
        target_slot=SLOTS[3],
        commitments=shares[1].commitments,
        context=CONTEXT,
    )

    def run() -> None:
        helpers = {i: repair.Helper(terms, index=i, share=shares[i].secret) for i in TWO}
        target = repair.Target(terms)
        first = {**{i: helper.round1() for i, helper in helpers.items()}, 3: target.round1()}
        parts = {i: helper.round2(first) for i, helper in helpers.items()}
        target.finish(first, parts, {i: helper.round3(parts) for i, helper in helpers.items()})

    return Prepared(secrets=[share.secret for share in shares.values()], call=run)


def reconstruct_wrong_share() -> Prepared:
    """An assembler that finds out which of the shares it got is wrong."""
    shares = _key(SECP256K1, SLOTS)
    used = {1: shares[1].secret, 2: SECP256K1.random_scalar()}

    def run() -> None:
        with contextlib.suppress(PeerError):
            reconstruct.sign_ecdsa(
                shares=used,
                public_key=shares[1].public_key,
                public_shares=shares[1].public_shares,
                digest=SESSION,
            )

    return Prepared(secrets=list(used.values()), call=run)


def _key(group: Group, slots: dict[int, str]) -> dict[int, KeyShare]:
    """A key of threshold two as a key generation leaves it."""
    secrets, commitments = shamir.split(group, group.random_scalar(), 2, slots)
    points = {i: vss.public_share(group, commitments, i) for i in slots}
    return {
        i: KeyShare(secret=secret, index=i, commitments=commitments, public_key=commitments[0], public_shares=points)
        for i, secret in secrets.items()
    }
