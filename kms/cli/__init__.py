"""The `kms` command.  A new verb is one file and one line in `VERBS` of its group.

Data goes to stdout, talk to stderr.  Exit codes: 0 done, 1 refused or a negative verdict, 2 wrong
usage, 3 unavailable.  Every flag can also be set by an environment variable (`HOLDFAST_...`).
"""

from __future__ import annotations

import click

from attestation import __version__
from kms.cli.failure import FailureGroup

VERBS = {
    "dev": ("kms.cli.dev:dev", "Run a whole cluster on this machine, for development."),
    "keys": ("kms.cli.keys:keys", "Create, list, show, disable and enable keys."),
    "agents": ("kms.cli.agents:agents", "Register and revoke agents."),
    "approvers": ("kms.cli.approvers:approvers", "Register and revoke the people that policies ask."),
    "policy": ("kms.cli.policy:policy", "Put and show the policies that say what agents may do."),
    "freeze": ("kms.cli.freeze:freeze", "Stop a cluster, agent, key or chain at once; list what is frozen."),
    "thaw": ("kms.cli.freeze:thaw", "Let what is frozen go again."),
    "documents": ("kms.cli.documents:documents", "Collect operators' signatures under one document."),
    "sign": ("kms.cli.sign:sign", "Sign a transaction or a message as an agent."),
    "approve": ("kms.cli.approve:approve", "Approve a request that waits for people, after reading it."),
    "reject": ("kms.cli.approve:reject", "Reject a request that waits for people."),
    "operations": ("kms.cli.operations:operations", "See what requests that were not answered at once came to."),
    "encrypt": ("kms.cli.encrypt:encrypt", "Seal data to a key, on this machine."),
    "decrypt": ("kms.cli.decrypt:decrypt", "Open sealed data; the plaintext appears on this machine only."),
    "secrets": ("kms.cli.secrets:secrets", "Secrets that only attested workloads get."),
    "rewrap": ("kms.cli.rewrap:rewrap", "Seal data to another key, inside one named enclave."),
    "cluster": ("kms.cli.cluster:cluster", "Found a cluster; change its machines, code, operators and rules."),
    "backup": ("kms.cli.backup:backup", "Bundles for custodians: make, prove, restore."),
    "nodes": ("kms.cli.nodes:nodes", "List the nodes and verify their evidence from here."),
    "receipts": ("kms.cli.receipts:receipts", "Fetch and verify what proves a decision of the nodes."),
    "audit": ("kms.cli.audit:audit", "Follow, verify and export the audit chain and the nodes' logs."),
    "token": ("kms.cli.token:token", "Print a request token, for use with curl."),
    "gateway": ("kms.cli.gateway:gateway", "Run the HTTP front door."),
}
"""Verb -> (where it lives, its line in `kms --help`)."""


@click.command(
    cls=FailureGroup,
    verbs=VERBS,
    context_settings={"auto_envvar_prefix": "HOLDFAST", "help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="kms")
def main() -> None:
    """Keys for AI agents, held as shares by attested enclave nodes.

    Start with `kms dev`, then `kms keys create wallet --usage evm`.
    """
