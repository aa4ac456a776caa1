"""The pieces of the developer cluster that need no processes: directory, lock, ports, children."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from attestation.canonical import canonical_json, parse_json
from attestation.envelope import b64url
from attestation.proof_of_cloud.registry import Registry
from attestation.proof_of_cloud.snapshot import RegistrySnapshot
from attestation.simulated.authority import Authority
from enclave.diversity import VENDORS, Dimension, NodeFacts, check_diversity
from enclave.errors import RefusedError
from enclave.presentation import verifier_for
from enclave.roster import Environment, Roster
from kms.client import OperatorCredentials
from kms.client.cluster_file import ClusterFile
from kms.dev import trust_files
from kms.dev.child import Child
from kms.dev.cluster import DevCluster
from kms.dev.create import create
from kms.dev.layout import SOCKET_PATH_BYTES_MAX, Layout
from kms.dev.lock import DirectoryLock
from kms.dev.machines import MEASUREMENT, kind, platform_id
from kms.dev.ports import choose, is_free, require_free
from kms.errors import ConflictError, UnavailableError


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A freshly made directory of five nodes."""
    return create(tmp_path_factory.mktemp("made") / "dev", nodes=5, first_port=0)


def test_roster_is_signed_and_pinned(layout: Layout) -> None:
    """The roster verifies, is a development one, and its digest is the cluster id clients pin."""
    roster = Roster.parse(layout.roster.read_bytes())
    file = ClusterFile.load(layout.cluster_file)
    assert roster.environment is Environment.DEVELOPMENT
    assert roster.cluster_id == file.trust.cluster_id == roster.digest
    assert file.trust.simulated_roots == roster.simulated_roots
    assert [entry.slot for entry in roster.slots] == [f"node-{n}" for n in range(1, 6)]
    assert all(entry.is_local for entry in roster.slots)


def test_three_machines_are_intels_and_two_amds(layout: Layout) -> None:
    """The roster pins one root per vendor and, per slot, the register in which that vendor reports the image."""
    roster = Roster.parse(layout.roster.read_bytes())
    assert [anchor.vendor for anchor in verifier_for(roster).roots.anchors] == ["intel", "amd"]
    assert {anchor.label for anchor in verifier_for(roster).roots.anchors} == {"simulated"}
    registers = ["mrtd"] * 3 + ["measurement"] * 2
    assert [entry.measurements for entry in roster.slots] == [{name: {MEASUREMENT.hex()}} for name in registers]
    authority = Authority.load(layout.authority)
    kinds = [platform_id(authority, entry.slot).kind for entry in roster.slots]
    assert kinds == ["intel:ppid"] * 3 + ["amd:chipid"] * 2


@pytest.mark.parametrize("shares_needed", [2, 3, 5])
def test_the_developer_roster_satisfies_its_own_diversity_terms(layout: Layout, shares_needed: int) -> None:
    """Keys of every threshold may live on all five nodes, only because the common operator is accepted openly."""
    roster = Roster.parse(layout.roster.read_bytes())
    facts = [
        NodeFacts(
            slot=entry.slot,
            platform=entry.platform.hex(),
            operator=entry.operator,
            provider=entry.failure_domain["provider"],
            region=entry.failure_domain["region"],
            vendor=VENDORS[kind(entry.slot)],
        )
        for entry in roster.slots
    ]
    assert roster.diversity.limits == {Dimension.PLATFORM: 1, Dimension.VENDOR: 3}
    check_diversity(facts, roster.diversity, shares_needed)
    with pytest.raises(RefusedError) as caught:
        check_diversity(facts, replace(roster.diversity, accept_common=frozenset()), shares_needed)
    assert caught.value.code == "diversity.operator"


