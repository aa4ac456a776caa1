"""W3C trace context: which distributed trace a request belongs to (https://www.w3.org/TR/trace-context/).

Only the ids are taken over, for logs and for the answer; `tracestate` and `baggage` are other people's text and
go no further.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

_HEADER = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")


@dataclass(frozen=True, slots=True)
class Trace:
    """A trace and this request's own span in it."""

    trace_id: str
    """32 hex digits."""
    span_id: str
    """16 hex digits."""
    flags: str

    @property
    def header(self) -> str:
        """As `traceparent` of what this request causes."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


def continued(traceparent: str | None) -> Trace | None:
    """The trace a valid header names, with a fresh span; None where there is none: we begin no traces."""
    if traceparent is None or len(traceparent) > 128 or not _HEADER.fullmatch(traceparent):
        return None
    if traceparent[:2] == "00" and len(traceparent) != 55:
        return None
    return Trace(traceparent[3:35], secrets.token_hex(8), traceparent[53:55])
