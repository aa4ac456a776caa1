"""`kms secrets` against a real cluster: workloads on a TDX and on a SEV-SNP machine, with the command line alone."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from attestation.proof_of_cloud.registry import Registry
from attestation.simulated.authority import Authority, simulated_measurement
from attestation.simulated.service import Launch, SimulatedPlatformService
from enclave.ids import new_id
from kms.cli import main
from kms.client.documents import PolicyDocument
from tests.kms.cluster_fixture import RunningCluster

pytestmark = pytest.mark.cluster

WORKLOAD = simulated_measurement("workload")
CONTENT = b"the database password"
LISTED_S = 20.0
"""Longest wait until nodes know of a machine that was just listed."""


def invoke(cluster: RunningCluster, *arguments: str, **options: Any) -> Result:
    """One `kms` command, as operator or agent by its own default."""
    environment = {"HOLDFAST_CLUSTER": str(cluster.dev.cluster_file)}
    return CliRunner().invoke(main, list(arguments), env=environment, **options)


@pytest.fixture(scope="module")
def policy(cluster: RunningCluster) -> str:
    """Releases to one measurement, on either kind of machine."""
    name = new_id("pol")
    rules = [
        {"name": f"workload-{register}", "effect": "allow", "kinds": ["release"],
         "workload": {"measurements": {register: [WORKLOAD.hex()]}}}
        for register in ("mrtd", "measurement")
    ]  # fmt: skip

    async def put() -> None:
        async with cluster.as_operator() as client:
            document = PolicyDocument(
                cluster=client.trust.cluster_id, policy=name, name="workloads", version=1, rules=tuple(rules),
                issued_at=int(time.time()),
            )  # fmt: skip
            await client.documents.sign_and_put(document)

    cluster.run(put())
    return name


@pytest.fixture(scope="module")
def secret(cluster: RunningCluster, policy: str) -> str:
    """Stored from stdin by the command line."""
    done = invoke(cluster, "secrets", "put", "database", "-", "--policy", policy, "--json", input=CONTENT)
    assert done.exit_code == 0, done.output
    value = json.loads(done.stdout)
    assert value["missing"] == []
    return str(value["key"])


@pytest.fixture(params=["tdx", "sev-snp"])
async def machine(
    cluster: RunningCluster, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Path, list[str]]]:
    """A listed machine's socket, and what the command line has to be told about it."""
    authority = Authority.load(cluster.dev.layout.authority)
    is_snp = request.param == "sev-snp"
    platform = authority.amd.platform("workload") if is_snp else authority.platform("workload")
    directory = tmp_path_factory.mktemp("workload")
    leaf = directory / "vcek.der"
    options = []
    if is_snp:
        leaf.write_bytes(platform.certificate)  # type: ignore[union-attr]
        options = ["--collateral", str(leaf)]
    registry = Registry.open(cluster.dev.layout.registry)
    assert platform.platform_id is not None
    registry.add_platform(platform.platform_id, provider="cloud", now=int(time.time()))
    registry.write_snapshot(cluster.dev.layout.snapshot)
    launch = Launch(mrtd=WORKLOAD, mrconfigid=bytes(48))
    async with SimulatedPlatformService(platform, launch, directory / "tee.sock"):
        yield directory / "tee.sock", options


async def test_the_workload_gets_the_secret(
    cluster: RunningCluster, secret: str, machine: tuple[Path, list[str]], tmp_path: Path
) -> None:
    """Released into a private file once the nodes know the machine."""

    socket, options = machine
    out = tmp_path / "secret"
    arguments = ["secrets", "release", secret, "--simulated-tee", str(socket), "-o", str(out), *options]
    until = time.monotonic() + LISTED_S
    while True:
        done = await asyncio.to_thread(invoke, cluster, *arguments)
        if done.exit_code == 0 or "not-listed" not in done.output or time.monotonic() > until:
            break
        await asyncio.sleep(0.5)
    assert done.exit_code == 0, done.output
    assert (out.read_bytes(), out.stat().st_mode & 0o777) == (CONTENT, 0o600)


def test_secrets_are_listed_and_shown(cluster: RunningCluster, secret: str) -> None:
    """Each with its certificate verified; no command prints the content."""
    listed = invoke(cluster, "secrets", "list", "--json")
    assert secret in [item["key"] for item in json.loads(listed.stdout)]
    shown = invoke(cluster, "secrets", "show", secret, "--json")
    value = json.loads(shown.stdout)
    assert (value["custody"], value["usage"], value["attested"]) == ("release", "secret", True)
    assert CONTENT.decode() not in listed.output + shown.output


def test_a_quote_command_that_fails(cluster: RunningCluster, secret: str) -> None:
    """No evidence, wrong usage and no way to quote are told apart from a refusal."""
    for arguments in (["--quote-command", "false"], ["--quote-command", "true"], []):
        done = invoke(cluster, "secrets", "release", secret, *arguments)
        assert done.exit_code == 2, done.output
    refused = invoke(cluster, "secrets", "release", secret, "--quote-command", "echo")
    assert (refused.exit_code, "release.evidence" in refused.output) == (1, True)