def test_operator_key_is_the_rosters(layout: Layout) -> None:
    """The operator key file belongs to the roster's only operator and is private."""
    operator = OperatorCredentials.load(layout.operator_key)
    roster = Roster.parse(layout.roster.read_bytes())
    assert roster.operator_key(operator.issuer, operator.public.kid) == operator.public
    assert stat.S_IMODE(layout.operator_key.stat().st_mode) == 0o600


def test_registry_lists_every_machine(layout: Layout) -> None:
    """The snapshot verifies with two of three members and lists each slot's machine with its provider."""
    roster = Roster.parse(layout.roster.read_bytes())
    terms = roster.proof_of_cloud
    assert (len(terms.members), terms.threshold) == (3, 2)
    snapshot = RegistrySnapshot.parse(layout.snapshot.read_bytes())
    snapshot.verify(terms.members, 2, terms.freshness_key, snapshot.issued_at, terms.max_age_s)
    for entry in roster.slots:
        standing = snapshot.lookup(entry.platform)
        assert standing.listed
        assert standing.provider == entry.failure_domain["provider"]


def test_private_files_are_private(layout: Layout) -> None:
    """Nothing in the directory can be reached by other users."""
    assert stat.S_IMODE(layout.root.stat().st_mode) == 0o700


def test_half_made_directory_is_replaced(tmp_path: Path) -> None:
    """What an interrupted creation left behind is built anew, and the result is whole."""
    (tmp_path / ".dev.building" / "authority").mkdir(parents=True)
    made = create(tmp_path / "dev", nodes=3, first_port=0)
    assert Roster.parse(made.roster.read_bytes()).slots[2].slot == "node-3"
    assert not (tmp_path / ".dev.building").exists()


async def test_foreign_directory_is_left_alone(tmp_path: Path) -> None:
    """A directory with other people's files is refused and untouched, even with --fresh."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "precious").write_text("x")
    with pytest.raises(ConflictError) as caught:
        await DevCluster(tmp_path, fresh=True).start()
    assert caught.value.code == "dev.directory"
    assert (tmp_path / "logs" / "precious").read_text() == "x"


async def test_a_cluster_of_another_version_is_left_alone(tmp_path: Path) -> None:
    """A roster this version does not read is reported with the way out, and nothing is thrown away unasked."""
    made = create(tmp_path / "dev", nodes=3, first_port=0)
    made.lock.touch()
    value = parse_json(made.roster.read_bytes())
    made.roster.write_bytes(canonical_json(value | {"payload": b64url(b"{}")}))
    with pytest.raises(ConflictError, match="not made by this version") as caught:
        await DevCluster(made.root).start()
    assert caught.value.code == "dev.version"
    assert made.operator_key.exists()


def test_second_instance_is_refused(tmp_path: Path) -> None:
    """A held lock refuses the next taker, names the holder, and can be taken again once given back."""
    path = tmp_path / "kms-dev.pid"
    with DirectoryLock(path), pytest.raises(ConflictError, match=str(os.getpid())) as caught:
        DirectoryLock(path).acquire()
    assert caught.value.code == "dev.running"
    with DirectoryLock(path):
        assert path.read_text() == f"{os.getpid()}\n"


def test_ports() -> None:
    """Chosen ports are distinct and free; a taken one is named in the refusal."""
    ports = choose(0, 8)
    assert len(set(ports)) == 8
    assert all(is_free(port) for port in ports)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConflictError, match=f"port {port} of the gateway"):
            require_free(port, "the gateway")
        assert port not in choose(port, 2)


def test_deep_directories_get_short_sockets(tmp_path: Path) -> None:
    """Where socket paths would not fit a socket address, a short private directory is used."""
    assert Layout(root=Path("/x")).sockets(["node-1"]) == {"node-1": Path("/x/node-1.tee.sock")}
    deep = Layout(root=tmp_path / ("d" * SOCKET_PATH_BYTES_MAX))
    path = deep.sockets(["node-1"])["node-1"]
    assert len(str(path)) < SOCKET_PATH_BYTES_MAX
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.parent.rmdir()


async def test_child_that_ends_alone_is_reported_with_its_log(tmp_path: Path) -> None:
    """A child that fails at start is an error that shows the end of its log."""
    child = Child("node-9", "raise SystemExit('no such roster')", [], tmp_path / "log")
    await child.start()
    for _ in range(200):
        if child.ended_alone:
            break
        await asyncio.sleep(0.05)
    with pytest.raises(UnavailableError, match="no such roster"):
        child.check_running()


async def test_child_that_was_killed_on_purpose_is_not_reported(tmp_path: Path) -> None:
    """Killing a child through the supervisor is no failure of the child."""
    child = Child("node-9", "import time; time.sleep(60)", [], tmp_path / "log")
    await child.start()
    pid = child.pid
    assert pid is not None
    assert child.memory_mib() is not None
    await child.kill()
    child.check_running()
    assert child.pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_child_that_ignores_sigterm_still_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that ignores SIGTERM is killed after the grace period."""
    monkeypatch.setattr("kms.dev.child.STOP_S", 0.3)
    ready = tmp_path / "ready"
    program = (
        "import signal, sys, time, pathlib; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "pathlib.Path(sys.argv[1]).touch(); time.sleep(60)"
    )
    child = Child("node-9", program, [str(ready)], tmp_path / "log")
    await child.start()
    while not ready.exists():
        await asyncio.sleep(0.02)
    await child.stop()
    assert child.pid is None


