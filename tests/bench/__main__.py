"""`make bench`: starts a 3-of-5 developer cluster, drives it over HTTP, prints figures beside the same run's ceilings.

    python -m tests.bench [--seconds 6] [--in-flight 1,32] [--json FILE] [--plot FILE.svg]

Absolute numbers depend on the machine; the ratios to the ceilings are what a change is judged by.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from rich.console import Console
from rich.table import Table

from attestation.canonical import canonical_json
from attestation.envelope import b64url
from kms.client import AgentCredentials, Client, OperatorCredentials
from kms.client.certified import CertifiedKey
from kms.client.cluster_file import ClusterFile
from kms.dev.cluster import DevCluster
from tests.bench import ceilings, decisions, policy, subscribers
from tests.bench.load import Figures, Request, run
from tests.bench.plot import plot

NAMES = {
    "ed25519": "Ed25519 sign, FROST 3 of 5",
    "bip340": "BIP-340 sign, 3 of 5",
    "threshold_ecdsa": "ECDSA sign, threshold T=2, 3 of 5",
    "ecdsa": "ECDSA sign, reconstruct 3 of 5",
    "decrypt": "HPKE decrypt, 3 of 5",
}


async def measure(seconds: float, levels: list[int], console: Console) -> dict[str, Any]:
    """Ceilings first, on a quiet machine, then the cluster; returns everything as one JSON-able value."""
    console.print("measuring ceilings ...", style="dim")
    library = ceilings.library_calls()
    pure = ceilings.threshold_operations()
    costs = decisions.measure()
    judged = policy.measure()
    echo = {level: await ceilings.echo_rate(level) for level in levels}
    figures: list[Figures] = []
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as directory:
        console.print("starting five nodes and a gateway ...", style="dim")
        async with DevCluster(Path(directory) / "dev") as cluster:
            agent = AgentCredentials.load(cluster.layout.agent_key)
            operator = OperatorCredentials.load(cluster.layout.operator_key)
            async with (
                Client.connect(cluster.cluster_file, credentials=operator) as as_operator,
                Client.connect(cluster.cluster_file, credentials=agent) as as_agent,
            ):
                makers = await _makers(as_operator, as_agent, ClusterFile.load(cluster.cluster_file).default_policy)
            pids = {name: pid for name in [*cluster.slots, "gateway"] if (pid := cluster.pid(name)) is not None}
            for work, make in makers.items():
                for level in levels:
                    console.print(f"{NAMES[work]}, {level} in flight ...", style="dim")
                    figures.append(await run(cluster.url, make, pids, work=work, in_flight=level, seconds=seconds))
            console.print(f"{NAMES['ed25519']}, beside {subscribers.SUBSCRIBERS} event streams ...", style="dim")
            token = as_operator.caller.token("GET", "/v1/events", act="events.read", resource="*", body=b"")
            beside = await subscribers.measure(cluster.url, makers["ed25519"], token, seconds=seconds)
            memory = cluster.memory_mib()
    return {
        "cores": os.cpu_count(),
        "library_us": {item.name: item.microseconds for item in library},
        "pure_us": {work: item.microseconds for work, item in pure.items()},
        "echo_per_s": echo,
        "decisions": asdict(costs) | {"share": costs.share, "lines": costs.lines()},
        "policy": asdict(judged) | {"lines": judged.lines()},
        "subscribers": asdict(beside) | {"lines": beside.lines()},
        "figures": [asdict(item) | {"nodes_us": item.nodes_us, "servers_us": item.servers_us} for item in figures],
        "memory_mib": memory,
    }


async def _makers(operator: Client, agent: Client, policy: str | None) -> dict[str, Callable[[], Request]]:
    assert policy is not None
    solana = await operator.keys.create("bench-ed25519", usage="generic", policy=policy)
    schnorr = await operator.keys.create("bench-bip340", usage="bitcoin", policy=policy)
    evm = await operator.keys.create("bench-threshold-ecdsa", usage="evm", policy=policy)
    assembled = await operator.keys.create("bench-ecdsa", usage="evm", policy=policy, custody="reconstruct")
    vault = await operator.keys.create("bench-vault", usage="decrypt", policy=policy)
    recipient = b64url(X25519PrivateKey.generate().public_key().public_bytes_raw())
    sealed = b64url(await agent.decryption.encrypt(vault.key, os.urandom(64)))

    def request(key: CertifiedKey, act: str, value: dict[str, Any]) -> Request:
        body, path = canonical_json(value), f"/v1/keys/{key.key}/{act}"
        return Request(
            path=path, body=body, token=agent.caller.token("POST", path, act=act, resource=key.resource, body=body)
        )

    return {
        "ed25519": lambda: request(solana, "sign", {"kind": "message", "message": b64url(os.urandom(64))}),
        "bip340": lambda: request(schnorr, "sign", {"kind": "message", "message": b64url(os.urandom(64))}),
        "threshold_ecdsa": lambda: request(evm, "sign", {"kind": "eip191", "message": b64url(os.urandom(64))}),
        "ecdsa": lambda: request(assembled, "sign", {"kind": "eip191", "message": b64url(os.urandom(64))}),
        "decrypt": lambda: request(vault, "decrypt", {"ciphertext": sealed, "context": {}, "recipient": recipient}),
    }


def show(result: dict[str, Any], console: Console) -> None:
    """The tables people read."""
    top = Table(title="Ceilings of this run, one core")
    top.add_column("call")
    top.add_column("us", justify="right")
    for name, spent in result["library_us"].items():
        top.add_row(name, f"{spent:.0f}")
    for work, spent in result["pure_us"].items():
        top.add_row(f"{NAMES[work]}: all of its cryptography", f"{spent:.0f}")
    for level, rate in result["echo_per_s"].items():
        top.add_row(f"empty aiohttp echo, {level} in flight", f"{1e6 / rate:.0f}")
    console.print(top)
    table = Table(
        title=f"Through HTTP, everything on, {result['cores']} cores shared by client, gateway and five nodes"
    )
    for column in ("work", "in flight", "per s", "p50 ms", "p95 ms", "p99 ms", "nodes us", "gateway us", "load us"):
        table.add_column(column, justify="left" if column == "work" else "right")
    for column in ("nodes/pure", "all/pure", "rate/ideal", "rate/echo"):
        table.add_column(column, justify="right")
    for item in result["figures"]:
        pure, cores = result["pure_us"][item["work"]], result["cores"]
        table.add_row(
            NAMES[item["work"]],
            str(item["in_flight"]),
            f"{item['rate']:.0f}",
            *(f"{item[name]:.1f}" for name in ("p50_ms", "p95_ms", "p99_ms")),
            f"{item['nodes_us']:.0f}",
            f"{item['cpu_us']['gateway']:.0f}",
            f"{item['cpu_us']['load']:.0f}",
            f"{item['nodes_us'] / pure:.2f}",
            f"{item['servers_us'] / pure:.2f}",
            f"{item['rate'] * pure / (cores * 1e6):.2f}",
            f"{item['rate'] / result['echo_per_s'][item['in_flight']]:.2f}",
        )
    console.print(table)
    nodes = [size for name, size in result["memory_mib"].items() if name != "gateway"]
    for line in (line for part in ("policy", "decisions", "subscribers") for line in result[part]["lines"]):
        console.print(line, highlight=False)
    tokens = max(item["token_us"] for item in result["figures"])
    console.print(f"memory: nodes up to {max(nodes):.0f} MiB, gateway {result['memory_mib']['gateway']:.0f} MiB")
    console.print(f"signing one request token ahead of time: {tokens:.0f} us (not in the table)")


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6.0, help="measured time per row (default 6)")
    parser.add_argument("--in-flight", default="1,32", help="concurrency levels (default 1,32)")
    parser.add_argument("--json", type=Path, help="write everything measured to this file")
    parser.add_argument("--plot", type=Path, help="write rate over concurrency as SVG to this file")
    arguments = parser.parse_args()
    console = Console(width=170) if not sys.stdout.isatty() else Console()
    levels = [int(level) for level in arguments.in_flight.split(",")]
    result = asyncio.run(measure(arguments.seconds, levels, console))
    show(result, console)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    if arguments.plot:
        arguments.plot.write_text(plot(result, NAMES))
    return 0


if __name__ == "__main__":
    sys.exit(main())
