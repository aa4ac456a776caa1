"""Logs: one JSON object per line on stderr, made of fields on an allow-list.

Rules: a field that is not listed is dropped, whatever it is called and holds; an exception is logged as
its type and code, never with its message, its arguments or the locals of its frames.  So no body, token,
share or plaintext can reach a log by accident.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from attestation.errors import CodedError

FIELDS = frozenset(
    {
        "event", "level", "timestamp", "request_id", "token_id", "method", "route", "status", "code", "duration_ms",
        "principal", "act", "key", "slot", "peer", "slots", "culprits", "attempt", "reason_code", "error", "where",
        "listen", "cluster", "version", "count", "boot_counter", "session", "trace_id", "span_id",
    }
)  # fmt: skip
"""Everything a log line may hold; ids, codes, counts and names of ours only."""

VALUE_CHARACTERS_MAX = 200
"""Longest text in a field: no field of ours needs more, and a body would not fit."""

_level = logging.INFO


def configure(level: str = "info") -> None:
    """Set up logging for the whole process, other libraries included."""
    global _level
    threshold = _level = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _describe_exception,
            _allow_listed,
            structlog.processors.JSONRenderer(sort_keys=True),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    foreign = logging.StreamHandler(sys.stderr)
    foreign.setFormatter(_ForeignFormatter())
    logging.basicConfig(level=max(threshold, logging.WARNING), handlers=[foreign], force=True)


def is_debugging() -> bool:
    """Whether debug lines are written; asked before facts for one are gathered."""
    return _level <= logging.DEBUG


def logger() -> Any:
    """The process's logger: `logger().info("event-name", slot=...)`."""
    return structlog.get_logger()


def _describe_exception(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace an exception by its type, its code and the line it was raised at."""
    failure = event.pop("exc_info", None)
    if failure is True:
        failure = sys.exc_info()[1]
    if isinstance(failure, BaseException):
        event.update(describe(failure))
    return event


def describe(failure: BaseException) -> dict[str, Any]:
    """Type, code and place of an exception; nothing it carries."""
    described: dict[str, Any] = {"error": type(failure).__name__}
    if isinstance(failure, CodedError):
        described["code"] = failure.code
    trace = failure.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is not None:
        described["where"] = f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}"
    return described


def _allow_listed(_: Any, __: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
    return {name: _plain(value) for name, value in event.items() if name in FIELDS}


def _plain(value: Any) -> Any:
    if isinstance(value, bool | int | float) or value is None:
        return value
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value[:64]]
    if isinstance(value, str):
        return value[:VALUE_CHARACTERS_MAX]
    return type(value).__name__


class _ForeignFormatter(logging.Formatter):
    """Lines of other libraries: which logger and where, never their message, which may quote a request."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "event": "library",
            "level": record.levelname.lower(),
            "where": f"{record.name}:{record.lineno}",
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = type(record.exc_info[1]).__name__
        return structlog.processors.JSONRenderer(sort_keys=True)(None, "", line)  # type: ignore[return-value]
