"""What really happened, seen from outside: every answer that left a node, every restart, and a readable trace.

The observer knows more than any party could; invariant checkers read it and nothing else.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from attestation.envelope import Envelope
from attestation.errors import CodedError
from enclave.wire.message import Message
from tests.simulation.loop import SimLoop

if TYPE_CHECKING:
    from tests.simulation.node_host import SimNode

FREEZE_TYPE = "holdfast/freeze/v1"
TRACE_LINES_MAX = 20_000
QUIET = frozenset({"heartbeat", "heartbeats", "status", "verdicts", "log-entries", "log-checkpoint", "holdings"})
"""Verbs left out of the trace unless they are refused."""


@dataclass(slots=True, kw_only=True)
class Left:
    """One answer that a node gave and committed."""

    at: float
    slot: str
    boot: int
    identity: bytes
    connection: int
    verb: str
    request: Any
    reply: Any
    facts: dict[str, Any] = field(default_factory=dict)
    """What checkers noted of the node's state when it answered."""


class Observer:
    """Collects; `violations` are filled by the checkers."""

    def __init__(self, loop: SimLoop, counters: Counter[str]) -> None:
        self.loop = loop
        self.counters = counters
        self.trace: list[str] = []
        self.violations: list[str] = []
        self.left: list[Left] = []
        self._pending: dict[int, list[Left]] = {}
        self.on_answer: list[Callable[[SimNode, Left], None]] = []
        self.on_left: list[Callable[[SimNode, Left], None]] = []
        self.on_boot: list[Callable[[SimNode], None]] = []
        self.on_refusal: list[Callable[[SimNode, str, CodedError], None]] = []
        self.made: dict[bytes, float] = {}
        """When each heartbeat was made, by the hash of its body."""
        self.heard: dict[tuple[bytes, str], float] = {}
        """(boot identity, peer) -> when the newest heartbeat of the peer that was taken there had been made."""
        self.trusted: set[tuple[bytes, str]] = set()
        """(boot identity, peer) whose evidence was taken there."""
        self.frozen: dict[tuple[str, str], tuple[int, str]] = {}
        """(slot, key) -> newest freeze the slot acknowledged: sequence, state."""
        self.thawed: dict[tuple[str, str], int] = {}
        """(slot, key) -> newest thaw the slot may have sealed, whether its answer left or not."""
        self.logged: list[str] = []
        """What nodes and gateways wrote to their logs and error answers."""
        self.verbose = False
        self.codes: Counter[str] = Counter()

    def event(self, text: str) -> None:
        """One line of the trace."""
        if len(self.trace) < TRACE_LINES_MAX:
            self.trace.append(f"{self.loop.time():10.4f}  {text}")

    def violation(self, invariant: str, text: str) -> None:
        """An invariant does not hold."""
        line = f"{invariant}: {text}"
        self.violations.append(line)
        self.event(f"VIOLATION {line}")

    # --- told by nodes ---------------------------------------------------------------------------------

    def answering(self, node: SimNode, connection: int, verb: str, request: Message, reply: Message) -> None:
        """An answer is ready; it leaves with the next commit."""
        identity = node.identity.public
        left = Left(
            at=self.loop.time(),
            slot=node.slot,
            boot=identity.boot_counter,
            identity=identity.identity_key,
            connection=connection,
            verb=verb,
            request=request,
            reply=reply,
        )
        self._note(left)
        for listener in self.on_answer:
            listener(node, left)
        self._pending.setdefault(id(node), []).append(left)

    def committed(self, node: SimNode) -> None:
        """Whatever was ready leaves."""
        for left in self._pending.pop(id(node), ()):
            if left.verb == "control":
                self._note_freeze(left)
            if left.verb not in QUIET:
                self.left.append(left)
                self.event(f"{left.slot}#{left.boot} answers {left.verb}")
            for listener in self.on_left:
                listener(node, left)

    def refused(self, node: SimNode, verb: str, request: Message, error: CodedError) -> None:
        """A node said no."""
        del request
        self.codes[error.code] += 1
        self.logged.append(f"{error.code} {error.detail} {error.hint}")
        for listener in self.on_refusal:
            listener(node, verb, error)
        self.event(f"{node.slot}#{node.identity.public.boot_counter} refuses {verb}: {error.code}")

    def _note(self, left: Left) -> None:
        if left.verb == "heartbeat":
            self.made.setdefault(_digest(left.reply.heartbeat.body), left.at)
        elif left.verb == "heartbeats":
            refused = {refusal.slot for refusal in left.reply.refused}
            for signed in left.request.heartbeats:
                at = self.made.get(_digest(signed.body))
                if at is not None and signed.slot not in refused:
                    name = (left.identity, signed.slot)
                    self.heard[name] = max(self.heard.get(name, 0.0), at)
        elif left.verb == "control":
            read = _freeze_of(left)
            if read is not None and read[2] == "thawed":
                self.thawed[read[0]] = max(read[1], self.thawed.get(read[0], 0))
        elif left.verb == "present" and left.reply.result == "trusted":
            self.trusted.add((left.identity, left.request.identity.slot))

    def _note_freeze(self, left: Left) -> None:
        read = _freeze_of(left)
        if read is not None and read[1] > self.frozen.get(read[0], (0, ""))[0]:
            self.frozen[read[0]] = read[1:]

    def booted(self, node: SimNode) -> None:
        """A node runs."""
        self.event(f"{node.slot}#{node.identity.public.boot_counter} starts")
        for listener in self.on_boot:
            listener(node)

    def crashed(self, node: SimNode) -> None:
        """What was ready and not committed never left."""
        self._pending.pop(id(node), None)
        self.event(f"{node.slot}#{node.identity.public.boot_counter} crashes")

    def log_of(self, slot: str) -> Callable[..., None]:
        """The log of a node: defects of its own are violations of what code may do at all."""

        def log(event: str, **facts: Any) -> None:
            self.logged.append(f"{event} {facts}")
            if event == "internal-error":
                self.violation("defect", f"{slot}: {facts.get('error')} in {facts.get('verb')} at {facts.get('where')}")

        return log


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()


def _freeze_of(left: Left) -> tuple[tuple[str, str], int, str] | None:
    """(slot, key), sequence and state, if the document is a freeze of a key."""
    value = Envelope.parse(left.request.document).value()
    if value.get("type") != FREEZE_TYPE or value.get("scope") != "key":
        return None
    return (left.slot, str(value["id"])), int(value["sequence"]), str(value["state"])
