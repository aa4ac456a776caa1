"""Asks endpoint after endpoint, round after round, until one gives a document that verifies.

Rules: what an endpoint gives counts only after `judge` accepted it, so a bad mirror is an
unavailable mirror; "too many requests" and server errors are waited for, as long as the server
asks and within a bound; a definite "no such document" ends the wait for that endpoint.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TypeVar

from attestation.errors import AttestationError, FetchError
from attestation.fetch.endpoints import Endpoint
from attestation.fetch.http import TIMEOUT_S, Response, get

T = TypeVar("T")

ATTEMPTS = 4
BACKOFF_S = 1.0
"""First pause between two rounds over all endpoints; doubles each round, with jitter."""
WAIT_MAX_S = 60.0
"""Longest single pause, whatever a server asks for: AMD's service asks for seconds, not minutes."""

_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One document: its name for people, whose it is, and its paths in order of trial."""

    name: str
    vendor: str
    paths: tuple[str, ...]


class OlderError(FetchError):
    """A document that verifies but is older than the one already held."""

    code = "fetch.older"


@dataclass(slots=True, kw_only=True)
class Source:
    """The endpoints, how patiently they are asked, and where progress is told."""

    endpoints: Sequence[Endpoint]
    attempts: int = ATTEMPTS
    timeout_s: float = TIMEOUT_S
    say: Callable[[str], None] = lambda _: None
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.time
    requests: int = field(default=0, init=False)
    """How many were sent."""
    _accepted: dict[str, Response] = field(default_factory=dict, init=False)
    """Answers of this run by address: what two platforms share is asked for once."""

    def fetch(self, wanted: Wanted, judge: Callable[[Response], T]) -> T:
        """What `judge` makes of the first acceptable answer.

        Raises FetchError: `fetch.not-found` if every endpoint says there is none, else what the last one was
        refused or unreachable for; OlderError if the only acceptable answers are older than what is held.
        """
        waiting = [endpoint for endpoint in self.endpoints if endpoint.serves(wanted.vendor)]
        refusals: list[FetchError] = []
        for attempt in range(self.attempts):
            pause = 0.0
            again: list[Endpoint] = []
            for endpoint in waiting:
                try:
                    return self._ask(endpoint, wanted, judge)
                except _LaterError as later:
                    pause = max(pause, later.wait_s)
                    again.append(endpoint)
                    refusals.append(later)
                except FetchError as refusal:
                    refusals.append(refusal)
                self.say(f"{wanted.name}: {refusals[-1].detail} ({endpoint.base})")
            waiting = again
            if not waiting:
                break
            if attempt + 1 < self.attempts:
                self._pause(max(pause, BACKOFF_S * 2**attempt), wanted)
        raise _conclude(wanted, refusals)

    def _ask(self, endpoint: Endpoint, wanted: Wanted, judge: Callable[[Response], T]) -> T:
        missing: FetchError | None = None
        for path in wanted.paths:
            url = endpoint.url(path)
            try:
                answer = self._accepted.get(url) or self._get(url)
            except FetchError as error:
                if error.code in ("fetch.redirect", "fetch.too-large"):
                    raise
                raise _LaterError(error.detail, code=error.code) from None
            if answer.status in _RETRIED:
                raise _LaterError(
                    f"the service answers {answer.status}", code="fetch.busy", wait_s=self._asked_to_wait(answer)
                )
            if answer.status != 200:
                missing = FetchError(f"no such document ({answer.status})", code="fetch.not-found")
                continue
            item = _judged(answer, judge)
            self._accepted[url] = answer
            return item
        assert missing is not None, "a wanted document has at least one path"
        raise missing

    def _get(self, url: str) -> Response:
        self.requests += 1
        return get(url, timeout_s=self.timeout_s)

    def _asked_to_wait(self, answer: Response) -> float:
        text = answer.headers.get("retry-after", "").strip()
        if text.isascii() and text.isdigit() and len(text) < 10:
            return min(float(text), WAIT_MAX_S)
        try:
            return min(max(0.0, parsedate_to_datetime(text).timestamp() - self.clock()), WAIT_MAX_S)
        except (ValueError, TypeError, OverflowError):
            return 0.0

    def _pause(self, wait_s: float, wanted: Wanted) -> None:
        # Never shorter than asked; spread out so that many clients do not return together.
        wait_s = min(wait_s, WAIT_MAX_S) * random.uniform(1.0, 1.5)  # noqa: S311 - spreads load, decides nothing
        self.say(f"{wanted.name}: asking again in {wait_s:.1f} s")
        self.sleep(wait_s)


class _LaterError(FetchError):
    """The endpoint may answer later."""

    def __init__(self, detail: str, *, code: str, wait_s: float = 0.0) -> None:
        super().__init__(detail, code=code)
        self.wait_s = wait_s


def _judged(answer: Response, judge: Callable[[Response], T]) -> T:
    try:
        return judge(answer)
    except FetchError:
        raise
    except AttestationError as error:
        raise FetchError(f"refused: {error.detail}", code=error.code) from None


def _conclude(wanted: Wanted, refusals: Sequence[FetchError]) -> FetchError:
    if not refusals:
        return FetchError(f"no endpoint serves {wanted.name}", code="fetch.unavailable")
    older = next((error for error in refusals if isinstance(error, OlderError)), None)
    if older is not None:
        return older
    definite = [error for error in refusals if not isinstance(error, _LaterError)]
    told = (definite or list(refusals))[-1]
    if definite and all(error.code == "fetch.not-found" for error in refusals):
        return FetchError(f"{wanted.name}: {told.detail}", code="fetch.not-found")
    if any(error.code == "fetch.not-found" for error in definite):
        # One endpoint has no such document and another was not reachable: that is not "does not exist".
        told = next((error for error in refusals if error.code != "fetch.not-found"), told)
    return FetchError(f"{wanted.name}: {told.detail}", code=told.code)
