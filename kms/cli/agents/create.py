"""`kms agents create`: make or take an agent's key and register its public half."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kms.cli.failure import UsageError
from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_facts, emit_json, say

if TYPE_CHECKING:
    from kms.client import AgentCredentials


@click.command()
@click.argument("name")
@click.option(
    "--key-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Register this key file, or create it. [NAME.pem]",
)
@click.option(
    "--algorithm",
    type=click.Choice(["EdDSA", "ES256", "ES256K"]),
    default="EdDSA",
    show_default=True,
    help="For a new key file.",
)
@click.option("--oidc-issuer", help="Identity provider of the roster that signs the agent in, instead of a key file.")
@click.option("--oidc-subject", help="Its subject there (`sub`).")
@with_target
def create(
    name: str,
    key_file: Path | None,
    algorithm: str,
    oidc_issuer: str | None,
    oidc_subject: str | None,
    target: Target,
) -> None:
    """Register the agent NAME.

    Its private key is made here if the key file does not exist (mode 0600) and never leaves this
    machine; only the public half is registered.  An agent that signs in at an identity provider has
    no key file: it signs with whatever key its access token is bound to.
    """
    from enclave.ids import check_name

    if (oidc_issuer is None) != (oidc_subject is None) or (oidc_issuer is not None and key_file is not None):
        raise UsageError("expected --oidc-issuer and --oidc-subject together, and no key file with them")
    if oidc_issuer is not None and oidc_subject is not None:
        run(_federated(check_name(name), oidc_issuer, oidc_subject, target))
        return
    path = key_file or Path(f"{check_name(name)}.pem")

    async def work() -> None:
        credentials, made = _credentials(path, algorithm)
        async with target.client(target.operator()) as client:
            if made:
                credentials.save(path)
            try:
                agent = await client.agents.create(name, agent=credentials.issuer, keys=[credentials.public])
            except BaseException:
                # A key nobody registered is only confusing; one that was here before stays.
                if made:
                    path.unlink(missing_ok=True)
                raise
        if made:
            say(f"wrote {path} (mode 0600): whoever has this file is the agent")
        facts = {"agent": agent.agent, "name": agent.name, "key_file": str(path), "kid": credentials.public.kid}
        if target.json:
            emit_json(facts)
        else:
            emit_facts(facts)

    run(work())


async def _federated(name: str, issuer: str, subject: str, target: Target) -> None:
    from enclave.ids import new_id

    async with target.client(target.operator()) as client:
        agent = await client.agents.create(name, agent=new_id("agt"), keys=(), subjects=((issuer, subject),))
    facts = {"agent": agent.agent, "name": agent.name, "issuer": issuer, "subject": subject}
    if target.json:
        emit_json(facts)
    else:
        emit_facts(facts)


def _credentials(path: Path, algorithm: str) -> tuple[AgentCredentials, bool]:
    from enclave.ids import new_id
    from enclave.signing_key import SigningKey
    from kms.client import AgentCredentials
    from kms.client.key_file import read_key_file

    if not path.exists():
        return AgentCredentials.create(algorithm=algorithm), True
    file = read_key_file(path)
    return AgentCredentials(issuer=file.owner or new_id("agt"), key=SigningKey.from_pem(file.pem)), False
