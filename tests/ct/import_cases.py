"""Keys that come and go: what clients compute with whole keys before they are split and after they are joined."""

from __future__ import annotations

from collections.abc import Iterator

from enclave.group import ED25519, SECP256K1
from enclave.imports.possession import prove_possession
from enclave.imports.scalars import ed25519_scalar, hmac_sha512, swallow, x25519_private, x25519_scalar
from enclave.key_specs import P256
from enclave.secret import Secret
from enclave.threshold import p256, p256_wrap, shamir
from enclave.threshold.montgomery import public_key_x25519
from tests.ct.prepared import Case, Prepared

KEY, VERSION = "key_1", 1
TRANSCRIPT = DIGEST = bytes(range(32))


def import_cases() -> Iterator[tuple[str, Case]]:
    """Every (name, case)."""
    yield "imports.swallow", lambda: Prepared(call=lambda: swallow(bytes(range(32))))
    yield "imports.hmac_sha512", hmac
    yield "imports.ed25519_scalar", from_seed
    yield "imports.x25519_scalar", eighth
    yield "imports.x25519_private", clamped
    yield "imports.prove_possession[ed25519]", prove_scalar
    yield "imports.prove_possession[secp256k1]", prove_scalar_secp256k1
    yield "imports.prove_possession[p256]", prove_p256
    yield "p256_wrap.wrap", wrap
    yield "p256_wrap.unwrap", unwrap
    yield "p256.sign_p256, imported", sign_imported
    yield "p256.public_of", public_of
    yield "p256.private_of", private_of


def hmac() -> Prepared:
    """A step of BIP-32."""
    parent = Secret.random()
    return Prepared(secrets=[parent], call=lambda: hmac_sha512(bytes(32), b"\x00", parent, b"\x80\x00\x00\x00"))


def from_seed() -> Prepared:
    """The scalar of an Ed25519 seed."""
    seed = Secret.random()
    return Prepared(secrets=[seed], call=lambda: ed25519_scalar(seed))


def eighth() -> Prepared:
    """The shared scalar of a clamped X25519 key."""
    private = Secret.take(bytearray(bytes(31) + b"\x47"))
    return Prepared(secrets=[private], call=lambda: x25519_scalar(private))


def clamped() -> Prepared:
    """A clamped X25519 key of a shared scalar; which sign it took is public."""
    scalar = ED25519.random_scalar()
    public = public_key_x25519(ED25519.base_mult(scalar))
    return Prepared(secrets=[scalar], call=lambda: x25519_private(scalar, public))


def prove_scalar() -> Prepared:
    """Proof of possession of an Ed25519 or X25519 key."""
    scalar = ED25519.random_scalar()
    point = ED25519.base_mult(scalar)
    return Prepared(secrets=[scalar], call=lambda: prove_possession("ed25519", scalar, point, TRANSCRIPT))


def prove_scalar_secp256k1() -> Prepared:
    """Proof of possession of a secp256k1 key."""
    scalar = SECP256K1.random_scalar()
    point = SECP256K1.base_mult(scalar)
    return Prepared(secrets=[scalar], call=lambda: prove_possession("secp256k1-ecdsa", scalar, point, TRANSCRIPT))


def prove_p256() -> Prepared:
    """A P-256 key's own signature."""
    private = Secret.random()
    return Prepared(secrets=[private], call=lambda: prove_possession(P256, private, b"", TRANSCRIPT))


def wrap() -> Prepared:
    """A P-256 key under the shared scalar."""
    scalar, private = ED25519.random_scalar(), Secret.random()
    return Prepared(secrets=[scalar, private], call=lambda: p256_wrap.wrap(scalar, private, key=KEY, version=VERSION))


def unwrap() -> Prepared:
    """The same back."""
    scalar = ED25519.random_scalar()
    wrapped = p256_wrap.wrap(scalar, Secret.random(), key=KEY, version=VERSION)
    return Prepared(secrets=[scalar], call=lambda: p256_wrap.unwrap(scalar, wrapped, key=KEY, version=VERSION))


def sign_imported() -> Prepared:
    """An assembler that joins the scalar and unwraps the key."""
    scalar, private = ED25519.random_scalar(), Secret.random()
    wrapped = p256_wrap.wrap(scalar, private, key=KEY, version=VERSION)
    shares, commitments = shamir.split(ED25519, scalar, 2, (1, 2, 3))
    used = {i: shares[i] for i in (1, 3)}
    public_shares = {i: ED25519.base_mult(share) for i, share in used.items()}
    public_key = p256.public_of(private)

    def run() -> None:
        p256.sign_p256(
            shares=used,
            group_key=commitments[0],
            public_shares=public_shares,
            public_key=public_key,
            key=KEY,
            version=VERSION,
            digest=DIGEST,
            wrapped=wrapped,
        )

    return Prepared(secrets=list(used.values()), call=run)


def public_of() -> Prepared:
    """The public half of a P-256 key."""
    private = Secret.random()
    return Prepared(secrets=[private], call=lambda: p256.public_of(private))


def private_of() -> Prepared:
    """A generated P-256 key at a client that exports it."""
    scalar = ED25519.random_scalar()
    return Prepared(secrets=[scalar], call=lambda: p256.private_of(scalar, key=KEY, version=VERSION))
