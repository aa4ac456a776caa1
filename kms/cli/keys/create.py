"""`kms keys create`: order a key and show it once attested nodes certified it."""

from __future__ import annotations

import click

from kms.cli.failure import UsageError
from kms.cli.files import parse_context
from kms.cli.keys.show import emit_key
from kms.cli.options import Target, run, with_target
from kms.cli.progress import working


@click.command()
@click.argument("name")
@click.option(
    "--usage",
    type=click.Choice(["evm", "solana", "bitcoin", "generic", "decrypt"]),
    required=True,
    help="What it is for; fixed.",
)
@click.option("--spec", help="ed25519, secp256k1-ecdsa, secp256k1-schnorr, p256-ecdsa, hpke-x25519. [of the usage]")
@click.option(
    "--custody",
    type=click.Choice(["threshold", "reconstruct"]),
    help="reconstruct: a named enclave puts the key together to sign. [threshold]",
)
@click.option("--policy", help="Policy that says who may use it (pol_...).")
@click.option("--shares-needed", type=click.IntRange(2, 16), help="T. [3; for threshold ECDSA 2: three nodes sign]")
@click.option("--node", "nodes", multiple=True, metavar="SLOT", help="A node that holds a share; repeat; default all.")
@click.option("--assembler", "assemblers", multiple=True, metavar="SLOT", help="For custody reconstruct; repeat.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="A label; repeat.")
@click.option("--exportable", is_flag=True, help="Let a policy allow the key to leave; never changes.")
@click.option("--idempotency-key", help="The same key and order again give the same answer.")
@click.option("--quiet", "-q", is_flag=True, help="Print the key's id alone, for use in scripts.")
@with_target
def create(
    name: str,
    usage: str,
    spec: str | None,
    policy: str | None,
    custody: str | None,
    shares_needed: int | None,
    nodes: tuple[str, ...],
    assemblers: tuple[str, ...],
    labels: tuple[str, ...],
    exportable: bool,
    idempotency_key: str | None,
    quiet: bool,
    target: Target,
) -> None:
    """Have the nodes generate the key NAME.

    Its private half never exists in one place, unless its custody is `reconstruct`: then in a named enclave, while
    it signs.
    """
    policy = policy or target.file().default_policy
    if policy is None:
        raise UsageError("which policy may use the key?", hint="pass --policy pol_...; `kms policy put` makes one")

    async def work() -> None:
        async with target.client(target.operator()) as client:
            with working("the nodes generate the key and prove themselves"):
                key = await client.keys.create(
                    name,
                    usage=usage,
                    spec=spec,
                    custody=custody,
                    policy=policy,
                    shares_needed=shares_needed,
                    nodes=list(nodes) or None,
                    assemblers=list(assemblers) or None,
                    labels=parse_context(labels),
                    exportable=exportable,
                    idempotency_key=idempotency_key,
                )
        if quiet:
            click.echo(key.key)
        else:
            emit_key(key, as_json=target.json)

    run(work())
