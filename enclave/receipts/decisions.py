"""From a handled verb to its leaf: who asked, for what, under which policy and key, with whom, and what left the node.

Rules kept: a request whose token verified gets one leaf, allowed or not; what nobody signed gets none, so that
strangers cannot fill a log; an output is committed to, never written; a refusal is logged at most three
times per request, as often as it could have been executed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attestation.errors import CodedError
from attestation.receipts.entry import ALLOW, DENY, Decision, output_digest
from enclave.ceremonies.steps import Work, completed
from enclave.certificate import KeyCertificate
from enclave.ecdsa_sessions import RELEASE_ROUND
from enclave.errors import RefusedError, StorageError, TokenError
from enclave.ledger import Ledger
from enclave.receipts.asked import Asked
from enclave.receipts.outputs import OUTPUTS, message_digest
from enclave.tokens import key_resource
from enclave.wire.message import Message

if TYPE_CHECKING:
    from enclave.state import NodeState

SIGNERS_MAX = 64
"""Longest signer set a leaf takes down: no roster has more slots."""

ATTEMPTS_KEPT = 1024
"""ECDSA attempts between their first round and their release: twice what can be running."""

DOCUMENTS_KEPT = 4096
"""Documents and keys taken in this boot that are remembered: repeated deliveries get no second leaf."""


class Journal:
    """What turning verbs into leaves has to remember."""

    def __init__(self) -> None:
        self.refused = Ledger()
        self.attempts: dict[bytes, tuple[Asked, list[str]]] = {}
        self.documents: dict[bytes, None] = {}


def decided(
    node: NodeState,
    verb: str,
    handler: Callable[[Any, int, Any, int], Message | Work[Any]],
    connection: int,
    request: Any,
    now: int,
) -> Message | Work[Any]:
    """Run `handler` and write down what came of it; long work, once it is done."""
    receipts = node.receipts
    receipts.asked = None
    try:
        reply = handler(node, connection, request, now)
    except StorageError:
        raise
    except CodedError as error:
        asked = receipts.take_asked()
        if asked is not None:
            _refuse(node, verb, asked, request, error.code, now)
        raise
    asked = receipts.take_asked()
    if not isinstance(reply, Message):
        return _afterwards(node, verb, asked, request, reply, now)
    RECORDED[verb](node, verb, asked, request, reply, now)
    return reply


def _afterwards(node: NodeState, verb: str, asked: Asked | None, request: Any, work: Work[Any], now: int) -> Work[Any]:
    try:
        reply = yield from work
    except StorageError:
        raise
    except CodedError as error:
        if asked is not None:
            _refuse(node, verb, asked, request, error.code, now)
        raise
    if verb == "ceremony-commit":
        yield from _came_into_force(node, verb, _certified(node, request.session), request.session, now)
    else:
        RECORDED[verb](node, verb, asked, request, reply, now)
    return reply


def _refuse(node: NodeState, verb: str, asked: Asked, request: Any, code: str, now: int) -> None:
    token = asked.token
    try:
        node.journal.refused.take(verb.encode(), token.request_id, expires_at=token.expires_at, now=now)
        node.receipts.check_room()
    except (TokenError, RefusedError):
        return
    known = {entry.slot for entry in node.roster.slots}
    signers = [slot for slot in _signers(request)[:SIGNERS_MAX] if slot in known]
    _write(node, verb, asked, signers, now, code=code[:64], target=_target(request, known))


def _write(
    node: NodeState,
    verb: str,
    asked: Asked,
    signers: list[str],
    now: int,
    *,
    code: str = "",
    target: str = "",
    subject: bytes = b"",
    output: bytes = b"",
) -> None:
    receipts, token, held = node.receipts, asked.token, asked.key
    receipts.append(
        Decision(
            time=now,
            verb=verb,
            outcome=DENY if code else ALLOW,
            code=code,
            request_id=token.request_id,
            principal=token.issuer,
            credential=token.kid,
            resource=token.resource,
            epoch=held.certificate.epoch if held is not None else 0,
            certificate=hashlib.sha256(held.body).digest() if held is not None else b"",
            policy=asked.policy,
            policy_version=asked.policy_version,
            rule=asked.rule,
            members=receipts.verdicts.members(node.verdicts, signers, now),
            target=target,
            subject=subject,
            output=output,
        ).encode()
    )


def _signers(request: Any) -> list[str]:
    """The slots of a signer set, whichever form the verb gives it."""
    listed = getattr(request, "signers", None) or getattr(request, "participants", None) or []
    return [item if isinstance(item, str) else item.slot for item in listed]


def _receiver(asked: Asked, request: Any) -> str:
    """The node that a share or partial is for: the request's assembler, or the body's opener."""
    return getattr(request, "assembler", "") or getattr(asked.payload, "opener", None) or ""


def _target(request: Any, known: set[str]) -> str:
    slot = getattr(request, "assembler", "")
    return slot if slot in known else ""


# --- one function per verb -----------------------------------------------------------------------------


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _use(node: NodeState, verb: str, asked: Asked | None, request: Any, reply: Any, now: int) -> None:
    """A use of a share by a signer set."""
    if asked is None:
        return
    output = OUTPUTS.get(verb)
    signers = _signers(request)
    if verb == "ecdsa-start":
        attempts = node.journal.attempts
        while len(attempts) >= ATTEMPTS_KEPT:
            del attempts[next(iter(attempts))]
        attempts[reply.session] = (asked, signers)
    scheme, parts = output(asked, request, reply) if output is not None else ("", ())
    _write(
        node,
        verb,
        asked,
        signers,
        now,
        target=node.slot if verb == "assemble" else _receiver(asked, request),
        output=output_digest(scheme, *parts) if scheme else b"",
    )


def _ecdsa_round(node: NodeState, _verb: str, _asked: Asked | None, request: Any, reply: Any, now: int) -> None:
    """The last round releases this node's part of the signature."""
    if request.round != RELEASE_ROUND:
        return
    begun = node.journal.attempts.pop(request.session, None)
    if begun is not None:
        asked, signers = begun
        output = output_digest("ecdsa-share", message_digest(asked), reply.session, reply.payload)
        _write(node, "ecdsa-release", asked, signers, now, output=output)


