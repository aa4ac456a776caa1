"""The cluster file: where a cluster is and what to pin.  It is the root of a client's trust.

`cluster.json` holds the gateway's URL, the cluster id (SHA-256 of the first roster), optionally the
roster itself, and for development clusters the simulated roots.  Get it from the operator, not from
the gateway.  Relative paths are relative to the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attestation.canonical import parse_json
from attestation.envelope import b64url_decode
from attestation.errors import DocumentError
from kms.client.errors import ConfigurationError
from kms.client.rosters import FollowedChain
from kms.client.trust import TrustAnchors

FOLLOWED_SUFFIX = ".rosters.json"
"""Beside the cluster file, clients keep the roster versions they verified, so that nobody shows them older ones."""

_KNOWN = frozenset({"url", "cluster_id", "roster", "simulated_roots", "operator", "defaults"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterFile:
    """A parsed cluster file."""

    path: Path
    url: str
    trust: TrustAnchors
    operator: str | None
    operator_key: Path | None
    default_policy: str | None
    """Policy for `kms keys create` where none is given (development clusters)."""
    default_agent_key: Path | None
    """Agent key where none is given (development clusters)."""

    @classmethod
    def load(cls, path: Path) -> ClusterFile:
        """Read and check a cluster file; raises ConfigurationError (`client.cluster-file`)."""
        try:
            value = parse_json(path.read_bytes())
        except OSError as error:
            raise _error(
                f"cannot read the cluster file {path}: {error.strerror}",
                hint="start a cluster with `kms dev`, or set HOLDFAST_CLUSTER to your cluster.json",
            ) from None
        except DocumentError as error:
            raise _error(f"{path}: {error.detail}") from None
        return cls._of(path, value)

    @classmethod
    def _of(cls, path: Path, value: Any) -> ClusterFile:
        if not isinstance(value, dict) or not {"url", "cluster_id"} <= set(value) or set(value) - _KNOWN:
            raise _error(f"expected url, cluster_id and optionally {', '.join(sorted(_KNOWN))} in {path}")
        try:
            cluster_id = bytes.fromhex(value["cluster_id"])
            roots = _certificates(value.get("simulated_roots", []))
        except (TypeError, ValueError, DocumentError):
            raise _error(f"expected a hex cluster_id and a list of base64url simulated_roots in {path}") from None
        operator = value.get("operator") or {}
        defaults = value.get("defaults") or {}
        roster = _path(path, value.get("roster"))
        return cls(
            path=path,
            url=_string(path, value["url"]),
            trust=TrustAnchors(
                cluster_id=cluster_id,
                simulated_roots=roots,
                roster=_bytes(roster),
                followed=FollowedChain(path=path.with_suffix(FOLLOWED_SUFFIX)),
            ),
            operator=_string(path, operator["id"]) if "id" in operator else None,
            operator_key=_path(path, operator.get("key")),
            default_policy=_string(path, defaults["policy"]) if "policy" in defaults else None,
            default_agent_key=_path(path, defaults.get("agent_key")),
        )


def _certificates(value: Any) -> tuple[bytes, ...]:
    """Raises TypeError or DocumentError."""
    if not isinstance(value, list):
        raise TypeError("not a list")
    return tuple(b64url_decode(item) for item in value)


def _path(base: Path, value: Any) -> Path | None:
    return None if value is None else base.parent / _string(base, value)


def _string(base: Path, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise _error(f"expected text, found {type(value).__name__} in {base}")
    return value


def _bytes(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise _error(f"cannot read the roster {path}: {error.strerror}") from None


def _error(detail: str, *, hint: str | None = None) -> ConfigurationError:
    return ConfigurationError(detail, code="client.cluster-file", hint=hint)
