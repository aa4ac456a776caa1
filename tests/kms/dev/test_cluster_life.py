"""The life of a real cluster: found, given an operator, upgraded node by node, all by commands and real processes."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from click.testing import CliRunner, Result

from attestation.envelope import b64url
from attestation.simulated.authority import simulated_measurement
from enclave.roster_chain import read_chain
from enclave.wire.message import Empty
from kms.cli import main
from kms.client import Client, OperatorCredentials
from kms.client.direct import open_connection
from kms.dev.cluster import DevCluster
from kms.dev.machines import MEASUREMENT

pytestmark = pytest.mark.asyncio(loop_scope="module")

UPGRADE = "holdfast-node-next"
READY_S = 60.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def dev() -> AsyncIterator[DevCluster]:
    """Three real nodes and a gateway of their own: these tests change what the cluster consists of."""
    with tempfile.TemporaryDirectory(prefix="holdfast-life-") as directory:
        async with DevCluster(Path(directory) / "dev", nodes=3) as cluster:
            yield cluster


async def kms(dev: DevCluster, *arguments: str, code: int = 0) -> Any:
    """One command, as an operator would give it; its JSON."""

    def invoke() -> Result:
        return CliRunner().invoke(main, [*arguments, "--cluster", str(dev.cluster_file), "--json"])

    result = await asyncio.to_thread(invoke)
    assert result.exit_code == code, result.output
    return json.loads(result.stdout) if result.stdout.startswith(("{", "[")) else result.stdout


async def held_by(dev: DevCluster, slot: str) -> set[str]:
    """The keys a node says it holds, asked directly."""
    connection = await open_connection(dev.roster.slot(slot))
    try:
        holdings = await connection.call("holdings", Empty(), 10.0)
    finally:
        connection.close()
    return {held.key for held in holdings.keys}


async def until_in_force(dev: DevCluster, version: int) -> None:
    """Wait until every node shows evidence under a version."""
    async with asyncio.timeout(READY_S):
        while True:
            async with Client.connect(dev.cluster_file) as client:
                view = await client.look()
            if {view.version_at(slot) for slot in dev.slots} == {version}:
                return
            await asyncio.sleep(0.2)


async def test_an_operator_is_added_by_two_signatures_on_files(dev: DevCluster, tmp_path: Path) -> None:
    """Propose, sign without a network, apply: the new operator's key counts at every node, and keys go on signing."""
    second = OperatorCredentials.create()
    second.save(tmp_path / "second.pem")
    draft = tmp_path / "next.json"
    told = await kms(
        dev, "cluster", "roster", "propose", "--add-operator",
        f"second:admin:{b64url(second.public.key)}", "--quorum", "roster=2", "--out", str(draft),
    )  # fmt: skip
    assert [change["where"] for change in told["restrictions"]] == ["quorum.roster"]
    assert len(told["relaxations"]) == 1
    # Unsigned, then with one of the two signatures its own quorum takes, it goes nowhere.
    await kms(dev, "cluster", "roster", "apply", str(draft), code=1)
    await kms(dev, "cluster", "roster", "sign", str(draft), "--yes")
    await kms(dev, "cluster", "roster", "apply", str(draft), code=1)
    await kms(dev, "cluster", "roster", "sign", str(draft), "--yes", "--operator-key", str(tmp_path / "second.pem"))
    report = await kms(dev, "cluster", "roster", "apply", str(draft))
    assert (report["version"], report["held"], sorted(report["in_force"])) == (2, True, dev.slots)
    await until_in_force(dev, 2)
    status = await kms(dev, "cluster", "status")
    assert (status["done"], status["roster_version"]) == (True, 2)
    shown = await kms(dev, "cluster", "roster", "show")
    assert {entry["name"] for entry in shown["operators"]} == {"developer", "second"}
    # Back to one signature for the next test; that takes both of version 2.
    await kms(dev, "cluster", "roster", "propose", "--quorum", "roster=1", "--out", str(draft))
    for key in ([], ["--operator-key", str(tmp_path / "second.pem")]):
        await kms(dev, "cluster", "roster", "sign", str(draft), "--yes", *key)
    await kms(dev, "cluster", "roster", "apply", str(draft))
    await until_in_force(dev, 3)


async def test_a_measurement_is_replaced_node_by_node(dev: DevCluster, tmp_path: Path) -> None:
    """Version v+1 admits the new image; a node starts it on a new disk, is refused until enrolled, and repaired."""
    new, old = simulated_measurement(UPGRADE).hex(), MEASUREMENT.hex()
    key = (await kms(dev, "keys", "create", "treasury", "--usage", "solana", "--shares-needed", "2"))["key"]
    draft = tmp_path / "upgrade.json"
    register = "all:mrtd"
    await kms(dev, "cluster", "roster", "propose", "--allow-code", f"{register}={new}", "--out", str(draft))
    await kms(dev, "cluster", "roster", "sign", str(draft), "--yes")
    before = (await kms(dev, "cluster", "roster", "apply", str(draft)))["version"]
    await until_in_force(dev, before)
    await dev.upgrade_node("node-2", UPGRADE)
    await dev.wait_verdict("node-2", "attestation-denied", timeout_s=READY_S)
    answer = await kms(dev, "cluster", "enrol", "node-2", "--yes")
    assert answer["measurements"] == {"mrtd": new}
    await dev.wait_trusted(timeout_s=READY_S)
    # The new image cannot open the old disk: its share comes back from the others, under its new identity.
    assert await held_by(dev, "node-2") == set()
    await kms(dev, "nodes", "repair", "node-2")
    assert await held_by(dev, "node-2") == {key}
    # The old image is dropped where it no longer runs: a restriction, in force on receipt.
    await kms(dev, "cluster", "roster", "propose", "--drop-code", f"node-2:mrtd={old}", "--out", str(draft))
    await kms(dev, "cluster", "roster", "sign", str(draft), "--yes")
    report = await kms(dev, "cluster", "roster", "apply", str(draft))
    assert (report["held"], sorted(report["in_force"])) == (True, dev.slots)
    await dev.wait_trusted(timeout_s=READY_S)


async def test_the_chain_is_handed_on_as_a_file(dev: DevCluster, tmp_path: Path) -> None:
    """`roster show --out` writes a chain that verifies from version 1, for nodes with empty disks and for auditors."""
    path = tmp_path / "chain.json"
    await kms(dev, "cluster", "roster", "show", "--out", str(path))
    links = read_chain(path.read_bytes())
    assert links[0].roster.cluster_id == dev.roster.cluster_id
    assert [link.roster.version for link in links] == list(range(1, len(links) + 1))
    assert len(links) >= 3
