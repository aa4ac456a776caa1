"""Two histories of one log: two heads that one identity key signed and that cannot both be true.

A head is told by a checkpoint, or by a heartbeat of the log's own node; the proof is the two signed texts themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from attestation.canonical import parse_json
from attestation.envelope import b64url
from attestation.errors import DocumentError, ReceiptError
from attestation.merkle import verify_consistency
from attestation.receipts.checkpoint import LogCheckpoint
from attestation.receipts.heartbeat import HEARTBEAT_BYTES_MAX, Heartbeat
from attestation.receipts.reading import blob, members

DOCUMENT_TYPE = "holdfast/log-fork/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedHead:
    """What one identity key said of its log."""

    cluster: bytes
    slot: str
    boot_counter: int
    size: int
    root: bytes
    signed: bytes
    """The note or heartbeat as it was read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two verified heads of one log, the smaller first: they contradict each other, agree, or need a proof to tell."""

    first: SignedHead
    second: SignedHead
    is_fork: bool
    is_proven: bool
    """Whether the second was shown to extend the first."""


def read_head(data: bytes, identity_key: bytes) -> SignedHead:
    """A checkpoint note, or a heartbeat as JSON `{body, signature}`, once `identity_key` signed it.

    Raises ReceiptError: `receipt.checkpoint`, `receipt.checkpoint-signature`, `receipt.heartbeat`.
    """
    if not data.lstrip().startswith(b"{"):
        head = LogCheckpoint.verified(data, identity_key)
        return SignedHead(
            cluster=head.cluster,
            slot=head.slot,
            boot_counter=head.boot_counter,
            size=head.size,
            root=head.root,
            signed=data,
        )
    try:
        fields = members(parse_json(data), ("body", "signature"), ("slot", "boot_counter"))
        heartbeat = Heartbeat.parse(
            blob(fields["body"], "body", size_max=HEARTBEAT_BYTES_MAX), blob(fields["signature"], "signature", size=64)
        )
    except (DocumentError, ReceiptError) as error:
        raise ReceiptError(error.detail, code="receipt.heartbeat") from None
    if not heartbeat.is_signed(identity_key):
        raise ReceiptError("the heartbeat is not signed by that identity key", code="receipt.heartbeat")
    return SignedHead(
        cluster=heartbeat.cluster,
        slot=heartbeat.slot,
        boot_counter=heartbeat.boot_counter,
        size=heartbeat.log_size,
        root=heartbeat.log_root,
        signed=data,
    )


def compare(first: bytes, second: bytes, identity_key: bytes, proof: Sequence[bytes] | None = None) -> Comparison:
    """Compare two signed heads of one log.

    A fork is certain where the sizes are equal and the roots are not.  A consistency proof that does not verify
    proves nothing against the node: whoever gave it may have spoiled it.
    Raises ReceiptError: as `read_head`, and `receipt.consistency`.
    """
    small, large = sorted((read_head(data, identity_key) for data in (first, second)), key=lambda head: head.size)
    if (small.cluster, small.slot, small.boot_counter) != (large.cluster, large.slot, large.boot_counter):
        raise ReceiptError("the heads are of different logs", code="receipt.checkpoint")
    if small.size == large.size:
        is_equal = small.root == large.root
        return Comparison(first=small, second=large, is_fork=not is_equal, is_proven=is_equal)
    if proof is None:
        return Comparison(first=small, second=large, is_fork=False, is_proven=False)
    try:
        verify_consistency(small.size, small.root, large.size, large.root, proof)
    except DocumentError:
        raise ReceiptError("the proof does not connect the two heads", code="receipt.consistency") from None
    return Comparison(first=small, second=large, is_fork=False, is_proven=True)


def fork_to_json(found: Comparison, identity_key: bytes) -> dict[str, Any]:
    """The proof as a document: both signed texts and the key."""
    return {
        "type": DOCUMENT_TYPE,
        "identity_key": identity_key.hex(),
        "slot": found.first.slot,
        "boot_counter": found.first.boot_counter,
        "size": found.first.size,
        "heads": [b64url(found.first.signed), b64url(found.second.signed)],
    }
