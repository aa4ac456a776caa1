"""Founding a cluster: a machine that waits, its evidence verified, the first roster drafted, signed and read."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from click.testing import CliRunner

from attestation.collateral import Collateral
from attestation.envelope import b64url
from attestation.errors import CodedError
from attestation.policy import AppraisalPolicy
from attestation.proof_of_cloud.registry import Registry
from attestation.simulated.authority import Authority, simulated_measurement
from attestation.simulated.service import Launch, SimulatedPlatformService
from attestation.verifier import Verifier
from enclave.roster import Roster
from enclave.wire.documents import ControlRequest
from enclave.wire.message import Empty
from kms.cli import main
from kms.client import OperatorCredentials
from kms.client.direct import open_connection
from kms.client.founding import _place, inspect
from kms.dev.ports import choose
from kms.errors import NodeRefusal

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROGRAM = "from enclave.cli import main; main()"
IMAGE = simulated_measurement("founding")
START_S = 60.0


class Waiting:
    """A simulated machine with `kms-node enrol` running in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = Authority.create(directory / "authority")
        self.registry = Registry.development(directory / "registry", now=1)
        self.port = choose(0, 1)[0]
        self.url = f"tls://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Machine and process."""
        socket = self.directory / "tee.sock"
        platform = self.authority.platform("node-1")
        self.service = SimulatedPlatformService(platform, Launch(mrtd=IMAGE, mrconfigid=bytes(48)), socket)
        await self.service.start()
        config = self.directory / "node.json"
        config.write_text(
            json.dumps(
                {
                    "slot": "node-1",
                    "data": "data",
                    "roster": "roster.json",
                    "listen": f"127.0.0.1:{self.port}",
                    "tee": {"kind": "simulated", "socket": str(socket)},
                }
            )
        )
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROGRAM, "enrol", "--config", str(config), stderr=asyncio.subprocess.PIPE
        )
        assert self.process.stderr is not None
        line = await asyncio.wait_for(self.process.stderr.readline(), START_S)
        assert b'"listening"' in line, line

    async def close(self) -> None:
        """End both."""
        self.process.terminate()
        await self.process.wait()
        await self.service.close()

    async def inspect(self, **changes: Any) -> Any:
        """The machine as an operator verifies it."""
        given: dict[str, Any] = {
            "verifier": Verifier.with_root(*self.authority.roots()),
            "collateral": Collateral.of(*self.authority.collateral(_now())),
            "policy": AppraisalPolicy.development(),
        }
        return await inspect(self.url, **given | changes)


def _now() -> int:
    return int(time.time())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def waiting(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Waiting]:
    """One machine that waits to be enrolled."""
    made = Waiting(tmp_path_factory.mktemp("founding"))
    await made.start()
    try:
        yield made
    finally:
        await made.close()


async def test_what_a_waiting_machine_proves_goes_into_its_slot(waiting: Waiting) -> None:
    """Platform and image come from evidence over the operator's nonce, verified under the root the operator names."""
    machine = await waiting.inspect()
    assert machine.slot == "node-1"
    assert machine.measurements == {"mrtd": [IMAGE.hex()]}
    found = waiting.authority.platform("node-1").platform_id
    assert found is not None
    assert machine.platform == found.commitment


async def test_a_machine_is_not_taken_at_its_word(waiting: Waiting) -> None:
    """Without the vendor's root, the collateral, or a policy that accepts it, nothing is drafted."""
    strict = replace(AppraisalPolicy.development(), measurements={"mrtd": frozenset({"00" * 48})})
    for changes in (
        {"verifier": Verifier.production()},
        {"collateral": Collateral()},
        {"policy": AppraisalPolicy.production()},
        {"policy": strict},
    ):
        with pytest.raises(CodedError):
            await waiting.inspect(**changes)


async def test_a_waiting_machine_does_nothing_else(waiting: Waiting) -> None:
    """It takes no document and tells no holdings: it belongs to no cluster."""
    connection = await open_connection(_place(waiting.url))
    try:
        assert (await connection.call("status", Empty(), 10)).version == "enrol"
        for verb, request in (("holdings", Empty()), ("control", ControlRequest(document=b"{}"))):
            with pytest.raises(NodeRefusal) as caught:
                await connection.call(verb, request, 10)
            assert caught.value.code == "node.enrolling"
    finally:
        connection.close()


async def test_the_first_roster_is_drafted_signed_and_read(waiting: Waiting, tmp_path: Path) -> None:
    """`kms cluster init` and `roster sign` end in a roster that nodes read; its digest is the printed cluster id."""
    operator = OperatorCredentials.create()
    operator.save(tmp_path / "alice.pem")
    terms = waiting.registry.config
    (tmp_path / "registry.json").write_text(
        json.dumps(
            {
                "members": {name: b64url(key) for name, key in terms.members.items()},
                "threshold": terms.threshold,
                "freshness_key": b64url(terms.freshness_key),
            }
        )
    )
    for number, root in enumerate(waiting.authority.roots()):
        (tmp_path / f"root-{number}.der").write_bytes(root)
    for number, blob in enumerate(waiting.authority.collateral(_now())):
        (tmp_path / f"collateral-{number}").write_bytes(blob)
    arguments = ["cluster", "init", waiting.url, "--development", "--json", "--out", str(tmp_path / "roster.json")]
    arguments += ["--operator", f"alice:admin,registrar:{tmp_path / 'alice.pem'}"]
    arguments += ["--registry", str(tmp_path / "registry.json")]
    for path in sorted(tmp_path.glob("root-*")):
        arguments += ["--simulated-root", str(path)]
    for path in sorted(tmp_path.glob("collateral-*")):
        arguments += ["--collateral", str(path)]
    result = await asyncio.to_thread(CliRunner().invoke, main, arguments)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    signed = await asyncio.to_thread(
        CliRunner().invoke,
        main,
        ["cluster", "roster", "sign", f"{tmp_path}/roster.json", "--operator-key", f"{tmp_path}/alice.pem", "--yes"],
    )
    assert signed.exit_code == 0, signed.output
    roster = Roster.parse((tmp_path / "roster.json").read_bytes())
    assert roster.cluster_id.hex() == told["cluster"]
    assert told["configuration"] == roster.configuration.hex()
    assert roster.slot("node-1").url == waiting.url
    assert roster.operators[0].operator == operator.issuer
