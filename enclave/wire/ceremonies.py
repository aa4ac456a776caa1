"""Orders, rounds, certificates and questions of a ceremony (specs/ceremonies.md)."""

from __future__ import annotations

import msgspec

from enclave.wire.documents import CertificateSignature
from enclave.wire.message import Message, tagged

ABORT_ROUND = 0
"""Round number of a participant's word that it will never prepare."""


class CeremonyMessage(Message, frozen=True):
    """One participant's message of one round; signed over ceremony_message_bytes()."""

    session: bytes
    round: int
    slot: str
    boot_counter: int
    payload: bytes
    signature: bytes


class KeySource(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A key version a ceremony starts from; `body` is its certificate, for participants that do not hold it."""

    key: str
    version: int
    epoch: int
    body: bytes = b""


class CeremonyStart(Message, frozen=True):
    """Round 1: the order and who takes part.

    Key generation: `token` over the exact `body`, and the id of the `key` it makes.  All others: `body` is the signed
    order, empty where the roster's schedule orders a refresh, and `sources` are the keys of this batch.
    """

    session: bytes
    kind: str
    token: str
    body: bytes
    key: str
    participants: list[str]
    sources: list[KeySource] = []  # noqa: RUF012  msgspec copies defaults


class CeremonyRound(Message, frozen=True):
    """Rounds 2 and later, and the commit: all participants' messages of the round before."""

    session: bytes
    round: int
    messages: list[CeremonyMessage]


class CeremonyCommitted(Message, frozen=True):
    """A node's signatures over the certificates of the keys it holds since a commit."""

    certificates: list[CertificateSignature]


class CeremonyQuery(Message, frozen=True):
    """Ask about one session."""

    session: bytes


class CeremonyDiscard(Message, frozen=True):
    """Deliver an abort certificate: one participant's signed abort."""

    session: bytes
    message: CeremonyMessage


class CeremonyStanding(Message, frozen=True):
    """How far a session got at one node."""

    state: str
    """`unknown`, `running`, `prepared`, `committed` or `aborted`."""
    kind: str = ""
    prepared_at: int = 0
    """Unix seconds."""
    participants: list[str] = []  # noqa: RUF012  msgspec copies defaults
    keys: list[str] = []  # noqa: RUF012  msgspec copies defaults
    """`key/version` of every entry."""
    certificate: list[CeremonyMessage] = []  # noqa: RUF012  msgspec copies defaults
    """Own prepare while prepared; the commit or abort certificate afterwards."""


class CeremonyProof(Message, frozen=True):
    """Proof of a named culprit, empty if there is none (enclave.ceremonies.proof)."""

    proof: bytes


def ceremony_message_bytes(message: CeremonyMessage) -> bytes:
    """What the sender of a ceremony message signs."""
    return tagged(
        "ceremony-message",
        message.session,
        message.round.to_bytes(4, "big"),
        message.slot.encode(),
        message.boot_counter.to_bytes(8, "big"),
        message.payload,
    )
