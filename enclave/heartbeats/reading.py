"""The strict form of a heartbeat from anybody."""

from __future__ import annotations

import msgspec

from enclave.errors import WireError
from enclave.heartbeats.bounds import BODY_BYTES_MAX, DOCUMENTS_MAX, NOTE_BYTES_MAX
from enclave.roster_slots import SLOTS_MAX
from enclave.wire.heartbeats import Heartbeat, Seen, SignedHeartbeat
from enclave.wire.message import decode
from enclave.witness.statement import STATEMENT_BYTES_MAX

DIGEST_BYTES = 32

_DECODER = msgspec.msgpack.Decoder(Heartbeat)


def read(signed: SignedHeartbeat) -> Heartbeat:
    """The unverified content; raises WireError (`heartbeat.too-large`, `heartbeat.malformed`)."""
    if len(signed.body) > BODY_BYTES_MAX:
        raise WireError(f"expected a heartbeat of at most {BODY_BYTES_MAX} bytes", code="heartbeat.too-large")
    try:
        heartbeat = decode(_DECODER, signed.body)
    except WireError:
        raise WireError("a heartbeat does not have its stated form", code="heartbeat.malformed") from None
    numbers = (heartbeat.boot_counter, heartbeat.sequence, heartbeat.log_size, heartbeat.restrictions)
    digests = (heartbeat.cluster, heartbeat.log_root, heartbeat.roster_digest, heartbeat.restrictions_digest)
    if (
        heartbeat.slot != signed.slot
        or min(numbers) < 0
        or any(len(digest) != DIGEST_BYTES for digest in digests)
        or len(heartbeat.registry) > NOTE_BYTES_MAX
        or len(heartbeat.documents) > DOCUMENTS_MAX
        or len(heartbeat.statement) > STATEMENT_BYTES_MAX
        or any(len(echo.kept) > STATEMENT_BYTES_MAX for echo in heartbeat.seen)
        or len(heartbeat.seen) > SLOTS_MAX
        or any(_smallest(echo) < 0 for echo in heartbeat.seen)
    ):
        raise WireError("a heartbeat does not have its stated form", code="heartbeat.malformed")
    return heartbeat


def _smallest(echo: Seen) -> int:
    return min(echo.boot_counter, echo.sequence, echo.log_size, echo.wait_ms, echo.kept_counter)
