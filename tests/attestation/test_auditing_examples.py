"""Every Python block of specs/auditing.md runs, in order, on evidence of every platform."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from attestation.canonical import canonical_json
from attestation.collateral import Collateral
from attestation.evidence import Claims
from attestation.proof_of_cloud.platform_id import PlatformId
from attestation.proof_of_cloud.registry import Registry
from attestation.release.manifest import CODE_REGISTER, Image, ReleaseManifest
from attestation.roots import Roots
from attestation.verdict import Result
from attestation.verifier import Verifier
from tests.attestation import shared_vectors as shared
from tests.attestation.cli.test_release import statement
from tests.attestation.world import NOW, World

PAGE = Path(__file__).resolve().parents[2] / "specs" / "auditing.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


class Workplace:
    """A directory with the files the examples read."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory = directory
        self.monkeypatch = monkeypatch

    def prepare(self, evidence: bytes, collateral: Collateral, claims: Claims, now: int) -> None:
        """Evidence, collateral directory, a registry that lists the machine, and a release with this code."""
        (self.directory / "evidence.bin").write_bytes(evidence)
        (self.directory / "collateral").mkdir()
        (self.directory / "collateral" / "all.json").write_bytes(collateral.to_bundle())
        registry = Registry.development(self.directory / "authority", now=now)
        if claims.platform_id is not None:
            registry.propose([statement(claims.platform_id.commitment.hex(), now=now)], now)
        (self.directory / "registry.json").write_bytes(registry.config.encode())
        (self.directory / "snapshot").write_bytes(registry.snapshot().encode())
        register = CODE_REGISTER[claims.tee]
        image = Image(tee=claims.tee, name="image", registers={register: claims.measurements[register]})
        release = ReleaseManifest(
            name="r", version="1.0.0", source="00" * 32, issued_at=now - 1, expires_at=now + 1, images=(image,)
        )
        maker = Ed25519PrivateKey.generate()
        (self.directory / "maker.pub").write_bytes(maker.public_key().public_bytes_raw())
        (self.directory / "release.json").write_bytes(canonical_json(release.envelope().signed(maker).to_json()))

    def run(self, now: int) -> dict[str, Any]:
        """All blocks in one namespace, at this time."""
        self.monkeypatch.chdir(self.directory)
        self.monkeypatch.setattr("time.time", lambda: float(now))
        names: dict[str, Any] = {}
        for block in BLOCKS:
            exec(compile(block, str(PAGE), "exec"), names)
        return names


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    """An empty one."""
    return Workplace(tmp_path, monkeypatch)


def trust_simulated(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the simulated roots in the place of the pinned ones, as a stand-in for hardware."""
    roots = Roots.of(world.roots)
    monkeypatch.setattr(Roots, "production", classmethod(lambda cls: roots))


@pytest.mark.parametrize("kind", ["tdx", "snp"])
def test_examples_on_simulated_evidence(
    workplace: Workplace, world: World, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The blocks run to the end; only the root is refused, since the production policy never takes a simulated one."""
    evidence = getattr(world, kind)()
    claims = world.verifier.verify(evidence, collateral=world.collateral(), now=NOW)
    workplace.prepare(evidence, world.collateral(), claims, NOW)
    trust_simulated(world, monkeypatch)
    names = workplace.run(NOW)
    assert names["verdict"].reasons == names["complete"].reasons == ("policy.root",)
    assert names["standing"].listed
    assert [step.result for step in names["complete"].steps if step.step.startswith("9.")] == ["pass", "pass"]
    assert "<!doctype html>" in (workplace.directory / "report.html").read_text()


def test_examples_under_the_pinned_roots(workplace: Workplace, world: World) -> None:
    """Under the pinned roots simulated evidence is refused in the first block, and no claims come out of the second."""
    claims = world.verifier.verify(world.tdx(), collateral=world.collateral(), now=NOW)
    workplace.prepare(world.tdx(), world.collateral(), claims, NOW)
    with pytest.raises(NameError, match="claims"):
        workplace.run(NOW)


@shared.NEEDED
@pytest.mark.parametrize("prefix", ["tdx4-near-b9e238b2", "snp-genoa-v5-vcek-lunal-8fd94192"])
def test_examples_on_genuine_evidence(workplace: Workplace, prefix: str) -> None:
    """On a vendor's evidence every block runs and the complete verdict is "trusted"."""
    entry = next((item for item in shared.manifest()["entries"] if item["id"] == prefix), None)
    if entry is None:
        pytest.skip(f"{prefix} is not in the shared folder")
    if prefix.startswith("tdx"):
        checked = entry["verifications"][0]
        collateral, now = Collateral.of(shared.read(checked["bundle"])), shared.unix(checked["now_used"])
    else:
        collateral, now = Collateral.load([shared.ROOT / "amd"]), shared.unix("2026-07-15T00:00:00Z")
    evidence = shared.read(entry["file"])
    claims = Verifier.production().verify(evidence, collateral=collateral, now=now)
    assert isinstance(claims.platform_id, PlatformId)
    workplace.prepare(evidence, collateral, claims, now)
    names = workplace.run(now)
    assert names["verdict"].result is Result.TRUSTED
    assert names["complete"].result is Result.TRUSTED
    assert next(step.result for step in names["bound"].steps if step.step == "7") == "pass"
