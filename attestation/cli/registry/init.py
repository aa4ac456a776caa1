"""`attest registry init` and `key`: make keys, make an empty registry for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from attestation.cli.registry.options import at, report
from attestation.envelope import b64url, b64url_decode
from attestation.errors import AttestationError
from attestation.proof_of_cloud.keys import create_key, public_bytes
from attestation.proof_of_cloud.registry import Registry


class PublicKeyType(click.ParamType[bytes]):
    """A raw Ed25519 public key in base64url."""

    name = "key"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        """The 32 bytes."""
        try:
            key = b64url_decode(value)
        except AttestationError as error:
            self.fail(error.detail, param, ctx)
        if len(key) != 32:
            self.fail(f"expected 32 bytes, found {len(key)}", param, ctx)
        return key


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
def key(file: Path) -> None:
    """Make an Ed25519 key in FILE and print its public key."""
    click.echo(b64url(public_bytes(create_key(file))))


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--origin", help="Name of the registry, like registry.example.org.")
@click.option("--member", "members", multiple=True, metavar="NAME=KEY", help="A member and its public key; repeat.")
@click.option("--threshold", type=click.IntRange(1), help="How many members must sign.")
@click.option("--freshness-key", type=PublicKeyType(), help="Public key of the online role.")
@click.option("--development", is_flag=True, help="Make all keys here, 2 of 3: never for real platforms.")
@at
def init(
    directory: Path,
    origin: str | None,
    members: tuple[str, ...],
    threshold: int | None,
    freshness_key: bytes | None,
    development: bool,
    now: int,
) -> None:
    """Make an empty registry in DIRECTORY."""
    if development:
        if members or threshold or freshness_key:
            raise click.UsageError("--development makes its own members and keys")
        registry = Registry.development(directory, now=now, origin=origin or "registry.simulated")
    else:
        if not origin or not members or not threshold or not freshness_key:
            raise click.UsageError("expected --origin, --member, --threshold and --freshness-key, or --development")
        registry = Registry.init(
            directory, origin=origin, members=_members(members), threshold=threshold, freshness_key=freshness_key
        )
        report(registry, registry.propose([], now), "empty registry")
    config = registry.config
    click.echo(f"registry {config.origin}: {config.threshold} of {len(config.members)} members")


def _members(texts: tuple[str, ...]) -> dict[str, bytes]:
    members: dict[str, bytes] = {}
    for text in texts:
        name, equals, encoded = text.partition("=")
        if not equals or name in members:
            raise click.UsageError(f"expected distinct members as NAME=KEY, found {text[:60]}")
        members[name] = PublicKeyType().convert(encoded, None, None)
    return members
