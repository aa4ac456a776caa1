"""What the gate measures: production functions, each with secrets to poison and a call to make.

A case is a factory: it prepares fresh public inputs and secrets every time, because some functions spend
what they are given.  Its name is `module.function`; residues.json speaks of it by that name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from enclave.derive import hkdf_sha256, sha256, sha512
from enclave.group import ED25519, SECP256K1, Group, secp256k1_rows
from enclave.secret import Secret
from enclave.threshold import bip340, ceremony_kem, dkg, dleq, frost, hpke, nonces, pop, reconstruct, shamir, vss
from enclave.threshold.ecdsa.session import Session
from enclave.threshold.ecdsa.signer import Signer
from tests.ct.backup_cases import backup_cases
from tests.ct.import_cases import import_cases
from tests.ct.node_cases import node_cases, row_channels
from tests.ct.opening_cases import opening_cases
from tests.ct.p256_cases import p256_cases
from tests.ct.prepared import Case, Prepared
from tests.ct.protocol_cases import protocol_cases

MESSAGE = b"a message everyone knows"
DIGEST = bytes(range(32))
ECHO = bytes(32)


def all_cases() -> Iterator[tuple[str, Case]]:
    """Every (name, case)."""
    yield "secret.same", same
    yield "secret.part", part
    yield "derive.sha256", derive_sha256
    yield "derive.sha512", derive_sha512
    yield "derive.hkdf_sha256", derive_hkdf
    for group in (ED25519, SECP256K1):
        for name, case in group_cases(group):
            yield f"{group.name}.{name}", case
        yield f"shamir.split[{group.name}]", lambda group=group: split(group)
        yield f"shamir.combine[{group.name}]", lambda group=group: combine(group)
        yield f"vss.verify_share[{group.name}]", lambda group=group: verify_share(group)
        yield f"pop.prove[{group.name}]", lambda group=group: prove_possession(group)
        yield f"dleq.prove[{group.name}]", lambda group=group: prove_same_exponent(group)
        yield f"dkg.Participant[{group.name}]", lambda group=group: key_generation(group)
    yield "secp256k1.ecdsa_sign_recoverable", ecdsa_sign
    yield "nonces.nonce_generate", nonce_generate
    yield "frost.NonceSource.commit", frost_commit
    yield "frost.sign_share", frost_sign
    yield "bip340.NonceSource.commit", bip340_commit
    yield "bip340.nonce_generate", bip340_nonce_generate
    yield "bip340.sign_share", bip340_sign
    yield "hpke.partial", hpke_partial
    yield "hpke.prove_partial", hpke_prove
    yield "hpke.seal_secret", hpke_seal_secret
    yield "reconstruct.sign_ecdsa", reconstruct_sign
    yield "secp256k1_rows.values_at", row_values
    yield "secp256k1_rows, sum and product", row_arithmetic
    yield "ecdsa.signer.Signer", threshold_ecdsa
    yield "ceremony_kem.seal", kem_seal
    yield "ceremony_kem.CeremonyKey.open", kem_open
    yield from protocol_cases()
    yield from opening_cases()
    yield from p256_cases()
    yield from import_cases()
    yield from node_cases()
    yield from backup_cases()
    # Last: from here on the context's blinding values count as secret in everything it computes.
    yield "secp256k1.randomize", lambda: Prepared(call=SECP256K1.randomize)


def group_cases(group: Group) -> Iterator[tuple[str, Case]]:
    """Every operation of the Protocol that sees a secret."""

    def two(call: Callable[[Secret, Secret], object]) -> Case:
        def prepare() -> Prepared:
            a, b = group.random_scalar(), group.random_scalar()
            return Prepared(secrets=[a, b], call=lambda: call(a, b))

        return prepare

    def wide() -> Prepared:
        hashed = Secret.random(64)
        return Prepared(secrets=[hashed], call=lambda: group.scalar_from_wide(hashed))

    point = group.base_mult_public(12345)
    yield "random_scalar", lambda: Prepared(call=group.random_scalar)
    yield "scalar_from_public", lambda: Prepared(call=lambda: group.scalar_from_public(2**251 + 9))
    yield "scalar_from_wide", wide
    yield "scalar_check_secret", two(lambda a, _: group.scalar_check_secret(a))
    yield "add", two(group.add)
    yield "sub", two(group.sub)
    yield "mul", two(group.mul)
    yield "mul_public", two(lambda a, _: group.mul_public(a, 2**251 + 9))
    yield "negate", two(lambda a, _: group.negate(a))
    yield "invert", two(lambda a, _: group.invert(a))
    yield "evaluate", two(lambda a, b: group.evaluate([a, b], 7))
    yield "weighted_total", two(lambda a, b: group.weighted_total([a, b], (2**251 + 9, group.order - 3)))
    yield "total", two(lambda a, b: group.total([a, b]))
    yield "base_mult", two(lambda a, _: group.base_mult(a))
    yield "mult", two(lambda a, _: group.mult(a, point))


def same() -> Prepared:
    """Constant-time equality: only its answer is public."""
    a = Secret.random(64)
    b = a.duplicate()
    return Prepared(secrets=[a, b], call=lambda: a.same(b))


def part() -> Prepared:
    """Copying inside the arena."""
    a = Secret.random(64)
    return Prepared(secrets=[a], call=lambda: a.part(32, 32))


def derive_sha256() -> Prepared:
    """Hash of a secret and public bytes."""
    key = Secret.random()
    return Prepared(secrets=[key], call=lambda: sha256(b"tag", key))


def derive_sha512() -> Prepared:
    """Hash of a secret and public bytes."""
    key = Secret.random()
    return Prepared(secrets=[key], call=lambda: sha512(b"tag", key))


def derive_hkdf() -> Prepared:
    """HKDF from arena to arena."""
    key = Secret.random()
    return Prepared(secrets=[key], call=lambda: hkdf_sha256(key, salt=None, info=b"info", size=64))


def split(group: Group) -> Prepared:
    """Sharing a scalar 2-of-3: polynomial, values and commitments."""
    secret = group.random_scalar()
    return Prepared(secrets=[secret], call=lambda: shamir.split(group, secret, 2, (1, 2, 3)))


def combine(group: Group) -> Prepared:
    """Joining three shares."""
    shares, _ = shamir.split(group, group.random_scalar(), 3, (1, 2, 5))
    return Prepared(secrets=list(shares.values()), call=lambda: shamir.combine(group, shares))


def verify_share(group: Group) -> Prepared:
    """Feldman's check of a received share."""
    shares, commitments = shamir.split(group, group.random_scalar(), 2, (1, 2, 3))
    return Prepared(secrets=[shares[2]], call=lambda: vss.verify_share(group, shares[2], 2, commitments))


