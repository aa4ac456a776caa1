"""What `verify` and `report` judge evidence by: the shared options, and the one way they are applied."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import click

from attestation.cli import render
from attestation.cli.options import Instant, current_time, read_file, read_policy, read_release, read_roots
from attestation.collateral import Collateral
from attestation.errors import AttestationError, CollateralError
from attestation.evidence import Claims
from attestation.policy import AppraisalPolicy
from attestation.proof_of_cloud.policy import ProofOfCloudCheck, ProofOfCloudPolicy
from attestation.proof_of_cloud.registry_files import RegistryConfig
from attestation.proof_of_cloud.snapshot import RegistrySnapshot
from attestation.release.manifest import ReleaseCheck, ReleaseManifest
from attestation.roots import Roots
from attestation.verdict import Outcome, Result, Step, Verdict
from attestation.verifier import StatementCheck, Verifier

T = TypeVar("T")
_PATH = click.Path(path_type=Path, allow_dash=True)
_FILE = click.Path(path_type=Path, exists=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Appraiser:
    """Collateral, roots, policy, release and registry as named on the command line, for one time."""

    now: int
    roots: Roots
    policy: AppraisalPolicy
    collateral: Collateral | CollateralError
    """The error if what was given cannot be read as collateral: then nothing verifies."""
    release: ReleaseManifest | AttestationError | None
    snapshot: RegistrySnapshot | AttestationError | None
    """An error here fails the step: a release or registry that does not count vouches for nothing."""
    cloud_policy: ProofOfCloudPolicy

    def examine(self, evidence: bytes, *, expected_report_data: bytes | None = None) -> Verdict:
        """The verdict on one piece of evidence."""
        if isinstance(self.collateral, CollateralError):
            return _bad_collateral(self.collateral, self.now)
        return Verifier(self.roots).examine(
            evidence,
            collateral=self.collateral,
            now=self.now,
            policy=self.policy,
            expected_report_data=expected_report_data,
            statements=self.statements,
        )

    @property
    def statements(self) -> list[StatementCheck]:
        """Steps 9.x: the release, then proof of cloud, as far as they were asked for."""
        checks: list[StatementCheck] = []
        if isinstance(self.release, AttestationError):
            checks.append(_Refused(name="code is the release", error=self.release))
        elif self.release is not None:
            checks.append(ReleaseCheck(manifest=self.release))
        if isinstance(self.snapshot, AttestationError):
            checks.append(_Refused(name="proof of cloud", error=self.snapshot))
        elif self.snapshot is not None:
            checks.append(ProofOfCloudCheck(snapshot=self.snapshot, policy=self.cloud_policy))
        return checks

    @property
    def other_roots(self) -> list[str]:
        """Labels of the trusted roots that are no vendor's."""
        return sorted({anchor.label for anchor in self.roots.anchors if anchor.label != anchor.vendor})

    def warn_of_roots(self) -> None:
        """Say on standard error that no vendor vouches, if so."""
        if self.other_roots:
            named = " and a ".join(self.other_roots)
            render.warn(f"trusting a {named} root: no hardware vendor vouches for this result")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refused:
    """A step that fails whatever the evidence is, because what it would be held against does not count."""

    name: str
    error: AttestationError

    def check(self, claims: Claims, now: int) -> None:
        """Raise the error."""
        del claims, now
        raise self.error


def with_appraisal(verb: Callable[..., T]) -> Callable[..., T]:
    """Add the shared options; the verb gets one `appraiser` argument instead."""

    @functools.wraps(verb)
    def called(
        *args: Any,
        collateral_paths: tuple[Path, ...],
        at: int | None,
        root_paths: tuple[Path, ...],
        policy_path: Path | None,
        release_path: Path | None,
        release_keys: tuple[Path, ...],
        release_threshold: int | None,
        registry_path: Path | None,
        registry_config: Path | None,
        **rest: Any,
    ) -> T:
        now = current_time() if at is None else at
        roots = read_roots(root_paths)
        cloud_policy = ProofOfCloudPolicy.production()
        appraiser = Appraiser(
            now=now,
            roots=roots,
            policy=_policy(policy_path, roots if root_paths else None),
            collateral=_collateral(collateral_paths),
            release=read_release(release_path, release_keys, release_threshold, now),
            snapshot=_snapshot(registry_path, registry_config, now, cloud_policy.max_age_s),
            cloud_policy=cloud_policy,
        )
        return verb(*args, appraiser=appraiser, **rest)

    for option in reversed(_OPTIONS):
        called = option(called)
    return called


def _policy(path: Path | None, named: Roots | None) -> AppraisalPolicy:
    """The policy to judge by: a root named on the command line counts unless a policy file lists the allowed ones."""
    policy, lists_roots = (AppraisalPolicy.production(), False) if path is None else read_policy(path)
    if named is None or lists_roots:
        return policy
    return replace(policy, allowed_roots=policy.allowed_roots | {anchor.label for anchor in named.anchors})


def _collateral(paths: tuple[Path, ...]) -> Collateral | CollateralError:
    try:
        return Collateral.load(paths)
    except CollateralError as error:
        if error.code == "collateral.unreadable":
            raise click.UsageError(error.detail) from None
        return error


def _snapshot(
    path: Path | None, config: Path | None, now: int, max_age_s: int
) -> RegistrySnapshot | AttestationError | None:
    """A verified snapshot, or why it is none."""
    if path is None and config is None:
        return None
    if path is None or config is None:
        raise click.UsageError("--registry and --registry-config go together")
    try:
        keys = RegistryConfig.parse(read_file(config))
    except AttestationError as error:
        raise click.UsageError(f"--registry-config: {error}") from None
    try:
        return RegistrySnapshot.parse(read_file(path)).verify(
            keys.members, keys.threshold, keys.freshness_key, now, max_age_s, origin=keys.origin
        )
    except AttestationError as error:
        return error


def _bad_collateral(error: CollateralError, now: int) -> Verdict:
    step = Step(step="4", name="collateral is readable", result=Outcome.FAIL, reason=error.detail, code=error.code)
    return Verdict(result=Result.UNTRUSTED, steps=(step,), reasons=(error.code,), verified_at=now)


_OPTIONS = (
    click.option(
        "--collateral",
        "collateral_paths",
        multiple=True,
        type=_FILE,
        help="Directory, JSON bundle, PEM or DER file; may be repeated.",
    ),
    click.option("--at", type=Instant(), help="Verify as of this time (RFC 3339 or Unix seconds); default now."),
    click.option("--root", "root_paths", multiple=True, type=_PATH, help="Trust this root instead of the vendors'."),
    click.option("--policy", "policy_path", type=_PATH, help="Appraisal policy (JSON); default: production."),
    click.option("--release", "release_path", type=_PATH, help="Release manifest: the code must be one of its images."),
    click.option("--release-key", "release_keys", multiple=True, type=_PATH, help="A maker's key; may be repeated."),
    click.option("--release-threshold", type=click.IntRange(1), help="Makers needed; default: all whose key is given."),
    click.option("--registry", "registry_path", type=_PATH, help="Snapshot of a proof-of-cloud registry."),
    click.option("--registry-config", type=_PATH, help="registry.json: its members, threshold and freshness key."),
)
