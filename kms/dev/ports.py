"""Loopback ports: found once when a cluster is made, because the signed roster names them."""

from __future__ import annotations

import secrets
import socket

from kms.errors import ConflictError

HOST = "127.0.0.1"

PORT_LOW, PORT_HIGH = 20_000, 32_000
"""Where unassigned ports are picked: Linux takes outgoing ones from 32768 on (ip_local_port_range)."""


def is_free(port: int) -> bool:
    """Whether this machine can listen on `port` of the loopback address now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def choose(first: int, count: int) -> list[int]:
    """`count` ports: free ones from `first` on, or any free ones when `first` is 0."""
    if first == 0:
        return _any(count)
    found = [port for port in range(first, min(first + 200, 65536)) if is_free(port)][:count]
    return found if len(found) == count else _any(count)


def require_free(port: int, what: str) -> None:
    """Raises ConflictError (`dev.port`) if `port` is taken."""
    if not is_free(port):
        raise ConflictError(
            f"port {port} of {what} is in use by another program",
            code="dev.port",
            hint="stop that program, or choose another --port (nodes: make the cluster anew with --fresh)",
        )


def _any(count: int) -> list[int]:
    """Free ports below the range the system takes outgoing connections from, where a free port stays free."""
    found: set[int] = set()
    while len(found) < count:
        port = secrets.choice(range(PORT_LOW, PORT_HIGH))
        if is_free(port):
            found.add(port)
    return sorted(found)
