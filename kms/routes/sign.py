"""POST /v1/keys/{key}/sign: one payload, signed by a quorum of nodes that each read and judged it themselves."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from attestation.envelope import b64url
from enclave.addresses import keccak256
from enclave.key_specs import ECDSA_SPECS, P256, Custody
from enclave.payload.finished import finished_ecdsa, finished_schnorr
from enclave.payload.sign import Payload, parse_sign_body, signed_transaction
from enclave.tokens import Act
from kms.admission import Outcome
from kms.approvals.desk import executed_or_parked
from kms.endpoint import Answer, Context, Endpoint, outcome
from kms.errors import RequestError
from kms.fleet.ecdsa import sign_threshold_ecdsa
from kms.fleet.ecdsa_signature import EcdsaSignature
from kms.fleet.reconstruct import sign_ecdsa
from kms.fleet.schemes import Bip340, Ed25519
from kms.fleet.signing import sign_schnorr
from kms.keys import Key
from kms.renewal import on_newest_shares
from kms.routes.payloads import SignatureJson, Signed, SignRequest, check_sign_body
from kms.routes.shapes import usable_key

SCHEMES = {scheme.suite: scheme for scheme in (Ed25519, Bip340)}
"""Key spec -> one-round scheme."""


async def sign(context: Context) -> Answer:
    """Check early, admit, have the nodes sign or wait for people, settle."""
    return await executed_or_parked(context, await checked(context), perform)


async def checked(context: Context) -> Key:
    """The key, if what is asked of it can be done at all; raises what the nodes would."""
    key = await usable_key(context)
    payload = parse_sign_body(context.body, key.certificate.usage, key.certificate.spec)
    check_sign_body(context.body)
    key.child(payload.path)
    if payload.not_after is not None and payload.not_after < context.gateway.fleet.clock():
        raise RequestError("the request's not_after has passed", code="request.not-after")
    return key


@on_newest_shares
async def perform(context: Context, key: Key) -> Outcome:
    """Have the nodes sign an admitted request."""
    payload = parse_sign_body(context.body, key.certificate.usage, key.certificate.spec)
    key = key.child(payload.path)
    if key.certificate.spec in ECDSA_SPECS:
        return await _ecdsa(context, key, payload)
    return await _schnorr(context, key, payload)


async def _schnorr(context: Context, key: Key, payload: Payload) -> Outcome:
    call = context.caller
    assert payload.message is not None
    scheme = SCHEMES[key.certificate.spec](
        key, token=call.token_text, body=call.body, message=payload.message, item=call.item
    )
    made = await sign_schnorr(context.gateway.fleet, key, scheme)
    for slot, parts in made.outputs.items():
        context.gateway.logs.note_output(call.token.request_id, slot, scheme.commitment, parts)
    signature = b64url(made.signature)
    whole = _whole(finished_schnorr(payload, made.signature))
    is_ed25519 = scheme.suite == "ed25519"
    signed = Signed(
        key=key.key,
        kind=payload.kind,
        request_id=call.token.request_id.hex(),
        signers=list(made.signers),
        signature=SignatureJson(
            ed25519=signature if is_ed25519 else None,
            bip340=None if is_ed25519 else signature,
            psbt=whole.get("psbt"),
            token=whole.get("token"),
        ),
    )
    return outcome(signed, facts={"signers": list(made.signers), **_culprits(made.culprits)})


async def _ecdsa(context: Context, key: Key, payload: Payload) -> Outcome:
    call, gateway = context.caller, context.gateway
    assert payload.digest is not None
    work = sign_ecdsa if key.certificate.custody is Custody.RECONSTRUCT else sign_threshold_ecdsa
    made = await work(
        gateway.fleet,
        gateway.relay,
        key,
        token=call.token_text,
        body=call.body,
        digest=payload.digest,
        item=call.item,
    )
    signed = Signed(
        key=key.key,
        kind=payload.kind,
        request_id=call.token.request_id.hex(),
        signers=list(made.signers),
        signature=_ecdsa_json(payload, made, key),
    )
    assembler = {} if made.assembler is None else {"assembler": made.assembler}
    return outcome(signed, facts={"signers": list(made.signers), **assembler, **_culprits(made.culprits)})


def _whole(parts: dict[str, bytes]) -> dict[str, str]:
    """A finished token is text already; a PSBT is bytes."""
    return {name: value.decode("ascii") if name == "token" else b64url(value) for name, value in parts.items()}


def _ecdsa_json(payload: Payload, made: EcdsaSignature, key: Key) -> SignatureJson:
    raw = hashed = None
    whole = _whole(finished_ecdsa(payload, made.r, made.s, key.certificate.public_key))
    if payload.kind == "evm_transaction":
        transaction = signed_transaction(payload, made.r, made.s, made.y_parity)
        raw, hashed = "0x" + transaction.hex(), "0x" + keccak256(transaction).hex()
    return SignatureJson(
        r=f"{made.r:064x}",
        s=f"{made.s:064x}",
        y_parity=made.y_parity if key.certificate.spec != P256 else None,
        der=b64url(der_of(made.r, made.s)),
        raw_transaction=raw,
        transaction_hash=hashed,
        psbt=whole.get("psbt"),
        token=whole.get("token"),
    )


def der_of(r: int, s: int) -> bytes:
    """The ASN.1 form of an ECDSA signature."""
    return encode_dss_signature(r, s)


def _culprits(slots: tuple[str, ...]) -> dict[str, object]:
    return {"culprits": list(slots)} if slots else {}


ENDPOINTS = (
    Endpoint(
        method="POST", path="/v1/keys/{key}/sign", summary="Sign one payload", handler=sign, act=Act.SIGN,
        request=SignRequest, reply=Signed, tag="use", may_wait=True,
    ),
)  # fmt: skip
