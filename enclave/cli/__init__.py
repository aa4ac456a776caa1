"""`kms-node`: how is one enclave node started?  One file per verb."""

from __future__ import annotations

import click

from attestation import __version__
from enclave.cli.check import check
from enclave.cli.enrol import enrol
from enclave.cli.restore import restore
from enclave.cli.serve import serve


@click.group()
@click.version_option(__version__, prog_name="kms-node")
def main() -> None:
    """Run one enclave node: it holds one share of each key and decides for itself who may use it.

    A node only listens.  It believes nothing a gateway relays and everything its roster's
    operators signed; it takes part in an operation only with nodes whose evidence and
    proof of cloud it verified itself.

    \b
    Exit codes: 0 stopped as asked, 1 refused, 2 usage or configuration, 3 platform or store unavailable.
    """


main.add_command(serve)
main.add_command(enrol)
main.add_command(check)
main.add_command(restore)
