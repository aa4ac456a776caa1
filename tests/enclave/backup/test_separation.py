"""What recombines mnemonics is loaded by nothing that works."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["enclave.node", "enclave.state", "kms.gateway", "kms.app"])
def test_nodes_at_work_and_gateways_do_not_load_it(module: str) -> None:
    """The SLIP-39 library is not constant time; only setup, contributions and `kms-node restore` may import it."""
    code = f"import sys, {module}; sys.exit('shamir_mnemonic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
