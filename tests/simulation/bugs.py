"""Bugs put back on purpose, one or more per invariant: proof that each checker notices what it is for.

Each is a change of production code that somebody could make by mistake; `put_in` makes it in the present process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import enclave.authorise
import enclave.freezing
import enclave.handlers.sign
import enclave.threshold.frost
import enclave.threshold.refresh
import enclave.tokens
import kms.store.request_rows
from attestation.errors import CodedError
from enclave.errors import RefusedError
from enclave.keys import KeyTable
from enclave.limits.budgets import Budgets
from enclave.limits.nonce_guard import NonceGuard
from enclave.nonces import NoncePool
from enclave.receipts.decisions import RECORDED
from enclave.secret import declassify
from enclave.threshold.frost import NoncePair
from enclave.verdicts import VerdictTable
from enclave.witness.standing import Witness
from kms.fleet.link import NodeLink
from kms.fleet.nonces import NoncePool as Fetched
from tests.simulation.node_host import SimNode


@dataclass(frozen=True, slots=True, kw_only=True)
class Bug:
    """One mistake, which invariant it breaks, and in which profile that shows soonest."""

    invariant: str
    profile: str
    put_in: Callable[[], None]
    what: str


def _replace(owner: Any, name: str, value: Any) -> Callable[[], None]:
    return lambda: setattr(owner, name, value)


def _nothing(*_arguments: Any, **_options: Any) -> None:
    """What a check that was forgotten does."""


def _body_not_compared() -> None:
    module: Any = enclave.tokens
    refuse = module._refuse

    def some(code: str, *arguments: Any, **options: Any) -> None:
        if code != "token.body":
            refuse(code, *arguments, **options)

    module._refuse = some


def _nonce_stays() -> None:
    pop = NoncePool.pop

    def keeps(self: Any, name: bytes, now: int) -> Any:
        held = self._nonces.get(name)
        found = pop(self, name, now)
        d, e = found._nonces
        self._nonces[name] = held
        object.__setattr__(held, "pair", NoncePair(d.duplicate(), e.duplicate()))
        return found

    _replace(NoncePool, "pop", keeps)()


def _share_kept() -> None:
    module: Any = enclave.threshold.refresh.Participant
    round3 = module.round3

    def keeps(self: Any, dealings: Any) -> Any:
        transcript, made = round3(self, dealings)
        made.secret.wipe()
        old = self._share
        return transcript, replace(old, secret=old.secret.duplicate())

    _replace(module, "round3", keeps)()


def _commit_forgotten() -> None:
    def commit(self: SimNode) -> None:
        self.observer.committed(self)

    _replace(SimNode, "commit", commit)()


def _executed_again() -> None:
    module: Any = kms.store.request_rows
    admit = module.admit

    def again(connection: Any, admission: Any) -> Any:
        connection.execute(
            "DELETE FROM requests WHERE principal = ? AND idempotency_key = ?",
            (admission.principal, admission.idempotency_key),
        )
        return admit(connection, admission)

    _replace(module, "admit", again)()


def _share_instead_of_signature() -> None:
    module: Any = enclave.handlers.sign
    sign = module.sign_frost

    def leaks(*, share: Any, **options: Any) -> Any:
        _, commitment = sign(share=share, **options)
        return declassify(share), commitment

    module.sign_frost = leaks


def _share_in_an_error() -> None:
    get = KeyTable.get

    def tells(self: Any, key: str, version: int, epoch: int = 0) -> Any:
        try:
            return get(self, key, version, epoch)
        except CodedError as error:
            held = self._keys.get(f"{key}/{version}")
            raise RefusedError(f"share {declassify(held.share).hex()} is of another epoch", code=error.code) from None

    _replace(KeyTable, "get", tells)()


def _the_honest_are_blamed() -> None:
    module: Any = enclave.threshold.frost
    holds = module._share_holds
    module._share_holds = lambda *arguments: not holds(*arguments)


def _fetch_once() -> None:
    fetch = Fetched._fetch

    def once(self: Any) -> Any:
        return self._fetching if self._fetching is not None else fetch(self)

    _replace(Fetched, "_fetch", once)()


def _never_reconnects() -> None:
    lost = NodeLink._lost

    def loses(self: Any, connection: Any) -> None:
        gone, self._gone = self._gone, asyncio.Event()
        lost(self, connection)
        self._gone = gone

    _replace(NodeLink, "_lost", loses)()


BUGS: dict[str, Bug] = {
    "freezes are not asked about": Bug(
        invariant="I1",
        profile="weather",
        put_in=_replace(enclave.freezing, "check_key", _nothing),
        what="enclave.freezing.check_key returns at once",
    ),
    "the body is not compared with its token": Bug(
        invariant="I1", profile="relay", put_in=_body_not_compared, what="verify_token does not refuse token.body"
    ),
    "a nonce stays in its pool": Bug(
        invariant="I2", profile="relay", put_in=_nonce_stays, what="NoncePool.pop gives a copy and keeps the pair"
    ),
    "an old disk is as good as a new one": Bug(
        invariant="I3",
        profile="disks",
        put_in=_replace(Witness, "check", _nothing),
        what="Witness.check returns at once",
    ),
    "a refresh keeps the shares": Bug(
        invariant="I4", profile="ceremonies", put_in=_share_kept, what="refresh.Participant.round3 gives the old share"
    ),
    "an answer does not wait for the disk": Bug(
        invariant="I5", profile="crashes", put_in=_commit_forgotten, what="NodeState.commit does not commit"
    ),
    "a decision is not logged": Bug(
        invariant="I6",
        profile="weather",
        put_in=lambda: RECORDED.update({"sign": _nothing}),
        what="RECORDED['sign'] writes no leaf",
    ),
    "a repeated request is executed again": Bug(
        invariant="I7", profile="weather", put_in=_executed_again, what="request_rows.admit knows no earlier request"
    ),
    "the share itself leaves": Bug(
        invariant="I8", profile="weather", put_in=_share_instead_of_signature, what="sign answers with the key share"
    ),
    "an error tells the share": Bug(
        invariant="I9", profile="relay", put_in=_share_in_an_error, what="KeyTable.get names the share in its refusal"
    ),
    "the honest are blamed": Bug(
        invariant="I10", profile="liar", put_in=_the_honest_are_blamed, what="frost._share_holds is inverted"
    ),
    "budgets are not asked": Bug(
        invariant="I11", profile="limits", put_in=_replace(Budgets, "check", _nothing), what="Budgets.check returns"
    ),
    "the nonce guard is not asked": Bug(
        invariant="I11",
        profile="weather",
        put_in=_replace(NonceGuard, "check", _nothing),
        what="NonceGuard.check returns",
    ),
    "members are not looked up": Bug(
        invariant="I12",
        profile="revocation",
        put_in=_replace(VerdictTable, "require", _nothing),
        what="VerdictTable.require returns at once",
    ),
    "nonces are fetched once": Bug(
        invariant="L1", profile="weather", put_in=_fetch_once, what="the gateway's pool never fetches a second time"
    ),
    "a lost node is lost for good": Bug(
        invariant="L2", profile="crashes", put_in=_never_reconnects, what="NodeLink does not connect again"
    ),
}
