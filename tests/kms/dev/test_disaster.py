"""The disaster drill: five nodes and the gateway lost, restored from bundles and custodians, by commands alone."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nacl.signing
import pytest
from click.testing import CliRunner, Result
from eth_account import Account

from kms.cli import main
from kms.client import AgentCredentials, Client, OperatorCredentials
from kms.dev.cluster import DevCluster
from kms.dev.restoring import RestoringCluster

READY_S = 60.0

NAMES = ("ann", "ben", "cat", "dan", "eve")

TRANSFER = {
    "type": 2,
    "chain_id": 1,
    "max_fee_per_gas": "1000000000",
    "max_priority_fee_per_gas": "1",
    "gas": 21000,
    "to": "0x" + "11" * 20,
    "value": "1000",
    "data": "0x",
    "access_list": [],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Drill:
    """Paths of one drill, and the commands an operator types."""

    root: Path

    @property
    def cluster_file(self) -> Path:
        """Of the developer cluster."""
        return self.root / "dev" / "cluster.json"

    @property
    def backups(self) -> str:
        """Where sets are kept."""
        return str(self.root / "backups")

    def custodian(self, name: str, slot: str) -> str:
        """One person's file."""
        return str(self.root / "vault" / f"custodian-{name}-{slot}.json")

    async def kms(self, *arguments: str, code: int = 0) -> Any:
        """One command; its JSON."""
        group = ["backup"] if arguments[0] in BACKUP else []

        def invoke() -> Result:
            return CliRunner().invoke(main, [*group, *arguments, "--cluster", str(self.cluster_file), "--json"])

        result = await asyncio.to_thread(invoke)
        assert result.exit_code == code, result.output
        return json.loads(result.stdout) if result.stdout.startswith(("{", "[")) else result.stdout


BACKUP = ("setup", "export", "list", "verify", "prune", "order", "restore", "contribute", "finish")


async def _set_up(drill: Drill, dev: DevCluster) -> None:
    """Custodians, 3-of-5 for each slot, and the roster that names their keys."""
    plan = {
        "sets": [
            {
                "set": f"vault-{slot}",
                "slots": [slot],
                "groups": [{"threshold": 3, "members": [f"{name}-{slot}" for name in NAMES]}],
            }
            for slot in dev.slots
        ]
    }
    (drill.root / "plan.json").write_text(json.dumps(plan))
    await drill.kms("setup", str(drill.root / "plan.json"), "--out", str(drill.root / "vault"))
    await _next_roster(drill, drill.root / "vault" / "roster-backup.json", drill.root / "second.json")
    await drill.kms("cluster", "roster", "apply", str(drill.root / "second.json"))
    async with asyncio.timeout(READY_S):
        while True:
            async with Client.connect(drill.cluster_file) as client:
                view = await client.look()
            if {view.version_at(slot) for slot in dev.slots} == {2}:
                return
            await asyncio.sleep(0.5)


async def _next_roster(drill: Drill, patch: Path, out: Path) -> None:
    await drill.kms("cluster", "roster", "propose", "--edit", str(patch), "--out", str(out))
    await drill.kms("cluster", "roster", "sign", str(out), "--yes")


async def test_everything_is_lost_and_comes_back() -> None:
    """Keys of three kinds; five disks and the gateway's are deleted; the same public keys sign and decrypt again."""
    with tempfile.TemporaryDirectory(prefix="holdfast-drill-") as directory:
        drill = Drill(root=Path(directory))
        async with DevCluster(drill.root / "dev") as dev:
            await _set_up(drill, dev)
            keys = await _make_keys(drill, dev)
            exported = await drill.kms("export", "--at", drill.backups)
            assert (exported["done"], sorted(exported["slots"])) == (True, dev.slots)
            assert len(exported["keys"]) == 3
            slots = dev.slots
        files = [drill.custodian(name, slot) for slot in slots for name in ("ann", "cat", "eve")]
        proven = await drill.kms("verify", "--at", drill.backups, *_each("--mnemonics", files), *_offline(drill))
        assert (proven["done"], proven["opened"]) == (True, dict.fromkeys(slots, 3))

        _lose_everything(drill, slots)
        await _begin_incarnation(drill)
        order, documents = str(drill.root / "order.json"), str(drill.root / "documents.json")
        await drill.kms("order", "--at", drill.backups, "--out", order, *_offline(drill))
        async with RestoringCluster(drill.root / "dev") as restoring:
            # Two people at a table and one far away, for every node.
            here = [file for file in files if "-eve-" not in file]
            common = ["--at", drill.backups, "--order", order, "--documents", documents, *_offline(drill)]
            waiting = await drill.kms("restore", *_each("--mnemonics", here), *common, code=1)
            assert {node["missing"] for node in waiting["nodes"]} == {"1 more of group 1"}
            for slot in slots:
                told = await drill.kms("contribute", drill.custodian("eve", slot), "--yes", *_offline(drill))
                assert told["nodes"][0]["restored"]
            done = await drill.kms("restore", *common)
            assert [(node["result"], node["keys"]) for node in done["nodes"]] == [("restored", 3)] * 5
            await restoring.wait_ended()

        async with DevCluster(drill.root / "dev") as dev:
            assert dev.roster.incarnation == 2
            finished = await drill.kms("finish", "--documents", documents, "--keys", "3")
            assert (finished["failed"], finished["refused"]) == ({}, {})
            assert sorted(item["epoch"] for item in finished["keys"]) == [2, 2, 2]
            await _use_keys(drill, keys)
            # The new epoch is backed up before the old bundles go.
            again = await drill.kms("export", "--at", drill.backups, "--prune")
            assert (again["done"], again["removed"]) == (True, [exported["set"]])


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """What was there before."""

    ed25519: str
    evm: str
    inbox: str
    public_key: bytes
    address: str
    sealed: bytes


