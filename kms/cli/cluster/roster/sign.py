"""`kms cluster roster sign`: works without a network, on the machine where the key is."""

from __future__ import annotations

from pathlib import Path

import click

from kms.cli.failure import UsageError
from kms.cli.files import read_limited, write_output
from kms.cli.options import Target, with_target
from kms.cli.output import emit_json, say

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("file", type=_FILE)
@click.option("--against", type=_FILE, help="The signed chain the draft continues.")
@click.option("--yes", is_flag=True, help="Sign without asking.")
@with_target
def sign(file: Path, against: Path | None, yes: bool, target: Target) -> None:
    """Show what FILE changes, and add your signature to it, in place.

    Without --against the draft is compared with the chain this machine followed.  Nothing is sent: carry FILE to the
    next operator, or to whoever applies it.
    """
    from attestation.canonical import canonical_json
    from attestation.envelope import Envelope
    from enclave.roster import Role
    from enclave.roster_chain import read_chain
    from kms.cli.cluster.changes import changes_json, show_changes
    from kms.client.credentials import OperatorCredentials
    from kms.client.roster_draft import read_draft
    from kms.client.verification import held_rosters

    with file.open("rb") as opened:
        envelope = Envelope.parse(read_limited(opened))
    draft = read_draft(canonical_json(envelope.to_json()))
    key = target.operator_key
    credentials = OperatorCredentials.load(key) if key is not None else target.operator()
    previous = None
    if draft.version > 1:
        if against is not None:
            with against.open("rb") as opened:
                rosters = tuple(link.roster for link in read_chain(read_limited(opened)))
        else:
            rosters = held_rosters(target.file().trust)
        previous = next((roster for roster in rosters if roster.digest == draft.previous), None)
        if previous is None:
            raise UsageError(
                f"the draft continues a roster that is not held here (version {draft.version - 1})",
                hint="pass --against CHAIN, which `kms cluster roster show --out` writes",
            )
        previous.require_successor(draft)
    if target.json and previous is not None:
        emit_json(changes_json(previous, draft))
    elif previous is not None:
        show_changes(previous, draft)
    else:
        say(f"the first roster of cluster {draft.cluster_id.hex()}, {len(draft.slots)} slots, {draft.environment}")
    if not any(
        entry.key == credentials.public.key for entry in (*draft.operators, *(previous.operators if previous else ()))
    ):
        raise UsageError("this key belongs to no operator of either roster")
    if not yes:
        click.confirm("Sign this?", abort=True, err=True)
    signed = credentials.sign(envelope)
    write_output(file, canonical_json(signed.to_json()) + b"\n")
    counts = [
        f"{len(signed.signers(entry.key for entry in roster.holders(Role.ADMIN)))} of {roster.quorum_for('roster')}"
        f" of version {roster.version}"
        for roster in (previous, draft)
        if roster is not None
    ]
    say(f"signed {file}: {', '.join(counts)}")
