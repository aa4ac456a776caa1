"""The configuration files of the cluster's processes, written anew at every start (paths and ports may have moved)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from attestation.simulated.storage import write_private
from enclave.roster_slots import SlotEntry
from kms.dev.layout import Layout
from kms.dev.ports import HOST


def write_node_config(layout: Layout, slot: SlotEntry, socket: Path) -> Path:
    """`node.json` for `kms-node serve`."""
    return _write(
        layout.node(slot.slot) / "node.json",
        {
            "slot": slot.slot,
            "data": str(layout.node(slot.slot)),
            "roster": str(layout.roster),
            "listen": f"{HOST}:{slot.port}",
            "tee": {"kind": "simulated", "socket": str(socket)},
            "log_level": "info",
        },
    )


def write_gateway_config(layout: Layout, port: int) -> Path:
    """`gateway.json` for `kms gateway serve`."""
    return _write(
        layout.gateway / "gateway.json",
        {
            "listen": f"{HOST}:{port}",
            "data": str(layout.gateway),
            "roster": str(layout.roster),
            "collateral": [str(path) for path in sorted(layout.collateral.iterdir()) if not path.name.startswith(".")],
            "registry": str(layout.snapshot),
        },
    )


def _write(path: Path, value: dict[str, Any]) -> Path:
    write_private(path, json.dumps(value, indent=2).encode() + b"\n")
    return path