async def _make_keys(drill: Drill, dev: DevCluster) -> Keys:
    policy = json.loads(drill.cluster_file.read_text())["defaults"]["policy"]
    async with Client.connect(drill.cluster_file, credentials=_operator(dev)) as operator:
        ed25519 = await operator.keys.create("signer", usage="generic", policy=policy)
        evm = await operator.keys.create("wallet", usage="evm", policy=policy)
        inbox = await operator.keys.create("inbox", usage="decrypt", policy=policy)
    async with Client.connect(drill.cluster_file, credentials=_agent(drill)) as agent:
        sealed = await agent.decryption.encrypt(inbox.key, b"sealed before the loss")
        signed = await agent.sign.evm_transaction(evm.key, TRANSFER | {"nonce": 0})
    return Keys(
        ed25519=ed25519.key,
        evm=evm.key,
        inbox=inbox.key,
        public_key=ed25519.public_key,
        address=Account.recover_transaction(signed.raw_transaction),
        sealed=sealed,
    )


async def _use_keys(drill: Drill, keys: Keys) -> None:
    """Judged by libsodium and eth-account; and what was signed before the backup is remembered."""
    async with Client.connect(drill.cluster_file, credentials=_agent(drill)) as agent:
        signed = await agent.sign.message(keys.ed25519, b"after the loss")
        nacl.signing.VerifyKey(keys.public_key).verify(b"after the loss", signed.ed25519)
        assert await agent.decryption.decrypt(keys.inbox, keys.sealed) == b"sealed before the loss"
        again = await agent.sign.evm_transaction(keys.evm, TRANSFER | {"nonce": 1})
        assert Account.recover_transaction(again.raw_transaction) == keys.address
        with pytest.raises(Exception, match="nonce") as refused:
            await agent.sign.evm_transaction(keys.evm, TRANSFER | {"nonce": 0, "value": "999"})
        assert getattr(refused.value, "code", "") == "nonce-guard.used"


def _lose_everything(drill: Drill, slots: list[str]) -> None:
    for slot in slots:
        shutil.rmtree(drill.root / "dev" / "nodes" / slot)
    for path in (drill.root / "dev" / "gateway").iterdir():
        path.unlink() if path.is_file() else shutil.rmtree(path)


async def _begin_incarnation(drill: Drill) -> None:
    """Version 3 without any node or gateway, and the chain that the machines are configured with."""
    patch, signed = drill.root / "incarnation.json", drill.root / "third.json"
    patch.write_text(json.dumps({"incarnation": 2}))
    await _next_roster(drill, patch, signed)
    chain = drill.root / "dev" / "roster.json"
    await drill.kms("cluster", "roster", "show", "--with", str(signed), "--out", str(drill.root / "chain.json"))
    shutil.copyfile(drill.root / "chain.json", chain)


def _offline(drill: Drill) -> list[str]:
    """What no gateway tells."""
    dev = drill.root / "dev"
    chain = ["--rosters", str(dev / "roster.json")] if (drill.root / "chain.json").exists() else []
    blobs = [str(path) for path in (dev / "authority" / "collateral").iterdir() if not path.name.startswith(".")]
    return [*chain, *_each("--collateral", blobs), "--registry", str(dev / "registry" / "snapshot.json")]


def _each(option: str, values: list[str]) -> list[str]:
    return [text for value in values for text in (option, value)]


def _operator(dev: DevCluster) -> OperatorCredentials:
    return OperatorCredentials.load(dev.layout.operator_key)


def _agent(drill: Drill) -> AgentCredentials:
    return AgentCredentials.load(drill.root / "dev" / "demo-agent.pem")
