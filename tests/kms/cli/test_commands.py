"""The command as a whole: quick help, exit codes, variables, and what an installed package lacks."""

from __future__ import annotations

import importlib
import stat
import subprocess
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import click
import pytest
from click.testing import CliRunner

from enclave.errors import CallerError
from kms.cli import VERBS, main
from kms.cli.failure import REFUSED, UNAVAILABLE, USAGE, UsageError, exit_code
from kms.cli.files import write_output
from kms.cli.lazy import LazyGroup
from kms.cli.output import emit_facts, emit_json, emit_table
from kms.client import AgentCredentials, ConfigurationError, RequestRefusedError, UnavailableError, VerificationError
from kms.errors import NotFoundError


def _leaves(command: click.Command, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    if not isinstance(command, click.Group):
        return [(path, command)]
    context = click.Context(command)
    found = []
    for name in command.list_commands(context):
        member = command.get_command(context, name)
        assert member is not None, name
        found += _leaves(member, (*path, name))
    return found


LEAVES = _leaves(main)


def test_help_imports_no_library_of_weight() -> None:
    """`kms --help` answers without loading aiohttp, cryptography or any verb."""
    program = (
        "import sys; from kms.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print([name for name in ('aiohttp', 'cryptography', 'rich', 'kms.client') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(("path", "command"), LEAVES, ids=[" ".join(path) for path, _ in LEAVES])
def test_every_verb_explains_itself(path: tuple[str, ...], command: click.Command) -> None:
    """Each verb has help text, help for each option, and --json or output that is JSON anyway."""
    result = CliRunner().invoke(main, [*path, "--help"])
    assert result.exit_code == 0
    assert command.help
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    assert all(option.help for option in options), path
    if path[0] != "gateway":
        assert "--json" in {name for option in options for name in option.opts}


def test_every_line_of_help_names_a_verb() -> None:
    """Every entry of every table of verbs leads to a command."""
    for group in [main, *(main.get_command(click.Context(main), name) for name in VERBS)]:
        if isinstance(group, LazyGroup):
            for name in group.list_commands(click.Context(group)):
                assert isinstance(group.get_command(click.Context(group), name), click.Command)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("x"), USAGE),
        (ConfigurationError("x"), USAGE),
        (CallerError("x", code="id.malformed"), USAGE),
        (UnavailableError("x"), UNAVAILABLE),
        (RequestRefusedError("x", code="policy.denied"), REFUSED),
        (VerificationError("x"), REFUSED),
        (NotFoundError("x"), REFUSED),
    ],
)
def test_exit_codes(error: Exception, code: int) -> None:
    """Refusals, wrong usage and outages are told apart by the exit code."""
    assert exit_code(error) == code  # type: ignore[arg-type]


def test_output_files_are_whole_and_private(tmp_path: Path) -> None:
    """A written file is private when asked and replaces an older one; a failed write leaves nothing behind."""
    path = tmp_path / "plain"
    path.write_text("older")
    write_output(path, b"secret", private=True)
    assert path.read_bytes() == b"secret"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(UsageError):
        write_output(tmp_path / "absent" / "plain", b"x")
    (tmp_path / "directory").mkdir()
    with pytest.raises(UsageError):
        write_output(tmp_path / "directory", b"x")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["directory", "plain"]


def test_listings_do_not_obey_escape_sequences(capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters in listed values, which may be a gateway's, are replaced or escaped."""
    hostile = "\x1b[2Jhello\x9b"
    emit_table(("name",), [(hostile,)], empty="")
    emit_facts({"name": hostile})
    emit_json({"name": hostile})
    shown = capsys.readouterr().out
    assert shown.count("hello") == 3
    assert all(character.isprintable() or character == "\n" for character in shown)


class _Without:
    """Hides packages, as if the wheel did not carry them."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name == "kms.dev" or name.startswith("kms.dev."):
            raise ModuleNotFoundError(f"No module named {name!r}", name="kms.dev")
        return None


def test_installed_package_says_where_the_developer_cluster_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without kms.dev, `kms dev` ends with the way to get it and makes nothing."""
    importlib.import_module("kms.cli.dev")
    for name in [name for name in sys.modules if name == "kms.dev" or name.startswith("kms.dev.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [_Without(), *sys.meta_path])
    result = CliRunner().invoke(main, ["dev", "--dir", str(tmp_path / "dev")])
    assert result.exit_code == USAGE
    assert "hint: clone the repository" in result.stderr
    assert not (tmp_path / "dev").exists()


def test_variables_stand_for_flags(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Flags come from HOLDFAST_ variables: the shared ones by their own names, others by the verb's path."""
    key = tmp_path / "agent.pem"
    made = AgentCredentials.create()
    made.save(key)
    (tmp_path / "cluster.json").write_text('{"url": "http://127.0.0.1:1", "cluster_id": "' + "ab" * 32 + '"}')
    environment = {
        "HOLDFAST_CLUSTER": str(tmp_path / "cluster.json"),
        "HOLDFAST_AGENT_KEY": str(key),
        "HOLDFAST_JSON": "1",
        "HOLDFAST_TOKEN_ACT": "sign",
    }
    result = CliRunner().invoke(main, ["token"], env=environment)
    assert result.exit_code == 0, result.stderr
    assert f'"issuer": "{made.issuer}"' in result.stdout
