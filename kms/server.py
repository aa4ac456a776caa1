"""One gateway process: configuration in, HTTP out, clean on SIGTERM.

A kill without warning loses nothing that was acknowledged: intent is on the disk before any node hears of
a request, the result before its client does.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable

from aiohttp import web

from kms.app import build
from kms.config import GatewayConfig
from kms.errors import ConfigurationError
from kms.gateway import Gateway
from kms.observe import configure, logger
from kms.store.sqlite import SqliteStore

SHUTDOWN_S = 10.0
"""How long requests in flight may finish after SIGTERM, in seconds."""

KEEPALIVE_S = 75.0
"""How long an idle client connection is kept, in seconds."""

SWITCH_INTERVAL_S = 0.0005
"""Longest wait for the interpreter lock between event loop and store thread; the default of 5 ms would dominate."""


def run(config: GatewayConfig, *, on_listening: Callable[[str], None] = lambda url: None) -> None:  # noqa: ARG005
    """Serve until SIGTERM or SIGINT; raises ConfigurationError or StoreError if it cannot start."""
    configure(config.log_level)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(serve(config, on_listening=on_listening))


async def serve(config: GatewayConfig, *, on_listening: Callable[[str], None]) -> None:
    """Start, listen, wait for a signal, stop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    gateway = Gateway(config, SqliteStore(config.data))
    await gateway.start()
    runner = web.AppRunner(build(gateway), access_log=None, keepalive_timeout=KEEPALIVE_S, shutdown_timeout=SHUTDOWN_S)
    try:
        await runner.setup()
        site = web.TCPSite(runner, config.host, config.port, backlog=1024)
        try:
            await site.start()
        except OSError as error:
            raise ConfigurationError(f"cannot listen on {config.host}:{config.port}: {error.strerror}") from None
        host, port = runner.addresses[0][:2]
        logger().info("listening", listen=f"{host}:{port}")
        on_listening(f"http://{host}:{port}")
        await stop.wait()
        logger().info("stopping")
    finally:
        await runner.cleanup()
        await gateway.close()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
