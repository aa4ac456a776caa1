"""New certificates after a commit: believed with the signatures of T holders, then kept and used from then on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from enclave.certificate import KeyCertificate, verify_certificate
from enclave.errors import PeerError
from enclave.wire.ceremonies import CeremonyCommitted, CeremonyRound
from enclave.wire.documents import CertificateRequest, CertificateSignature
from kms.errors import KmsError
from kms.fleet.ceremonies.rounds import BATCH_TIMEOUT_S, ask
from kms.fleet.fleet import Fleet
from kms.keyring import Keyring
from kms.keys import Key, KeyRecord
from kms.observe import logger
from kms.store.protocol import Store

PAUSE_S = 0.008
"""Pause before each certificate is verified (a millisecond): signing goes on between them."""


class Certifier:
    """Delivers commits and takes in what nodes certify under them."""

    def __init__(self, fleet: Fleet, store: Store, keyring: Keyring) -> None:
        self._fleet = fleet
        self._store = store
        self._keyring = keyring

    async def commit(self, slots: Sequence[str], commit: CeremonyRound) -> tuple[list[Key], set[str]]:
        """Bring a commit certificate to every participant: the keys as certified, and who took the commit."""
        answers = await ask(self._fleet, slots, "ceremony-commit", commit, timeout_s=BATCH_TIMEOUT_S)
        for slot, answer in answers.items():
            if isinstance(answer, KmsError):
                logger().warning("commit-failed", slot=slot, session=commit.session.hex()[:16], code=answer.code)
        taken = {slot for slot, answer in answers.items() if isinstance(answer, CeremonyCommitted)}
        return await self.take(answers), taken

    async def relearn(self, key: Key) -> Key:
        """The key as its nodes certify it now: somebody else may have renewed it."""
        slots = [link.slot for link in self._fleet.connected]
        answers = await ask(self._fleet, slots, "certificate", CertificateRequest(key=key.key), timeout_s=5.0)
        signatures = [answer for answer in answers.values() if isinstance(answer, CertificateSignature)]
        found = await self._learn(signatures)
        return found[0] if found else key

    async def take(self, answers: Mapping[str, Any]) -> list[Key]:
        """The certificates in the answers to a commit."""
        committed = [answer for answer in answers.values() if isinstance(answer, CeremonyCommitted)]
        return await self._learn(signature for answer in committed for signature in answer.certificates)

    async def _learn(self, signatures: Iterable[CertificateSignature]) -> list[Key]:
        by_body: dict[bytes, list[CertificateSignature]] = {}
        for signature in signatures:
            by_body.setdefault(signature.body, []).append(signature)
        identities = {
            slot: link.status.identity_key for slot, link in self._fleet.links.items() if link.status is not None
        }
        learnt: dict[str, Key] = {}
        for body, agreeing in by_body.items():
            await asyncio.sleep(PAUSE_S)
            try:
                certificate = verify_certificate(
                    body, agreeing, identities=identities, cluster=self._fleet.roster.cluster_id
                )
            except PeerError as error:
                logger().warning("certificate-refused", code=error.code)
                continue
            key = await self._follow(certificate, body, agreeing)
            if key is not None:
                learnt[key.key] = self._keyring.put(key)
        await asyncio.gather(*(self._store.put_key(key.stored()) for key in learnt.values()))
        return list(learnt.values())

    async def _follow(
        self, certificate: KeyCertificate, body: bytes, signatures: list[CertificateSignature]
    ) -> Key | None:
        """The key with this certificate as its newest, if it continues what is known of it."""
        known = await self._keyring.get(certificate.key)
        if known is None:
            return None
        held = known.certificate
        signatures = sorted(signatures, key=lambda item: item.slot)
        if certificate.version == held.version and certificate.epoch < held.epoch:
            return None
        earlier = list(known.record.earlier)
        if certificate.version < held.version:
            return self._follow_earlier(known, certificate, body, signatures)
        if certificate.version > held.version:
            earlier.append((known.record.body, known.record.signatures))
        elif certificate.group_point != held.group_point:
            logger().error("public-key-changed", key=certificate.key)
            return None
        record = KeyRecord(body=body, signatures=signatures, labels=known.record.labels, earlier=earlier)
        return Key.of(record, known.created_at, certificate=certificate)

    @staticmethod
    def _follow_earlier(
        known: Key, certificate: KeyCertificate, body: bytes, signatures: list[CertificateSignature]
    ) -> Key | None:
        """The key with a newer epoch of one of its earlier versions."""
        earlier = list(known.record.earlier)
        for place, (before, _) in enumerate(earlier):
            old = KeyCertificate.parse(before)
            if old.version == certificate.version and old.group_point == certificate.group_point:
                if certificate.epoch < old.epoch:
                    return None
                earlier[place] = (body, signatures)
                return Key.of(msgspec.structs.replace(known.record, earlier=earlier), known.created_at)
        return None
