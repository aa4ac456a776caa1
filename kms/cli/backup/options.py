"""Options that several verbs of `kms backup` share, and what they open."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kms.cli.failure import UsageError

if TYPE_CHECKING:
    from kms.cli.options import Target
    from kms.client.backup.custodians import CustodianFile
    from kms.client.backup.sets import Sets
    from kms.client.backup.surroundings import Surroundings

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

Verb = Callable[..., Any]


def place_option(verb: Verb) -> Verb:
    """Where bundles are kept."""
    return click.option(
        "--at",
        "place",
        required=True,
        envvar="HOLDFAST_BACKUPS",
        metavar="DIR|s3://BUCKET/PREFIX",
        help="Where the sets are kept.",
    )(verb)


def set_option(verb: Verb) -> Verb:
    """Which set."""
    return click.option("--set", "set_name", metavar="NAME", help="A set; the newest without it.")(verb)


def mnemonics_option(verb: Verb) -> Verb:
    """Custodians' files."""
    return click.option(
        "--mnemonics", "files", type=_FILE, multiple=True, metavar="FILE", help="A custodian's file; repeat."
    )(verb)


def offline_options(verb: Verb) -> Verb:
    """What a gateway that is gone would tell."""
    for option in (
        click.option("--registry", type=_FILE, help="Registry snapshot, where no gateway answers."),
        click.option("--collateral", type=_FILE, multiple=True, help="Collateral, where no gateway answers; repeat."),
        click.option("--rosters", type=_FILE, help="Roster chain from version 1, as the nodes have it."),
    ):
        verb = option(verb)
    return verb


async def surroundings(target: Target, offline: dict[str, Any]) -> Surroundings:
    """What evidence is judged by: of the files given, else of the gateway."""
    from kms.client.backup.surroundings import from_files, from_gateway
    from kms.client.transport import Transport

    file = target.file()
    if any(offline.values()):
        return from_files(
            file.trust,
            rosters=offline["rosters"],
            collateral=offline["collateral"],
            registry=offline["registry"],
        )
    async with Transport(target.url or file.url) as transport:
        return await from_gateway(transport, file.trust)


def sets_at(target: Target, place: str) -> Sets:
    """The sets of the cluster at a place."""
    from kms.client.backup.sets import Sets
    from kms.client.backup.targets import open_target

    return Sets(open_target(place), target.file().trust.cluster_id)


def custodian_files(target: Target, files: tuple[Path, ...]) -> list[CustodianFile]:
    """The files, each person once."""
    from kms.client.backup.custodians import read_custodian

    found = [read_custodian(path, cluster=target.file().trust.cluster_id) for path in files]
    if len({file.custodian for file in found}) != len(found):
        raise UsageError("a custodian's file is given twice")
    return found
