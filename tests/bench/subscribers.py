"""A thousand event streams beside signatures: latency of signing with and without them, on the same cluster.

The streams are read by a process of their own, so that the load generator measures the gateway and not itself.

    python -m tests.bench.subscribers URL COUNT     the token on standard input; says `open` once all streams are
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp

from tests.bench.load import Request, run

SUBSCRIBERS = 1_000
AT_ONCE = 50
"""Streams opened together."""

IN_FLIGHT = 8
"""Requests at a time: enough to be a load, few enough not to measure a queue."""

RATIO_MAX = 2.0
"""Signing beside the streams is to take at most this many times as long as without, 99 times of 100."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """Milliseconds of one signature over HTTP."""

    quiet_p50_ms: float
    quiet_p99_ms: float
    p50_ms: float
    p99_ms: float
    rate: float
    """Signatures per second beside the streams."""

    def lines(self) -> list[str]:
        """For people."""
        return [
            f"beside {SUBSCRIBERS} event streams, {IN_FLIGHT} in flight: a signature takes {self.p50_ms:.1f} ms,"
            f" p99 {self.p99_ms:.1f} ms ({self.quiet_p50_ms:.1f} and {self.quiet_p99_ms:.1f} ms without them):"
            f" p99 {self.p99_ms / self.quiet_p99_ms:.2f} times, at most {RATIO_MAX:.0f} wanted; {self.rate:.0f} per s",
        ]


async def measure(url: str, make: Callable[[], Request], token: str, *, seconds: float) -> Beside:
    """Sign without the streams, then beside them; `token` opens streams."""
    quiet = await run(url, make, {}, work="quiet", in_flight=IN_FLIGHT, seconds=seconds)
    command = [sys.executable, "-m", "tests.bench.subscribers", url, str(SUBSCRIBERS)]
    reader = await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert reader.stdin is not None
        assert reader.stdout is not None
        reader.stdin.write(token.encode() + b"\n")
        if await reader.stdout.readline() != b"open\n":
            raise RuntimeError("the streams could not be opened")
        loud = await run(url, make, {}, work="loud", in_flight=IN_FLIGHT, seconds=seconds)
    finally:
        if reader.returncode is None:
            reader.kill()
        await reader.wait()
    return Beside(
        quiet_p50_ms=quiet.p50_ms, quiet_p99_ms=quiet.p99_ms, p50_ms=loud.p50_ms, p99_ms=loud.p99_ms, rate=loud.rate
    )


async def subscribe(url: str, count: int, token: str) -> None:
    """Open the streams and read whatever they say, for good."""
    headers = {"Authorization": f"Bearer {token}"}
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        answers: list[aiohttp.ClientResponse] = []
        for start in range(0, count, AT_ONCE):
            opening = (session.get("/v1/events", headers=headers) for _ in range(min(AT_ONCE, count - start)))
            answers += await asyncio.gather(*opening)
        if any(answer.status != 200 for answer in answers):
            raise RuntimeError("a stream was refused")
        print("open", flush=True)
        await asyncio.gather(*(_drain(answer) for answer in answers))


async def _drain(answer: aiohttp.ClientResponse) -> None:
    async for _ in answer.content.iter_any():
        pass


if __name__ == "__main__":
    asyncio.run(subscribe(sys.argv[1], int(sys.argv[2]), sys.stdin.readline().strip()))
