"""`attest log`: verify, compare, include: nodes' logs without asking anybody."""

from __future__ import annotations

import click

from attestation.cli.log.compare import compare
from attestation.cli.log.include import include
from attestation.cli.log.verify import verify


@click.group("log")
def command() -> None:
    """Check nodes' logs offline: a whole one, two heads of one, or one entry in one."""


command.add_command(verify)
command.add_command(compare)
command.add_command(include)
