"""`kms policy template|test|evaluate|diff` on files, without a cluster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from kms.cli import main


def kms(*arguments: str, text: str | None = None) -> Result:
    """One run of the command."""
    return CliRunner().invoke(main, ["policy", *arguments], input=text)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """The example policy of a template and its cases."""
    policy, cases = tmp_path / "policy.json", tmp_path / "cases.json"
    policy.write_text(kms("template", "transfer-only", "--example").stdout)
    cases.write_text(kms("template", "transfer-only", "--cases").stdout)
    return policy, cases


def changed(path: Path, **changes: Any) -> Path:
    """A copy of a policy whose first rule's EVM conditions differ."""
    value = json.loads(path.read_text())
    value["rules"][0]["evm"] |= changes
    copy = path.with_name("changed.json")
    copy.write_text(json.dumps(value))
    return copy


def test_templates_are_listed_and_described() -> None:
    """Names for people and for machines, and what one of them takes."""
    assert "transfer-only" in kms("template").stdout
    assert len(json.loads(kms("template", "--json").stdout)) == 10
    assert "recipients" in kms("template", "transfer-only").stdout
    assert set(json.loads(kms("template", "transfer-only", "--json").stdout)) >= {"chain_id", "value_max"}


def test_a_template_is_filled_in() -> None:
    """Lists by commas, numbers as numbers."""
    settings = ["chain_id=1", "recipients=0x" + "11" * 20 + ",0x" + "22" * 20, "value_max=5", "per_day=50"]
    result = kms("template", "transfer-only", *(word for setting in settings for word in ("--set", setting)))
    evm = json.loads(result.stdout)["rules"][0]["evm"]
    assert evm == {
        "chain_ids": [1],
        "recipients": ["0x" + "11" * 20, "0x" + "22" * 20],
        "value_max": "5",
        "data": "none",
    }


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("template", "no-such"), 1),
        (("template", "transfer-only", "--set", "chain_id=1"), 1),
        (("template", "transfer-only", "--set", "chain_id"), 2),
        (("template", "transfer-only", "--set", "chain_id=one"), 1),
    ],
)
def test_a_wrong_setting_is_named(arguments: tuple[str, ...], code: int) -> None:
    """What is missing or unknown is said on stderr, with nothing on stdout."""
    result = kms(*arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert "error:" in result.stderr


def test_cases_pass(files: tuple[Path, Path]) -> None:
    """Exit code 0, one line each."""
    result = kms("test", *map(str, files))
    assert result.exit_code == 0
    assert result.stdout.count("ok ") == 6
    assert all(item["passed"] for item in json.loads(kms("test", *map(str, files), "--json").stdout))


def test_a_case_that_fails_is_shown(files: tuple[Path, Path]) -> None:
    """A policy that is too wide fails its cases with exit code 1."""
    policy, cases = files
    result = kms("test", str(changed(policy, value_max="9" * 30)), str(cases))
    assert result.exit_code == 1
    assert "FAILED" in result.stdout
    assert "1 of 6" in result.stderr


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"rules": 5}', '{"rules": [{"name": "x"}]}', '{"rules": [], "colour": 1}']
)
def test_a_malformed_policy_is_refused(files: tuple[Path, Path], content: str) -> None:
    """Never evaluated as an empty one, except an empty list of rules, which denies everything."""
    policy, cases = files
    policy.write_text(content)
    assert kms("test", str(policy), str(cases)).exit_code in (1, 2)


def test_a_decision_is_explained(files: tuple[Path, Path]) -> None:
    """The tree names each condition; exit codes follow the decision."""
    policy, cases = files
    bodies = {case["name"]: json.dumps(case["sign"]) for case in json.loads(cases.read_text())["cases"]}
    allowed = kms("evaluate", str(policy), "-", text=bodies["pays a known recipient"])
    assert allowed.exit_code == 0
    assert "+ transfers (allow)" in allowed.stdout
    denied = kms("evaluate", str(policy), "-", text=bodies["pays too much"])
    assert denied.exit_code == 1
    assert "- evm.value_max" in denied.stdout
    assert (
        json.loads(kms("evaluate", str(policy), "-", "--json", text=bodies["pays too much"]).stdout)["allowed"] is False
    )
    assert kms("evaluate", str(policy), "-", text="{}").exit_code == 1


def test_a_difference_is_shown(files: tuple[Path, Path]) -> None:
    """Same: 0.  Changed, added and removed rules and budgets: 1, with the lines that differ."""
    policy, _ = files
    assert kms("diff", str(policy), str(policy)).exit_code == 0
    other = changed(policy, value_max="7")
    result = kms("diff", str(policy), str(other))
    assert result.exit_code == 1
    assert "changed: rule transfers" in result.stdout
    assert '+  "value_max": "7"' in result.stdout
    value = json.loads(other.read_text())
    other.write_text(json.dumps({"rules": [*value["rules"], {"name": "more", "effect": "deny"}]}))
    changes = json.loads(kms("diff", str(policy), str(other), "--json").stdout)["changes"]
    assert changes == {"rule transfers": "changed", "rule more": "added", "budget per-day": "removed"}


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """With what could stand there instead."""
    result = kms("diff", str(tmp_path / "absent"), str(tmp_path / "absent"))
    assert result.exit_code == 2
    assert "pol_" in result.stderr
