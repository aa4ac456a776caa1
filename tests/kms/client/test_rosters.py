"""The roster chain as clients follow it: every way a gateway can show less, other or older rosters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from attestation.canonical import canonical_json
from attestation.errors import CodedError
from enclave.roster import OperatorEntry, Role, Roster
from enclave.roster_chain import write_chain
from kms.client.cluster_file import ClusterFile
from kms.client.rosters import FollowedChain
from kms.client.transport import Transport
from kms.client.trust import TrustAnchors
from kms.client.verification import fetch_rosters
from tests.enclave.samples import ADMIN, ADMIN_2, KEYS, NOW, a_roster, an_id, seeded_key

pytestmark = pytest.mark.asyncio

FIRST = a_roster()
INTRUDER = seeded_key("intruder")


def successor(old: Roster, **changes: Any) -> Roster:
    """The next version."""
    values: dict[str, Any] = {"version": old.version + 1, "cluster": old.cluster_id, "previous": old.digest}
    return replace(old, **values | {"created_at": NOW} | changes)


SECOND = successor(FIRST, limits={"keys": 10})
THIRD = successor(SECOND, operators=tuple(entry for entry in FIRST.operators if entry.operator != ADMIN_2))
FORK = successor(FIRST, limits={"keys": 11})
SIGNED = [roster.sign(KEYS[ADMIN]) for roster in (FIRST, SECOND, THIRD)]


class Shown:
    """A gateway that shows exactly these rosters."""

    def __init__(self, envelopes: Sequence[bytes], *, newest: bytes | None = None) -> None:
        self.envelopes = list(envelopes)
        self.newest = newest or self.envelopes[-1]
        self.asked: list[str] = []

    async def send(self, _method: str, path: str, *, query: dict[str, str] | None = None) -> bytes:
        """The two paths that matter here."""
        self.asked.append(path)
        if path == "/v1/roster":
            return self.newest
        after = int((query or {})["after"])
        later = self.envelopes[after:]
        return write_chain(later) if len(later) > 1 else canonical_json({"rosters": []}) if not later else later[0]


def anchors(*held: bytes, path: Path | None = None) -> TrustAnchors:
    """What a client of this cluster pins."""
    return TrustAnchors(
        cluster_id=FIRST.cluster_id, roster=write_chain(held) if held else None, followed=FollowedChain(path=path)
    )


async def versions(trust: TrustAnchors, shown: Shown) -> list[int]:
    """The versions a client ends up with."""
    return [roster.version for roster in await fetch_rosters(cast(Transport, shown), trust)]


async def refused(trust: TrustAnchors, shown: Shown) -> str:
    """The code with which a client refuses what it is shown."""
    with pytest.raises(CodedError) as caught:
        await fetch_rosters(cast(Transport, shown), trust)
    return caught.value.code


async def test_a_client_walks_from_the_pinned_id_to_the_newest_version() -> None:
    """With nothing but the cluster id, and with any part of the chain held, a client ends at version 3."""
    assert await versions(anchors(), Shown(SIGNED)) == [1, 2, 3]
    assert await versions(anchors(SIGNED[0]), Shown(SIGNED)) == [1, 2, 3]
    assert await versions(anchors(*SIGNED[:2]), Shown(SIGNED)) == [1, 2, 3]
    assert await versions(anchors(*SIGNED), Shown(SIGNED)) == [1, 2, 3]


async def test_the_same_version_again_is_accepted_and_costs_one_request() -> None:
    """A client that holds version 2 accepts version 2, also under more signatures than it saw before."""
    trust, shown = anchors(*SIGNED[:2]), Shown(SIGNED[:2])
    assert await versions(trust, shown) == [1, 2]
    shown.newest = SECOND.sign(KEYS[ADMIN], KEYS[ADMIN_2])
    assert await versions(trust, shown) == [1, 2]
    assert shown.asked == ["/v1/roster", "/v1/roster"]


async def test_an_older_version_is_never_gone_back_to() -> None:
    """A gateway that replays or withholds is not believed: what was verified once stays."""
    trust = anchors()
    await versions(trust, Shown(SIGNED))
    assert await versions(trust, Shown(SIGNED[:1])) == [1, 2, 3]
    assert await versions(trust, Shown(SIGNED[:2])) == [1, 2, 3]


async def test_what_was_followed_is_kept_between_processes(tmp_path: Path) -> None:
    """A client of a cluster file that saw version 3 is not shown version 1 by the next gateway."""
    path = tmp_path / "cluster.rosters.json"
    await versions(anchors(path=path), Shown(SIGNED))
    assert await versions(anchors(SIGNED[0], path=path), Shown(SIGNED[:1])) == [1, 2, 3]
    # A cluster made anew in the same place has another id: what was kept is not of it.
    other = replace(FIRST, created_at=NOW - 5)
    trust = TrustAnchors(cluster_id=other.cluster_id, followed=FollowedChain(path=path))
    assert await versions(trust, Shown([other.sign(KEYS[ADMIN])])) == [1]
    path.write_bytes(b"{")
    assert await refused(anchors(path=path), Shown(SIGNED)) == "client.rosters"


async def test_a_cluster_file_names_where_the_chain_is_kept(tmp_path: Path) -> None:
    """Clients of one cluster file keep what they followed beside it."""
    (tmp_path / "cluster.json").write_bytes(
        canonical_json({"url": "http://127.0.0.1:1", "cluster_id": FIRST.cluster_id.hex()})
    )
    await versions(ClusterFile.load(tmp_path / "cluster.json").trust, Shown(SIGNED))
    assert (tmp_path / "cluster.rosters.json").exists()
    assert await versions(ClusterFile.load(tmp_path / "cluster.json").trust, Shown(SIGNED[:1])) == [1, 2, 3]


async def test_every_step_is_verified() -> None:
    """Skipped, swapped, forked, unsigned and self-appointed successors, and another cluster, are refused."""
    entry = OperatorEntry(operator=an_id("opr", 9), name="x", key=INTRUDER.public.key, roles=frozenset({Role.ADMIN}))
    installed = successor(FIRST, operators=(*FIRST.operators, entry)).sign(INTRUDER)
    stranger = replace(FIRST, created_at=1).sign(KEYS[ADMIN])
    fork = FORK.sign(KEYS[ADMIN])
    bad = {
        "skipped": (Shown([SIGNED[0], SIGNED[2], SIGNED[2]], newest=SIGNED[2]), "verify.roster"),
        "withheld step": (Shown(SIGNED[:2], newest=SIGNED[2]), "verify.roster"),
        "fork in the middle": (Shown([SIGNED[0], fork, SIGNED[2]]), "verify.roster"),
        "installed itself": (Shown([SIGNED[0], installed]), "verify.roster"),
        "another cluster": (Shown([stranger]), "verify.cluster"),
        "newest is another than the chain's": (Shown(SIGNED[:2], newest=fork), "verify.roster"),
        "not a roster": (Shown([b"{}"]), "verify.roster"),
        "no chain": (Shown([canonical_json({"rosters": []})]), "verify.roster"),
    }
    found = {name: await refused(anchors(), shown) for name, (shown, _) in bad.items()}
    assert found == {name: code for name, (_, code) in bad.items()}


async def test_a_fork_of_what_is_held_is_refused() -> None:
    """Another roster under the number that the client holds is refused, not taken and not passed over."""
    trust = anchors(*SIGNED[:2])
    assert await refused(trust, Shown([SIGNED[0], FORK.sign(KEYS[ADMIN])])) == "verify.roster"


async def test_a_foreign_held_chain_is_not_used_even_once() -> None:
    """A held roster of another cluster is refused each time, not only the first."""
    trust = TrustAnchors(cluster_id=FIRST.cluster_id, roster=replace(FIRST, created_at=1).sign(KEYS[ADMIN]))
    for _ in range(2):
        assert await refused(trust, Shown(SIGNED)) == "verify.cluster"
