"""How the node's tests name the refusal they expect."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from attestation.errors import CodedError


def code_of(action: Callable[..., Any], *arguments: Any, **named: Any) -> str:
    """The code an action fails with; fails the test if it does not fail."""
    with pytest.raises(CodedError) as caught:
        action(*arguments, **named)
    return caught.value.code
