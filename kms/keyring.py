"""Keys by id, from memory where possible: signing must not wait for a database read."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from enclave.certificate import certificate_to_json
from kms.keys import Key
from kms.store.protocol import Store

KEYS_CACHED_MAX = 20_000
"""Keys kept in memory, about 10 KiB each with parsed certificate and signatures."""


class Keyring:
    """The store's keys behind a cache that the gateway keeps in step, being the only writer."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._cached: OrderedDict[str, Key] = OrderedDict()

    async def get(self, key: str) -> Key | None:
        """One key, or None."""
        found = self._cached.get(key)
        if found is not None:
            self._cached.move_to_end(key)
            return found
        stored = await self._store.key(key)
        if stored is None:
            return None
        return self.put(Key.load(stored))

    async def visible(self, key: str, may_see: Callable[[str], bool]) -> Key | None:
        """One key, if `may_see(its policy)`; a hidden key takes the same steps as one that does not exist.

        Every None costs one question to the store and one to `may_see`, whatever the cache holds: otherwise the time
        would tell a hidden key that is in use from a missing one.
        """
        found = self._cached.get(key)
        if found is not None and may_see(found.certificate.policy):
            self._cached.move_to_end(key)
            return found
        policy = await self._store.key_policy(key)
        if found is not None or not may_see(policy or ""):
            return None
        stored = await self._store.key(key)
        return None if stored is None else self.put(Key.load(stored))

    async def certified(self, resource: str, digest: bytes) -> dict[str, Any] | None:
        """The certificate of `key_.../version` in its JSON form, if its body has that SHA-256."""
        key = await self.get(resource.partition("/")[0])
        if key is None or hashlib.sha256(key.record.body).digest() != digest:
            return None
        return certificate_to_json(key.record.body, key.record.signatures)

    async def page(self, *, after: str, limit: int) -> list[Key]:
        """Keys with ids above `after`."""
        return [
            self._cached.get(stored.key) or Key.load(stored)
            for stored in await self._store.keys(after=after, limit=limit)
        ]

    def put(self, key: Key) -> Key:
        """Remember a key as it is stored now."""
        self._cached[key.key] = key
        self._cached.move_to_end(key.key)
        if len(self._cached) > KEYS_CACHED_MAX:
            self._cached.popitem(last=False)
        return key
