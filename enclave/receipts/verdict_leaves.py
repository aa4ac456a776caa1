"""Verdicts as leaves: decisions name the verdict on each member by digest, and each digest's entry is in the log.

Rule kept: a verdict is written when a decision first rests on it, and again after anything it follows from changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

from attestation.receipts.entry import SeenVerdict, entry_digest
from enclave.verdicts import Basis, VerdictTable

NONE = bytes(32)
"""Stands for a member this node has no verdict on."""


class VerdictLeaves:
    """Slot -> digest of the newest verdict written."""

    def __init__(self, append: Callable[[bytes], int]) -> None:
        self._append = append
        self._written: dict[str, tuple[Basis, bytes]] = {}
        self._evidence: dict[str, tuple[Any, bytes]] = {}

    def members(self, table: VerdictTable, slots: Sequence[str], now: int) -> tuple[tuple[str, bytes], ...]:
        """Each slot with the digest of what is thought of it now."""
        return tuple([(slot, self._digest(table, slot, now)) for slot in slots])

    def _digest(self, table: VerdictTable, slot: str, now: int) -> bytes:
        basis = table.basis(slot)
        if basis is None:
            return NONE
        held = self._written.get(slot)
        if held is not None and all(one is other for one, other in zip(held[0], basis, strict=True)):
            return held[1]
        entry = self._entry(table, slot, basis, now)
        self._append(entry)
        digest = entry_digest(entry)
        self._written[slot] = (basis, digest)
        return digest

    def _entry(self, table: VerdictTable, slot: str, basis: Basis, now: int) -> bytes:
        presentation, nonce, _, snapshot, collateral = basis
        identity = presentation.identity
        row = table.row(slot, now)
        return SeenVerdict(
            time=now,
            slot=slot,
            boot_counter=identity.boot_counter,
            identity_key=identity.identity_key,
            result=row.result,
            evidence=self._hash(slot, presentation),
            nonce=nonce,
            collateral=collateral.digest if collateral is not None else b"",
            registry_sequence=snapshot.sequence if snapshot is not None else 0,
            registry_size=snapshot.size if snapshot is not None else 0,
            registry_root=snapshot.root if snapshot is not None else b"",
            valid_until=row.valid_until,
        ).encode()

    def _hash(self, slot: str, presentation: Any) -> bytes:
        held = self._evidence.get(slot)
        if held is None or held[0] is not presentation:
            held = self._evidence[slot] = (presentation, hashlib.sha256(presentation.evidence).digest())
        return held[1]
