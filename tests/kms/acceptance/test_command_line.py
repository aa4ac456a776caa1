"""The command line signs authorizations and typed data from JSON files; eth-account recovers the account."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_account.typed_transactions.set_code_transaction import Authorization
from eth_keys.datatypes import Signature
from eth_utils import to_canonical_address

from kms.cli import main
from tests.kms.acceptance.conftest import DELEGATE
from tests.kms.cluster_fixture import RunningCluster

pytestmark = pytest.mark.cluster

NONCES = itertools.count(1000)
TYPED = {
    "types": {
        "EIP712Domain": [{"name": "name", "type": "string"}, {"name": "chainId", "type": "uint256"}],
        "Order": [{"name": "item", "type": "string"}, {"name": "amount", "type": "uint256"}],
    },
    "primaryType": "Order",
    "domain": {"name": "shop", "chainId": 1},
    "message": {"item": "tea", "amount": 3},
}


def signed(cluster: RunningCluster, key: str, kind: str, value: Any, directory: Path) -> tuple[int, Any]:
    """Exit status and output of `kms sign`."""
    file = directory / "body.json"
    file.write_text(json.dumps(value))
    environment = {"HOLDFAST_CLUSTER": str(cluster.dev.cluster_file)}
    done = CliRunner().invoke(main, ["sign", key, "--kind", kind, "--file", str(file), "--json"], env=environment)
    return done.exit_code, json.loads(done.stdout) if done.exit_code == 0 else done.output


def test_an_authorization(cluster: RunningCluster, keys: dict[str, str], tmp_path: Path) -> None:
    """The delegation's signer is the key's account."""
    number = next(NONCES)
    value = {"chain_id": 1, "address": DELEGATE, "nonce": number}
    status, found = signed(cluster, keys["evm"], "eip7702_authorization", value, tmp_path)
    assert status == 0, found
    digest = Authorization(1, to_canonical_address(DELEGATE), number).hash()
    vrs = (found["y_parity"], int(found["r"], 16), int(found["s"], 16))
    account = Signature(vrs=vrs).recover_public_key_from_msg_hash(digest).to_checksum_address()

    shown = CliRunner().invoke(
        main, ["keys", "show", keys["evm"], "--json"], env={"HOLDFAST_CLUSTER": str(cluster.dev.cluster_file)}
    )
    assert json.loads(shown.stdout)["addresses"]["evm"] == account


def test_typed_data(cluster: RunningCluster, keys: dict[str, str], tmp_path: Path) -> None:
    """eth-account hashes the same file and recovers the account that signed."""
    status, found = signed(cluster, keys["evm"], "eip712", TYPED, tmp_path)
    assert status == 0, found
    account = Account.recover_message(
        encode_typed_data(full_message=TYPED), signature=bytes.fromhex(found["signature"])
    )
    shown = CliRunner().invoke(
        main, ["keys", "show", keys["evm"], "--json"], env={"HOLDFAST_CLUSTER": str(cluster.dev.cluster_file)}
    )
    assert json.loads(shown.stdout)["addresses"]["evm"] == account


def test_what_is_no_object(cluster: RunningCluster, keys: dict[str, str], tmp_path: Path) -> None:
    """Wrong usage is said before anything is asked of the cluster."""
    for kind in ("eip712", "eip7702_authorization", "evm_transaction"):
        status, output = signed(cluster, keys["evm"], kind, [1], tmp_path)
        assert (status, "expected a JSON object" in output) == (2, True)
