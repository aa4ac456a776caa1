"""Roster versions in a cluster without sockets: signed, offered, acknowledged, activated."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from attestation.errors import CodedError
from enclave.roster import Roster
from enclave.signing_key import SigningKey
from enclave.wire.message import Empty
from enclave.wire.rosters import Activation, RosterAcknowledgement, RosterOffer, RosterStatus
from tests.enclave.node.world import World

NEW_CODE = "cd" * 48


def successor(old: Roster, **changes: Any) -> Roster:
    """The next version of a roster."""
    values: dict[str, Any] = {
        "version": old.version + 1,
        "cluster": old.cluster_id,
        "previous": old.digest,
        "created_at": old.created_at,
    }
    return replace(old, **values | changes)


def with_code(old: Roster, *values: str) -> tuple[Any, ...]:
    """Every slot of a roster with these measurements."""
    return tuple(replace(entry, measurements={"mrtd": frozenset(values)}) for entry in old.slots)


class Rosters:
    """A world's rosters beyond the first."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.chain: list[Roster] = [world.roster]
        self.envelopes: list[bytes] = [world.roster.sign(world.operator)]

    def sign(self, *signers: SigningKey, **changes: Any) -> bytes:
        """The next version, signed by the operator unless others are named, and remembered."""
        roster = successor(self.chain[-1], **changes)
        self.chain.append(roster)
        self.envelopes.append(roster.sign(*(signers or (self.world.operator,))))
        return self.envelopes[-1]

    def offer(self, envelope: bytes, *slots: str) -> dict[str, RosterAcknowledgement]:
        """Hand a version to nodes (all by default)."""
        return {
            slot: self.world.call(slot, "roster", RosterOffer(roster=envelope))
            for slot in slots or tuple(self.world.nodes)
        }

    def activate(
        self, acknowledgements: Iterable[RosterAcknowledgement], *slots: str, version: int | None = None
    ) -> dict[str, RosterStatus]:
        """Show acknowledgements of the newest version to nodes (all by default)."""
        roster = self.chain[-1] if version is None else self.chain[version - 1]
        request = Activation(version=roster.version, digest=roster.digest, acknowledgements=list(acknowledgements))
        return {slot: self.world.call(slot, "roster-activate", request) for slot in slots or tuple(self.world.nodes)}

    def refused(self, work: Any, *arguments: Any, **options: Any) -> str:
        """The code with which something is refused; uncommitted work is not an issue of refusals."""
        with pytest.raises(CodedError) as caught:
            work(*arguments, **options)
        return caught.value.code

    def version(self, slot: str) -> int:
        """The version in force at a node."""
        return int(self.world.call(slot, "roster-status", Empty()).version)

    def restart(self, *slots: str) -> None:
        """Stop and start nodes on their disks; they and the others show themselves anew."""
        for slot in slots:
            self.world.stop(slot)
            self.world.start(slot)
        with contextlib.suppress(AssertionError):
            self.world.attest()
