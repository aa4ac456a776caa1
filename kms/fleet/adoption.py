"""Learns keys from the nodes that hold them: for a gateway whose database was lost, or that is new.

Rules kept: a key counts with the signatures of T of its own holders, as it always does; nothing known is replaced
here; labels, which nobody signs, are gone with the database that had them.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence

from enclave.certificate import KeyCertificate, verify_certificate
from enclave.errors import PeerError
from enclave.wire.documents import CertificateRequest, CertificateSignature, Holdings
from enclave.wire.message import Empty
from kms.fleet.ceremonies.rounds import ask
from kms.fleet.fleet import Fleet
from kms.keyring import Keyring
from kms.keys import Key, KeyRecord
from kms.observe import logger
from kms.store.protocol import Store

LOOK_S = 5.0
"""Pause between two looks for boots of nodes that were not asked yet, in seconds."""

SETTLE_S = 60.0
"""A key is younger than this while it is being made: its own driver is about to keep it."""

AT_ONCE = 16
"""Keys asked for at the same time."""

_TIMEOUT_S = 10.0


async def keep_adopting(fleet: Fleet, store: Store, keyring: Keyring) -> None:
    """Ask every boot of every node once what it holds, and again while something of it is not known; never returns."""
    settled: set[tuple[str, int]] = set()
    while True:
        await asyncio.sleep(LOOK_S)
        boots = {
            link.slot: (link.slot, link.status.boot_counter) for link in fleet.connected if link.status is not None
        }
        waiting = [slot for slot, boot in boots.items() if boot not in settled]
        if not waiting:
            continue
        unknown = await _unknown(fleet, store, waiting)
        await adopt(fleet, store, keyring, {name for names in unknown.values() for name in names})
        unknown = await _unknown(fleet, store, waiting)
        settled |= {boots[slot] for slot in waiting if slot in unknown and not unknown[slot]}


async def adopt(fleet: Fleet, store: Store, keyring: Keyring, names: set[tuple[str, int]]) -> list[Key]:
    """Take in (key, version)s that enough holders certify; what fails is left for the next look."""
    versions: dict[str, list[int]] = defaultdict(list)
    for key, version in sorted(names):
        versions[key].append(version)
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(key: str, numbers: Sequence[int]) -> Key | None:
        async with limit:
            return await _learnt(fleet, key, numbers)

    learnt = await asyncio.gather(*(one(*item) for item in versions.items()))
    found = [item for item in learnt if item is not None]
    for item in found:
        if await keyring.get(item.key) is None:
            await store.put_key(item.stored())
            keyring.put(item)
    if found:
        logger().info("keys-adopted", count=len(found))
    return found


async def _unknown(fleet: Fleet, store: Store, slots: Sequence[str]) -> dict[str, set[tuple[str, int]]]:
    """Slot -> key versions it holds of keys this gateway does not have; slots that do not answer are left out."""
    answers = await ask(fleet, slots, "holdings", Empty(), timeout_s=_TIMEOUT_S)
    known: dict[str, bool] = {}
    result: dict[str, set[tuple[str, int]]] = {}
    for slot, answer in answers.items():
        if not isinstance(answer, Holdings):
            continue
        result[slot] = set()
        for item in answer.keys:
            if item.key not in known:
                known[item.key] = await store.key_policy(item.key) is not None
            if not known[item.key]:
                result[slot].add((item.key, item.version))
    return result


async def _learnt(fleet: Fleet, key: str, versions: Sequence[int]) -> Key | None:
    """The key with all these versions, the newest in front."""
    records: list[tuple[bytes, list[CertificateSignature]]] = []
    for version in versions:
        found = await _certified(fleet, key, version)
        if found is None:
            return None
        records.append(found)
    body, signatures = records[-1]
    certificate = KeyCertificate.parse(body)
    if fleet.clock() - certificate.activated_at < SETTLE_S:
        return None
    return Key.of(
        KeyRecord(body=body, signatures=signatures, labels={}, earlier=records[:-1]), certificate.activated_at
    )


async def _certified(fleet: Fleet, key: str, version: int) -> tuple[bytes, list[CertificateSignature]] | None:
    slots = [link.slot for link in fleet.connected]
    request = CertificateRequest(key=key, version=version)
    answers = await ask(fleet, slots, "certificate", request, timeout_s=_TIMEOUT_S)
    by_body: dict[bytes, list[CertificateSignature]] = defaultdict(list)
    for answer in answers.values():
        if isinstance(answer, CertificateSignature):
            by_body[answer.body].append(answer)
    identities = {slot: link.status.identity_key for slot, link in fleet.links.items() if link.status is not None}
    for body, agreeing in by_body.items():
        try:
            certificate = verify_certificate(body, agreeing, identities=identities, cluster=fleet.roster.cluster_id)
        except PeerError as error:
            logger().warning("certificate-refused", key=key, code=error.code)
            continue
        if (certificate.key, certificate.version) == (key, version):
            return body, sorted(agreeing, key=lambda item: item.slot)
    return None
