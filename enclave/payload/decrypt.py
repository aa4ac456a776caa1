"""The bodies of decrypt and rewrap requests, and the HPKE info their encryption context stands for.

Rules kept (specs/threshold-decryption.md): where the plaintext goes is inside the body the token covers, and it is
exactly one of: the gateway, a recipient key, or, opened inside a named enclave, another key of the cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from attestation.canonical import canonical_json, parse_json
from attestation.errors import CodedError, DocumentError
from enclave.errors import CallerError
from enclave.fields import Fields
from enclave.ids import check_id, check_name
from enclave.key_specs import NODES_MAX
from enclave.payload.ciphertext import KeyReference, split_ciphertext
from enclave.wire.message import tagged

ENC_BYTES = 32
"""HPKE encapsulated key of DHKEM(X25519)."""

TAG_BYTES = 16
"""AEAD tag: a ciphertext is never shorter than enc and tag."""

CIPHERTEXT_BYTES_MAX = 700 << 10
"""Largest ciphertext in bytes: its base64url fits a 1 MiB body."""

OPENED_BYTES_MAX = 64 << 10
"""Largest ciphertext in bytes that an enclave opens: its plaintext has to fit one arena of locked memory."""

CONTEXT_MAX = 32
"""Most members of an encryption context."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RewrapTarget:
    """The key a plaintext is sealed to again, inside the enclave that opened it."""

    key: str
    context: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecryptBody:
    """What a decrypt or rewrap request asks for."""

    enc: bytes
    """Encapsulated key, 32 bytes."""
    ciphertext: bytes
    """AEAD ciphertext with its tag, without `enc`."""
    context: Mapping[str, str]
    recipient: bytes | None
    """X25519 public key the partial results are sealed to; None lets the gateway see the plaintext."""

    reference: KeyReference | None = None
    """The key the ciphertext says it belongs to, if it says so."""
    opener: str | None = None
    """Slot of the node that opens inside its enclave; None: the caller combines the partial results."""
    target: RewrapTarget | None = None
    """Key that the plaintext is sealed to; None: it goes to the recipient."""
    proofs: bool = False
    """Whether each partial result must come with a proof."""
    without: tuple[str, ...] = ()
    """Slots that must not take part, because the caller has proven them wrong."""

    @property
    def kind(self) -> str:
        """What policy sees: `decrypt` or `rewrap`."""
        return "decrypt" if self.target is None else "rewrap"

    @property
    def info(self) -> bytes:
        """HPKE info of the context."""
        return context_info(self.context)


def context_info(context: Mapping[str, str]) -> bytes:
    """HPKE info: empty for an empty context, so that a stock sender without info works."""
    return tagged("context", canonical_json(dict(context))) if context else b""


def parse_decrypt_body(body: bytes) -> DecryptBody:
    """Read the body of `POST /v1/keys/{key}/decrypt`, or of `/rewrap`, which has a member `to`.

    Raises CallerError: `payload.malformed`, `payload.ciphertext`, `payload.too-large`, `payload.recipient`,
    `payload.opener`, JSON codes.
    """
    try:
        value = parse_json(body, depth_max=4)
    except DocumentError as error:
        raise CallerError(error.detail, code=error.code, hint=error.hint) from None
    fields = Fields(value, where="", error=_malformed)
    reference, sealed = split_ciphertext(fields.base64("ciphertext", size_max=CIPHERTEXT_BYTES_MAX))
    context = read_context(fields)
    recipient = fields.base64("recipient") if "recipient" in fields else None
    opener = fields.label("opened_in_enclave") if "opened_in_enclave" in fields else None
    target = _read_target(fields)
    proofs = fields.boolean("proofs", default=False)
    without = _read_without(fields)
    fields.done()
    if target is None and opener is not None and recipient is None:
        raise CallerError("what an enclave opens is sealed to a recipient", code="payload.recipient")
    if target is not None and recipient is not None:
        raise CallerError("a rewrapped plaintext has no recipient", code="payload.recipient")
    if target is not None and opener is None:
        raise CallerError("rewrapping needs opened_in_enclave", code="payload.opener")
    if opener is not None and (proofs or opener in without):
        raise CallerError("the enclave that opens checks proofs itself, and takes part", code="payload.opener")
    if opener is not None and len(sealed) > OPENED_BYTES_MAX:
        raise CallerError(
            f"an enclave opens at most {OPENED_BYTES_MAX} bytes",
            code="payload.too-large",
            hint="encrypt a data key, and the data with that",
        )
    if len(sealed) < ENC_BYTES + TAG_BYTES:
        raise CallerError("expected an encapsulated key, a ciphertext and a tag", code="payload.ciphertext")
    if recipient is not None and not is_usable_x25519(recipient):
        raise CallerError("expected a 32-byte X25519 public key", code="payload.recipient")
    return DecryptBody(
        enc=sealed[:ENC_BYTES],
        ciphertext=sealed[ENC_BYTES:],
        context=context,
        recipient=recipient,
        reference=reference,
        opener=opener,
        target=target,
        proofs=proofs,
        without=without,
    )


def read_context(fields: Fields, name: str = "context") -> dict[str, str]:
    """The optional member `context`: an object of short texts."""
    if name not in fields:
        return {}
    context = fields.mapping(name, high=CONTEXT_MAX)
    for value in context.values():
        if not isinstance(value, str) or len(value) > 1024:
            fields.refuse("expected texts of at most 1024 characters", name)
    return context


def is_usable_x25519(public_key: bytes) -> bool:
    """Whether a shared secret with this key would be secret (32 bytes, not of low order; the top bit is ignored)."""
    if len(public_key) != 32:
        return False
    return public_key[:31] + bytes([public_key[31] & 0x7F]) not in LOW_ORDER_POINTS


def _read_target(fields: Fields) -> RewrapTarget | None:
    if "to" not in fields:
        if "to_context" in fields:
            fields.refuse("only rewrapped plaintexts have it", "to_context")
        return None
    return RewrapTarget(key=check_id(fields.take("to"), "key"), context=read_context(fields, "to_context"))


def _read_without(fields: Fields) -> tuple[str, ...]:
    if "without" not in fields:
        return ()
    return tuple(check_name(slot) for slot in fields.texts("without", low=1, high=NODES_MAX))


def _malformed(detail: str) -> CodedError:
    return CallerError(detail, code="payload.malformed")


LOW_ORDER_POINTS = frozenset(
    bytes.fromhex(point)
    for point in (
        # RFC 7748 section 6.1: inputs whose shared secret is zero (as listed by https://cr.yp.to/ecdh.html).
        "00" * 32,
        "01" + "00" * 31,
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    )
)