def prove_possession(group: Group) -> Prepared:
    """Schnorr proof over a secret constant."""
    secret = group.random_scalar()
    public = group.base_mult(secret)
    return Prepared(secrets=[secret], call=lambda: pop.prove(group, secret, public, b"context"))


def prove_same_exponent(group: Group) -> Prepared:
    """Chaum-Pedersen proof over a secret scalar."""
    secret, base = group.random_scalar(), group.base_mult_public(99)
    return Prepared(secrets=[secret], call=lambda: dleq.prove(group, secret, base, b"context"))


def key_generation(group: Group) -> Prepared:
    """A whole 2-of-2 key generation: every coefficient, share and sealing key is poisoned where it is drawn."""

    def run() -> None:
        slots = {1: "node-1", 2: "node-2"}
        parties = {
            i: dkg.Participant(group, session=bytes(32), index=i, slots=slots, threshold=2, context=b"context")
            for i in slots
        }
        first = {i: party.round1() for i, party in parties.items()}
        second = {i: party.round2(first) for i, party in parties.items()}
        results = {i: party.round3(second) for i, party in parties.items()}
        assert results[1][0] == results[2][0]

    return Prepared(call=run)


def ecdsa_sign() -> Prepared:
    """Recoverable ECDSA with a whole key."""
    key = SECP256K1.random_scalar()
    return Prepared(secrets=[key], call=lambda: SECP256K1.ecdsa_sign_recoverable(key, DIGEST))


def nonce_generate() -> Prepared:
    """H3 of RFC 9591 over two secrets."""
    a, b = Secret.random(), Secret.random()
    return Prepared(secrets=[a, b], call=lambda: nonces.nonce_generate(a, b))


def frost_commit() -> Prepared:
    """Round one of FROST; the boot's nonce secret is poisoned as it is drawn."""
    source = nonces.NonceSource()
    return Prepared(call=source.commit)


def frost_sign() -> Prepared:
    """Round two of FROST with poisoned share and nonces."""
    shares, commitments = shamir.split(ED25519, ED25519.random_scalar(), 2, (1, 2, 3))
    source = nonces.NonceSource()
    own, hiding, binding = source.commit()
    _, other_hiding, other_binding = source.commit()
    listed = [(1, hiding, binding), (3, other_hiding, other_binding)]
    assert own._nonces is not None
    return Prepared(
        secrets=[shares[1], *own._nonces],
        call=lambda: frost.sign_share(
            share=shares[1], index=1, public_key=commitments[0], message=MESSAGE, commitments=listed, nonce=own
        ),
    )


def bip340_commit() -> Prepared:
    """Round one for Taproot keys."""
    source = bip340.NonceSource()
    return Prepared(call=source.commit)


def bip340_nonce_generate() -> Prepared:
    """NonceGen over secret randomness and a secret extra input."""
    a, b = Secret.random(), Secret.random()
    return Prepared(secrets=[a, b], call=lambda: bip340.nonce_generate(a, message=MESSAGE, extra=b))


