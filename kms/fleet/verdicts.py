"""What every node thinks of every other, as the nodes report it: used to choose signers, never to decide anything."""

from __future__ import annotations

from collections.abc import Iterable

from enclave.wire.attestation import PeerVerdict

TRUSTED = "trusted"


class VerdictTable:
    """Rows by verifier and peer; a row counts only for the peer's boot it was made of."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, PeerVerdict]] = {}
        self._boots: dict[str, int] = {}

    def set_boot(self, slot: str, boot_counter: int) -> bool:
        """Note which boot a node is in; True if it is another than before (its old rows are void)."""
        changed = self._boots.get(slot) != boot_counter
        self._boots[slot] = boot_counter
        if changed:
            self._rows.pop(slot, None)
        return changed

    def replace(self, verifier: str, rows: Iterable[PeerVerdict]) -> None:
        """A node's whole table."""
        self._rows[verifier] = {row.slot: row for row in rows}

    def put(self, verifier: str, row: PeerVerdict) -> None:
        """One row of a node's table."""
        self._rows.setdefault(verifier, {})[row.slot] = row

    def trusts(self, verifier: str, peer: str, now: int) -> bool:
        """Whether `verifier` reported trust in the present boot of `peer`; every node trusts itself."""
        if verifier == peer:
            return True
        row = self._rows.get(verifier, {}).get(peer)
        return (
            row is not None
            and row.result == TRUSTED
            and row.alive
            and row.valid_until > now
            and row.boot_counter == self._boots.get(peer)
        )

    def mutual(self, one: str, other: str, now: int) -> bool:
        """Whether both report trust in each other."""
        return self.trusts(one, other, now) and self.trusts(other, one, now)

    def codes(self, verifier: str) -> dict[str, str]:
        """Peer -> result code, for people."""
        return {slot: row.result for slot, row in sorted(self._rows.get(verifier, {}).items())}

    def row(self, verifier: str, peer: str) -> PeerVerdict | None:
        """One row, or None."""
        return self._rows.get(verifier, {}).get(peer)

    def platform_id(self, peer: str) -> str:
        """The platform id others report of a node (informative), or an empty text."""
        for rows in self._rows.values():
            if peer in rows and rows[peer].platform_id:
                return rows[peer].platform_id
        return ""
