"""`attest registry`, as transcripts: a command, what it prints, and how it exits."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

from attestation.cli.registry import registry as command

from .conftest import MACHINE

AT = ["--at", "2026-11-22T12:00:00Z"]
LATER = ["--at", "2026-11-22T12:00:05Z"]
PLATFORM = ["--platform", str(MACHINE)]


class Shell:
    """Runs verbs in one working directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def path(self, name: str) -> str:
        """A path in the working directory."""
        return str(self.directory / name)

    def __call__(self, *arguments: str, expect: int = 0) -> str:
        """What the verb prints (standard output and error); its exit code must be `expect`."""
        result = CliRunner().invoke(command, list(arguments))
        assert result.exit_code == expect, result.output
        return result.output


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A shell in an empty directory."""
    return Shell(tmp_path)


@pytest.fixture
def registry(shell: Shell) -> str:
    """A development registry that lists MACHINE."""
    directory = shell.path("registry")
    assert shell("init", directory, "--development", *AT) == "registry registry.simulated: 2 of 3 members\n"
    output = shell("add", directory, *PLATFORM, "--provider", "acme", "--region", "eu-1", *AT)
    assert output == "statement: in force, 1 lines\n"
    return directory


def test_from_keys_to_a_verified_snapshot(shell: Shell) -> None:
    """The whole ceremony with keys on separate machines: propose, sign, sign, restate, verify."""
    keys = {name: shell("key", shell.path(f"{name}.pem")).strip() for name in ("alice", "bob", "carol", "online")}
    directory = shell.path("registry")
    members = [word for name in ("alice", "bob", "carol") for word in ("--member", f"{name}={keys[name]}")]
    output = shell(
        "init",
        directory,
        "--origin",
        "reg.example",
        *members,
        "--threshold",
        "2",
        "--freshness-key",
        keys["online"],
        *AT,
    )
    assert output == "empty registry: proposed, 0 of 2 signatures (none)\nregistry reg.example: 2 of 3 members\n"
    output = shell("add", directory, *PLATFORM, "--provider", "acme", *AT)
    assert output == "statement: proposed, 0 of 2 signatures (none)\n"
    output = shell("sign", directory, "--member", "alice", "--key", shell.path("alice.pem"), *AT)
    assert output == "signature: proposed, 1 of 2 signatures (alice)\n"
    output = shell("sign", directory, "--member", "bob", "--key", shell.path("bob.pem"), *AT)
    assert output == "signature: in force, 1 lines\n"
    output = shell("restate", directory, "--key", shell.path("online.pem"), "--out", shell.path("snapshot"), *AT)
    assert output == "restated: 1 lines\n"
    output = shell("verify", shell.path("snapshot"), "--config", f"{directory}/registry.json", *PLATFORM, *LATER)
    assert re.search(r"members signed +alice, bob\n", output)
    assert re.search(r"listed +yes\nrevoked +no\n", output)


def test_a_member_who_signed_another_history_refuses(shell: Shell, registry: str) -> None:
    """What was signed is remembered beside the key."""
    Path(registry, "keys", "member-1.pem").rename(shell.path("m1.pem"))
    Path(registry, "keys", "member-2.pem").rename(shell.path("m2.pem"))
    shell("add", registry, "--platform", "cd" * 32, "--provider", "acme", *AT)
    Path(shell.path("m1.signed.json")).write_text(json.dumps({"size": 1, "root": "00" * 32}))
    output = shell("sign", registry, "--member", "member-1", "--key", shell.path("m1.pem"), *AT, expect=1)
    assert output == "error: this member signed a different history before [proof-of-cloud.rollback]\n"
    Path(shell.path("m1.signed.json")).unlink()
    assert "in force, 2 lines" in shell("sign", registry, "--member", "member-1", "--key", shell.path("m1.pem"), *AT)
    assert json.loads(Path(shell.path("m1.signed.json")).read_text())["size"] == 2


def test_revoke_verify_reinstate(shell: Shell, registry: str) -> None:
    """A revoked platform exits 1 and says why; a reinstated one exits 0."""
    snapshot, config = shell.path("snapshot"), f"{registry}/registry.json"
    assert shell("revoke", registry, *PLATFORM, "--reason", "stolen", *AT) == "revocation: in force, 2 lines\n"
    shell("restate", registry, "--out", snapshot, *AT)
    output = shell("verify", snapshot, "--config", config, *PLATFORM, *LATER, expect=1)
    assert re.search(r"revoked +yes\n", output)
    assert re.search(r"reason +stolen\n", output)
    assert shell("reinstate", registry, *PLATFORM, "--reason", "found", *AT) == "reinstatement: in force, 3 lines\n"
    shell("restate", registry, "--out", snapshot, *AT)
    assert re.search(r"revoked +no\n", shell("verify", snapshot, "--config", config, *PLATFORM, *LATER))


def test_freeze_stops_everybody(shell: Shell, registry: str) -> None:
    """While the registry is frozen no platform is fine."""
    snapshot, config = shell.path("snapshot"), f"{registry}/registry.json"
    assert shell("freeze", registry, "--reason", "incident", *AT) == "freeze: in force, 2 lines\n"
    shell("restate", registry, "--out", snapshot, *AT)
    assert re.search(r"frozen +yes\n", shell("verify", snapshot, "--config", config, *PLATFORM, *LATER, expect=1))


def test_endorse_raises_the_level(shell: Shell, registry: str) -> None:
    """A witness with evidence makes level 2; without evidence it is refused."""
    words = ["endorse", registry, *PLATFORM, "--issuer", "member-2", "--method", "witness"]
    assert "level 2 needs evidence digests [proof-of-cloud.level]" in shell(*words, *AT, expect=1)
    Path(shell.path("photo.jpg")).write_bytes(b"evidence")
    assert shell(*words, "--evidence", shell.path("photo.jpg"), *AT) == "endorsement: in force, 2 lines\n"
    assert shell("show", registry, *PLATFORM, *LATER) == "listed, level 2, acme eu-1\n"


def test_show_lists_the_lines(shell: Shell, registry: str) -> None:
    """One row per line, in order; restrictions of one platform with number and reason."""
    shell("revoke", registry, *PLATFORM, "--reason", "stolen", *AT)
    rows = shell("show", registry, *AT).splitlines()
    assert [row.split()[:2] for row in rows] == [["0", "statement"], ["1", "revocation"]]
    assert shell("show", registry, *PLATFORM, *LATER).splitlines()[1] == (
        "  revocation 1 at 2026-11-22T12:00:00Z: stolen"
    )


def test_verify_as_json_and_in_full(shell: Shell, registry: str) -> None:
    """The machine-readable form holds the same facts."""
    shell("restate", registry, "--out", shell.path("s"), *AT)
    output = shell("verify", shell.path("s"), "--config", f"{registry}/registry.json", "--json", "--full", *LATER)
    facts = json.loads(output)
    assert (facts["lines"], facts["lines parsed"], facts["frozen"]) == (1, 1, False)


def test_an_old_snapshot_is_stale(shell: Shell, registry: str) -> None:
    """Past the maximum age, with the hint what to do."""
    shell("restate", registry, "--out", shell.path("s"), *AT)
    output = shell(
        "verify", shell.path("s"), "--config", f"{registry}/registry.json", "--at", "2026-11-24T00:00:00Z", expect=1
    )
    assert output == (
        "error: the registry was restated 129600 s ago, expected at most 86400 s [proof-of-cloud.stale]\n"
        "hint: fetch a newer snapshot\n"
    )


def test_an_older_snapshot_is_a_rollback(shell: Shell, registry: str) -> None:
    """`--previous` remembers what was seen."""
    old, new, config = shell.path("old"), shell.path("new"), f"{registry}/registry.json"
    shell("restate", registry, "--out", old, *AT)
    shell("revoke", registry, *PLATFORM, "--reason", "stolen", *AT)
    shell("restate", registry, "--out", new, *LATER)
    shell("verify", new, "--config", config, "--previous", old, *LATER)
    assert "[proof-of-cloud.rollback]" in shell("verify", old, "--config", config, "--previous", new, *LATER, expect=1)


def test_proofs_travel_alone(shell: Shell, registry: str) -> None:
    """An inclusion and a consistency proof verify with nothing but the configuration."""
    shell("add", registry, "--platform", "cd" * 32, "--provider", "acme", *AT)
    config = f"{registry}/registry.json"
    assert shell("prove", registry, *PLATFORM, "--out", shell.path("p.tlog-proof")) == "wrote p.tlog-proof\n"
    output = shell("verify", shell.path("p.tlog-proof"), "--config", config)
    assert MACHINE.commitment.hex() in output
    shell("prove", registry, "--since", "1", "--out", shell.path("c"))
    assert re.search(r"extends +1\n", shell("verify", shell.path("c"), "--config", config))
    assert shell("prove", registry, "--line", "1").startswith("c2sp.org/tlog-proof@v1\n")
    assert "[proof-of-cloud.malformed]" in shell("prove", registry, "--line", "2", expect=1)
    assert "[proof-of-cloud.not-listed]" in shell("prove", registry, "--platform", "ee" * 32, expect=1)


def test_serve_until_interrupted(shell: Shell, registry: str) -> None:
    """A real process: it says where it listens, answers, and ends on an interrupt."""
    program = "from attestation.cli import main; main()"
    words = [sys.executable, "-c", program, "registry", "serve", registry, "--listen", "127.0.0.1:0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            match = re.fullmatch(r"serving registry.simulated at (http://127.0.0.1:\d+)\n", line)
            assert match is not None
            with urllib.request.urlopen(match[1] + "/checkpoint", timeout=5) as answer:
                assert answer.read().startswith(b"registry.simulated\n1\n")
            process.send_signal(signal.SIGINT)
            assert process.stdout.read() == "stopped\n"
            assert process.wait(5) == 0
        finally:
            process.kill()


@pytest.mark.parametrize(
    "words",
    [
        ["init", "{new}"],
        ["init", "{new}", "--development", "--threshold", "2"],
        ["init", "{new}", "--origin", "x", "--member", "a", "--threshold", "1", "--freshness-key", "AA"],
        ["add", "{registry}", "--platform", "nonsense", "--provider", "x"],
        ["add", "{registry}", "--provider", "x"],
        ["revoke", "{registry}", "--platform", "cd" * 32],
        ["add", "{registry}", "--platform", "cd" * 32, "--provider", "x", "--at", "yesterday"],
        ["endorse", "{registry}", "--platform", "cd" * 32, "--issuer", "x", "--method", "provider-statement"],
        ["prove", "{registry}"],
        ["prove", "{registry}", "--line", "0", "--since", "1"],
        ["serve", "{registry}", "--listen", "nowhere"],
        ["verify", "{registry}/registry.json"],
    ],
)
def test_usage_errors_exit_2(shell: Shell, registry: str, words: list[str]) -> None:
    """Missing or impossible words are told apart from refusals."""
    shell(*(word.format(new=shell.path("new"), registry=registry) for word in words), expect=2)


def test_opening_nothing_exits_1_with_a_hint(shell: Shell) -> None:
    """A directory without a registry."""
    output = shell("show", shell.path("nowhere"), expect=1)
    assert output.startswith("error: no registry at ")
    assert output.endswith("hint: attest registry init\n")


def test_garbage_is_not_a_snapshot(shell: Shell, registry: str) -> None:
    """Any file is read with care."""
    Path(shell.path("x")).write_bytes(b"\x00" * 100)
    output = shell("verify", shell.path("x"), "--config", f"{registry}/registry.json", expect=1)
    assert output == "error: expected a registry snapshot, version 1 [proof-of-cloud.malformed]\n"


def test_the_outer_command_knows_the_verb() -> None:
    """`attest registry` is reachable from `attest`."""
    from attestation.cli import main

    result = CliRunner().invoke(main, ["registry", "--help"])
    assert result.exit_code == 0
    for verb in ("init", "add", "endorse", "revoke", "freeze", "reinstate", "sign", "serve", "verify", "prove"):
        assert f"  {verb} " in result.output
