"""`kms backup order`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from kms.cli.backup.options import offline_options, place_option, set_option, sets_at, surroundings
from kms.cli.backup.report import show_coverage
from kms.cli.failure import UsageError
from kms.cli.files import read_limited, write_output
from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_json, printable, say

VALID_S = 2 * 86_400
"""How long an order made here is valid, in seconds: custodians have to come together."""


@click.command()
@place_option
@set_option
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="Where the order goes.")
@click.option("--cosign", type=click.File("rb"), help="Add a signature to this order instead of making one.")
@click.option("--partial", is_flag=True, help="Restore what can be restored, though keys are not covered.")
@offline_options
@with_target
def order(
    place: str, set_name: str | None, out: Path, cosign: Any, partial: bool, target: Target, **offline: Any
) -> None:
    """Sign which bundles are restored, into the incarnation that the newest roster begins.

    The order names every bundle of the set by digest, so that nobody can restore an older one; each is verified here
    first.  It takes as many administrators as the roster says for `restore`: hand it on for --cosign.
    """
    from attestation.canonical import canonical_json
    from attestation.envelope import Envelope
    from enclave.backup.order import RestoreOrder, read_restore_order

    operator = target.operator()
    around = run(surroundings(target, offline))
    sets = sets_at(target, place)
    found = sets.read(set_name or sets.newest(), around)
    for slot, error in found.troubles.items():
        say(f"{slot}: {printable(error.detail)} [{error.code}]")
    covered = found.coverage
    lost = [item for item in covered.values() if not item.is_recoverable]
    show_coverage(covered)
    if (lost or not found.bundles) and not partial:
        raise UsageError(
            f"{len(lost)} keys cannot be restored from this set", hint="use another --set, or say --partial"
        )
    now = int(time.time())
    made = RestoreOrder(
        cluster=around.roster.cluster_id,
        roster=around.roster.digest,
        incarnation=around.roster.incarnation,
        bundles={slot: bundle.digest for slot, bundle in found.bundles.items()},
        issued_at=now,
        expires_at=now + VALID_S,
    )
    if around.roster.incarnation < 2:
        raise UsageError(
            "the newest roster does not begin a new incarnation",
            hint='kms cluster roster propose --edit FILE with {"incarnation": 2}, sign it, and pass the chain',
        )
    envelope = Envelope.parse(made.sign())
    if cosign is not None:
        given, envelope = read_restore_order(read_limited(cosign))
        if (given.cluster, given.roster, dict(given.bundles)) != (made.cluster, made.roster, dict(made.bundles)):
            raise UsageError("that order is for other bundles or another roster than those verified here")
    signed = canonical_json(operator.sign(envelope).to_json())
    write_output(out, signed + b"\n")
    if target.json:
        emit_json({"set": found.name, "incarnation": made.incarnation, "slots": sorted(made.bundles)})
    else:
        say(f"signed {out}: restores {', '.join(sorted(made.bundles))} into incarnation {made.incarnation}")
