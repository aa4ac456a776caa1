"""The cluster's time: the median of this node's clock and its peers', never going back (specs/heartbeats.md section 5).

Rules kept: between two agreements it runs by this machine's monotonic clock, so that setting the time of day
moves nothing; a node whose own clock differs refuses to work; a large step waits for an operator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median_low

from enclave.errors import CallerError, RefusedError
from enclave.heartbeats.bounds import DRIFT_S_MAX, JUMP_S_MAX

_ROUNDING = 1e-6


class ClusterClock:
    """Time as this node and enough of its peers agree on it, Unix seconds."""

    def __init__(self, monotonic: Callable[[], float], *, own: int, peers_needed: int) -> None:
        self._monotonic = monotonic
        self._peers_needed = peers_needed
        self._started = monotonic()
        self._offset: float | None = None
        """Cluster time less monotonic time, once agreed."""
        self._newest = 0
        self._step: float | None = None
        """A time that the peers agree on and that is too far away to follow."""
        self.own = own
        """This node's clock as last read."""

    def count_on(self, peers_needed: int) -> None:
        """Another number of peers has to agree from now on."""
        self._peers_needed = peers_needed

    @property
    def is_agreed(self) -> bool:
        """Whether enough peers have told their time since this boot."""
        return self._offset is not None

    def now(self, own: int) -> int:
        """The time to judge by, given this node's own clock."""
        self.own = own
        if self._offset is None:
            return own
        self._newest = max(self._newest, int(self._offset + self._monotonic() + _ROUNDING))
        return self._newest

    def agree(self, peers: Sequence[tuple[float, float]]) -> None:
        """Take in between what bounds each peer's clock is now; fewer peers than needed change nothing.

        Each votes for the time within its bounds that is nearest to what this node holds it to be already, so
        that a relay that delays heartbeats widens bounds and moves nothing.
        """
        if len(peers) < self._peers_needed:
            return
        at = self._monotonic()
        held = self._offset + at if self._offset is not None else float(self.own)
        agreed = median_low(min(max(held, low), high) for low, high in [(self.own, self.own + 1), *peers])
        if self._offset is not None and abs(agreed - held) > JUMP_S_MAX:
            self._step = agreed
            return
        self._offset, self._step = agreed - at, None

    def started_at(self) -> int:
        """When this boot began by the cluster's time; raises CallerError (`clock.unknown`) before that is known."""
        if self._offset is None:
            raise CallerError("the cluster's time is not known yet", code="clock.unknown")
        return int(self._offset + self._started + _ROUNDING)

    def follow(self, time: int) -> None:
        """An operator says that it is about `time`: follow the step the peers agree on, if it is forward and there.

        Raises CallerError (`clock.no-step`, `clock.other-time`).
        """
        if self._step is None or self._offset is None:
            raise CallerError("the cluster's time waits for nobody", code="clock.no-step")
        if abs(self._step - time) > JUMP_S_MAX or self._step < self._newest:
            raise CallerError("not the time, or before what the peers agree on", code="clock.other-time")
        self._offset, self._step = self._step - self._monotonic(), None

    def check(self) -> None:
        """Raise RefusedError (`clock-jump`, `clock-skew`) unless this node's clock is the cluster's."""
        if self._step is not None:
            raise RefusedError(
                "the cluster's clocks have moved by more than a minute at once",
                code="clock-jump",
                hint="set the clocks right, or have an operator confirm the new time",
            )
        if self._offset is not None and abs(self.own - (self._offset + self._monotonic())) > DRIFT_S_MAX:
            raise RefusedError(
                f"this node's clock is more than {DRIFT_S_MAX} s off the cluster's",
                code="clock-skew",
                hint="fix its clock",
            )
