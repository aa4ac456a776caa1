"""`kms agents keys add`."""

from __future__ import annotations

from pathlib import Path

import click

from kms.cli.options import Target, run, with_target
from kms.cli.output import say


@click.command()
@click.argument("agent")
@click.option(
    "--key-file",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The key file to add; created (mode 0600) if it does not exist.",
)
@click.option(
    "--algorithm",
    type=click.Choice(["EdDSA", "ES256", "ES256K"]),
    default="EdDSA",
    show_default=True,
    help="For a new key file.",
)
@with_target
def add(agent: str, key_file: Path, algorithm: str, target: Target) -> None:
    """Let the key in --key-file speak for AGENT (agt_...), beside the keys it has."""
    from enclave.ids import check_id
    from kms.cli.agents.keys.shown import show
    from kms.client import AgentCredentials

    made = not key_file.exists()

    async def work() -> None:
        owner = check_id(agent, "agt")
        if made:
            credentials = AgentCredentials.create(algorithm=algorithm, issuer=owner)
        else:
            credentials = AgentCredentials.load(key_file, issuer=owner)
        async with target.client(target.operator()) as client:
            roster = await client.roster()
            if made:
                credentials.save(key_file)
            try:
                document = await client.agents.add_key(owner, credentials.public, roster=roster)
            except BaseException:
                if made:
                    _forget(key_file)
                raise
        if made:
            say(f"wrote {key_file} (mode 0600): whoever has this file is the agent")
        show(document, target)

    run(work())


def _forget(path: Path) -> None:
    """A key nobody registered is only confusing; one that was here before stays."""
    path.unlink(missing_ok=True)
