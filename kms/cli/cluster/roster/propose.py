"""`kms cluster roster propose`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kms.cli.failure import UsageError
from kms.cli.files import read_limited, write_output
from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_json, say

if TYPE_CHECKING:
    from kms.client.roster_draft import Edit

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.option("--edit", "patch", type=_FILE, help="JSON merge patch (RFC 7396) of the roster: any member; lists whole.")
@click.option("--add-slot", type=_FILE, multiple=True, help="A slot as JSON; replaces one of the same name.")
@click.option("--remove-slot", multiple=True, metavar="SLOT", help="Take a place away.")
@click.option("--allow-code", multiple=True, metavar="SLOT:REGISTER=HEX", help="Admit code; SLOT may be `all`.")
@click.option("--drop-code", multiple=True, metavar="SLOT:REGISTER=HEX", help="Stop admitting code.")
@click.option("--add-operator", multiple=True, metavar="NAME:ROLES:KEY", help="KEY is base64url Ed25519 or a key file.")
@click.option("--remove-operator", multiple=True, metavar="opr_...", help="Take an operator's key away.")
@click.option("--quorum", multiple=True, metavar="ACTION=N", help="Signatures that an action takes.")
@click.option("--accept-common", type=click.Choice(["operator", "provider"]), multiple=True,
              help="Say openly that a key's nodes may share one.")  # fmt: skip
@click.option("--refuse-common", type=click.Choice(["operator", "provider"]), multiple=True, help="Stop saying so.")
@click.option("--upgrade-delay", type=click.IntRange(0), metavar="SECONDS", help="How long new code waits.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Where the draft goes; stdout without it.")
@with_target
def propose(patch: Path | None, out: Path | None, upgrade_delay: int | None, target: Target, **flags: Any) -> None:
    """Draft the next version from the newest one, and say what it takes away and what it gives.

    The draft is not signed: hand it to the operators for `kms cluster roster sign`.
    """
    from kms.cli.cluster.changes import changes_json, show_changes
    from kms.client import roster_draft

    edits = _edits(patch, upgrade_delay, flags)
    if not edits:
        raise UsageError("what should change?", hint="see kms cluster roster propose --help")

    async def work() -> None:
        async with target.client() as client:
            newest = (await client.rosters.chain())[-1]
        envelope = roster_draft.draft(newest, edits)
        draft = roster_draft.read_draft(envelope)
        if target.json and out is not None:
            emit_json(changes_json(newest, draft))
        else:
            show_changes(newest, draft, err=out is None)
        write_output(out, envelope + b"\n")
        if out is not None:
            say(f"drafted {out}; next: kms cluster roster sign {out}")

    run(work())


def _edits(patch: Path | None, upgrade_delay: int | None, flags: dict[str, Any]) -> list[Edit]:
    from kms.client import roster_draft as make

    edits: list[Edit] = []
    if patch is not None:
        edits.append(make.merge(read_object(patch)))
    edits += [make.add_slot(read_object(path)) for path in flags["add_slot"]]
    edits += [make.remove_slot(slot) for slot in flags["remove_slot"]]
    edits += [make.code(*_code(text), allow=True) for text in flags["allow_code"]]
    edits += [make.code(*_code(text), allow=False) for text in flags["drop_code"]]
    edits += [make.add_operator(operator_entry(text)) for text in flags["add_operator"]]
    edits += [make.remove_operator(operator) for operator in flags["remove_operator"]]
    for text in flags["quorum"]:
        action, equals, number = text.partition("=")
        if not equals or not number.isdecimal():
            raise UsageError(f"expected ACTION=N, found {text!r}")
        edits.append(make.quorum(action, int(number)))
    edits += [make.accept_common(name, accept=True) for name in flags["accept_common"]]
    edits += [make.accept_common(name, accept=False) for name in flags["refuse_common"]]
    if upgrade_delay is not None:
        edits.append(make.upgrade_delay(upgrade_delay))
    return edits


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; raises UsageError."""
    from attestation.canonical import parse_json
    from attestation.errors import DocumentError

    with path.open("rb") as file:
        try:
            value = parse_json(read_limited(file))
        except DocumentError as error:
            raise UsageError(f"{path}: {error.detail}") from None
    if not isinstance(value, dict):
        raise UsageError(f"{path}: expected a JSON object")
    return value


def _code(text: str) -> tuple[str, str, str]:
    place, equals, value = text.partition("=")
    slot, colon, register = place.partition(":")
    if not (equals and colon and slot and register and value):
        raise UsageError(f"expected SLOT:REGISTER=HEX, found {text!r}")
    return slot, register, value.lower()


def operator_entry(text: str) -> dict[str, Any]:
    """`NAME:ROLE,ROLE:KEY`, where KEY is a key file or base64url; a file's own id is used."""
    from attestation.envelope import b64url, b64url_decode
    from enclave.ids import new_id
    from kms.client import OperatorCredentials

    name, _, rest = text.partition(":")
    roles, _, key = rest.partition(":")
    if not (name and roles and key):
        raise UsageError(f"expected NAME:ROLES:KEY, found {text!r}", hint="roles: admin,registrar,auditor")
    operator = new_id("opr")
    if Path(key).is_file():
        credentials = OperatorCredentials.load(key)
        operator, public = credentials.issuer, credentials.public.key
    else:
        public = b64url_decode(key)
    return {"operator": operator, "name": name, "key": b64url(public), "roles": sorted(roles.split(","))}
