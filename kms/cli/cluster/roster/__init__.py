"""`kms cluster roster`: show, propose, sign, apply."""

from __future__ import annotations

import click

from kms.cli.lazy import LazyGroup

VERBS = {
    "show": ("kms.cli.cluster.roster.show:show", "Print the newest roster, or any version, verified."),
    "propose": ("kms.cli.cluster.roster.propose:propose", "Draft the next version and say what it changes."),
    "sign": ("kms.cli.cluster.roster.sign:sign", "Add your signature to a draft, without any network."),
    "apply": ("kms.cli.cluster.roster.apply:apply_", "Bring a signed version to every node and report."),
}


@click.group(cls=LazyGroup, verbs=VERBS)
def roster() -> None:
    """The signed description of the cluster; who may change it is in it.

    \b
    kms cluster roster propose --remove-operator opr_... --out next.json    anybody
    kms cluster roster sign next.json --operator-key alice.pem              each operator of the quorum
    kms cluster roster apply next.json                                      anyone of them

    What a version takes away counts at a node as soon as the node has it.  What it gives counts once n - s + 1 nodes
    of every key have acknowledged it, and new code waits for the roster's upgrade delay besides.
    """
