"""`kms agents revoke-credential`."""

from __future__ import annotations

import click

from kms.cli.freeze import show
from kms.cli.options import Target, run, with_target


@click.command("revoke-credential")
@click.argument("agent", required=False)
@click.argument("credential", required=False)
@with_target
def revoke_credential(agent: str | None, credential: str | None, target: Target) -> None:
    """Take one key of an agent back for good; its other keys stay.

    Without arguments the agent takes back the very key it signs with (--agent-key).  An operator names AGENT and
    CREDENTIAL (the key id, as tokens carry it).
    """

    async def work() -> None:
        credentials = target.anyone() if agent is not None else target.agent()
        async with target.client(credentials) as client:
            document = client.restrictions.revocation(agent or credentials.issuer, credential or credentials.key.kid)
            report = await client.restrictions.deliver(client.restrictions.sign(document))
        show(report, f"credential {document.credential} of {document.agent} is revoked", target)

    run(work())
