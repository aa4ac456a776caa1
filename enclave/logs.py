"""The node's log: one JSON object per line on standard error, with fields from a fixed list and nothing else.

Rules kept: what is not on the list is dropped, so that no later change can log a body, a token or a
share by accident; an unexpected error is named by type and place, never by message, arguments or locals.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import Any

import structlog

FIELDS = frozenset(
    {
        "boot_counter",
        "cluster",
        "code",
        "connection",
        "count",
        "error",
        "event",
        "keys",
        "level",
        "listen",
        "slot",
        "time",
        "verb",
        "where",
    }
)
"""Everything a line may say."""

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def new_log(level: str, *, slot: str) -> Callable[..., None]:
    """A function `log(event, level="info", **facts)` that writes lines at `level` and above."""
    logger = structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        processors=[
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            _only_listed,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.BoundLogger,
        slot=slot,
    )
    lowest = LEVELS[level]

    def log(event: str, *, level: str = "info", **facts: object) -> None:
        if LEVELS[level] >= lowest:
            logger.msg(event, level=level, **facts)

    return log


def place_of(error: BaseException) -> str:
    """Where an error came from, as `file.py:line`: enough to find it, without values."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return "unknown"
    return f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}"


def _only_listed(_logger: Any, _method: str, facts: Any) -> Any:
    return {name: value for name, value in facts.items() if name in FIELDS and isinstance(value, str | int)}
