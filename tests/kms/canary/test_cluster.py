"""Five real nodes and a gateway do everything they can do, and afterwards no secret is found outside an arena."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from attestation.errors import CodedError
from attestation.proof_of_cloud.registry import Registry
from attestation.simulated.authority import Authority, simulated_measurement
from attestation.simulated.service import Launch, SimulatedPlatformService
from enclave.seal import LABEL_HEAD, LABEL_VALUES
from enclave.secret import declassify
from kms.client import Client
from kms.dev.machines import MEASUREMENT, machine
from tests.enclave.node.world import LocalTee
from tests.kms.canary.reports import secrets_of
from tests.kms.canary.scan import Scanner, live_slots, read, regions
from tests.kms.cluster_fixture import RunningCluster

pytestmark = pytest.mark.cluster

HOOK = Path(__file__).with_name("hook")
KEYS = (
    ("ed25519", "generic", None),
    ("secp256k1-schnorr", "bitcoin", None),
    ("secp256k1-ecdsa", "generic", None),
    ("secp256k1-ecdsa", "generic", "reconstruct"),
    ("p256-ecdsa", "generic", "reconstruct"),
)
"""(spec, usage, custody) of the signing keys."""

RUN_ALL = """
import enclave, sys
from tests.ct.cases import all_cases
for _, case in all_cases():
    case().call()
print("done", flush=True)
sys.stdin.read(1)
"""

WORKLOAD = simulated_measurement("canary-workload")
PLAINTEXT = os.urandom(40)
"""What is decrypted for a recipient: neither nodes nor gateway may have it outside an arena."""


@dataclass(slots=True)
class Canary:
    """The cluster after its day's work."""

    cluster: RunningCluster
    reports: Path
    refusals: list[bytes] = field(default_factory=list)

    def pids(self) -> dict[str, int]:
        """Process ids of the nodes."""
        found = {slot: self.cluster.dev.pid(slot) for slot in self.cluster.dev.slots}
        return {slot: pid for slot, pid in found.items() if pid is not None}


@pytest.fixture(scope="module")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Canary]:
    """A cluster whose nodes report what they wipe, with every kind of key made and used."""
    if os.geteuid() != 0:
        pytest.skip("nodes let nobody but root read their memory")
    reports = tmp_path_factory.mktemp("reports")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOLDFAST_CANARY_DIR", str(reports))
        patch.setenv("PYTHONPATH", os.pathsep.join((str(HOOK), os.getcwd())))
        cluster = RunningCluster(tmp_path_factory.mktemp("canary") / "dev")
    made = Canary(cluster=cluster, reports=reports)
    try:
        asyncio.run(use_everything(made))
        yield made
    finally:
        cluster.close()


async def use_everything(canary: Canary) -> None:
    """Create, sign, decrypt in each way, open inside, reconstruct, release; and requests that fail."""
    cluster = canary.cluster
    async with cluster.as_operator() as operator, cluster.as_agent() as agent:
        policy = await _policy(operator, cluster.agent.issuer)
        for number, (spec, usage, custody) in enumerate(KEYS):
            key = await operator.keys.create(f"canary-{number}", spec=spec, usage=usage, custody=custody, policy=policy)
            for content in (bytes(range(32)), bytes(range(1, 33))):
                if usage == "bitcoin":
                    await agent.sign.bitcoin_sighash(key.key, content)
                else:
                    await agent.sign.message(key.key, content)
        sealing = await operator.keys.create("canary-sealing", usage="decrypt", policy=policy)
        sealed = await agent.decryption.encrypt(sealing.key, PLAINTEXT)
        assert await agent.decryption.decrypt(sealing.key, sealed) == PLAINTEXT
        assert await agent.decryption.decrypt(sealing.key, sealed, opened_in_enclave="node-2") == PLAINTEXT
        for broken in (sealed[:-1] + bytes([sealed[-1] ^ 1]), sealed[:20]):
            for opener in (None, "node-2"):
                try:
                    await agent.decryption.decrypt(sealing.key, broken, opened_in_enclave=opener)
                except CodedError as error:
                    canary.refusals.append(repr(error).encode() + str(vars(error)).encode())
        stored = await operator.secrets.put("canary-secret", PLAINTEXT, policy=policy)
        platform = await _listed_workload(cluster)
        async with asyncio.timeout(30):
            while True:
                try:
                    quote = lambda data: bytes(platform.quote(data, mrtd=WORKLOAD, now=0))  # noqa: E731
                    assert await agent.secrets.release(stored.secret, quote) == PLAINTEXT
                    break
                except CodedError as error:  # until the nodes have the new registry
                    canary.refusals.append(repr(error).encode())
                    await asyncio.sleep(0.3)
    assert len(canary.refusals) >= 2


async def _policy(operator: Client, agent: str) -> str:
    rules = [
        {
            "name": "use",
            "effect": "allow",
            "agents": [agent],
            "kinds": ["message", "digest", "decrypt"],
            "digest": "allow",
        },
        {
            "name": "release",
            "effect": "allow",
            "agents": [agent],
            "kinds": ["release"],
            "workload": {"measurements": {"mrtd": [WORKLOAD.hex()]}},
        },
    ]
    return (await operator.policies.put("canary", rules, roster=await operator.roster())).policy


