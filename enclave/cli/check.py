"""`kms-node check`: would this node start?  Opens everything a start opens and serves nothing."""

from __future__ import annotations

import json
from pathlib import Path

import click

from attestation.errors import CodedError
from enclave.cli.failure import end


@click.command()
@click.option(
    "--config",
    "path",
    required=True,
    envvar="HOLDFAST_NODE_CONFIG",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Configuration file of the node.  [env: HOLDFAST_NODE_CONFIG]",
)
def check(path: Path) -> None:
    """Check configuration, roster, platform and sealed store of a stopped node.

    Every sealed value is opened once, so damage, rollback of single rows or a store of another
    machine show here.  Nothing is changed: the boot counter stays as it is.
    """
    from enclave.config import NodeConfig
    from enclave.node import load_roster, open_tee
    from enclave.seal import SealedStore
    from enclave.stores import STORE_FILE

    try:
        config = NodeConfig.load(path)
        roster = load_roster(config)
        tee = open_tee(config, roster)
        file = config.data / STORE_FILE
        facts = {"slot": config.slot, "cluster": roster.cluster_id.hex(), "store": file.exists()}
        if tee.can_seal and file.exists():
            store = SealedStore.open(file, cluster=roster.cluster_id, slot=config.slot, tee=tee)
            facts["values"] = store.verify()
            store.close()
    except CodedError as error:
        end(error)
    click.echo(json.dumps(facts))
