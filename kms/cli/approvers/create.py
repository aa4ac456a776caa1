"""`kms approvers create`: make or take an approver's key and register its public half."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kms.cli.files import write_output
from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_facts, emit_json, say

if TYPE_CHECKING:
    from kms.client import ApproverCredentials


@click.command()
@click.argument("name")
@click.option("--group", "groups", multiple=True, required=True, help="Group of approvers; may be repeated.")
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
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Sign into this file for `kms documents cosign` instead of registering.",
)
@with_target
def create(
    name: str, groups: tuple[str, ...], key_file: Path | None, algorithm: str, out: Path | None, target: Target
) -> None:
    """Register the approver NAME in these groups; takes as many operators as a policy."""
    from enclave.ids import check_name

    path = key_file or Path(f"{check_name(name)}.pem")

    async def work() -> None:
        credentials, made = _credentials(path, algorithm)
        async with target.client(target.operator()) as client:
            document = client.approvers.draft(
                name, approver=credentials.issuer, groups=groups, keys=[credentials.public]
            )
            if made:
                credentials.save(path)
            try:
                if out is not None:
                    write_output(out, client.documents.sign(document))
                else:
                    await client.documents.sign_and_put(document)
            except BaseException:
                # A key nobody registered is only confusing; one that was here before stays.
                if made:
                    path.unlink(missing_ok=True)
                raise
        if made:
            say(f"wrote {path} (mode 0600): whoever has this file is the approver")
        facts = {
            "approver": document.approver, "name": name, "groups": list(groups), "key_file": str(path),
            "kid": credentials.public.kid,
        }  # fmt: skip
        if target.json:
            emit_json(facts)
        else:
            emit_facts(facts)

    run(work())


def _credentials(path: Path, algorithm: str) -> tuple[ApproverCredentials, bool]:
    from enclave.ids import new_id
    from enclave.signing_key import SigningKey
    from kms.client import ApproverCredentials
    from kms.client.key_file import read_key_file

    if not path.exists():
        return ApproverCredentials.create(algorithm=algorithm), True
    file = read_key_file(path)
    return ApproverCredentials(issuer=file.owner or new_id("apr"), key=SigningKey.from_pem(file.pem)), False
