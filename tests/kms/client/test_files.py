"""Key files and the cluster file: what a person keeps on disk."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from kms.client import AgentCredentials, Client, ConfigurationError, OperatorCredentials, TrustAnchors
from kms.client.cluster_file import ClusterFile


def test_key_file_round_trip_is_private_and_plain_pem(tmp_path: Path) -> None:
    """A saved key file has mode 0600, names its owner, loads again, and other tools read it as PEM."""
    path = tmp_path / "agent.pem"
    made = AgentCredentials.create(algorithm="ES256")
    made.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    loaded = AgentCredentials.load(path)
    assert (loaded.issuer, loaded.public) == (made.issuer, made.public)
    assert load_pem_private_key(path.read_bytes(), password=None) is not None


def test_key_file_is_never_overwritten(tmp_path: Path) -> None:
    """Saving over an existing file fails and leaves it as it was."""
    path = tmp_path / "agent.pem"
    AgentCredentials.create().save(path)
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match="not overwritten"):
        AgentCredentials.create().save(path)
    assert path.read_bytes() == before


def test_key_file_others_can_read_is_refused(tmp_path: Path) -> None:
    """A group-readable key file is refused with the command that mends it."""
    path = tmp_path / "agent.pem"
    AgentCredentials.create().save(path)
    path.chmod(0o640)
    with pytest.raises(ConfigurationError) as caught:
        AgentCredentials.load(path)
    assert caught.value.hint == f"chmod 600 {path}"


def test_an_agents_key_is_not_an_operators(tmp_path: Path) -> None:
    """Loading a key file as the other kind of principal is refused."""
    path = tmp_path / "agent.pem"
    AgentCredentials.create().save(path)
    with pytest.raises(ConfigurationError, match="expected the key file of an operator"):
        OperatorCredentials.load(path)


def test_bare_pem_needs_an_owner(tmp_path: Path) -> None:
    """A PEM file without a heading loads only when the caller says whose key it is."""
    path = tmp_path / "bare.pem"
    made = AgentCredentials.create()
    path.write_bytes(made.key.to_pem())
    path.chmod(0o600)
    with pytest.raises(ConfigurationError, match="does not say whose key"):
        AgentCredentials.load(path)
    assert AgentCredentials.load(path, issuer=made.issuer).public == made.public


def test_credentials_never_print_a_key() -> None:
    """The representation of credentials shows the id and nothing of the private key."""
    made = AgentCredentials.create()
    assert repr(made) == f"<AgentCredentials {made.issuer}>"


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("{}", "expected url, cluster_id"),
        ('{"url": "http://x", "cluster_id": "00", "surprise": 1}', "expected url, cluster_id"),
        ('{"url": "http://x", "cluster_id": "zz"}', "hex cluster_id"),
        ('{"url": "http://x", "cluster_id": "00"}', "32 bytes"),
        ('{"url": "", "cluster_id": "' + "00" * 32 + '"}', "expected text"),
        ('{"url": "http://x", "cluster_id": "' + "00" * 32 + '", "simulated_roots": ""}', "simulated_roots"),
        ('{"url": "http://x", "cluster_id": "' + "00" * 32 + '", "simulated_roots": ["="]}', "simulated_roots"),
        ("not json", "JSON"),
    ],
)
def test_malformed_cluster_files_are_refused(tmp_path: Path, content: str, part: str) -> None:
    """Each malformed cluster file ends in a configuration error that says what was expected."""
    path = tmp_path / "cluster.json"
    path.write_text(content)
    with pytest.raises(ConfigurationError, match=part):
        ClusterFile.load(path)


def test_cluster_file_paths_are_relative_to_it(tmp_path: Path) -> None:
    """Key paths in a cluster file are taken from its own directory, so the directory can move."""
    path = tmp_path / "cluster.json"
    value = {
        "url": "http://127.0.0.1:1",
        "cluster_id": "ab" * 32,
        "operator": {"id": "opr_" + "a" * 26, "key": "operator.pem"},
        "defaults": {"policy": "pol_x", "agent_key": "agent.pem"},
    }
    path.write_text(json.dumps(value))
    file = ClusterFile.load(path)
    assert file.operator_key == tmp_path / "operator.pem"
    assert file.default_agent_key == tmp_path / "agent.pem"
    assert file.trust == TrustAnchors(cluster_id=bytes.fromhex("ab" * 32))


def test_connect_needs_a_pin() -> None:
    """A URL alone is not enough: a client without a pinned cluster id is not made."""
    with pytest.raises(ConfigurationError, match="cluster_id or trust"):
        Client.connect(url="http://127.0.0.1:1")
