"""A policy named on the command line: a file, or the newest version of a policy id as its operators signed it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kms.cli.failure import UsageError
from kms.cli.options import Target
from kms.cli.policy.file import LIMITS, read_policy


async def policy_members(source: str, target: Target) -> dict[str, Any]:
    """Members `rules`, `budgets`, `rate` and `nonce_guard`; raises UsageError, or what fetching raises."""
    if source.startswith("pol_"):
        async with target.client(target.anyone()) as client:
            document = await client.policies.get(source, roster=await client.roster())
        payload = document.payload()
        return {name: payload[name] for name in ("rules", *LIMITS) if name in payload}
    value = _read(source)
    return {name: value[name] for name in ("rules", *LIMITS) if name in value}


def _read(path: str) -> dict[str, Any]:
    try:
        with Path(path).open("rb") as file:
            return read_policy(file)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", hint="expected a policy file, or pol_... of a policy") from None
