"""Every verb a node answers, with the types of its request and reply."""

from __future__ import annotations

import msgspec

from enclave.errors import WireError
from enclave.wire.approvals import (
    ApprovedRequest,
    CancelRequest,
    Granted,
    Parked,
    ParkedRequest,
    ParkRequest,
    RejectRequest,
)
from enclave.wire.attestation import (
    ChallengeReply,
    CollateralRequest,
    EvidenceRequest,
    PeerVerdict,
    Presentation,
    RegistryReply,
    RegistryRequest,
    Status,
    VerdictsReply,
)
from enclave.wire.backup import (
    BackupPiece,
    BackupRequest,
    DocumentsReply,
    DocumentsRequest,
    RestoreBegin,
    RestoreMnemonic,
    RestorePiece,
    RestoreStanding,
)
from enclave.wire.budgets import BudgetsReply, BudgetsRequest
from enclave.wire.ceremonies import (
    CeremonyCommitted,
    CeremonyDiscard,
    CeremonyMessage,
    CeremonyProof,
    CeremonyQuery,
    CeremonyRound,
    CeremonyStanding,
    CeremonyStart,
)
from enclave.wire.channel import ChannelOpening, ChannelOpenRequest
from enclave.wire.decrypt import OpenReply, OpenRequest, PartialReply, PartialRequest
from enclave.wire.documents import (
    Acknowledgement,
    CertificateRequest,
    CertificateSignature,
    ControlRequest,
    Holdings,
    PolicyActivation,
)
from enclave.wire.ecdsa import EcdsaAbort, EcdsaMessage, EcdsaRound, EcdsaStart
from enclave.wire.evaluate import EvaluateReply, EvaluateRequest
from enclave.wire.heartbeats import ClockRequest, ForksReply, HeartbeatReply, HeartbeatsReply, HeartbeatsRequest
from enclave.wire.imports import (
    ExportedShare,
    ExportRequest,
    ImportAccepted,
    ImportCommit,
    ImportPrepare,
    ImportQuery,
    ImportsPending,
)
from enclave.wire.message import Empty, Message, decode
from enclave.wire.receipts import LogCheckpointReply, LogCheckpointRequest, LogEntriesReply, LogEntriesRequest
from enclave.wire.reconstruct import (
    AssembleReply,
    AssembleRequest,
    P256Derive,
    P256Release,
    ReleaseRequest,
    SealedShare,
)
from enclave.wire.rosters import Activation, RosterAcknowledgement, RosterOffer, RosterStatus
from enclave.wire.secrets import ReleasedShare, SecretChallenge, SecretNonce, SecretPut, SecretRelease
from enclave.wire.signing import (
    NoncesReply,
    NoncesRequest,
    SchnorrSignReply,
    SchnorrSignRequest,
    SignReply,
    SignRequest,
)
from enclave.wire.witness import ColdStartReply, ColdStartRequest

VERBS: dict[str, tuple[type[Message], type[Message]]] = {
    "status": (Empty, Status),
    "challenge": (Empty, ChallengeReply),
    "evidence": (EvidenceRequest, Presentation),
    "collateral": (CollateralRequest, Empty),
    "registry": (RegistryRequest, RegistryReply),
    "present": (Presentation, PeerVerdict),
    "verdicts": (Empty, VerdictsReply),
    "heartbeat": (Empty, HeartbeatReply),
    "heartbeats": (HeartbeatsRequest, HeartbeatsReply),
    "forks": (Empty, ForksReply),
    "clock-follow": (ClockRequest, Empty),
    "cold-start": (ColdStartRequest, ColdStartReply),
    "channel-open": (ChannelOpenRequest, ChannelOpening),
    "channel-accept": (ChannelOpening, Empty),
    "control": (ControlRequest, Acknowledgement),
    "policy-activate": (PolicyActivation, Empty),
    "roster": (RosterOffer, RosterAcknowledgement),
    "roster-status": (Empty, RosterStatus),
    "roster-activate": (Activation, RosterStatus),
    "holdings": (Empty, Holdings),
    "budgets": (BudgetsRequest, BudgetsReply),
    "ceremony-start": (CeremonyStart, CeremonyMessage),
    "ceremony-round": (CeremonyRound, CeremonyMessage),
    "ceremony-commit": (CeremonyRound, CeremonyCommitted),
    "ceremony-abort": (CeremonyQuery, CeremonyMessage),
    "ceremony-discard": (CeremonyDiscard, Empty),
    "ceremony-standing": (CeremonyQuery, CeremonyStanding),
    "ceremony-proof": (CeremonyQuery, CeremonyProof),
    "certificate": (CertificateRequest, CertificateSignature),
    "nonces": (NoncesRequest, NoncesReply),
    "sign": (SignRequest, SignReply),
    "schnorr-sign": (SchnorrSignRequest, SchnorrSignReply),
    "ecdsa-start": (EcdsaStart, EcdsaMessage),
    "ecdsa-round": (EcdsaRound, EcdsaMessage),
    "ecdsa-abort": (EcdsaAbort, Empty),
    "release": (ReleaseRequest, SealedShare),
    "assemble": (AssembleRequest, AssembleReply),
    "p256-release": (P256Release, SealedShare),
    "p256-derive": (P256Derive, Empty),
    "partial": (PartialRequest, PartialReply),
    "open": (OpenRequest, OpenReply),
    "secret-put": (SecretPut, CertificateSignature),
    "secret-challenge": (SecretChallenge, SecretNonce),
    "secret-release": (SecretRelease, ReleasedShare),
    "evaluate": (EvaluateRequest, EvaluateReply),
    "park": (ParkRequest, Parked),
    "parked": (ParkedRequest, Parked),
    "approved": (ApprovedRequest, Granted),
    "reject": (RejectRequest, Empty),
    "cancel": (CancelRequest, Empty),
    "import-prepare": (ImportPrepare, ImportAccepted),
    "import-commit": (ImportCommit, CertificateSignature),
    "import-pending": (Empty, ImportsPending),
    "import-standing": (ImportQuery, ImportAccepted),
    "export": (ExportRequest, ExportedShare),
    "backup-export": (BackupRequest, BackupPiece),
    "restore-begin": (RestoreBegin, RestoreStanding),
    "restore-piece": (RestorePiece, RestoreStanding),
    "restore-mnemonic": (RestoreMnemonic, RestoreStanding),
    "restore-standing": (Empty, RestoreStanding),
    "restore-documents": (DocumentsRequest, DocumentsReply),
    "restore-end": (Empty, RestoreStanding),
    "log-entries": (LogEntriesRequest, LogEntriesReply),
    "log-checkpoint": (LogCheckpointRequest, LogCheckpointReply),
}
"""Every verb with its request and reply type."""


_REQUESTS = {verb: msgspec.msgpack.Decoder(types[0]) for verb, types in VERBS.items()}


_REPLIES = {verb: msgspec.msgpack.Decoder(types[1]) for verb, types in VERBS.items()}


def decode_request(verb: str, body: bytes | msgspec.Raw) -> Message:
    """The typed request of a verb; raises WireError (`wire.unknown-verb`, `wire.malformed`)."""
    decoder = _REQUESTS.get(verb)
    if decoder is None:
        raise WireError("unknown verb", code="wire.unknown-verb")
    return decode(decoder, body)


def decode_reply(verb: str, body: bytes | msgspec.Raw) -> Message:
    """The typed reply of a verb; raises WireError."""
    return decode(_REPLIES[verb], body)
