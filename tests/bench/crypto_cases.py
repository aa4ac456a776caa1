"""The operations of `make bench-crypto`: for a key of T of n, what to prepare and the call to measure."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from enclave.group import ED25519, SECP256K1, Group
from enclave.group.secp256k1_rows import check_row
from enclave.secret import Secret
from enclave.threshold import bip340, ceremony_kem, dkg, frost, hpke, refresh, reshare, shamir, vss
from enclave.threshold.dealing import Announcement, Dealt
from enclave.threshold.dkg import KeyShare
from enclave.threshold.ecdsa.messages import DEALT_BYTES, Round1
from enclave.threshold.ecdsa.session import Session
from enclave.threshold.ecdsa.signer import Signer
from enclave.wire.message import decode_as, encode
from tests.enclave.threshold.pairwise import PairwiseKeys

SIZES = ((2, 3), (3, 5), (5, 9), (7, 10))
MESSAGE = bytes(range(64))
DIGEST = bytes(range(32))

FROST = {(2, 3): (33, 125, 46), (3, 5): (33, 226, 47), (5, 9): (34, 437, 49), (7, 10): (34, 654, 51)}
BIP340 = {(2, 3): (35, 47, 57), (3, 5): (37, 50, 71), (5, 9): (36, 49, 90), (7, 10): (36, 50, 109)}
ECDSA = {(2, 3): (34, 24, 162, 206), (3, 5): (65, 25, 227, 266), (5, 9): (166, 28, 389, 412)}
DECRYPT = (134, 67, 24)
SHARES = {
    "ed25519": {(2, 3): (39, 3.7, 107), (3, 5): (63, 5.7, 198), (7, 10): (160, 19, 577)},
    "secp256k1": {(2, 3): (35, 3.3, 23), (3, 5): (54, 5.5, 32), (7, 10): (140, 21, 66)},
}
CEREMONIES = {
    ("ed25519", "key generation"): {(2, 3): (65, 528), (3, 5): (83, 1433), (5, 9): (130, 4630), (7, 10): (177, 7240)},
    ("ed25519", "refresh"): {(2, 3): (21, 62), (3, 5): (43, 340), (5, 9): (102, 1780), (7, 10): (159, 3030)},
    ("ed25519", "reshare"): {(2, 3): (63, 332), (3, 5): (84, 835), (5, 9): (143, 2815), (7, 10): (181, 6190)},
    ("secp256k1", "key generation"): {(2, 3): (66, 202), (3, 5): (84, 441), (7, 10): (176, 1475)},
    ("secp256k1", "refresh"): {(2, 3): (21, 55), (3, 5): (46, 162), (7, 10): (171, 844)},
    ("secp256k1", "reshare"): {(2, 3): (69, 97), (3, 5): (87, 203), (7, 10): (180, 1091)},
}
"""Reference figures in microseconds.  Those of the ceremonies leave out sealing shares, those of threshold ECDSA
sealing rows: `added` has both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One step of one protocol."""

    protocol: str
    step: str
    group: str
    """Whose multiplication scales the reference."""
    reference: float | None
    prepare: Callable[[], Any]
    call: Callable[[Any], object]
    added: Callable[[Any], object] | None = None
    """What the reference did not do, in one call of its own; its argument is nothing."""
    known: tuple[bytes, ...] = ()
    """Points of secp256k1 that whoever does this knows already."""


def operations(threshold: int, n: int) -> Iterator[Operation]:
    """Every step for a key of `threshold` of `n`."""
    yield from frost_steps(threshold, n)
    yield from bip340_steps(threshold, n)
    if n >= 2 * threshold - 1:
        yield from ecdsa_steps(threshold, n)
    yield from decrypt_steps(threshold, n)
    for group in (ED25519, SECP256K1):
        yield from share_steps(group, threshold, n)
        yield from ceremony_steps(group, threshold, n)


def frost_steps(threshold: int, n: int) -> Iterator[Operation]:
    """FROST(Ed25519)."""
    shares, commitments = _dealt(ED25519, threshold, n)
    key, ids = commitments[0], tuple(range(1, threshold + 1))
    public = {i: vss.public_share(ED25519, commitments, i) for i in ids}

    def prepared() -> tuple[dict[int, Any], list[Any]]:
        pairs = {i: frost.commit() for i in ids}
        return {i: pair[0] for i, pair in pairs.items()}, [(i, pair[1], pair[2]) for i, pair in pairs.items()]

    def sign(given: Any, i: int = 1) -> tuple[bytes, bytes]:
        pairs, listed = given
        return frost.sign(
            share=shares[i],
            index=i,
            public_key=key,
            message=MESSAGE,
            commitments=listed,
            nonce=pairs[i],
            threshold=threshold,
        )

    def signed() -> Any:
        given = prepared()
        parts = {i: sign(given, i) for i in ids}
        return given[1], {i: part for i, (part, _) in parts.items()}, parts[1][1]

    def aggregate(given: Any) -> bytes:
        listed, parts, R = given
        return frost.aggregate(
            public_key=key,
            message=MESSAGE,
            commitments=listed,
            shares=parts,
            public_shares=public,
            group_commitment=R,
        )

    reference = FROST[threshold, n]
    steps = (("nonces", _nothing, lambda _: frost.commit()), ("sign", prepared, sign), ("aggregate", signed, aggregate))
    for (step, prepare, call), figure in zip(steps, reference, strict=True):
        yield Operation(
            protocol="FROST Ed25519",
            step=step,
            group="ed25519",
            reference=figure,
            prepare=prepare,
            call=call,
            # The subgroup of R, which stands for that of all hiding commitments.
            added=(lambda _: ED25519.validate_point(key)) if step == "sign" else None,
        )


def bip340_steps(threshold: int, n: int) -> Iterator[Operation]:
    """BIP-445."""
    shares, commitments = _dealt(SECP256K1, threshold, n)
    ids = tuple(range(1, threshold + 1))
    source = bip340.NonceSource()
    members = tuple((i, vss.public_share(SECP256K1, commitments, i)) for i in ids)
    signers = bip340.Signers(total=n, threshold=threshold, members=members, public_key=commitments[0])

    def prepared() -> Any:
        pairs = {i: source.commit()[0] for i in ids}
        nonces = {i: pair.public for i, pair in pairs.items()}
        return pairs, nonces, bip340.aggregate_nonces(nonces)

    def sign(given: Any, i: int = 1) -> tuple[bytes, bytes]:
        pairs, _, total = given
        return bip340.sign(
            signers=signers, index=i, share=shares[i], message=MESSAGE, aggregate_nonce=total, nonce=pairs[i]
        )

    def signed() -> Any:
        given = prepared()
        made = {i: sign(given, i) for i in ids}
        return given[1], {i: part for i, (part, _) in made.items()}, made[1][1]

    def aggregate(given: Any) -> bytes:
        nonces, parts, R = given
        # The gateway's whole share: adding the nonces up before, the signature after.
        bip340.aggregate_nonces(nonces)
        return bip340.aggregate(signers=signers, message=MESSAGE, nonces=nonces, shares=parts, nonce_point=R)

    given = prepared()
    session, share = bip340.open_session(signers, MESSAGE, given[2]), sign(given)[0]
    known = (commitments[0], *(point for _, point in members))
    reference = BIP340[threshold, n]
    steps = (
        ("nonces", _nothing, lambda _: source.commit()),
        ("sign", prepared, sign),
        ("aggregate", signed, aggregate),
    )
    for (step, prepare, call), figure in zip(steps, reference, strict=True):
        yield Operation(
            protocol="BIP-340",
            step=step,
            group="secp256k1",
            reference=figure,
            prepare=prepare,
            call=call,
            # A signer verifies its share before it leaves.
            added=(lambda _: bip340._holds(session, 1, given[1][1], share)) if step == "sign" else None,
            known=known,
        )


def ecdsa_steps(threshold: int, n: int) -> Iterator[Operation]:
    """Threshold ECDSA by 2T - 1 signers."""
    ids = tuple(range(1, 2 * threshold))
    shares, commitments = _dealt(SECP256K1, threshold, n)
    keys = {(i, j): Secret.random(32) for i in ids for j in ids if i != j}
    channels = {
        i: PairwiseKeys(
            sending={j: keys[i, j] for j in ids if j != i}, receiving={j: keys[j, i] for j in ids if j != i}
        )
        for i in ids
    }

    def before(number: int) -> Any:
        session = Session(
            session=os.urandom(32),
            slots={i: f"node-{i}" for i in ids},
            threshold=threshold,
            public_key=commitments[0],
            digest=DIGEST,
        )
        signers = {i: Signer(session, index=i, share=shares[i], channels=channels[i]) for i in ids}
        payloads: dict[int, bytes] = {}
        for done in range(1, number):
            step = f"round{done}"
            payloads = {i: getattr(s, step)(payloads) if done > 1 else s.round1() for i, s in signers.items()}
        return signers[1], payloads

    def run(number: int) -> Callable[[Any], object]:
        return lambda given: given[0].round1() if number == 1 else getattr(given[0], f"round{number}")(given[1])

    row, others = Secret.random(DEALT_BYTES), ids[1:]
    sealed = {j: channels[j].seal(1, row, bytes(200)) for j in others}
    payloads = before(2)[1]
    terms = Session(
        session=bytes(32),
        slots={i: f"node-{i}" for i in ids},
        threshold=threshold,
        public_key=commitments[0],
        digest=DIGEST,
    ).ceremony()

    def seals(_: Any) -> None:
        for j in others:
            channels[1].seal(j, row, bytes(200))

    def opens(_: Any) -> None:
        terms.digest("round", payloads)
        for j in ids:
            terms.decode(Round1, j, payloads[j])
        for j in others:
            with channels[1].open(j, sealed[j], bytes(200)) as opened:
                check_row(opened)

    # Rows travel sealed; what arrives is decoded, hashed for the echo, and checked to be canonical.
    added = {1: seals, 2: opens}
    reference = ECDSA.get((threshold, n))
    for number in (1, 2, 3, 4):
        yield Operation(
            protocol="threshold ECDSA",
            step=f"round {number} of {len(ids)} signers",
            group="secp256k1",
            reference=None if reference is None else reference[number - 1],
            prepare=lambda number=number: before(number),  # type: ignore[misc]
            call=run(number),
            added=added.get(number),
        )


def decrypt_steps(threshold: int, n: int) -> Iterator[Operation]:
    """Threshold X25519."""
    shares, commitments = _dealt(ED25519, threshold, n)
    key, ids = hpke.public_key_x25519(commitments[0]), tuple(range(1, threshold + 1))
    sealed = hpke.seal(key, MESSAGE, b"")
    enc, ciphertext = sealed[:32], sealed[32:]
    partials = {i: hpke.partial(shares[i], i, ids, enc) for i in ids}
    dh = hpke.combine(partials)
    steps: tuple[tuple[str, Callable[[Any], object]], ...] = (
        ("partial", lambda _: hpke.partial(shares[1], 1, ids, enc)),
        ("combine", lambda _: hpke.combine(partials)),
        ("open", lambda _: hpke.open(dh, enc, ciphertext, key, b"")),
    )
    for position, (step, call) in enumerate(steps):
        # The reference combined three.
        reference = DECRYPT[position] if step != "combine" or threshold == 3 else None
        yield Operation(
            protocol="decryption",
            step=step,
            group="ed25519",
            reference=reference,
            prepare=_nothing,
            call=call,
            # The subgroup of the sum.
            added=(lambda _: ED25519.validate_point(commitments[0])) if step == "combine" else None,
        )


def share_steps(group: Group, threshold: int, n: int) -> Iterator[Operation]:
    """Dealing, joining, checking."""
    shares, commitments = _dealt(group, threshold, n)
    used = {i: shares[i] for i in range(1, threshold + 1)}
    secret = group.random_scalar()
    steps: tuple[tuple[str, Callable[[Any], object]], ...] = (
        ("deal", lambda _: shamir.split(group, secret, threshold, range(1, n + 1))),
        ("join", lambda _: shamir.combine(group, used)),
        ("check one", lambda _: vss.verify_share(group, shares[2], 2, commitments)),
    )
    reference = SHARES[group.name].get((threshold, n), (None, None, None))
    for (step, call), figure in zip(steps, reference, strict=True):
        yield Operation(
            protocol=f"shares {group.name}", step=step, group=group.name, reference=figure, prepare=_nothing, call=call
        )


def ceremony_steps(group: Group, threshold: int, n: int) -> Iterator[Operation]:
    """Key generation, refresh, reshare to as many: dealing with sealed shares, then everything a receiver checks."""
    slots = {i: f"node-{i}" for i in range(1, n + 1)}
    share = _key_share(group, threshold, n)

    def generation() -> Any:
        return {
            i: dkg.Participant(group, session=bytes(32), index=i, slots=slots, threshold=threshold, context=b"bench")
            for i in slots
        }

    def refreshing() -> Any:
        return {
            i: refresh.Participant(group, session=bytes(32), slots=slots, share=_at(share, i), context=b"bench")
            for i in slots
        }

    for name, parties in (("key generation", generation), ("refresh", refreshing)):

        def first(parties: Callable[[], Any] = parties) -> Any:
            made = parties()
            return made, {i: party.round1() for i, party in made.items()}

        given = first()
        second = {i: party.round2(given[1]) for i, party in given[0].items()}
        waiting = iter(given[0].values())
        yield _ceremony(group, name, "deal and seal", (threshold, n), 0, first, lambda g: g[0][1].round2(g[1]))

        def third(
            waiting: Iterator[Any] = waiting, first: Callable[[], Any] = first, held: Any = (given, second)
        ) -> Any:
            party = next(waiting, None)
            if party is not None:
                return party, held[1]
            made, announced = first()
            return made[1], {i: member.round2(announced) for i, member in made.items()}

        yield _ceremony(group, name, "open and check", (threshold, n), 1, third, lambda g: g[0].round3(g[1]))

    dealers = {i: slots[i] for i in range(1, threshold + 1)}
    terms = reshare.reshare_terms(
        group,
        session=bytes(32),
        dealers=dealers,
        receivers=slots,
        threshold=threshold,
        commitments=share[0].commitments,
        context=b"bench",
    )

    holders = {i: reshare.NewHolder(terms, index=i, public_key=share[0].public_key) for i in slots}
    announced = {i: holder.announce() for i, holder in holders.items()}

    def deal(i: int) -> bytes:
        return reshare.deal_share(terms, index=i, share=_at(share, i).secret, announcements=announced)

    dealt = {i: deal(i) for i in dealers}
    waiting_holders = iter(list(holders.values()))

    def holder() -> Any:
        found = next(waiting_holders, None)
        if found is not None:
            return found, announced, dealt
        made = reshare.NewHolder(terms, index=1, public_key=share[0].public_key)
        heard = {**announced, 1: made.announce()}
        return (
            made,
            heard,
            {i: reshare.deal_share(terms, index=i, share=_at(share, i).secret, announcements=heard) for i in dealers},
        )

    yield _ceremony(group, "reshare", "deal and seal", (threshold, n), 0, _nothing, lambda _: deal(1))
    yield _ceremony(group, "reshare", "open and check", (threshold, n), 1, holder, lambda g: g[0].receive(g[1], g[2]))


def _ceremony(
    group: Group,
    name: str,
    step: str,
    size: tuple[int, int],
    position: int,
    prepare: Callable[[], Any],
    call: Callable[[Any], object],
) -> Operation:
    threshold, n = size
    receivers = n - (name == "key generation")
    _, commitments = _dealt(group, threshold, n)
    dealers = threshold if name == "reshare" else receivers
    keys, share = [ceremony_kem.CeremonyKey() for _ in range(n)], Secret.random()
    sealed = ceremony_kem.seal(keys[0].public, share, b"bench")
    # What carries ceremony keys and sealed shares: coded, decoded, and hashed for the echo or the transcript.
    announced = {i: encode(Announcement(keys[i - 1].public)) for i in range(1, n + 1)}
    dealt = Dealt(bytes(32), [bytes(32)], dict.fromkeys(range(receivers), sealed))
    payload = encode(dealt)
    received = dict.fromkeys(range(1, 1 + (threshold if name == "reshare" else n)), payload)

    def seals(_: Any) -> None:
        for i, key in enumerate(keys, start=1):
            decode_as(Announcement, announced[i])
            ceremony_kem.check_key(key.public)
        hashlib.sha256(b"".join(announced.values())).digest()
        for key in keys[:receivers]:
            ceremony_kem.seal(key.public, share, b"bench")
        encode(dealt)

    def opens(_: Any) -> None:
        if name == "reshare":
            for i, key in enumerate(keys, start=1):
                decode_as(Announcement, announced[i])
                ceremony_kem.check_key(key.public)
        hashlib.sha256(b"".join(announced.values())).digest()
        for message in received.values():
            decode_as(Dealt, message)
        hashlib.sha256(b"".join(received.values())).digest()
        for _ in range(dealers):
            keys[0].open(sealed, b"bench")
        if name == "refresh":
            # The subgroup of the sums, and everybody's new public share.
            for point in commitments[1:]:
                group.validate_point(point)
            vss.public_shares(group, commitments, range(1, n + 1))

    reference = CEREMONIES[group.name, name].get(size)
    return Operation(
        protocol=f"{name} {group.name}",
        step=step,
        group=group.name,
        reference=None if reference is None else reference[position],
        prepare=prepare,
        call=call,
        # Hybrid encapsulation or decapsulation, one per share, the check of everybody's ceremony key, and handling the
        # messages that carry them: 1 216 bytes per key and per share.
        added=(seals, opens)[position],
    )


def _dealt(group: Group, threshold: int, n: int) -> tuple[dict[int, Secret], tuple[bytes, ...]]:
    return shamir.split(group, group.random_scalar(), threshold, range(1, n + 1))


def _key_share(group: Group, threshold: int, n: int) -> list[KeyShare]:
    shares, commitments = _dealt(group, threshold, n)
    points = {i: vss.public_share(group, commitments, i) for i in shares}
    return [
        KeyShare(secret=secret, index=i, commitments=commitments, public_key=commitments[0], public_shares=points)
        for i, secret in shares.items()
    ]


def _at(shares: list[KeyShare], i: int) -> KeyShare:
    return shares[i - 1]


def _nothing() -> None:
    return None