STAND_IN = """
import asyncio, os, pathlib, signal, sys
from kms.dev import trust_files
from kms.dev.child import Child

async def supervise():
    child = Child("node-9", "import time; time.sleep(60)", [], pathlib.Path(sys.argv[1]))
    await child.start()
    print(child.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(supervise())
"""


def test_children_end_with_the_supervisor(tmp_path: Path) -> None:
    """When the supervisor is killed outright, its children get SIGTERM from the kernel."""
    stand_in = subprocess.run(
        [sys.executable, "-c", STAND_IN, str(tmp_path / "log")], capture_output=True, text=True, check=False
    )
    assert stand_in.returncode == -signal.SIGKILL
    state = Path(f"/proc/{int(stand_in.stdout)}/stat")
    for _ in range(200):
        if not state.exists() or state.read_text().rpartition(")")[2].split()[0] in "ZX":
            return
        time.sleep(0.05)
    pytest.fail("a child outlived its supervisor")


async def test_registry_and_collateral_are_restated(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the cluster runs, both files are issued anew when their time has come, and not before."""
    monkeypatch.setattr(trust_files, "LOOK_EVERY_S", 0.01)
    authority, registry = Authority.load(layout.authority), Registry.open(layout.registry)
    issued = sorted(layout.collateral.iterdir())
    before = layout.snapshot.read_bytes(), [path.stat().st_mtime_ns for path in issued]

    async def run_for(seconds: float) -> None:
        task = asyncio.create_task(trust_files.keep_fresh(authority, registry, layout, report=pytest.fail))
        await asyncio.sleep(seconds)
        task.cancel()

    await run_for(0.1)
    assert (layout.snapshot.read_bytes(), [path.stat().st_mtime_ns for path in issued]) == before
    monkeypatch.setattr(trust_files, "RESTATE_EVERY_S", 0)
    await run_for(0.3)
    snapshot = RegistrySnapshot.parse(layout.snapshot.read_bytes())
    assert snapshot.sequence > RegistrySnapshot.parse(before[0]).sequence
    assert all(path.stat().st_mtime_ns > then for path, then in zip(issued, before[1], strict=True))
    assert sorted(layout.collateral.iterdir()) == issued


def test_cluster_file_stays_strict(layout: Layout) -> None:
    """What the developer cluster writes is what clients accept: no member they do not know."""
    value = parse_json(layout.cluster_file.read_bytes())
    assert set(value) == {"url", "cluster_id", "roster", "simulated_roots", "operator", "defaults"}
