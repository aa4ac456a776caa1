"""The configuration's platform decides the adapter, and the roster decides whether it may."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from enclave.config import NodeConfig
from enclave.errors import CallerError, EnclaveError
from enclave.node import open_tee
from enclave.roster import Roster
from enclave.tee.dstack import DstackTee
from enclave.tee.guests import SevSnpTee, TdxTee
from enclave.tee.nitro import NitroTee
from enclave.tee.simulated import SimulatedTee
from tests.enclave.samples import a_production_roster, a_roster


def config(directory: Path, tee: dict[str, Any]) -> NodeConfig:
    """A configuration with this platform."""
    path = directory / "node.json"
    fields = {"slot": "node-1", "data": "data", "roster": "roster.json", "listen": "127.0.0.1:0", "tee": tee}
    path.write_text(json.dumps(fields))
    return NodeConfig.load(path)


@pytest.mark.parametrize(
    ("tee", "adapter", "seals"),
    [
        ({"kind": "tdx"}, TdxTee, False),
        ({"kind": "sev-snp"}, SevSnpTee, True),
        ({"kind": "nitro"}, NitroTee, False),
        ({"kind": "dstack"}, DstackTee, True),
        ({"kind": "dstack", "socket": "/run/dstack.sock"}, DstackTee, True),
        ({"kind": "simulated", "socket": "tee.sock"}, SimulatedTee, True),
        ({"kind": "simulated", "socket": "tee.sock", "sealing": False}, SimulatedTee, False),
    ],
)
def test_each_kind_has_its_adapter(tmp_path: Path, tee: dict[str, Any], adapter: type, seals: bool) -> None:
    """The adapter says whether it can seal."""
    chosen = open_tee(config(tmp_path, tee), a_roster())
    assert type(chosen) is adapter
    assert chosen.can_seal is seals


@pytest.mark.parametrize("tee", [{"kind": "tdx"}, {"kind": "sev-snp"}, {"kind": "nitro"}, {"kind": "dstack"}])
def test_production_takes_every_real_platform(tmp_path: Path, tee: dict[str, Any]) -> None:
    """Whether its evidence is good enough is for the peers to judge."""
    open_tee(config(tmp_path, tee), a_production_roster())


def test_production_refuses_the_simulated_platform(tmp_path: Path) -> None:
    """It protects nothing."""
    with pytest.raises(EnclaveError) as caught:
        open_tee(config(tmp_path, {"kind": "simulated", "socket": "tee.sock"}), a_production_roster())
    assert caught.value.code == "tee.simulated"


@pytest.mark.parametrize(
    "tee",
    [
        {"kind": "sgx"},
        {"kind": "simulated"},
        {"kind": "tdx", "socket": "x"},
        {"kind": "tdx", "sealing": True},
        {"kind": "simulated", "socket": "x", "sealing": "no"},
        {},
    ],
)
def test_other_configurations_are_refused(tmp_path: Path, tee: dict[str, Any]) -> None:
    """Unknown kinds, missing sockets and fields of another kind."""
    with pytest.raises(CallerError) as caught:
        config(tmp_path, tee)
    assert caught.value.code == "config.malformed"


def test_the_roster_in_these_tests_is_a_roster() -> None:
    """A guard: the two sample rosters differ in what they admit."""
    rosters: list[Roster] = [a_roster(), a_production_roster()]
    assert len({roster.environment for roster in rosters}) == 2
