"""Load through the HTTP API with request tokens signed ahead, so that signing them does not disturb the figure."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import aiohttp

from tests.bench.processes import CpuMeter

AHEAD = 256
"""Tokens signed per batch: used up within seconds, far inside their 60 s."""

FAILURES_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One ready request."""

    path: str
    body: bytes
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one run of one kind of work measured."""

    work: str
    in_flight: int
    count: int
    rate: float
    """Operations per second of wall time, token signing excluded."""
    p50_ms: float
    p95_ms: float
    p99_ms: float
    cpu_us: dict[str, float]
    """CPU microseconds per operation by process."""
    token_us: float
    """CPU microseconds the load generator spent to sign one token."""

    @property
    def nodes_us(self) -> float:
        """CPU microseconds of all nodes per operation."""
        return sum(spent for name, spent in self.cpu_us.items() if name.startswith("node-"))

    @property
    def servers_us(self) -> float:
        """CPU microseconds of nodes and gateway per operation."""
        return self.nodes_us + self.cpu_us["gateway"]


async def run(
    url: str,
    make: Callable[[], Request],
    pids: dict[str, int],
    *,
    work: str,
    in_flight: int,
    seconds: float,
) -> Figures:
    """Drive `in_flight` requests at a time for about `seconds` of measured time; every answer must be a 200."""
    latencies: list[float] = []
    spent = dict.fromkeys([*pids, "load"], 0.0)
    elapsed = token_seconds = 0.0
    tokens = 0
    meter = CpuMeter({**pids, "load": os.getpid()})
    connector = aiohttp.TCPConnector(limit=in_flight)
    async with aiohttp.ClientSession(url, connector=connector) as session:
        await _drain(session, [make() for _ in range(4 * in_flight)], in_flight, [])
        while elapsed < seconds:
            started = time.process_time()
            batch = [make() for _ in range(AHEAD if in_flight > 1 else 64)]
            token_seconds += time.process_time() - started
            tokens += len(batch)
            meter.start()
            begin = time.perf_counter()
            await _drain(session, batch, in_flight, latencies)
            elapsed += time.perf_counter() - begin
            spent = {name: spent[name] + used for name, used in meter.stop().items()}
    cuts = statistics.quantiles(latencies, n=100)
    return Figures(
        work=work,
        in_flight=in_flight,
        count=len(latencies),
        rate=len(latencies) / elapsed,
        p50_ms=cuts[49] * 1e3,
        p95_ms=cuts[94] * 1e3,
        p99_ms=cuts[98] * 1e3,
        cpu_us={name: used / len(latencies) * 1e6 for name, used in spent.items()},
        token_us=token_seconds / tokens * 1e6,
    )


async def _drain(session: aiohttp.ClientSession, batch: list[Request], in_flight: int, latencies: list[float]) -> None:
    waiting: Iterator[Request] = iter(batch)
    failures: list[str] = []

    async def worker() -> None:
        for request in waiting:
            headers = {"Authorization": f"Bearer {request.token}", "Content-Type": "application/json"}
            begin = time.perf_counter()
            async with session.post(request.path, data=request.body, headers=headers) as answer:
                body = await answer.read()
            latencies.append(time.perf_counter() - begin)
            if answer.status != 200:
                failures.append(body.decode(errors="replace")[:300])

    await asyncio.gather(*(worker() for _ in range(in_flight)))
    if failures:
        raise RuntimeError(f"{len(failures)} requests failed: " + " | ".join(failures[:FAILURES_SHOWN]))
