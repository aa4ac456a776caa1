"""`attest cluster` against the session's real cluster."""

from __future__ import annotations

import json
import socket
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from attestation.canonical import canonical_json
from attestation.cli import EXTENSION_GROUP, main
from attestation.envelope import Envelope, b64url
from attestation.release.manifest import PAYLOAD_TYPE
from tests.attestation.report.reading import read
from tests.kms.cluster_fixture import RunningCluster

SLOTS = [f"node-{number}" for number in range(1, 6)]


def attest(*arguments: str | Path) -> Result:
    """Run `attest cluster`."""
    runner = CliRunner(env={"HOLDFAST_CLUSTER": None, "HOLDFAST_OPERATOR_KEY": None, "HOLDFAST_AGENT_KEY": None})
    return runner.invoke(main, ["cluster", *map(str, arguments)])


@pytest.fixture(scope="module")
def key(cluster: RunningCluster) -> str:
    """A threshold key on all five nodes."""

    async def create() -> str:
        async with cluster.as_operator() as client:
            made = await client.keys.create("audited", usage="solana", policy=cluster.policy)
            return made.key

    return cluster.run(create())


@pytest.fixture(scope="module")
def audit(cluster: RunningCluster, key: str) -> dict[str, Any]:
    """The JSON of one look."""
    result = attest("--cluster", cluster.dev.cluster_file, "--json")
    assert result.exit_code == 0, result.output
    value: dict[str, Any] = json.loads(result.stdout)
    return value


def test_every_node_with_every_step(audit: dict[str, Any]) -> None:
    """Five verdicts, bound to this look's nonces, each with verification, policy and roster steps."""
    assert audit["result"] == "trusted"
    assert [node["slot"] for node in audit["nodes"]] == SLOTS
    for node in audit["nodes"]:
        steps = {step["step"]: step["result"] for step in node["verdict"]["steps"]}
        assert steps["7"] == steps["8.3"] == steps["9.1"] == "pass"
        assert node["verdict"]["root"] == "simulated"
        assert node["placement"]["level"] >= 1
        assert len(node["identity_key"]) == 64
    assert len({node["verdict"]["report_data"] for node in audit["nodes"]}) == 5


def test_fresh_every_time(cluster: RunningCluster, audit: dict[str, Any]) -> None:
    """A second look gets other report data: nothing is answered from memory."""
    again = json.loads(attest("--cluster", cluster.dev.cluster_file, "--json").stdout)
    before = {node["slot"]: node["verdict"]["report_data"] for node in audit["nodes"]}
    assert all(node["verdict"]["report_data"] != before[node["slot"]] for node in again["nodes"])


def test_the_roster_and_its_signers(cluster: RunningCluster, audit: dict[str, Any]) -> None:
    """Who signed what the cluster is, and which registry counts."""
    assert audit["roster"]["cluster"] == cluster.file.trust.cluster_id.hex()
    operator = cluster.file.operator
    assert operator is not None
    assert operator in audit["roster"]["signed by"]


def test_keys_by_their_certificates(audit: dict[str, Any], key: str) -> None:
    """The key appears with its certified quorum and the nodes that signed for it."""
    (mine,) = [item for item in audit["keys"] if item["key"] == key]
    assert (mine["shares_needed"], mine["signing_quorum"], mine["attested"]) == (3, 3, True)
    assert mine["certified_by"] == SLOTS
    assert mine["diversity"] == "ok"


def test_who_must_collude(audit: dict[str, Any]) -> None:
    """Three nodes to misuse or stop the key, counted in failure domains too; the gateway can do neither."""
    rows = {row["to"]: row for row in audit["collusion"]}
    misuse = [row for what, row in rows.items() if what.startswith("learn or misuse") and "threshold" in what]
    stop = [row for what, row in rows.items() if what.startswith("stop") and "threshold" in what]
    # Other tests of the session may have made keys of other thresholds in the same cluster.
    assert "3 of 5 nodes" in [row["takes"] for row in misuse]
    assert "3 of 5 nodes (3 are needed)" in [row["takes"] for row in stop]
    assert all("provider" in row["at_least"] for row in misuse)
    assert next(row for what, row in rows.items() if "gateway" in what)["takes"].startswith("impossible")


def test_as_text(cluster: RunningCluster, key: str) -> None:
    """The same for people: one table after the other and the result at the end."""
    result = attest("--cluster", cluster.dev.cluster_file)
    assert result.exit_code == 0, result.output
    headings = ("nodes", "in common", "keys", "who must collude for what")
    places = [result.stdout.index(f"\n{heading}\n") for heading in headings]
    assert places == sorted(places)
    assert result.stdout.splitlines()[-1].startswith("TRUSTED as of ")
    assert key in result.stdout


def test_as_a_page(cluster: RunningCluster, tmp_path: Path) -> None:
    """One page: a section per node, the failure domains and the tables."""
    out = tmp_path / "cluster.html"
    assert attest("--cluster", cluster.dev.cluster_file, "--html", out).exit_code == 0
    page = read(out.read_text())
    assert [section.all("h2")[0].text for section in page.all("section")] == SLOTS
    assert {chip.texts[0] for chip in page.all("li", "node")} == set(SLOTS)
    headings = [heading.text for heading in page.all("h2")]
    assert "Who must collude for what" in headings
    assert len(page.all("svg")) == 5


