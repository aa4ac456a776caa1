"""P-256 keys at the nodes: derived in a named assembler, stated under its identity, used once per request."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from attestation.canonical import canonical_json
from attestation.envelope import b64url
from enclave.certificate import KeyCertificate, certificate_from_json, certificate_to_json
from enclave.derived_key import derived_key_bytes, with_derived_key
from enclave.errors import PeerError
from enclave.group.ed25519 import ED25519
from enclave.group.secp256k1 import SECP256K1
from enclave.secret import declassify
from enclave.threshold import bip340, p256
from enclave.threshold.shamir import combine, split
from enclave.wire.ceremonies import CeremonyRound
from enclave.wire.decrypt import OpenRequest, PartialRequest
from enclave.wire.documents import CertificateRequest, CertificateSignature
from enclave.wire.ecdsa import EcdsaStart
from enclave.wire.message import tagged
from enclave.wire.reconstruct import AssembleRequest, P256Derive, P256Release, ReleaseRequest, SealedShare
from enclave.wire.signing import SchnorrSignRequest
from tests.enclave.node.codes import code_of
from tests.enclave.node.world import World, message_body

SIGNERS = ["node-1", "node-2", "node-3"]
BODY = message_body(b"hello")


class Made:
    """A new key, its order, and what derives its public key."""

    def __init__(self, world: World, session: bytes = b"s" * 32) -> None:
        self.world = world
        self.order = world.order(spec="p256-ecdsa", custody="reconstruct")
        start = world.ceremony_start(self.order, session=session)
        self.token = start.token
        commit = CeremonyRound(session=session, round=4, messages=world.run_rounds(start))
        self.key = world.verified([world.commit(slot, commit) for slot in start.participants])

    def release(self, slot: str, **changes: Any) -> SealedShare:
        """One share for the assembler."""
        fields: dict[str, Any] = {
            "token": self.token, "body": self.order, "signers": SIGNERS, "assembler": "node-1",
        } | changes  # fmt: skip
        share: SealedShare = self.world.call(slot, "p256-release", P256Release(**fields))
        return share

    def derive(self, assembler: str = "node-1") -> None:
        """The public key at one assembler."""
        shares = []
        for slot in SIGNERS:
            if slot != assembler:
                self.world.open_channel(slot, assembler)
                shares.append(self.release(slot, assembler=assembler))
        self.world.call(assembler, "p256-derive", self.deriving(shares))

    def deriving(self, shares: list[SealedShare], **changes: Any) -> P256Derive:
        """The request to an assembler."""
        fields: dict[str, Any] = {
            "token": self.token, "body": self.order, "signers": SIGNERS, "shares": shares,
        } | changes  # fmt: skip
        return P256Derive(**fields)

    def signatures(self) -> list[CertificateSignature]:
        """Every holder's certificate signature as it is now."""
        request = CertificateRequest(key=self.key.key)
        return [self.world.call(slot, "certificate", request) for slot in self.world.slots]

    def stated(self) -> KeyCertificate:
        """The certificate with the stated public key, as a client verifies it."""
        return with_derived_key(self.key, self.signatures(), identities(self.world))


def identities(world: World) -> dict[str, bytes]:
    """Slot -> identity key."""
    return {slot: node.identity.public.identity_key for slot, node in world.nodes.items()}


@pytest.fixture
def made(ready: World) -> Made:
    """A key whose public key both assemblers know."""
    key = Made(ready)
    key.derive("node-1")
    key.derive("node-2")
    ready.now += 1
    return key


def test_the_key_is_hkdf_of_the_shared_scalar(ready: World, made: Made) -> None:
    """Recomputed here with plain integers and another HKDF call from the joined shares."""
    shares = {node.index: ready.nodes[node.slot].keys.get(made.key.key, 1).share for node in made.key.nodes[:3]}
    info = tagged("p256-key", made.key.key.encode(), (1).to_bytes(4, "big"), bytes(4))
    scalar = declassify(combine(ED25519, shares))
    private = int.from_bytes(HKDF(hashes.SHA256(), 32, None, info).derive(scalar), "big")
    expected = ec.derive_private_key(private, ec.SECP256R1()).public_key().public_numbers()
    found = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), made.stated().public_key).public_numbers()
    assert found == expected


