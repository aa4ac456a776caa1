"""Child keys through the client and the command line: addresses are computed here, signatures checked under them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner
from eth_account import Account
from eth_account.messages import encode_defunct

from enclave.errors import CallerError
from kms.cli import main
from kms.client import VerificationError
from kms.client.certified import CertifiedKey
from tests.kms.client.hostile_gateway import hostile_gateway
from tests.kms.cluster_fixture import RunningCluster

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def keys(cluster: RunningCluster) -> dict[str, CertifiedKey]:
    """A threshold ECDSA key, a Solana key and a decryption key."""

    async def make() -> dict[str, CertifiedKey]:
        async with cluster.as_operator() as client:
            return {
                usage: await client.keys.create(f"derive-{usage}", usage=usage, policy=cluster.policy)
                for usage in ("evm", "solana", "decrypt")
            }

    return cluster.run(make())


async def test_child_signs_for_its_address(cluster: RunningCluster, keys: dict[str, CertifiedKey]) -> None:
    """eth-account recovers the child's address, which was computed without asking the gateway."""
    async with hostile_gateway(cluster.dev.url) as (gateway, url), cluster.as_agent(url=url) as client:
        await client.keys.get(keys["evm"].key)
        asked = len(gateway.seen)
        child = await client.keys.derive(keys["evm"].key, "m/44/60/1")
        assert len(gateway.seen) == asked
        signed = await client.sign.eip191(child.key, b"hello", path=child.path)
    assert signed.ecdsa is not None
    assert signed.path == "m/44/60/1"
    assert Account.recover_message(encode_defunct(b"hello"), signature=signed.ecdsa.eth65) == child.addresses["evm"]


async def test_parents_signature_is_no_childs(cluster: RunningCluster, keys: dict[str, CertifiedKey]) -> None:
    """A gateway that answers with a signature of another path is noticed."""
    answers: list[Any] = []

    def swap(path: str, value: Any) -> Any:
        if path.endswith("/sign"):
            answers.append(value)
            return answers[0]
        return value

    async with hostile_gateway(cluster.dev.url) as (gateway, url), cluster.as_agent(url=url) as client:
        gateway.rewrite_json = swap
        await client.sign.eip191(keys["evm"].key, b"hello")
        with pytest.raises(VerificationError) as caught:
            await client.sign.eip191(keys["evm"].key, b"hello", path="m/0")
    assert caught.value.code == "verify.signature"


async def test_refused_before_anything_is_sent(cluster: RunningCluster, keys: dict[str, CertifiedKey]) -> None:
    """Paths that do not exist and keys without children are refused here."""
    async with cluster.as_agent() as client:
        for key, path, code in (("evm", "m/0'", "path.invalid"), ("decrypt", "m/0", "derive.refused")):
            with pytest.raises(CallerError) as caught:
                await client.keys.derive(keys[key].key, path)
            assert caught.value.code == code


def test_command_line_derives_and_signs(cluster: RunningCluster, keys: dict[str, CertifiedKey]) -> None:
    """`kms keys derive` shows the address, `kms sign --path` signs for it."""
    environment = {
        "HOLDFAST_CLUSTER": str(cluster.dev.cluster_file),
        "HOLDFAST_AGENT_KEY": str(cluster.dev.layout.agent_key),
    }
    runner = CliRunner()
    shown = runner.invoke(main, ["keys", "derive", keys["evm"].key, "m/2", "--json"], env=environment)
    assert shown.exit_code == 0, shown.output
    made = runner.invoke(
        main,
        ["sign", keys["evm"].key, "--kind", "eip191", "--message", "hello", "--path", "m/2", "--json"],
        env=environment,
    )
    assert made.exit_code == 0, made.output
    signature = bytes.fromhex(json.loads(made.stdout)["signature"])
    sender = Account.recover_message(encode_defunct(b"hello"), signature=signature)
    assert sender == json.loads(shown.stdout)["addresses"]["evm"]
