"""`attest release` and `attest verify --release` as transcripts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from attestation.cli import main
from attestation.envelope import b64url
from attestation.proof_of_cloud.entries import Entry
from attestation.proof_of_cloud.registry import Registry
from tests.attestation.release.test_manifest import PAYLOAD
from tests.attestation.world import NOW, World


@pytest.fixture
def files(world: World, tmp_path: Path) -> Path:
    """Evidence, collateral, roots, two makers' keys and the bare manifest."""
    (tmp_path / "quote.bin").write_bytes(world.tdx())
    (tmp_path / "collateral.json").write_bytes(world.collateral().to_bundle())
    (tmp_path / "root.der").write_bytes(world.authority.root_der)
    (tmp_path / "manifest.json").write_text(json.dumps(PAYLOAD, indent=2))
    for name in ("alice", "bob"):
        key = Ed25519PrivateKey.generate()
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (tmp_path / f"{name}.key").write_bytes(pem)
        public = key.public_key()
        (tmp_path / f"{name}.pem").write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        (tmp_path / f"{name}.txt").write_text(b64url(public.public_bytes_raw()) + "\n")
    return tmp_path


def attest(*arguments: str | Path) -> Result:
    """Run the command line."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def sign(files: Path, *names: str) -> Path:
    """The manifest after each of these makers signed it in turn."""
    source = files / "manifest.json"
    for name in names:
        target = files / f"signed-{name}.json"
        assert attest("release", "sign", source, "--key", files / f"{name}.key", "--out", target).exit_code == 0
        source = target
    return source


def verify(files: Path, *more: str | Path) -> Result:
    """`attest verify` of the quote."""
    options = ("--collateral", files / "collateral.json", "--root", files / "root.der", "--at", str(NOW))
    return attest("verify", files / "quote.bin", *options, *more)


def test_two_makers_one_verdict(files: Path) -> None:
    """Each maker adds a signature; evidence of the release is then trusted."""
    signed = sign(files, "alice", "bob")
    keys = ("--release-key", files / "alice.pem", "--release-key", files / "bob.txt")
    result = verify(files, "--release", signed, *keys)
    assert result.exit_code == 0, result.output
    assert "code is release holdfast-node 1.4.0" in result.stdout


def test_all_keys_given_must_have_signed(files: Path) -> None:
    """Without a threshold every maker named must have signed; with one, that many."""
    signed = sign(files, "alice")
    keys = ("--release-key", files / "alice.pem", "--release-key", files / "bob.txt")
    refused = verify(files, "--release", signed, *keys)
    assert (refused.exit_code, "[release.signatures]" in refused.stdout) == (1, True)
    assert verify(files, "--release", signed, *keys, "--release-threshold", "1").exit_code == 0


def test_code_of_another_release(files: Path) -> None:
    """Other measurements: not trusted, exit code 1, naming the register."""
    value = json.loads((files / "manifest.json").read_text())
    value["images"][0]["registers"]["mrtd"] = "00" * 47 + "01"
    (files / "manifest.json").write_text(json.dumps(value))
    result = verify(files, "--release", sign(files, "alice"), "--release-key", files / "alice.pem")
    assert (result.exit_code, "[release.measurement]" in result.stdout) == (1, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--release", "manifest.json"),
        ("--release-key", "alice.pem"),
        ("--release", "manifest.json", "--release-key", "alice.key"),
        ("--release", "manifest.json", "--release-key", "alice.pem", "--release-key", "alice.txt"),
        ("--release", "manifest.json", "--release-key", "alice.pem", "--release-threshold", "2"),
        ("--registry", "manifest.json"),
    ],
)
def test_usage(files: Path, arguments: tuple[str, ...]) -> None:
    """Options that cannot be meant together are exit code 2."""
    placed = [str(files / text) if "." in text else text for text in arguments]
    assert verify(files, *placed).exit_code == 2


def test_show(files: Path) -> None:
    """What a manifest says and whether it counts."""
    signed = sign(files, "alice")
    fine = attest("release", "show", signed, "--key", files / "alice.pem", "--at", str(NOW))
    assert fine.exit_code == 0
    assert "holdfast-node 1.4.0" in fine.stdout
    unsigned = attest("release", "show", signed, "--key", files / "bob.pem", "--at", str(NOW), "--json")
    assert unsigned.exit_code == 1
    assert json.loads(unsigned.stdout)["accepted"] is False
    assert attest("release", "show", files / "alice.pem").exit_code == 1


def test_signing_refuses_what_nobody_could_open(files: Path) -> None:
    """A malformed manifest, another document, or a key that is none: exit code 2, nothing written."""
    (files / "bad.json").write_text("{}")
    for arguments in (("bad.json", "alice.key"), ("manifest.json", "alice.pem")):
        file, key = arguments
        result = attest("release", "sign", files / file, "--key", files / key)
        assert (result.exit_code, result.stdout) == (2, "")


def test_verify_with_proof_of_cloud(files: Path, world: World, tmp_path: Path) -> None:
    """A registry snapshot adds its step: unlisted is refused, listed is trusted, stale counts for nothing."""
    registry = Registry.development(tmp_path / "registry", now=NOW)
    (files / "registry.json").write_bytes(registry.config.encode())
    options = ("--registry", files / "snapshot", "--registry-config", files / "registry.json")
    (files / "snapshot").write_bytes(registry.snapshot().encode())
    unlisted = verify(files, *options)
    assert (unlisted.exit_code, "[proof-of-cloud.not-listed]" in unlisted.stdout) == (1, True)
    commitment = world.intel.platform_id.commitment.hex()
    registry.propose([statement(commitment)], NOW)
    (files / "snapshot").write_bytes(registry.snapshot().encode())
    assert verify(files, *options).exit_code == 0
    later = (*options, "--at", str(NOW + 2 * 86_400))
    stale = verify(files, *later)
    assert (stale.exit_code, "[proof-of-cloud.stale]" in stale.stdout) == (1, True)


def statement(commitment: str, *, now: int = NOW) -> Entry:
    """A statement that lists a platform."""
    return Entry.of(
        {
            "kind": "statement",
            "issuer": "example-cloud",
            "issued_at": now - 60,
            "expires_at": now + 86_400,
            "commitment": commitment,
            "provider": "example-cloud",
            "region": "eu-1",
            "facility": "",
            "level": 1,
            "method": "provider-statement",
            "evidence": [],
        }
    )
