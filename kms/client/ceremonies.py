"""Ceremonies from an operator's side: sign an order, hand it in, wait for what comes of it.

An order names keys with version and epoch as the gateway tells them: nodes compare them with what they hold, so a
gateway that lies only wastes the order.  Several operators sign one after the other (`kms documents cosign`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from attestation.canonical import canonical_json
from enclave.ceremonies.facts import Kind
from enclave.ceremonies.orders import CeremonyOrder, KeyRef, read_order
from enclave.errors import CallerError
from enclave.ids import check_id, new_id
from kms.client import pending
from kms.client.caller import Caller
from kms.client.credentials import OperatorCredentials
from kms.client.errors import ConfigurationError
from kms.client.verification import member

KEYS_PER_ORDER = 128
"""Keys of one order when many are renewed: one session at the nodes, a few seconds."""

VALID_S = 3600
"""How long an order signed here is valid, in seconds."""

WAIT_S = 600.0
"""How long an order is waited for: the first minutes of a repair of ten thousand keys."""

PAGE_SIZE = 100

Progress = Callable[[int, int], None]
"""Keys done, keys in all."""


@dataclass(slots=True, kw_only=True)
class Renewed:
    """What orders came to."""

    keys: list[dict[str, Any]] = field(default_factory=list)
    """`key`, `version`, `epoch` of everything renewed."""
    failed: dict[str, str] = field(default_factory=dict)
    """Key -> code of what stayed as it was."""

    def to_json(self) -> dict[str, Any]:
        """For people and programs."""
        return {"keys": self.keys, "failed": self.failed}


class Ceremonies:
    """`client.ceremonies`."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def refresh(self, *keys: str, progress: Progress = lambda done, total: None) -> Renewed:  # noqa: ARG005
        """New shares of these keys for the same holders."""
        return await self._each(Kind.REFRESH, [await self.ref(key) for key in keys], progress)

    async def refresh_all(self, *, progress: Progress = lambda done, total: None) -> Renewed:  # noqa: ARG005
        """New shares of every key and secret."""
        return await self._each(Kind.REFRESH, [ref async for ref in self.refs()], progress)

    async def reshare(
        self, *keys: str, nodes: Sequence[str], shares_needed: int, assemblers: Sequence[str] = ()
    ) -> Renewed:
        """The same keys for other holders or another threshold."""
        order = self.order(
            Kind.RESHARE,
            [await self.ref(key) for key in keys],
            nodes=tuple(nodes),
            shares_needed=shares_needed,
            assemblers=tuple(assemblers),
        )
        return await self.send(self.sign(order))

    async def rotate(self, key: str) -> Renewed:
        """A new version of a key: another public key."""
        return await self.send(self.sign(self.order(Kind.ROTATE, [await self.ref(key)])))

    async def repair(self, node: str) -> Renewed:
        """Give a node all shares back that it should hold."""
        return await self.send(self.sign(self.order(Kind.REPAIR, [], target=node)))

    # --- orders ------------------------------------------------------------------------------------

    def order(self, action: Kind, keys: Sequence[KeyRef], **terms: Any) -> CeremonyOrder:
        """An order about these keys, unsigned."""
        now = self._caller.clock()
        return CeremonyOrder(
            cluster=self._caller.cluster,
            order=new_id("op"),
            action=action,
            keys=tuple(keys),
            issued_at=now,
            expires_at=now + VALID_S,
            **terms,
        )

    def sign(self, order: CeremonyOrder) -> bytes:
        """The order's envelope with the caller's signature."""
        credentials = self._caller.credentials
        if not isinstance(credentials, OperatorCredentials):
            raise ConfigurationError("orders are signed by operators", code="client.credentials")
        return order.sign(credentials.key)

    async def send(self, envelope: bytes) -> Renewed:
        """Hand in a signed order and wait until it has been carried out; raises RequestRefusedError, PendingError."""
        order, signed = read_order(envelope)
        body = canonical_json({"document": signed.to_json()})
        path = _path(order)
        begun = await self._caller.call(
            "POST",
            path,
            act="documents.put",
            resource=order.order,
            body=body,
            headers={"Idempotency-Key": order.order},
        )
        result = await pending.result(self._caller, member(begun, "operation", str), timeout_s=WAIT_S)
        return Renewed(keys=member(result, "keys", list), failed=member(result, "failed", dict))

    async def ref(self, key: str) -> KeyRef:
        """A key as the gateway tells it now."""
        prefix = "sec" if key.startswith("sec_") else "key"
        check_id(key, prefix)
        noun, act = ("secrets", "secrets.get") if prefix == "sec" else ("keys", "keys.get")
        record = await self._caller.call("GET", f"/v1/{noun}/{key}", act=act, resource=key)
        return _ref(record, key)

    async def refs(self) -> AsyncIterator[KeyRef]:
        """Every key this operator may see."""
        cursor = ""
        while True:
            query = {"limit": str(PAGE_SIZE)} | ({"cursor": cursor} if cursor else {})
            page = await self._caller.call("GET", "/v1/keys", act="keys.list", query=query)
            for record in member(page, "keys", list):
                yield _ref(record, member(record, "key", str))
            following = page.get("next_cursor")
            if not isinstance(following, str) or following <= cursor:
                return
            cursor = following

    async def _each(self, action: Kind, refs: Sequence[KeyRef], progress: Progress) -> Renewed:
        """Many keys, a session's worth per order; what fails is told at the end."""
        total = Renewed()
        for part in _parts(refs, KEYS_PER_ORDER):
            try:
                found = await self.send(self.sign(self.order(action, part)))
                total.keys += found.keys
                total.failed |= found.failed
            except CallerError:
                raise
            except Exception as error:
                code = getattr(error, "code", None)
                if code is None or len(refs) == len(part):
                    raise
                total.failed |= {ref.key: code for ref in part}
            progress(len(total.keys) + len(total.failed), len(refs))
        return total


def cosigned(envelope: bytes, credentials: OperatorCredentials) -> bytes:
    """The order with one more signature."""
    _, signed = read_order(envelope)
    return canonical_json(credentials.sign(signed).to_json())


def _path(order: CeremonyOrder) -> str:
    if order.action is Kind.REPAIR:
        return f"/v1/nodes/{order.target}/repair"
    if len(order.keys) == 1:
        return f"/v1/keys/{order.keys[0].key}/{order.action}"
    return "/v1/ceremonies"


def _parts(refs: Sequence[KeyRef], size: int) -> Iterable[Sequence[KeyRef]]:
    return (refs[start : start + size] for start in range(0, len(refs), size))


def _ref(record: Any, key: str) -> KeyRef:
    return KeyRef(key=key, version=member(record, "version", int), epoch=member(record, "epoch", int))
