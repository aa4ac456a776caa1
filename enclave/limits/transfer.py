"""What a new holder of a key must know of its past: used nonces and spent budgets, carried through a reshare.

Rules kept (specs/ceremonies.md section 9): a table holds every row about the keys; new holders take, of each row, what
forbids most, over all old holders that took part; nothing they know themselves is ever lowered.
"""

from __future__ import annotations

from collections.abc import Iterable

from enclave.certificate import KeyCertificate
from enclave.errors import PeerError, RefusedError, WireError
from enclave.limits.budgets import ROW_BYTES
from enclave.limits.node_limits import NodeLimits
from enclave.limits.nonce_guard import ENTRY, FLOOR, is_row
from enclave.tokens import key_resource
from enclave.wire.message import Message, decode_as, encode

ROWS_MAX = 4096
"""Most rows of one table: 300 KiB; more means to reshare fewer keys at once."""


class LimitTable(Message, frozen=True):
    """Rows by name, as they are sealed."""

    nonces: dict[str, bytes]
    floors: dict[str, bytes]
    budgets: dict[str, bytes]


def table_of(limits: NodeLimits, keys: Iterable[KeyCertificate]) -> bytes:
    """This node's rows about the keys; raises RefusedError (`ceremony.limits`) for too many."""
    nonces: dict[str, bytes] = {}
    floors: dict[str, bytes] = {}
    budgets: dict[str, bytes] = {}
    for key in keys:
        found = limits.guard.rows(key_resource(key.key, key.version))
        nonces |= found[0]
        floors |= found[1]
        budgets |= limits.budgets.rows(f"{key.policy}/")
    if len(nonces) + len(floors) + len(budgets) > ROWS_MAX:
        raise RefusedError(
            f"more than {ROWS_MAX} nonces and budgets belong to these keys",
            code="ceremony.limits",
            hint="reshare fewer keys at once",
        )
    return encode(LimitTable(nonces=nonces, floors=floors, budgets=budgets))


def check_table(slot: str, data: bytes, keys: Iterable[KeyCertificate]) -> None:
    """Refuse a dealer's table that says anything but rows about these keys.

    Raises PeerError (`ceremony.malformed`) naming the dealer.
    """
    keys = list(keys)
    accounts = frozenset(key_resource(key.key, key.version) for key in keys)
    policies = tuple(f"{key.policy}/" for key in keys)
    try:
        table = decode_as(LimitTable, data)
    except WireError:
        raise _malformed(slot) from None
    is_bounded = len(table.nonces) + len(table.floors) + len(table.budgets) <= ROWS_MAX
    is_about_them = (
        all(is_row(ENTRY, row, value, accounts) for row, value in table.nonces.items())
        and all(is_row(FLOOR, row, value, accounts) for row, value in table.floors.items())
        and all(row.startswith(policies) and len(value) == ROW_BYTES for row, value in table.budgets.items())
    )
    if not (is_bounded and is_about_them):
        raise _malformed(slot)


def adopt(limits: NodeLimits, tables: Iterable[bytes]) -> None:
    """Take the tables of a committed reshare; durable after the store's next commit."""
    for data in tables:
        table = decode_as(LimitTable, data)
        limits.guard.adopt(table.nonces, table.floors)
        limits.budgets.adopt(table.budgets)


def _malformed(slot: str) -> PeerError:
    return PeerError("limits are not rows about these keys", culprits=[slot], code="ceremony.malformed")
