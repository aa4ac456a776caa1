"""Two histories of one log: two heads that one identity key signed and that cannot both be true.

A head is told by a checkpoint or by a heartbeat of its own node; the proof is the two signed texts themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from attestation.envelope import b64url
from attestation.errors import DocumentError, ReceiptError
from attestation.merkle import verify_consistency
from attestation.receipts.checkpoint import LogCheckpoint

DOCUMENT_TYPE = "holdfast/log-fork/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two verified heads of one log: whether they agree, contradict each other, or need a proof to tell."""

    first: LogCheckpoint
    second: LogCheckpoint
    is_fork: bool
    is_proven: bool
    """Whether one was shown to extend the other."""


def compare(first: bytes, second: bytes, identity_key: bytes, proof: Sequence[bytes] | None = None) -> Comparison:
    """Compare two checkpoint notes of one log; the smaller comes first in the result.

    A fork is certain where the sizes are equal and the roots are not.  A consistency proof that does not verify
    proves nothing against the node: whoever gave it may have spoiled it.
    Raises ReceiptError: `receipt.checkpoint`, `receipt.checkpoint-signature`, `receipt.consistency`.
    """
    heads = sorted((LogCheckpoint.verified(note, identity_key) for note in (first, second)), key=lambda head: head.size)
    small, large = heads
    if small.origin != large.origin:
        raise ReceiptError("the checkpoints are of different logs", code="receipt.checkpoint")
    if small.size == large.size:
        is_equal = small.root == large.root
        return Comparison(first=small, second=large, is_fork=not is_equal, is_proven=is_equal)
    if proof is None:
        return Comparison(first=small, second=large, is_fork=False, is_proven=False)
    try:
        verify_consistency(small.size, small.root, large.size, large.root, proof)
    except DocumentError:
        raise ReceiptError(
            "the proof does not lead from one checkpoint to the other", code="receipt.consistency"
        ) from None
    return Comparison(first=small, second=large, is_fork=False, is_proven=True)


def fork_to_json(first: bytes, second: bytes, identity_key: bytes) -> dict[str, Any]:
    """The proof as a document: both signed notes and the key."""
    return {
        "type": DOCUMENT_TYPE,
        "identity_key": identity_key.hex(),
        "checkpoints": [b64url(first), b64url(second)],
    }
