"""A receipt made today, its cluster gone, in an environment that has the base install and nothing else."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from attestation.envelope import b64url_decode
from kms.client import Client
from tests.kms.cluster_fixture import RunningCluster
from tests.repository.test_base_install import attest, install

__all__ = ["install"]

MESSAGE = b"the cluster that signed this is gone"

pytestmark = pytest.mark.cluster


def kms(cluster: RunningCluster, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """`kms` as installed here."""
    command = [sys.executable, "-c", "from kms.cli import main; main()", *map(str, arguments)]
    return subprocess.run(
        [*command, "--cluster", str(cluster.dev.cluster_file)], capture_output=True, text=True, check=False, timeout=120
    )


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What somebody keeps: the cluster file, two receipts, the message, exported logs.  Then the cluster ends."""
    directory = tmp_path_factory.mktemp("kept")
    cluster = RunningCluster(tmp_path_factory.mktemp("cluster") / "dev")
    try:

        async def use() -> tuple[str, str]:
            async with Client.connect(cluster.dev.cluster_file, credentials=cluster.operator) as operator:
                key = await operator.keys.create("receipted", usage="generic", policy=cluster.policy)
            async with Client.connect(cluster.dev.cluster_file, credentials=cluster.agent) as agent:
                signed = await agent.sign.message(key.key, MESSAGE)
                found = await agent.receipts.get(signed.request_id, message=MESSAGE)
                (directory / "sdk.json").write_bytes(found.data)
                return key.key, signed.request_id

        _, request_id = cluster.run(use(), timeout_s=120)
        fetched = kms(cluster, "receipts", "get", request_id, "-o", directory / "receipt.json", "--json")
        assert fetched.returncode == 0, fetched.stderr
        assert json.loads(fetched.stdout)["result"] == "trusted"
        exported = kms(cluster, "audit", "export", "--into", directory / "logs")
        assert exported.returncode == 0, exported.stderr
        shutil.copy(cluster.dev.cluster_file, directory / "cluster.json")
        (directory / "message").write_bytes(MESSAGE)
    finally:
        cluster.close()
    return directory


@pytest.mark.parametrize("name", ["sdk.json", "receipt.json"])
def test_a_receipt_verifies_with_the_cluster_gone(install: Path, kept: Path, name: str) -> None:
    """Every step passes, by the cluster file alone and the message that was signed."""
    result = attest(install, "receipt", name, "--cluster", "cluster.json", "--message", "message", "--json", cwd=kept)
    assert result.returncode == 0, result.stdout + result.stderr
    verdict = json.loads(result.stdout)
    assert (verdict["result"], {step["result"] for step in verdict["steps"]}) == ("trusted", {"pass"})
    assert "development cluster" in result.stderr


def test_pins_decide(install: Path, kept: Path) -> None:
    """Without a named cluster it cannot tell, with another it says no, under vendors' roots as well."""
    roots = []
    for number, root in enumerate(json.loads((kept / "cluster.json").read_text())["simulated_roots"]):
        (kept / f"root-{number}.der").write_bytes(b64url_decode(root))
        roots += ["--root", f"root-{number}.der"]
    unpinned = attest(install, "receipt", "receipt.json", *roots, cwd=kept)
    assert (unpinned.returncode, "CANNOT TELL" in unpinned.stdout) == (3, True)
    assert "--cluster" in unpinned.stderr
    cluster_id = json.loads((kept / "cluster.json").read_text())["cluster_id"]
    vendors = attest(install, "receipt", "receipt.json", "--cluster-id", cluster_id, "--json", cwd=kept)
    assert (vendors.returncode, json.loads(vendors.stdout)["reasons"]) == (1, ["certificate.root"])
    other = attest(install, "receipt", "receipt.json", "--cluster-id", "00" * 32, "--json", cwd=kept)
    assert (other.returncode, json.loads(other.stdout)["reasons"]) == (1, ["receipt.cluster"])
    nothing = attest(install, "receipt", "absent.json", cwd=kept)
    assert nothing.returncode == 2


def test_a_changed_receipt_is_refused(install: Path, kept: Path) -> None:
    """One changed leaf: exit code 1 and the step that found it."""
    value = json.loads((kept / "receipt.json").read_bytes())
    leaves = value["logs"][0]["leaves"]
    leaves[0]["proof"], leaves[1]["proof"] = leaves[1]["proof"], leaves[0]["proof"]
    (kept / "changed.json").write_text(json.dumps(value))
    result = attest(install, "receipt", "changed.json", "--cluster", "cluster.json", cwd=kept)
    assert result.returncode == 1
    assert "receipt.inclusion" in result.stdout
    assert "NOT TRUE" in result.stdout


def test_exported_logs_verify(install: Path, kept: Path) -> None:
    """Every node's log leads to its signed head; a changed line does not."""
    files = sorted((kept / "logs").glob("log-*.jsonl"))
    assert len(files) == 5
    for file in files:
        result = attest(install, "log", "verify", file, "--json", cwd=kept)
        assert result.returncode == 0, result.stderr
    facts = json.loads(result.stdout)
    lines = files[0].read_bytes().split(b"\n")
    entry = json.loads(lines[2])
    entry["entry"] = entry["entry"][:-2] + ("A" if entry["entry"][-2] != "A" else "B") + entry["entry"][-1]
    changed = kept / "changed.jsonl"
    changed.write_bytes(b"\n".join([*lines[:2], json.dumps(entry).encode(), *lines[3:]]))
    assert attest(install, "log", "verify", changed, cwd=kept).returncode == 1
    header = json.loads(lines[0])
    (kept / "note").write_text(header["checkpoint"])
    key = json.loads(attest(install, "log", "verify", files[0], "--json", cwd=kept).stdout)["identity_key"]
    same = attest(install, "log", "compare", "note", "note", "--identity-key", key, cwd=kept)
    assert same.returncode == 0, same.stderr
    foreign = attest(install, "log", "compare", "note", "note", "--identity-key", facts["identity_key"], cwd=kept)
    assert foreign.returncode == 1
