"""A cluster whose slots have backup keys and custodians, and the one-shot processes that restore it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from enclave.backup.bundle import Bundle, assemble
from enclave.backup.contribution import Contribution, seal_contribution
from enclave.backup.mnemonics import GroupTerms, split
from enclave.backup.order import RestoreOrder
from enclave.backup.recipient import BackupKey, fingerprint
from enclave.backup.restoring import RestoreState
from enclave.roster import Roster
from enclave.roster_terms import BackupSlot, BackupTerms, CustodianSet
from enclave.seal import SealedStore
from enclave.secret import Secret
from enclave.signing_key import SigningKey
from enclave.wire.backup import (
    BackupPiece,
    BackupRequest,
    RestoreBegin,
    RestoreMnemonic,
    RestorePiece,
    RestoreStanding,
)
from enclave.wire.message import encode
from tests.enclave.node.roster_world import successor
from tests.enclave.node.world import World

NAMES = ("ann", "ben", "cat", "dan", "eve")


class Vault(World):
    """A world with 3-of-5 custodians per slot; `plain` names slots whose key is X25519 alone."""

    def __init__(self, directory: Path, *, count: int = 3, plain: Sequence[str] = ()) -> None:
        self.plain = plain
        self.mnemonics: dict[str, dict[str, str]] = {}
        self.keys: dict[str, bytes] = {}
        super().__init__(directory, count=count)

    def _roster(self) -> Roster:
        roster = super()._roster()
        for slot in self.slots:
            with Secret.random() as seed:
                key = BackupKey(seed)
                people = tuple(f"{name}-{slot}" for name in NAMES)
                (self.mnemonics[slot],) = split(seed, 1, [GroupTerms(threshold=3, members=people)])
            self.keys[slot] = key.public_x25519 if slot in self.plain else key.public
        sets = tuple(
            CustodianSet(set=f"set-{slot}", threshold=3, members=tuple(self.mnemonics[slot])) for slot in self.slots
        )
        slots = {slot: BackupSlot(key=self.keys[slot], custodians=f"set-{slot}") for slot in self.slots}
        return replace(roster, backup=BackupTerms(slots=slots, custodians=sets))

    def export(self, slot: str) -> Bundle:
        """A bundle, as a relay collects it."""
        piece: BackupPiece = self.call(slot, "backup-export", BackupRequest())
        pieces = [piece.data]
        while not piece.is_last:
            request = BackupRequest(export=piece.export, number=piece.number + 1)
            piece = self.call(slot, "backup-export", request)
            pieces.append(piece.data)
        self.now += 2
        return assemble(pieces[0], pieces[1:-1], pieces[-1])

    def next_incarnation(self) -> Roster:
        """The roster that begins a new life of the cluster."""
        return successor(self.roster, incarnation=2)

    def restore_order(self, bundles: dict[str, bytes], *signers: SigningKey, **changes: Any) -> bytes:
        """An order to restore these bundles."""
        roster = self.next_incarnation()
        order = RestoreOrder(
            cluster=roster.cluster_id,
            roster=roster.digest,
            incarnation=2,
            bundles=bundles,
            issued_at=self.now,
            expires_at=self.now + 3600,
        )
        return replace(order, **changes).sign(*(signers or (self.operator,)))

    def restoring(self, slot: str, *, data: Path | None = None, is_trial: bool = False) -> RestoreState:
        """A process that waits to restore a slot on a fresh disk."""
        path, tee = data or self.directory / "fresh" / slot / "node.db", self.tee(slot)

        def fresh() -> SealedStore:
            return SealedStore.open(path, cluster=self.roster.cluster_id, slot=slot, tee=tee)

        return RestoreState(
            rosters=[self.roster, self.next_incarnation()],
            slot=slot,
            tee=tee,
            tls_spki=bytes(32),
            now=self.now,
            open_store=None if is_trial else fresh,
        )

    def begin(self, state: RestoreState, bundle: Bundle, order: bytes) -> RestoreStanding:
        """Order and bundle, as an operator brings them."""
        ask = state.begin
        ask(1, "restore-begin", RestoreBegin(order=order, header=bundle.header_bytes), self.now)
        for number, part in enumerate(bundle.parts, start=1):
            ask(1, "restore-piece", RestorePiece(number=number, data=part, is_last=False), self.now)
        last = RestorePiece(number=len(bundle.parts) + 1, data=encode(bundle.closing), is_last=True)
        standing = ask(1, "restore-piece", last, self.now)
        assert isinstance(standing, RestoreStanding)
        return standing

    def contribute(
        self, state: RestoreState, custodian: str, *, slot: str = "", words: str = "", stated: str = ""
    ) -> RestoreStanding:
        """One custodian's mnemonic; by default of the slot that is restored."""
        own = slot or state.identity.public.slot
        contribution = Contribution(
            custodian=custodian,
            slot=stated or own,
            recipient=fingerprint(self.keys[stated or own]),
            mnemonic=words or self.mnemonics[own][custodian],
        )
        sealed = seal_contribution(state.identity.public, contribution)
        standing = state.begin(2, "restore-mnemonic", RestoreMnemonic(sealed=sealed), self.now)
        assert isinstance(standing, RestoreStanding)
        return standing
