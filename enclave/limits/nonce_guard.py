"""One transaction per account, chain and nonce, remembered on disk before a share leaves (specs/nonce-guard.md).

Rules kept: what was recorded is never forgotten, only summed up as "everything below this nonce is used"; an
authorization for every chain conflicts with whatever uses its nonce on any chain.
"""

from __future__ import annotations

import bisect
import hashlib
from dataclasses import dataclass, replace

from enclave.certificate import KeyCertificate
from enclave.errors import RefusedError, StorageError
from enclave.key_specs import Usage
from enclave.payload.evm import EvmTransaction
from enclave.payload.sign import Payload
from enclave.seal import SealedStore
from enclave.threshold.derive import format_path
from enclave.tokens import key_resource

ENTRY, FLOOR = "nonce", "nonce-floor"
"""Kinds of the rows in the sealed store."""

KEPT = 256
"""Nonces remembered one by one per account and chain; below the oldest of them every nonce counts as used."""

ENTRIES_MAX = 100_000
"""Nonces remembered in all, about 30 MB; full means refuse."""

EVERY_CHAIN = 0
"""Chain id of an authorization that is valid on every chain."""

_DIGEST_BYTES = 32
_SEPARATOR = "|"
_FLOOR_BYTES = 9


def is_row(kind: str, row: str, value: bytes, accounts: frozenset[str]) -> bool:
    """Whether a row of that kind has its form and belongs to one of the accounts (`key/version`)."""
    parts, size = (3, 2 * _DIGEST_BYTES) if kind == ENTRY else (2, _FLOOR_BYTES)
    name, *numbers = row.split(_SEPARATOR)
    is_named = any(name == account or name.startswith(account + "/") for account in accounts)
    digits = all(number.isascii() and number.isdecimal() and len(number) <= 20 for number in numbers)
    return is_named and len(numbers) == parts - 1 and digits and len(value) == size


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What a signature would use up."""

    account: str
    """Key, version and path: one address."""
    chain: int
    nonce: int
    digest: bytes
    core: bytes
    """Hash of everything but the fees, 32 bytes."""
    replaceable: bool
    """Whether the same transaction with other fees may follow."""

    @property
    def row(self) -> str:
        """Name of its row."""
        return _SEPARATOR.join((self.account, str(self.chain), str(self.nonce)))


def use_of(key: KeyCertificate, payload: Payload, guard: str) -> Use | None:
    """What `payload` uses up under policy word `guard`; None where there is nothing to guard.

    Only where two quorums always share a node can the nodes together know of every nonce that was used.
    """
    if guard == "off" or key.usage is not Usage.EVM or 2 * key.signing_quorum <= len(key.nodes):
        return None
    account = key_resource(key.key, key.version)
    if payload.path:
        account += "/" + format_path(payload.path)
    if payload.transaction is not None:
        transaction = payload.transaction
        return Use(
            account=account,
            chain=transaction.chain_id,
            nonce=transaction.nonce,
            digest=transaction.digest,
            core=_core(transaction),
            replaceable=guard == "fee-bump",
        )
    if payload.delegation is not None:
        delegation = payload.delegation
        return Use(
            account=account,
            chain=delegation.chain_id,
            nonce=delegation.nonce,
            digest=delegation.digest,
            core=delegation.digest,
            replaceable=False,
        )
    return None


class NonceGuard:
    """Every nonce this node let through."""

    def __init__(self, store: SealedStore, *, kept: int = KEPT, entries_max: int = ENTRIES_MAX) -> None:
        """Load names and floors; raises StorageError if a row does not have its form."""
        self._store = store
        self._kept = kept
        self._entries_max = entries_max
        self._nonces: dict[str, dict[int, list[int]]] = {}
        """Account -> chain -> nonces in rising order."""
        self._floors: dict[str, dict[int, int]] = {}
        self._entries = 0
        for name, _ in store.items(ENTRY):
            account, chain, nonce = _numbers(name, 3)
            bisect.insort(self._nonces.setdefault(account, {}).setdefault(chain, []), nonce)
            self._entries += 1
        for name, value in store.items(FLOOR):
            account, chain, _ = _numbers(name, 2)
            self._floors.setdefault(account, {})[chain] = int.from_bytes(value, "big")

    def check(self, use: Use) -> None:
        """Raise RefusedError (`nonce-guard.used`, `nonce-guard.full`) unless the use is new or the same again."""
        floors = self._floors.get(use.account, {})
        if use.nonce < max((floors.get(chain, 0) for chain in self._related(use, floors)), default=0):
            raise _used(use)
        for chain in self._related(use, self._nonces.get(use.account, {})):
            held = self._held(use, chain)
            if held is None or held[:_DIGEST_BYTES] == use.digest:
                continue
            if not (use.replaceable and chain == use.chain and held[_DIGEST_BYTES:] == use.core):
                raise _used(use)
        if self._entries >= self._entries_max:
            raise RefusedError("this node remembers too many nonces already", code="nonce-guard.full")

    def record(self, use: Use) -> None:
        """Remember what `check` let through; durable after the store's next commit."""
        held = self._held(use, use.chain)
        value = use.digest + use.core
        if held == value:
            return
        self._store.put(ENTRY, use.row, value)
        if held is None:
            nonces = self._nonces.setdefault(use.account, {}).setdefault(use.chain, [])
            bisect.insort(nonces, use.nonce)
            self._entries += 1
            if len(nonces) > self._kept:
                self._sum_up(use, nonces)

    def rows(self, account: str) -> tuple[dict[str, bytes], dict[str, bytes]]:
        """Every nonce and every floor of a key version and its children, as they are sealed."""
        nonces, floors = {}, {}
        for name in [name for name in self._nonces if name == account or name.startswith(account + "/")]:
            for chain, used in self._nonces[name].items():
                for nonce in used:
                    row = _SEPARATOR.join((name, str(chain), str(nonce)))
                    nonces[row] = self._store.get(ENTRY, row) or b""
        for name in [name for name in self._floors if name == account or name.startswith(account + "/")]:
            for chain, floor in self._floors[name].items():
                floors[_SEPARATOR.join((name, str(chain)))] = floor.to_bytes(_FLOOR_BYTES, "big")
        return nonces, floors

    def adopt(self, nonces: dict[str, bytes], floors: dict[str, bytes]) -> None:
        """Take over what other holders let through; a nonce this node knows stays as it knows it."""
        for row, value in nonces.items():
            account, chain, nonce = _numbers(row, 3)
            known = self._nonces.setdefault(account, {}).setdefault(chain, [])
            if nonce not in known:
                self._store.put(ENTRY, row, value)
                bisect.insort(known, nonce)
                self._entries += 1
        for row, value in floors.items():
            account, chain, _ = _numbers(row, 2)
            held = self._floors.setdefault(account, {})
            if int.from_bytes(value, "big") > held.get(chain, 0):
                held[chain] = int.from_bytes(value, "big")
                self._store.put(FLOOR, row, value)

    def _held(self, use: Use, chain: int) -> bytes | None:
        return self._store.get(ENTRY, replace(use, chain=chain).row)

    @staticmethod
    def _related(use: Use, chains: dict[int, int] | dict[int, list[int]]) -> list[int]:
        """Chains on which the same nonce would conflict."""
        return list(chains) if use.chain == EVERY_CHAIN else [use.chain, EVERY_CHAIN]

    def _sum_up(self, use: Use, nonces: list[int]) -> None:
        lowest = nonces.pop(0)
        self._floors.setdefault(use.account, {})[use.chain] = lowest + 1
        row = _SEPARATOR.join((use.account, str(use.chain)))
        self._store.put(FLOOR, row, (lowest + 1).to_bytes(_FLOOR_BYTES, "big"))
        self._store.delete(ENTRY, replace(use, nonce=lowest).row)
        self._entries -= 1


def _core(transaction: EvmTransaction) -> bytes:
    bare = replace(transaction, gas_price=0, max_fee_per_gas=0, max_priority_fee_per_gas=0)
    return hashlib.sha256(bare.unsigned()).digest()


def _numbers(name: str, parts: int) -> tuple[str, int, int]:
    account, *numbers = name.split(_SEPARATOR)
    if len(numbers) != parts - 1 or not all(number.isdecimal() for number in numbers):
        raise StorageError("a row of the nonce guard does not have its form", code="storage.form")
    chain, nonce = (*map(int, numbers), 0)[:2]
    return account, chain, nonce


def _used(use: Use) -> RefusedError:
    return RefusedError(
        f"nonce {use.nonce} is used by another signature already",
        code="nonce-guard.used",
        hint="take the next nonce; policy decides about replacements (nonce_guard)",
    )
