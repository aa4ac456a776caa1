"""The commands as people use them: each file in transcripts/ is one session."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kms.cli.transcript import play
from tests.kms.cluster_fixture import RunningCluster

DIRECTORY = Path(__file__).parent / "transcripts"


@pytest.mark.cluster
@pytest.mark.parametrize(
    "name",
    ["keys", "agents", "documents", "sign", "decrypt", "nodes", "audit", "freeze", "budgets", "imports", "renewals"],
)
def test_session(name: str, cluster: RunningCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session's commands print what the transcript says."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "password.txt").write_text("a long enough password\n")
    (tmp_path / "wrong.txt").write_text("another long password\n")
    environment = {"HOLDFAST_CLUSTER": str(cluster.dev.cluster_file)}
    words = {
        "POLICY": cluster.policy,
        "AGENT": cluster.agent.issuer,
        "AGENT_KEY": str(cluster.dev.layout.agent_key),
    }
    play(DIRECTORY / f"{name}.txt", environment, words)
    exported = tmp_path / "going.json"
    assert not exported.exists() or exported.stat().st_mode & 0o777 == 0o600


def test_failures_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong usage and absent clusters end in an error, a hint and the right exit code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("kms.cli.options.DEVELOPER_DIRECTORY", tmp_path / "none")
    (tmp_path / "elsewhere.json").write_text('{"url": "http://127.0.0.1:1", "cluster_id": "' + "ab" * 32 + '"}')
    (tmp_path / "broken.json").write_text("{")
    play(DIRECTORY / "failures.txt", {})
