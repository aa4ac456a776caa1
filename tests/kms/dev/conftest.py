"""The session's real cluster."""

from __future__ import annotations

from tests.kms.cluster_fixture import cluster

__all__ = ["cluster"]