def test_without_credentials_keys_are_not_listed(cluster: RunningCluster, tmp_path: Path) -> None:
    """Nodes are verified all the same, and the text says what listing keys takes."""
    value = json.loads(cluster.dev.cluster_file.read_text())
    value = {name: value[name] for name in value if name not in ("operator", "defaults", "roster")}
    (tmp_path / "cluster.json").write_text(json.dumps(value))
    result = attest("--cluster", tmp_path / "cluster.json")
    assert result.exit_code == 0, result.output
    assert "not listed: that takes" in result.stderr


def test_another_cluster_id_is_refused(cluster: RunningCluster) -> None:
    """A pinned id that is not the cluster's: exit code 1, before any node is asked."""
    result = attest(cluster.file.url, "--cluster-id", "00" * 32)
    assert (result.exit_code, "[verify.cluster]" in result.stderr) == (1, True)


def test_a_simulated_cluster_needs_its_own_file(cluster: RunningCluster) -> None:
    """By id alone simulated roots do not count."""
    result = attest(cluster.file.url, "--cluster-id", cluster.file.trust.cluster_id.hex())
    assert (result.exit_code, "[verify.simulated-root]" in result.stderr) == (1, True)


def test_nobody_there(cluster: RunningCluster) -> None:
    """A gateway that does not answer is exit code 3."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    result = attest(f"http://127.0.0.1:{port}", "--cluster", cluster.dev.cluster_file)
    assert result.exit_code == 3


@pytest.mark.parametrize(
    "arguments", [(), ("http://127.0.0.1:1",), ("--cluster-id", "00" * 32), ("--cluster", "/nonexistent/cluster.json")]
)
def test_usage(arguments: tuple[str, ...]) -> None:
    """Without a pin, or an address, or the file: exit code 2."""
    assert attest(*arguments).exit_code == 2


def test_a_release_every_node_must_run(cluster: RunningCluster, audit: dict[str, Any], tmp_path: Path) -> None:
    """A release with the nodes' measurements adds a passed step; with other ones every node is refused."""
    maker = Ed25519PrivateKey.generate()
    (tmp_path / "maker.txt").write_text(b64url(maker.public_key().public_bytes_raw()))
    images = {}
    for node in audit["nodes"]:
        tee = node["verdict"]["tee"]
        register = {"tdx": "mrtd", "sev-snp": "measurement"}[tee]
        images[tee] = {"tee": tee, "name": tee, "registers": {register: node["verdict"]["measurements"][register]}}
    outcomes = []
    for name, registers in (("good.json", None), ("bad.json", "00" * 47 + "01")):
        listed = [
            image if registers is None else image | {"registers": dict.fromkeys(image["registers"], registers)}
            for image in images.values()
        ]
        payload = {
            "type": "holdfast/release/v1",
            "name": "holdfast-node",
            "version": "0.1.0",
            "source": "00" * 32,
            "issued_at": audit["checked_at"] - 60,
            "expires_at": audit["checked_at"] + 3600,
            "images": listed,
        }
        envelope = Envelope.of(PAYLOAD_TYPE, payload).signed(maker)
        (tmp_path / name).write_bytes(canonical_json(envelope.to_json()))
        options = ("--release", tmp_path / name, "--release-key", tmp_path / "maker.txt", "--json")
        result = attest("--cluster", cluster.dev.cluster_file, *options)
        nodes = json.loads(result.stdout)["nodes"]
        outcomes.append((result.exit_code, {reason for node in nodes for reason in node["verdict"]["reasons"]}))
    assert outcomes == [(0, set()), (1, {"release.measurement"})]


def test_a_node_that_is_away(cluster: RunningCluster) -> None:
    """One node down: its verdict cannot be told, the others stand, exit code 3."""
    slot = SLOTS[1]
    cluster.run(cluster.dev.kill_node(slot))
    try:
        result = attest("--cluster", cluster.dev.cluster_file, "--json")
    finally:
        cluster.run(cluster.dev.restart_node(slot))
        cluster.run(cluster.dev.wait_trusted(slot), timeout_s=90)
    nodes = {node["slot"]: node["verdict"]["result"] for node in json.loads(result.stdout)["nodes"]}
    assert nodes.pop(slot) == "indeterminate"
    assert set(nodes.values()) == {"trusted"}
    assert result.exit_code == 3


def test_registered_as_an_entry_point() -> None:
    """The verb is found by its group, so that the attestation package never names this one."""
    (entry,) = entry_points(group=EXTENSION_GROUP, name="cluster")
    assert entry.value == "kms.cli.attest_cluster:command"


def test_the_base_install_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the client's libraries the verb explains itself, whatever follows it."""

    def absent(self: EntryPoint) -> click.Command:
        raise ModuleNotFoundError("No module named 'aiohttp'")

    monkeypatch.setattr(EntryPoint, "load", absent)
    for arguments in (("https://gateway.example", "--json"), ("--help",)):
        result = attest(*arguments)
        assert (result.exit_code, "`client` extra" in result.stderr) == (2, True)
