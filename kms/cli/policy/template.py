"""`kms policy template`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kms.cli.failure import UsageError
from kms.cli.output import emit_json, emit_table, say

if TYPE_CHECKING:
    from kms.policy_templates import Template


@click.command()
@click.argument("name", required=False)
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="One parameter; lists with commas.")
@click.option("--example", is_flag=True, help="Fill in the examples instead.")
@click.option("--cases", is_flag=True, help="Print the cases that the example must decide rightly.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
def template(name: str | None, settings: tuple[str, ...], example: bool, cases: bool, as_json: bool) -> None:
    """List policy templates, show what NAME takes, or print it filled in.

    \b
    kms policy template
    kms policy template transfer-only
    kms policy template transfer-only --set chain_id=8453 --set recipients=0x... \\
        --set value_max=1000000000000000000 --set per_day=5000000000000000000 > policy.json
    kms policy put policy.json
    """
    from kms.policy_templates import Template, names

    if name is None:
        listed = [Template.load(each) for each in names()]
        if as_json:
            emit_json([{"name": each.name, "usage": each.usage, "about": each.about} for each in listed])
        else:
            emit_table(("name", "usage", "about"), [(each.name, each.usage, each.about) for each in listed], empty="")
        return
    chosen = Template.load(name)
    if cases:
        emit_json(chosen.cases_file())
    elif example:
        emit_json(chosen.example())
    elif settings:
        emit_json(chosen.render(dict(_read(chosen, setting) for setting in settings)))
    elif as_json:
        emit_json({item.name: {"about": item.about, "example": item.example} for item in chosen.parameters.values()})
    else:
        say(f"{chosen.about}\n")
        rows = [(item.name, item.about, _spelt(item.example)) for item in chosen.parameters.values()]
        emit_table(("parameter", "what", "example"), rows, empty="it takes no parameters")


def _read(chosen: Template, setting: str) -> tuple[str, Any]:
    """Name and value of one `--set`; a name the template does not have is left for it to refuse."""
    name, equals, text = setting.partition("=")
    if not equals:
        raise UsageError(f"--set {setting}: expected NAME=VALUE")
    parameter = chosen.parameters.get(name)
    return name, text if parameter is None else parameter.read(text)


def _spelt(example: object) -> str:
    return ",".join(map(str, example)) if isinstance(example, list) else str(example)
