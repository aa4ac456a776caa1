"""One node process, from start to stop.

Boot sequence: (1) process hygiene, (2) primitives present and correct, (3) roster, (4) platform,
(5) sealed store with boot counter, fresh identity and TLS key, (6) listen.  A step that fails ends the
process: a node that cannot be sure of itself serves nothing.
"""

from __future__ import annotations

import asyncio
import math
import signal
import ssl
import time
from collections.abc import Callable
from typing import Any, cast

from enclave.config import NodeConfig
from enclave.enrol_state import EnrolState
from enclave.errors import CallerError, EnclaveError
from enclave.group import check_primitives
from enclave.hygiene import harden_process
from enclave.logs import new_log, place_of
from enclave.roster import Environment, Roster
from enclave.roster_chain import Link, read_chain
from enclave.seal import SealedStore
from enclave.server import NodeServer
from enclave.state import NodeState
from enclave.stores import open_store
from enclave.tee import Tee
from enclave.tee.dstack import DstackTee
from enclave.tee.guests import SevSnpTee, TdxTee
from enclave.tee.nitro import NitroTee
from enclave.tee.simulated import SimulatedTee
from enclave.tls import new_server_context

HANDSHAKE_S_MAX = 10.0
"""Seconds a TLS handshake may take."""

_PLATFORMS: dict[str, Callable[[], Tee]] = {"tdx": TdxTee, "sev-snp": SevSnpTee, "nitro": NitroTee}

STOP_S_MAX = 5.0
"""Seconds to close connections at a stop."""


async def serve(config: NodeConfig) -> None:
    """Run a node until SIGTERM or SIGINT; raises CodedError if it cannot start or must stop."""
    log = new_log(config.log_level, slot=config.slot)
    # 1, 2
    harden_process()
    check_primitives()
    # 3, 4
    links = load_rosters(config)
    roster = links[0].roster
    tee = open_tee(config, roster)
    # 5
    tls, spki = new_server_context(config.slot)
    store = open_store(config.data, roster=roster, slot=config.slot, tee=tee)
    if config.boots_after:
        store.start_boots_after(config.boots_after)
    # Rounded up: a token of this very second may have been executed before the restart.
    started_at = math.ceil(time.time())
    state = NodeState(
        roster=roster,
        rosters=links[1:],
        slot=config.slot,
        store=store,
        tee=tee,
        tls_spki=spki,
        now=started_at,
        log=log,
    )
    try:
        # 6
        facts = {
            "cluster": roster.cluster_id.hex(),
            "boot_counter": state.identity.public.boot_counter,
            "keys": len(state.keys),
            "roster": state.roster.version,
        }
        await _listen(config, state, tls, log, facts)
    finally:
        state.close()
    log("stopped")


async def enrol(config: NodeConfig) -> None:
    """Show this machine to whoever founds a cluster, until SIGTERM or SIGINT; raises CodedError."""
    log = new_log(config.log_level, slot=config.slot)
    harden_process()
    check_primitives()
    tee = open_tee(config, None)
    tls, spki = new_server_context(config.slot)
    state = EnrolState(slot=config.slot, tee=tee, tls_spki=spki)
    try:
        await _listen(config, cast(NodeState, state), tls, log, {"purpose": state.identity.public.purpose})
    finally:
        state.close()
    log("stopped")


async def restore(config: NodeConfig, *, is_trial: bool = False) -> None:
    """Restore this node from a bundle and custodians' mnemonics, then end; raises CodedError.

    `is_trial` checks everything and keeps nothing.
    """
    # Only here: the library that recombines mnemonics is part of no node at work.
    from enclave.backup.restoring import RestoreState

    log = new_log(config.log_level, slot=config.slot)
    harden_process()
    check_primitives()
    links = load_rosters(config)
    tee = open_tee(config, links[0].roster)
    if not tee.can_seal and not is_trial:
        raise EnclaveError(
            "this platform cannot seal, so a restored share would not outlive this process",
            code="restore.cannot-seal",
            hint="restore nodes on platforms that seal, then repair this one from them",
        )
    tls, spki = new_server_context(config.slot)

    def open_fresh() -> SealedStore:
        return open_store(config.data, roster=links[0].roster, slot=config.slot, tee=tee)

    state = RestoreState(
        rosters=[link.roster for link in links],
        slot=config.slot,
        tee=tee,
        tls_spki=spki,
        now=math.ceil(time.time()),
        open_store=None if is_trial else open_fresh,
    )
    facts = {"purpose": state.identity.public.purpose}

    def follow(server: NodeServer) -> None:
        state.on_end = server.ask_to_stop

    try:
        await _listen(config, cast(NodeState, state), tls, log, facts, attach=follow)
    finally:
        state.close()
    log("stopped")


async def _listen(
    config: NodeConfig,
    state: NodeState,
    tls: ssl.SSLContext,
    log: Callable[..., None],
    facts: dict[str, Any],
    *,
    attach: Callable[[NodeServer], None] = lambda _: None,
) -> None:
    asyncio.get_running_loop().set_exception_handler(_reporter(log))
    server = NodeServer(state, log)
    attach(server)
    listener = await asyncio.get_running_loop().create_server(
        server.protocol, config.host, config.port, ssl=tls, ssl_handshake_timeout=HANDSHAKE_S_MAX
    )
    port = listener.sockets[0].getsockname()[1]
    log("listening", listen=f"{config.host}:{port}", **facts)
    await _until_stopped(server, listener, log)


def load_roster(config: NodeConfig) -> Roster:
    """The first roster of the configuration; raises as `load_rosters`."""
    return load_rosters(config)[0].roster


def load_rosters(config: NodeConfig) -> tuple[Link, ...]:
    """The signed roster of the configuration, or the chain from the first to a later one.

    Raises CallerError (`config.roster`), DocumentError.
    """
    try:
        data = config.roster.read_bytes()
    except OSError as error:
        raise CallerError(f"cannot read {config.roster}: {error.strerror}", code="config.roster") from None
    links = read_chain(data)
    links[-1].roster.slot(config.slot)
    return links


def open_tee(config: NodeConfig, roster: Roster | None) -> Tee:
    """The platform adapter; raises EnclaveError (`tee.simulated`) for a simulated platform in production."""
    if config.tee_kind in _PLATFORMS:
        return _PLATFORMS[config.tee_kind]()
    if config.tee_socket is None:
        raise AssertionError("the configuration names no socket")
    if config.tee_kind == "dstack":
        return DstackTee(config.tee_socket)
    if roster is not None and roster.environment is Environment.PRODUCTION:
        raise EnclaveError(
            "a production roster does not run on a simulated platform",
            code="tee.simulated",
            hint="use the adapter of the machine's own platform",
        )
    return SimulatedTee(config.tee_socket, can_seal=config.tee_sealing)


async def _until_stopped(server: NodeServer, listener: asyncio.Server, log: Callable[..., None]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.ask_to_stop)
    try:
        await server.stopped
    finally:
        listener.close()
        await asyncio.wait_for(server.close(), STOP_S_MAX)
    failure = server.stopped.result()
    if failure is not None:
        log("storage-failed", level="error", code=failure.code)
        raise failure


def _reporter(log: Callable[..., None]) -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]:
    """What the loop itself meets is logged by type and place; its own report would print values."""

    def report(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, Exception):
            log("loop-error", level="warning", error=type(error).__name__, where=place_of(error))
        else:
            log("loop-error", level="warning")

    return report
