"""The auditor's command line: `attest`, one file per verb.

A verb is a module of this package with a click command called `command`, and one line in `VERBS`.
Exit codes: 0 trusted, 1 not trusted, 2 usage, 3 cannot tell.
"""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points

import click

from attestation import __version__

VERBS = {
    "verify": "Verify one piece of evidence and print every step.",
    "inspect": "Show what a piece of evidence says, without verifying it.",
    "report": "Verify evidence and write one HTML page with every verdict and step.",
    "fetch": "Fill a directory with current collateral; the only verb that uses the network.",
    "bundle": "Write the collateral of a directory as one file.",
    "release": "Sign release manifests, and show what they say and who signed them.",
    "receipt": "Verify what a cluster decided on one request, offline, as of then.",
    "log": "Check nodes' logs: whole ones, two heads of one, one entry in one.",
    "registry": "Keep, sign, serve and check a registry of platforms in known clouds.",
}
"""Verb to its one-line help; each is loaded only when used, so that start-up stays quick."""

EXTENSIONS = {"cluster": "Verify a running cluster: nodes, places, keys, who must collude for what."}
"""Verbs that need more than the base install: packages register them as entry points."""

EXTENSION_GROUP = "holdfast.attest"


class _Verbs(click.Group):
    """Loads `attestation.cli.<verb>`, or what another package registered for the verb, on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Verbs in the order they are listed."""
        del ctx
        return [*VERBS, *EXTENSIONS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb's command, or None if there is no such verb."""
        del ctx
        if cmd_name in EXTENSIONS:
            return _extension(cmd_name)
        if cmd_name not in VERBS:
            return None
        command = importlib.import_module(f"attestation.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without loading them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([*VERBS.items(), *EXTENSIONS.items()])


def _extension(verb: str) -> click.Command:
    """The verb as registered by an installed package, or a command that says what to install."""
    for entry in entry_points(group=EXTENSION_GROUP, name=verb):
        try:
            loaded = entry.load()
        except ImportError:
            continue  # registered, but what it needs is not installed
        if isinstance(loaded, click.Command):
            return loaded

    @click.command(verb, add_help_option=False, context_settings={"ignore_unknown_options": True})
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def absent(arguments: tuple[str, ...]) -> None:
        del arguments
        click.echo(f"error: `attest {verb}` is not part of the base install", err=True)
        click.echo("hint: install the `client` extra: pip install 'holdfast-kms[client]'", err=True)
        raise SystemExit(2)

    return absent


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="attest")
def main() -> None:
    """Can I trust this machine?  Offline verification of TEE evidence and proof of cloud."""