def _order(node: NodeState, verb: str, asked: Asked | None, request: Any, _reply: Any, now: int) -> None:
    """An operator's order, and who takes part."""
    if asked is not None:
        known = {entry.slot for entry in node.roster.slots}
        signers = [slot for slot in _signers(request)[:SIGNERS_MAX] if slot in known]
        _write(node, verb, asked, signers, now, subject=_digest(getattr(request, "body", b"")))


def _commit(node: NodeState, verb: str, _asked: Asked | None, request: Any, _reply: Any, now: int) -> None:
    """Keys came into force: by the participants' own signatures, no token."""
    completed(_came_into_force(node, verb, _certified(node, request.session), request.session, now))


def _import_commit(node: NodeState, verb: str, _asked: Asked | None, request: Any, reply: Any, now: int) -> None:
    """An imported key came into force: by every holder's acceptance, no token."""
    certified = [(reply.body, KeyCertificate.parse(reply.body))]
    completed(_came_into_force(node, verb, certified, request.transcript, now))


def _certified(node: NodeState, session: bytes) -> list[tuple[bytes, KeyCertificate]]:
    return [(held.body, held.certificate) for held in node.keys.made_by(session)]


def _came_into_force(
    node: NodeState, verb: str, certified: list[tuple[bytes, KeyCertificate]], session: bytes, now: int
) -> Work[None]:
    """One leaf per key, with a pause for other requests after each."""
    for body, certificate in certified:
        yield
        if not _is_new(node, verb, body):
            continue
        node.receipts.append(
            Decision(
                time=now,
                verb=verb,
                outcome=ALLOW,
                resource=key_resource(certificate.key, certificate.version),
                epoch=certificate.epoch,
                certificate=_digest(body),
                policy=certificate.policy,
                members=node.receipts.verdicts.members(node.verdicts, certificate.slots, now),
                subject=_digest(session),
            ).encode()
        )


def _document(node: NodeState, verb: str, _asked: Asked | None, _request: Any, reply: Any, now: int) -> None:
    """A signed document counts here from now on."""
    if _is_new(node, verb, reply.digest):
        node.receipts.append(Decision(time=now, verb=verb, outcome=ALLOW, subject=reply.digest).encode())


def _parked(node: NodeState, verb: str, asked: Asked | None, request: Any, reply: Any, now: int) -> None:
    """A request that waits for people, or has what it waited for: by its fingerprint."""
    if asked is not None:
        fingerprint = reply.fingerprint if verb == "park" else request.statements[0].fingerprint
        _write(node, verb, asked, [], now, subject=_digest(fingerprint))


def _ended(node: NodeState, verb: str, _asked: Asked | None, request: Any, _reply: Any, now: int) -> None:
    """A parked request that will never be executed."""
    if _is_new(node, verb, request.request_id):
        node.receipts.append(Decision(time=now, verb=verb, outcome=ALLOW, request_id=request.request_id).encode())


def _is_new(node: NodeState, verb: str, content: bytes) -> bool:
    """Whether this was not written down in this boot already, as far as is remembered."""
    documents, digest = node.journal.documents, _digest(verb.encode() + content)
    if digest in documents:
        return False
    while len(documents) >= DOCUMENTS_KEPT:
        del documents[next(iter(documents))]
    documents[digest] = None
    return True


Record = Callable[["NodeState", str, "Asked | None", Any, Any, int], None]

RECORDED: dict[str, Record] = {
    "sign": _use,
    "schnorr-sign": _use,
    "ecdsa-start": _use,
    "ecdsa-round": _ecdsa_round,
    "release": _use,
    "assemble": _use,
    "p256-release": _use,
    "p256-derive": _use,
    "partial": _use,
    "open": _use,
    "secret-release": _use,
    "secret-put": _order,
    "import-prepare": _order,
    "import-commit": _import_commit,
    "export": _use,
    "ceremony-start": _order,
    "ceremony-commit": _commit,
    "park": _parked,
    "approved": _parked,
    "reject": _ended,
    "cancel": _ended,
    "control": _document,
    "roster": _document,
    "roster-activate": _document,
}
"""The verbs that decide something, and how each becomes a leaf."""
