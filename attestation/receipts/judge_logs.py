"""Do the entries of a receipt stand in logs that their nodes signed and their peers saw?

Steps 5 to 7 of specs/receipts.md section 7: checkpoints under the identity keys that evidence binds, inclusion,
countersignatures; and that nothing in the receipt shows two histories of one log.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from attestation.errors import DocumentError, ReceiptError
from attestation.merkle import leaf_hash, verify_consistency, verify_inclusion
from attestation.receipts.checkpoint import LogCheckpoint
from attestation.receipts.document import LogPart
from attestation.receipts.entry import Boot
from attestation.receipts.heartbeat import Heartbeat

Keys = Mapping[tuple[str, int], bytes]
"""(slot, boot counter) to the identity key that evidence binds."""


def check_checkpoint(log: LogPart, keys: Keys, cluster: bytes) -> LogCheckpoint:
    """Step 5: the head its node signed.

    Raises ReceiptError: `receipt.checkpoint`, `receipt.checkpoint-signature`, `receipt.consistency`.
    """
    key = _key(keys, log.slot, log.boot_counter)
    head = LogCheckpoint.verified(log.checkpoint, key)
    _check_names(head, log, cluster)
    if log.later is not None:
        later = LogCheckpoint.verified(log.later.checkpoint, key)
        _check_names(later, log, cluster)
        try:
            verify_consistency(head.size, head.root, later.size, later.root, log.later.proof)
        except DocumentError:
            raise ReceiptError(
                f"the later checkpoint of {log.slot} does not extend the earlier one", code="receipt.consistency"
            ) from None
    return head


def check_inclusion(log: LogPart, head: LogCheckpoint, key: bytes) -> Boot:
    """Step 6: every entry is in the log, the first of which says whose it is.

    Raises ReceiptError (`receipt.inclusion`, `receipt.boot`).
    """
    indexes = [leaf.index for leaf in log.leaves]
    if len(set(indexes)) != len(indexes):
        raise ReceiptError(f"two leaves of {log.slot} have one number", code="receipt.inclusion")
    for leaf in log.leaves:
        try:
            verify_inclusion(leaf_hash(leaf.data), leaf.index, head.size, leaf.proof, head.root)
        except DocumentError:
            raise ReceiptError(
                f"entry {leaf.index} is not in the log of {log.slot} that was signed", code="receipt.inclusion"
            ) from None
    first = next((leaf.entry for leaf in log.leaves if leaf.index == 0), None)
    others = [leaf for leaf in log.leaves if leaf.index != 0 and isinstance(leaf.entry, Boot)]
    if not isinstance(first, Boot) or others:
        raise ReceiptError(f"expected the log of {log.slot} to begin with its boot", code="receipt.boot")
    if (first.cluster, first.slot, first.boot_counter, first.identity_key) != (
        head.cluster,
        log.slot,
        log.boot_counter,
        key,
    ):
        raise ReceiptError(f"the first entry of {log.slot} is of another boot", code="receipt.boot")
    return first


def check_countersignatures(log: LogPart, head: LogCheckpoint, keys: Keys, needed: int) -> tuple[str, ...]:
    """Step 7: the peers that signed they saw this head.

    Raises ReceiptError: `receipt.fork` if one saw another head of this size, `receipt.countersignature` for one that
    does not verify, `receipt.countersignatures` if there are fewer than `needed`.
    """
    digest = hashlib.sha256(keys[log.slot, log.boot_counter]).digest()
    peers: set[str] = set()
    for heartbeat in log.countersignatures:
        _check_signed(heartbeat, keys, head.cluster)
        echo = heartbeat.echo(log.slot)
        if echo is None or heartbeat.slot == log.slot:
            raise _not_one(f"the heartbeat of {heartbeat.slot} says nothing of {log.slot}")
        if (echo.boot_counter, echo.identity) != (log.boot_counter, digest):
            raise _not_one(f"{heartbeat.slot} saw another boot of {log.slot}")
        if echo.log_size == head.size and echo.log_root != head.root:
            raise ReceiptError(
                f"{heartbeat.slot} saw another root of {head.size} entries of {log.slot}", code="receipt.fork"
            )
        if echo.log_size != head.size:
            raise _not_one(f"{heartbeat.slot} saw another size of the log of {log.slot}")
        peers.add(heartbeat.slot)
    if len(peers) < needed:
        raise ReceiptError(
            f"expected {needed} peers to have countersigned the log of {log.slot}, found {len(peers)}",
            code="receipt.countersignatures",
        )
    return tuple(sorted(peers))


def _check_signed(heartbeat: Heartbeat, keys: Keys, cluster: bytes) -> None:
    key = keys.get((heartbeat.slot, heartbeat.boot_counter))
    if key is None:
        raise _not_one(f"no evidence binds the key of {heartbeat.slot}, boot {heartbeat.boot_counter}")
    if heartbeat.cluster != cluster or not heartbeat.is_signed(key):
        raise _not_one(f"the heartbeat of {heartbeat.slot} is not signed by its attested key")


def _check_names(head: LogCheckpoint, log: LogPart, cluster: bytes) -> None:
    if (head.cluster, head.slot, head.boot_counter) != (cluster, log.slot, log.boot_counter):
        raise ReceiptError("the checkpoint is of another log", code="receipt.checkpoint")


def _key(keys: Keys, slot: str, boot_counter: int) -> bytes:
    key = keys.get((slot, boot_counter))
    if key is None:
        raise ReceiptError(f"no evidence binds the key of {slot}, boot {boot_counter}", code="receipt.identity")
    return key


def _not_one(detail: str) -> ReceiptError:
    return ReceiptError(detail, code="receipt.countersignature")