def bip340_sign() -> Prepared:
    """Round two for Taproot keys, under a tweak."""
    shares, commitments = shamir.split(SECP256K1, SECP256K1.random_scalar(), 2, (1, 2, 3))
    source = bip340.NonceSource()
    pairs = {i: source.commit()[0] for i in (1, 3)}
    signers = bip340.Signers(
        total=3,
        threshold=2,
        members=tuple((i, SECP256K1.base_mult(shares[i])) for i in (1, 3)),
        public_key=commitments[0],
    )
    assert pairs[1]._nonces is not None
    return Prepared(
        secrets=[shares[1], *pairs[1]._nonces],
        call=lambda: bip340.sign_share(
            signers=signers,
            index=1,
            share=shares[1],
            message=MESSAGE,
            aggregate_nonce=bip340.aggregate_nonces({i: pair.public for i, pair in pairs.items()}),
            nonce=pairs[1],
            tweaks=[bip340.Tweak(value=DIGEST, xonly=True)],
        ),
    )


def hpke_partial() -> Prepared:
    """A node's part of a threshold decryption."""
    shares, enc = _decryption()
    return Prepared(secrets=[shares[1]], call=lambda: hpke.partial(shares[1], 1, (1, 3), enc))


def hpke_prove() -> Prepared:
    """The proof that such a part is right."""
    shares, enc = _decryption()
    return Prepared(secrets=[shares[1]], call=lambda: hpke.prove_partial(shares[1], 1, (1, 3), enc))


def hpke_seal_secret() -> Prepared:
    """A share released to a workload's key, from the arena."""
    share = Secret.random()
    public_key = hpke.public_key_x25519(ED25519.base_mult_public(11))
    return Prepared(secrets=[share], call=lambda: hpke.seal_secret(public_key, share, b"context"))


def reconstruct_sign() -> Prepared:
    """Joining a key, checking it, signing once."""
    secret = SECP256K1.random_scalar()
    shares, commitments = shamir.split(SECP256K1, secret, 2, (1, 2, 3))
    used = {i: shares[i] for i in (1, 2)}
    public_shares = {i: SECP256K1.base_mult(share) for i, share in used.items()}
    return Prepared(
        secrets=list(used.values()),
        call=lambda: reconstruct.sign_ecdsa(
            shares=used, public_key=commitments[0], public_shares=public_shares, digest=DIGEST
        ),
    )


def threshold_ecdsa() -> Prepared:
    """All three signers of a 2-of-3 key through all four rounds, rows over their nodes' own sessions: shares and dealt
    rows poisoned."""
    shares, commitments = shamir.split(SECP256K1, SECP256K1.random_scalar(), 2, (1, 2, 3))
    channels = row_channels(shares)
    session = Session(
        session=bytes(32),
        slots={i: f"node-{i}" for i in shares},
        threshold=2,
        public_key=commitments[0],
        digest=DIGEST,
        tweak=0,
    )

    def run() -> None:
        signers = {i: Signer(session, index=i, share=shares[i], channels=channels[i]) for i in shares}
        payloads = {i: signer.round1() for i, signer in signers.items()}
        for step in ("round2", "round3", "round4"):
            payloads = {i: getattr(signer, step)(payloads) for i, signer in signers.items()}

    return Prepared(secrets=list(shares.values()), call=run)


def row_values() -> Prepared:
    """Five polynomials drawn and evaluated side by side, two of them through zero."""
    shapes = ((2, False), (2, False), (2, True))

    def run() -> None:
        with secp256k1_rows.random_row(6) as coefficients:
            for x in (1, 2):
                secp256k1_rows.values_at(coefficients, shapes, x).wipe()

    return Prepared(call=run)


def row_arithmetic() -> Prepared:
    """What a received row goes through."""
    total, row = secp256k1_rows.random_row(3), secp256k1_rows.random_row(3)

    def run() -> None:
        secp256k1_rows.check_row(row)
        secp256k1_rows.add_row(total, row)
        secp256k1_rows.product_plus(total, 0, 1, 2).wipe()

    return Prepared(secrets=[total, row], call=run)


def kem_seal() -> Prepared:
    """Sealing a share to a ceremony key, from the arena."""
    key, share = ceremony_kem.CeremonyKey(), Secret.random()
    return Prepared(secrets=[share], call=lambda: ceremony_kem.seal(key.public, share, b"context"))


def kem_open() -> Prepared:
    """Opening it again, into the arena."""
    key = ceremony_kem.CeremonyKey()
    sealed = ceremony_kem.seal(key.public, Secret.random(), b"context")
    return Prepared(call=lambda: key.open(sealed, b"context"))


def _decryption() -> tuple[dict[int, Secret], bytes]:
    shares, commitments = shamir.split(ED25519, ED25519.random_scalar(), 2, (1, 2, 3))
    ciphertext = hpke.seal(hpke.public_key_x25519(commitments[0]), b"plaintext", b"")
    return shares, ciphertext[: hpke.ENC_BYTES]
