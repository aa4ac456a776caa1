"""`kms token`: a request token for one exact request, so that plain HTTP tools can send it."""

from __future__ import annotations

from typing import BinaryIO

import click

from kms.cli.files import read_limited
from kms.cli.options import Target, with_target
from kms.cli.output import emit_json


@click.command()
@click.option("--act", required=True, help="sign, decrypt, keys.get, keys.list, audit.read ...")
@click.option("--resource", default="*", show_default=True, help="key_.../1, another id, or *.")
@click.option("--body", type=click.File("rb"), help="The exact body that will be sent; `-` for stdin.")
@click.option("--method", default="", help="HTTP method, if the gateway shall compare it.")
@click.option("--path", default="", help="HTTP path, if the gateway shall compare it.")
@with_target
def token(act: str, resource: str, body: BinaryIO | None, method: str, path: str, target: Target) -> None:
    """Print a request token, good for 60 s and for exactly this body.

    \b
    curl -H "Authorization: Bearer $(kms token --act sign --resource key_.../1 --body b.json)" \\
         --data-binary @b.json http://127.0.0.1:8750/v1/keys/key_.../sign
    """
    import time

    credentials = target.anyone() if act not in ("sign", "decrypt") else target.agent()
    text = credentials.token(
        cluster=target.file().trust.cluster_id,
        act=act,
        resource=resource,
        body=read_limited(body) if body is not None else b"",
        method=method,
        path=path,
        now=int(time.time()),
    )
    if target.json:
        emit_json({"token": text, "issuer": credentials.issuer})
    else:
        click.echo(text)