async def _listed_workload(cluster: RunningCluster) -> object:
    layout = cluster.dev.layout
    platform = Authority.load(layout.authority).platform("canary-workload")
    registry = Registry.open(layout.registry)
    registry.add_platform(platform.platform_id, provider="cloud", now=int(time.time()))
    registry.write_snapshot(layout.snapshot)
    return platform


def exempt(canary: Canary) -> set[bytes]:
    """What is no leak: a public constant, and the sealing keys the simulated platform tells in hexadecimal.

    The source of BIP-340 nonces keeps what it hashes in one live row, which begins with the tag's public hash.  The
    platform's socket is for development only.
    """
    layout, roster = canary.cluster.dev.layout, canary.cluster.dev.roster
    found = {hashlib.sha256(b"BIP0445/nonce").digest()}
    for slot in canary.cluster.dev.slots:
        launch = Launch(mrtd=MEASUREMENT, mrconfigid=roster.configuration)
        platform = machine(Authority.load(layout.authority), slot)
        service = SimulatedPlatformService(platform, launch, layout.root / "unused")
        for label in (LABEL_VALUES, LABEL_HEAD):
            with LocalTee(service).sealing_key(label) as key:
                found.add(declassify(key).hex().encode())
    return found


@pytest.fixture(scope="module")
def scanners(canary: Canary) -> dict[str, Scanner]:
    """Slot -> everything its arenas hold and held, and the plaintext that is nobody's business but the agent's."""
    reported = secrets_of(canary.reports)
    return {
        slot: Scanner(reported[pid] | live_slots(pid) | {PLAINTEXT, PLAINTEXT[:32]})
        for slot, pid in canary.pids().items()
    }


def test_nodes_told_what_to_look_for(canary: Canary, scanners: dict[str, Scanner]) -> None:
    """Every node reported hundreds of secrets, holds shares now, and the scanner sees those where they belong."""
    for slot, pid in canary.pids().items():
        assert len(scanners[slot]) > 100
        arenas = [region for region in regions(pid) if region.is_arena]
        assert arenas
        shares = Scanner(live_slots(pid))
        assert len(shares) >= len(KEYS)
        assert any(shares.find(chunk) for region in arenas for chunk in read(pid, region))


def test_no_secret_is_in_the_memory_of_a_node(canary: Canary, scanners: dict[str, Scanner]) -> None:
    """Heap, stacks, anonymous memory: no share, nonce, coefficient, session key or opened plaintext in any form."""
    ignored = exempt(canary)
    for slot, pid in canary.pids().items():
        hits = scanners[slot].find_in_process(pid)
        assert {where: len(found - ignored) for where, found in hits.items() if found - ignored} == {}, slot


def test_no_secret_is_in_the_memory_of_the_gateway(canary: Canary, scanners: dict[str, Scanner]) -> None:
    """The process everything passed through has none of any node's secrets, nor the plaintext."""
    pid = canary.cluster.dev.pid("gateway")
    assert pid is not None
    everything = Scanner(secret for scanner in scanners.values() for secret in scanner.secrets)
    assert everything.find_in_process(pid) == {}


def test_no_secret_is_on_disk_or_in_an_answer(canary: Canary, scanners: dict[str, Scanner]) -> None:
    """Logs, the gateway's database, the nodes' databases and every other file; and what refusals said."""
    everything = Scanner(secret for scanner in scanners.values() for secret in scanner.secrets)
    files = [path for path in canary.cluster.dev.layout.root.rglob("*") if path.is_file()]
    names = {path.name for path in files}
    assert "node.db" in names
    assert any("gateway" in str(path) and path.stat().st_size > 10_000 for path in files)
    assert any(path.suffix == ".log" and path.stat().st_size > 100 for path in files)
    for path in files:
        assert everything.find_in_file(path) == set(), path
    for refusal in canary.refusals:
        assert everything.find(refusal) == set()


def test_no_secret_is_in_a_core_file_of_a_node(canary: Canary, scanners: dict[str, Scanner], tmp_path: Path) -> None:
    """gcore by root, of a node that has done everything."""
    gcore = shutil.which("gcore")
    if gcore is None:
        pytest.skip("needs gcore (gdb)")
    slot, pid = next(iter(canary.pids().items()))
    done = subprocess.run(
        [gcore, "-o", str(tmp_path / "core"), str(pid)], capture_output=True, text=True, timeout=120, check=False
    )
    core = tmp_path / f"core.{pid}"
    if not core.exists():
        pytest.skip(f"gcore may not attach here: {done.stderr[-200:]}")
    assert core.stat().st_size > 10 << 20
    assert scanners[slot].find_in_file(core) - exempt(canary) == set()


def test_no_measured_function_leaves_a_copy(tmp_path: Path) -> None:
    """Every function under the constant-time gate, run in a process whose memory its parent may read without rights."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUN_ALL],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ
        | {"HOLDFAST_CANARY_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join((str(HOOK), os.getcwd()))},
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"done\n"
        scanner = Scanner(secrets_of(tmp_path)[process.pid] | live_slots(process.pid))
        assert len(scanner) > 300
        assert scanner.find_in_process(process.pid) == {}
    finally:
        process.communicate(b"x")
