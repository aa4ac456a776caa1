"""Make a developer cluster's data directory: vendor, machines, registry, operator, signed roster, cluster file.

Happens once; everything that must not change afterwards (the roster names ports and machines, its hash
is the cluster id) is decided here.  The directory is built beside its place and renamed when complete,
so a directory with a cluster file is always a whole one.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from pathlib import Path

from attestation.canonical import canonical_json, parse_json
from attestation.envelope import b64url
from attestation.proof_of_cloud.registry import Registry
from attestation.simulated.authority import Authority
from attestation.simulated.storage import write_private
from enclave.diversity import Dimension, DiversityTerms
from enclave.roster import Environment, OperatorEntry, Role, Roster
from enclave.roster_slots import ProofOfCloudTerms, SlotEntry
from kms.client.credentials import OperatorCredentials
from kms.dev.layout import Layout
from kms.dev.machines import MEASUREMENT, REGISTERS, kind, platform_id
from kms.dev.ports import HOST, choose
from kms.dev.trust_files import restate, write_collateral

PROVIDER = "simulated-cloud-{}"
"""One made-up provider per machine: two of five shares may then reveal a key, as one provider holds one."""

REGION = "simulated-region-1"

SNAPSHOT_AGE_S_MAX = 86_400


def create(root: Path, *, nodes: int, first_port: int) -> Layout:
    """A new cluster of `nodes` nodes with node ports from `first_port` on (0: any); replaces a half-made one."""
    building = root.with_name(f".{root.name}.building")
    if building.exists():
        shutil.rmtree(building)
    building.mkdir(parents=True, mode=0o700)
    layout = Layout(root=building)
    for path in (layout.gateway, layout.logs, layout.root / "nodes"):
        path.mkdir(mode=0o700)
    now = int(time.time())
    slots = [f"node-{number}" for number in range(1, nodes + 1)]
    for slot in slots:
        layout.node(slot).mkdir(mode=0o700)

    authority = Authority.create(layout.authority)
    registry = _registry(layout.registry, authority, slots, now)
    operator = OperatorCredentials.create()
    operator.save(layout.operator_key)
    roster = _roster(authority, registry, operator, dict(zip(slots, choose(first_port, nodes), strict=True)), now)
    write_private(layout.roster, roster.sign(operator.key))
    write_collateral(authority, layout)
    restate(registry, layout)
    write_cluster_file(layout, roster, operator=operator.issuer, url="", defaults={})

    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    # The lock file is already there; everything else moves in, the cluster file last.
    for name in sorted(os.listdir(building), key=lambda name: name == layout.cluster_file.name):
        (building / name).rename(root / name)
    building.rmdir()
    return Layout(root=root)


def write_cluster_file(layout: Layout, roster: Roster, *, operator: str, url: str, defaults: dict[str, str]) -> None:
    """What clients need to find and to pin this cluster; paths are relative to the file."""
    value = {
        "url": url or f"http://{HOST}",
        "cluster_id": roster.cluster_id.hex(),
        "roster": layout.roster.name,
        "simulated_roots": [b64url(root) for root in roster.simulated_roots],
        "operator": {"id": operator, "key": layout.operator_key.name},
        "defaults": defaults,
    }
    write_private(layout.cluster_file, canonical_json(value) + b"\n")


def set_cluster_file(layout: Layout, **changes: object) -> None:
    """Change members of the cluster file."""
    value = parse_json(layout.cluster_file.read_bytes())
    write_private(layout.cluster_file, canonical_json(value | changes) + b"\n")


def _registry(directory: Path, authority: Authority, slots: list[str], now: int) -> Registry:
    registry = Registry.development(directory, now=now)
    for number, slot in enumerate(slots, start=1):
        registry.add_platform(
            platform_id(authority, slot),
            provider=PROVIDER.format(number),
            region=REGION,
            now=now,
        )
    return registry


def _roster(
    authority: Authority, registry: Registry, operator: OperatorCredentials, ports: dict[str, int], now: int
) -> Roster:
    return Roster(
        version=1,
        environment=Environment.DEVELOPMENT,
        created_at=now,
        slots=tuple(
            SlotEntry(
                slot=slot,
                url=f"tls://{HOST}:{port}",
                operator=operator.issuer,
                platform=platform_id(authority, slot).commitment,
                measurements={REGISTERS[kind(slot)]: frozenset({MEASUREMENT.hex()})},
                failure_domain={"provider": PROVIDER.format(number), "region": REGION},
            )
            for number, (slot, port) in enumerate(ports.items(), start=1)
        ),
        operators=(
            OperatorEntry(
                operator=operator.issuer,
                name="developer",
                key=operator.public.key,
                roles=frozenset({Role.ADMIN, Role.REGISTRAR, Role.AUDITOR}),
            ),
        ),
        quorum={"roster": 1},
        appraisal={"allowed_roots": ["simulated"]},
        proof_of_cloud=ProofOfCloudTerms(
            members=dict(registry.config.members),
            threshold=registry.config.threshold,
            freshness_key=registry.config.freshness_key,
            level=1,
            max_age_s=SNAPSHOT_AGE_S_MAX,
        ),
        diversity=DiversityTerms(
            limits={
                Dimension.PLATFORM: 1,
                Dimension.VENDOR: max(Counter(kind(slot) for slot in ports).values()),
            },
            # One developer runs every node, and says so.
            accept_common=frozenset({Dimension.OPERATOR}),
        ),
        simulated_roots=tuple(authority.roots()),
    )