@pytest.mark.parametrize(("signers", "assembler"), [(SIGNERS, "node-1"), (["node-3", "node-4", "node-5"], "node-2")])
def test_openssl_verifies_the_signature(ready: World, made: Made, signers: list[str], assembler: str) -> None:
    """Either assembler, in the signer set or not, signs the SHA-256 of the message under the stated key."""
    reply = ready.assemble(made.key, BODY, signers=signers, assembler=assembler)
    r, s = int.from_bytes(reply.signature[:32], "big"), int.from_bytes(reply.signature[32:], "big")
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), made.stated().public_key)
    public.verify(encode_dss_signature(r, s), b"hello", ec.ECDSA(hashes.SHA256()))
    assert (s <= p256.ORDER // 2, reply.recovery_id) == (True, 0)


def test_the_certificate_names_the_group_key_only(made: Made) -> None:
    """Nodes sign what they know; the JSON form carries the assemblers' statements beside it."""
    assert (made.key.public_key, len(made.key.group_key or b"")) == (b"", 32)
    signatures = made.signatures()
    body, read = certificate_from_json(certificate_to_json(signatures[0].body, signatures))
    assert list(read) == signatures
    assert KeyCertificate.parse(body) == made.key
    assert [bool(item.derived_key) for item in signatures] == [True, True, False, False, False]


def test_statements_survive_a_restart(ready: World, made: Made) -> None:
    """The new boot signs the kept public key again and signs with the same key."""
    before = made.stated().public_key
    for slot in ("node-1", "node-2"):
        ready.stop(slot)
        ready.start(slot)
    ready.attest()
    ready.now += 2
    assert made.stated().public_key == before
    ready.assemble(made.key, BODY, signers=SIGNERS, assembler="node-1")


def forged(world: World, made: Made, slot: str, public_key: bytes, signer: str | None = None) -> CertificateSignature:
    """A statement of another public key."""
    signature = next(item for item in made.signatures() if item.slot == slot)
    statement = derived_key_bytes(made.key, slot=slot, boot_counter=signature.boot_counter, public_key=public_key)
    signed = world.nodes[signer or slot].identity.sign(statement)
    return msgspec.structs.replace(signature, derived_key=public_key, derived_signature=signed)


def test_only_named_attested_assemblers_state_a_key(ready: World, made: Made) -> None:
    """Another holder's word, one under another identity key, contradicting ones and no point are all no key."""
    other = ec.derive_private_key(7, ec.SECP256R1()).public_key()
    point = other.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    for statements in (
        [],
        [forged(ready, made, "node-3", point)],
        [forged(ready, made, "node-1", point, signer="node-3")],
        [forged(ready, made, "node-1", point), made.signatures()[1]],
        [forged(ready, made, "node-1", b"\2" + b"\xff" * 32)],
        [msgspec.structs.replace(made.signatures()[0], derived_signature=bytes(64))],
    ):
        with pytest.raises(PeerError) as caught:
            with_derived_key(made.key, statements, identities(ready))
        assert caught.value.code == "certificate.derived-key"
    with pytest.raises(PeerError):
        with_derived_key(made.key, made.signatures(), {})
    assert with_derived_key(made.key, made.signatures()[:1], identities(ready)).public_key != point


def test_shares_travel_for_the_order_that_made_the_key(ready: World, made: Made) -> None:
    """Another order's token, an agent's, an unnamed assembler, wrong counts and repeats are refused."""
    other = Made(ready, session=b"t" * 32)
    ready.open_channel("node-2", "node-1")
    body = ready.order(name="else", spec="p256-ecdsa", custody="reconstruct")
    assert code_of(made.release, "node-2", token=ready.order_token(body), body=body) == "key.unknown"
    claims = {"issuer": ready.agent_id, "signer": ready.agent}
    assert code_of(made.release, "node-2", token=ready.order_token(made.order, **claims)) == "token.unknown-key"
    assert code_of(made.release, "node-2", body=body) == "token.body"
    assert code_of(other.release, "node-2", assembler="node-3") == "assembler.not-named"
    assert code_of(other.release, "node-2", signers=SIGNERS[:2]) == "signers.count"
    assert code_of(other.release, "node-4") == "signers.not-member"
    for _ in range(3):
        other.release("node-2")
    assert code_of(other.release, "node-2") == "token.replayed"


def test_other_kinds_of_keys_are_not_derived(ready: World) -> None:
    """The verbs release nothing of a key whose public key nodes know."""
    body = ready.order(spec="secp256k1-ecdsa", usage="evm", custody="reconstruct")
    start = ready.ceremony_start(body, session=b"u" * 32)
    commit = CeremonyRound(session=b"u" * 32, round=4, messages=ready.run_rounds(start))
    for slot in ready.slots:
        ready.commit(slot, commit)
    request = P256Release(token=start.token, body=body, signers=SIGNERS, assembler="node-1")
    assert code_of(ready.call, "node-2", "p256-release", request) == "key.spec"


def test_wrong_shares_at_the_assembler(ready: World) -> None:
    """Missing and foreign shares are refused; shares of one purpose do not serve the other."""
    made = Made(ready)
    for slot in ("node-2", "node-3"):
        ready.open_channel(slot, "node-1")
    shares = [made.release("node-2"), made.release("node-3")]
    assert code_of(ready.call, "node-1", "p256-derive", made.deriving(shares[:1])) == "signers.shares"
    assert code_of(ready.call, "node-2", "p256-derive", made.deriving(shares)) == "signers.shares"
    ready.now += 1
    token = ready.token(made.key, BODY)
    request = AssembleRequest(token=token, body=BODY, signers=SIGNERS, shares=shares)
    assert code_of(ready.call, "node-1", "assemble", request) == "channel.unreadable"


def test_a_wrong_share_names_its_sender(ready: World) -> None:
    """A holder that seals another scalar is named by its slot, and no public key is kept."""
    made = Made(ready)
    keys = ready.nodes["node-3"].keys
    keys._keys[f"{made.key.key}/1"] = replace(keys.get(made.key.key, 1), share=ED25519.random_scalar())
    with pytest.raises(PeerError) as caught:
        made.derive("node-1")
    assert (caught.value.code, caught.value.culprits) == ("share.invalid", ("node-3",))
    assert not any(item.derived_key for item in made.signatures())


def test_a_stopped_key_gets_no_public_key(ready: World) -> None:
    """Disabled or frozen within its order's minute, a key's shares stay where they are."""
    made = Made(ready)
    ready.open_channel("node-2", "node-1")
    ready.put(ready.key_state(made.key.key, "disabled"))
    assert code_of(made.release, "node-2") == "key.disabled"
    assert code_of(ready.call, "node-1", "p256-derive", made.deriving([])) == "key.disabled"


def test_shares_of_the_scalar_serve_nothing_else(ready: World, made: Made) -> None:
    """The shared scalar is one of edwards25519: no Ed25519 signature, no partial decryption, no release with it."""
    token = ready.token(made.key, BODY)
    slots = SIGNERS
    frost = ready.sign_requests(slots, token, BODY)["node-1"]
    assert code_of(ready.call, "node-1", "sign", frost) == "key.spec"
    aggregate = bip340.aggregate_nonces({1: SECP256K1.base_mult_public(3) + SECP256K1.base_mult_public(5)})
    schnorr = SchnorrSignRequest(token=token, body=BODY, nonce=frost.nonce, signers=slots, aggregate_nonce=aggregate)
    assert code_of(ready.call, "node-1", "schnorr-sign", schnorr) == "key.spec"
    ecdsa = EcdsaStart(token=token, body=BODY, signers=slots, attempt=1)
    assert code_of(ready.call, "node-1", "ecdsa-start", ecdsa) in ("key.spec", "key.custody")
    body = canonical_json({"ciphertext": b64url(b"\x09" + bytes(47))})
    partial = PartialRequest(token=ready.token(made.key, body, act="decrypt"), body=body, signers=slots)
    assert code_of(ready.call, "node-1", "partial", partial) == "key.spec"
    opening = OpenRequest(token=ready.token(made.key, body, act="decrypt"), body=body, signers=slots, rows=[])
    assert code_of(ready.call, "node-1", "open", opening) == "key.spec"


def test_an_assembler_without_the_public_key_does_not_sign(ready: World) -> None:
    """Without something to check the derived key against, nothing is signed."""
    made = Made(ready)
    made.derive("node-1")
    ready.now += 1
    code = code_of(lambda: ready.assemble(made.key, BODY, signers=SIGNERS, assembler="node-2"))
    assert code == "key.no-public-key"
    ready.assemble(made.key, BODY, signers=SIGNERS, assembler="node-1")


def test_no_children(ready: World, made: Made) -> None:
    """Custody `reconstruct` has none."""
    body = canonical_json({"kind": "message", "message": b64url(b"hello"), "path": "m/0"})
    request = ReleaseRequest(token=ready.token(made.key, body), body=body, signers=SIGNERS, assembler="node-1")
    assert code_of(ready.call, "node-2", "release", request) == "derive.refused"


@pytest.mark.parametrize(
    "value", [b"", bytes(64), b"\xff" * 64, (1).to_bytes(32, "big") + p256.ORDER.to_bytes(32, "big")]
)
def test_what_is_no_signature_verifies_nothing(value: bytes) -> None:
    """Sizes and ranges are checked before OpenSSL sees them."""
    assert not p256.verifies(b"\2" * 33, value, bytes(32))


def test_high_s_is_not_accepted() -> None:
    """One spelling per signature."""
    with ED25519.random_scalar() as scalar:
        shares, commitments = split(ED25519, scalar, 2, [1, 2])
    facts: dict[str, Any] = {
        "shares": shares, "group_key": commitments[0], "key": "key_a", "version": 1,
        "public_shares": {i: ED25519.base_mult(share) for i, share in shares.items()},
    }  # fmt: skip
    public = p256.derive_public(**facts)
    signature = p256.sign_p256(**facts, public_key=public, digest=bytes(31) + b"\1")
    high = signature[:32] + (p256.ORDER - int.from_bytes(signature[32:], "big")).to_bytes(32, "big")
    assert p256.verifies(public, signature, bytes(31) + b"\1")
    assert not p256.verifies(public, high, bytes(31) + b"\1")
    assert code_of(lambda: p256.sign_p256(**facts, public_key=b"\2" * 33, digest=bytes(32))) == "protocol.abort"
    assert code_of(lambda: p256.sign_p256(**facts, public_key=public, digest=b"short")) == "digest.size"
