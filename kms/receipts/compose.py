"""Puts a receipt together from the log store: leaves with proofs, heads, countersignatures, evidence, certificate."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from attestation.canonical import parse_json
from attestation.envelope import b64url
from attestation.receipts.document import proof_to_json, write_receipt
from attestation.receipts.entry import ALLOW, Boot, Decision, SeenVerdict, parse_entry
from enclave.wire.attestation import Presentation
from kms.errors import NotFoundError, UnavailableError
from kms.receipts.store import LogStore, StoredCheckpoint, StoredEntry

SETTLE_S = 30
"""Seconds within which leaves of a request may still come; afterwards a receipt shows what there is."""

TOGETHER = frozenset({"sign", "schnorr-sign", "ecdsa-start", "release", "partial", "ceremony-start"})
"""Verbs that every member of the signer set answers."""

_PARTS = msgspec.msgpack.Decoder(list[bytes])


class Composer:
    """One receipt from one store."""

    def __init__(
        self, store: LogStore, *, cluster: bytes, rosters: Sequence[bytes], needed: Mapping[bytes, int]
    ) -> None:
        """`rosters` are the signed envelopes from version 1 on.

        `needed` says by a roster's digest how many peers make a head countersigned; the one a log began under counts.
        """
        self._store = store
        self._cluster = cluster
        self._rosters = rosters
        self._needed = needed
        self._evidence: dict[bytes, Presentation] = {}
        self._registries: dict[bytes, bytes] = {}
        self._collateral: dict[bytes, bytes] = {}
        self._openings: list[dict[str, Any]] = []
        self._at = 0

    def compose(self, request: bytes, *, principal: str | None, now: int) -> bytes:
        """The receipt file for one request; with `principal`, only that principal's own.

        Raises NotFoundError (`receipt.unknown`), UnavailableError (`receipt.pending`) while leaves have not been
        fetched, or countersigned, yet.
        """
        found = [
            (entry, decision) for entry in self._store.about(request) if (decision := _decision(entry)) is not None
        ]
        if not found or (principal is not None and any(item.principal != principal for _, item in found)):
            raise NotFoundError("no decision on that request is stored here", code="receipt.unknown")
        self._at = max(decision.time for _, decision in found)
        if now - self._at < SETTLE_S and not _is_whole(found):
            raise _pending("not every node's decision has been fetched yet")
        by_log: dict[int, list[tuple[StoredEntry, Decision]]] = {}
        for entry, decision in found:
            by_log.setdefault(entry.log, []).append((entry, decision))
        logs = [self._log(log, made, request) for log, made in by_log.items()]
        return write_receipt(
            {
                "cluster": self._cluster.hex(),
                "request_id": request.hex(),
                "rosters": [parse_json(envelope) for envelope in self._rosters],
                "identities": [_presented(item) for item in self._evidence.values()],
                "collateral": [b64url(blob) for blob in self._collateral.values()],
                "registries": [b64url(item) for item in self._registries.values()],
                "logs": logs,
                "certificate": self._certificate([decision for _, decision in found]),
                "openings": self._openings,
            }
        )

    def _log(self, log: int, made: list[tuple[StoredEntry, Decision]], request: bytes) -> dict[str, Any]:
        entries = {entry.number: entry for entry, _ in made} | {0: self._store.entry(log, 0)}
        for _, decision in made:
            for _, digest in decision.members:
                verdict = self._store.verdict(log, digest)
                if verdict is not None:
                    entries[verdict.number] = verdict
                    self._bind(verdict)
        slot, boot = made[0][0].slot, made[0][0].boot_counter
        boot_leaf = parse_entry(_body(entries[0]))
        needed = self._needed.get(boot_leaf.roster_digest, 0) if isinstance(boot_leaf, Boot) else 0
        head = self._store.checkpoint(log, above=max(entries), needed=needed)
        if head is None:
            newest = self._store.newest(slot)
            if newest is not None and newest.boot_counter > boot:
                raise NotFoundError(
                    f"{slot} restarted before its peers had countersigned the decision: that part of its log is lost",
                    code="receipt.lost",
                )
            raise _pending(f"peers have not countersigned the log of {slot} that far yet")
        self._bind_boot(slot, boot)
        for peer, peer_boot, _, _ in head.countersignatures:
            self._bind_boot(peer, peer_boot)
        for entry, decision in made:
            self._open(entry, decision, request)
        tree = self._store.tree(log)
        part: dict[str, Any] = {
            "slot": slot,
            "boot_counter": boot,
            "checkpoint": head.note.decode(),
            "leaves": [
                {
                    "index": number,
                    "entry": b64url(_body(entry)),
                    "proof": proof_to_json(tree.inclusion_proof(number, head.size)),
                }
                for number, entry in sorted(entries.items())
            ],
            "countersignatures": [
                {"body": b64url(body), "signature": b64url(signature)}
                for _, _, body, signature in head.countersignatures
            ],
        }
        later = self._store.checkpoint(log, above=head.size, needed=needed, newest=True)
        if later is not None:
            part["later"] = _later(tree.consistency_proof(head.size, later.size), later)
        return part

    def _bind(self, verdict: StoredEntry) -> None:
        """The evidence, collateral and registry that a verdict rests on."""
        entry = parse_entry(_body(verdict))
        assert isinstance(entry, SeenVerdict)
        presentation = self._store.presentation(entry.evidence)
        if presentation is not None:
            self._evidence[entry.evidence] = presentation
        self._take_collateral(entry.collateral)
        snapshot = self._store.registry(entry.registry_root, self._at)
        if snapshot is not None:
            self._registries[entry.registry_root] = snapshot

    def _bind_boot(self, slot: str, boot_counter: int) -> None:
        """Evidence for a boot that signed something in this receipt, if none is there yet."""
        known = {(item.identity.slot, item.identity.boot_counter) for item in self._evidence.values()}
        if (slot, boot_counter) not in known:
            presentation = self._store.presentation_of(slot, boot_counter, self._at)
            if presentation is not None:
                self._evidence[hashlib.sha256(presentation.evidence).digest()] = presentation
        if not self._registries:
            snapshot = self._store.registry_at(self._at)
            if snapshot is not None:
                self._registries[b""] = snapshot
        if not self._collateral:
            self._take_collateral(b"")

    def _take_collateral(self, digest: bytes) -> None:
        for blob in self._store.collateral(digest, self._at):
            self._collateral[hashlib.sha256(blob).digest()] = blob

    def _open(self, entry: StoredEntry, decision: Decision, request: bytes) -> None:
        stored = self._store.output(request, entry.slot, decision.output) if decision.output else None
        if stored is None:
            return
        scheme, *parts = _PARTS.decode(stored)
        self._openings.append(
            {
                "slot": entry.slot,
                "boot_counter": entry.boot_counter,
                "index": entry.number,
                "scheme": scheme.decode(),
                "parts": [b64url(part) for part in parts],
            }
        )

    def _certificate(self, decisions: list[Decision]) -> Any:
        """The certificate, with the signatures that the evidence at hand stands behind; the leaves name it anyway."""
        bound = {(item.identity.slot, item.identity.boot_counter) for item in self._evidence.values()}
        for decision in decisions:
            if decision.certificate and (stored := self._store.certificate(decision.certificate)) is not None:
                value = parse_json(stored)
                value["signatures"] = [
                    {name: item[name] for name in ("slot", "boot_counter", "identity_key", "signature")}
                    for item in value["signatures"]
                    if (item["slot"], item["boot_counter"]) in bound
                ]
                return value
        return None


def _is_whole(found: Sequence[tuple[StoredEntry, Decision]]) -> bool:
    """Whether everybody whom the decisions name as a member has decided."""
    decided = {(entry.slot, decision.verb) for entry, decision in found if decision.outcome == ALLOW}
    for _, decision in found:
        if decision.outcome != ALLOW or decision.verb not in TOGETHER:
            continue
        ended = "ecdsa-release" if decision.verb == "ecdsa-start" else decision.verb
        if any(slot != decision.target and (slot, ended) not in decided for slot, _ in decision.members):
            return False
        if decision.target and not {(decision.target, "assemble"), (decision.target, "open")} & decided:
            return False
    return True


def _pending(detail: str) -> UnavailableError:
    return UnavailableError(detail, code="receipt.pending", hint="ask again in a few seconds")


def _decision(entry: StoredEntry) -> Decision | None:
    """The decision of an entry, unless its content was pruned."""
    if entry.body is None:
        return None
    found = parse_entry(entry.body)
    return found if isinstance(found, Decision) else None


def _body(entry: StoredEntry) -> bytes:
    if entry.body is None:
        raise NotFoundError("what the receipt needs is older than this gateway keeps", code="receipt.pruned")
    return entry.body


def _later(proof: list[bytes], later: StoredCheckpoint) -> dict[str, Any]:
    return {"checkpoint": later.note.decode(), "proof": proof_to_json(proof)}


def _presented(item: Presentation) -> dict[str, Any]:
    identity = item.identity
    return {
        "slot": identity.slot,
        "boot_counter": identity.boot_counter,
        "identity_key": identity.identity_key.hex(),
        "kem_key": b64url(identity.kem_key),
        "tls_spki": identity.tls_spki.hex(),
        "roster_digest": identity.roster_digest.hex(),
        "purpose": identity.purpose,
        "nonces": [nonce.hex() for nonce in item.nonces],
        "evidence": b64url(item.evidence),
    }
