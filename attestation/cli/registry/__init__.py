"""`attest registry`: keep, sign, serve and check a proof-of-cloud registry.

Exit codes: 0 done or trusted, 1 refused, 2 usage.
"""

from __future__ import annotations

from typing import Any

import click

from attestation.cli.registry.entries import add, endorse, freeze, reinstate, revoke
from attestation.cli.registry.init import init, key
from attestation.cli.registry.prove import prove
from attestation.cli.registry.serve import serve
from attestation.cli.registry.show import show
from attestation.cli.registry.sign import restate, sign
from attestation.cli.registry.verify import verify
from attestation.errors import CodedError

REFUSED = 1


class _Group(click.Group):
    """Typed errors become `error: what [code]` and `hint: next step` on standard error."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb."""
        try:
            return super().invoke(ctx)
        except CodedError as error:
            click.echo(f"error: {error.detail} [{error.code}]", err=True)
            if error.hint:
                click.echo(f"hint: {error.hint}", err=True)
            ctx.exit(REFUSED)


@click.group(cls=_Group)
def registry() -> None:
    """Keep, sign, serve and check a registry of platforms in known clouds."""


for _verb in (init, key, add, endorse, revoke, freeze, reinstate, sign, restate, show, serve, verify, prove):
    registry.add_command(_verb)

command = registry
"""What the outer group loads."""
