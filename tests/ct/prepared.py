"""The shape of a case: fresh inputs, the secrets among them, and the call to measure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from enclave.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Secrets to poison, then the call to measure."""

    secrets: list[Secret] = field(default_factory=list)
    call: Callable[[], object]


Case = Callable[[], Prepared]
