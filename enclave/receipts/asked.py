"""The request being handled, as far as it is verified: what a leaf says of it whether it ends well or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from enclave.keys import HeldKey
    from enclave.tokens import Token


@dataclass(slots=True, kw_only=True)
class Asked:
    """Filled in while checks pass (enclave.authorise); without a verified token there is nothing to log."""

    token: Token
    key: HeldKey | None = None
    policy: str = ""
    policy_version: int = 0
    rule: str = ""
    payload: Any = None
    """What this node parsed from the body, once policy has seen it."""
