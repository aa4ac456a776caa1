"""The leaves of a node's log: the boot that began it, verdicts on machines, decisions (specs/receipts.md section 3).

Rules: an entry is a fixed list of parts, each behind its length; reading is strict, so one entry has one spelling;
entries hold ids, digests, codes and numbers, never a payload, a token, a share or a plaintext.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from attestation.errors import ReceiptError
from attestation.merkle import leaf_hash
from attestation.receipts.encoding import digest, number, split, tag_bytes, tagged, text, u32, u64, untagged

ENTRY_BYTES_MAX = 8192
"""Largest entry: 64 members of 96 bytes and everything else stay below it."""

BOOT, VERDICT, DECISION = "log-boot", "log-verdict", "log-decision"
"""Tags of the three kinds."""

ALLOW, DENY = "allow", "deny"

_NO_DIGEST = bytes(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """The first leaf: whose log it is, and the newest checkpoint of the boot before that this node can vouch for."""

    cluster: bytes
    slot: str
    boot_counter: int
    identity_key: bytes
    roster_digest: bytes
    started_at: int
    previous_boot: int = 0
    """0 where no earlier countersigned checkpoint is known."""
    previous_size: int = 0
    previous_root: bytes = b""

    def encode(self) -> bytes:
        """The leaf's bytes."""
        return tagged(
            BOOT,
            self.cluster,
            self.slot.encode(),
            u64(self.boot_counter),
            self.identity_key,
            self.roster_digest,
            u64(self.started_at),
            u64(self.previous_boot),
            u64(self.previous_size),
            self.previous_root,
        )

    @classmethod
    def parse(cls, data: bytes) -> Boot:
        """Inverse of `encode`; raises ReceiptError."""
        parts = untagged(data, BOOT, 9)
        return cls(
            cluster=digest(parts[0]),
            slot=text(parts[1]),
            boot_counter=number(parts[2]),
            identity_key=digest(parts[3]),
            roster_digest=digest(parts[4]),
            started_at=number(parts[5]),
            previous_boot=number(parts[6]),
            previous_size=number(parts[7]),
            previous_root=digest(parts[8], or_empty=True),
        )

    def to_json(self) -> dict[str, Any]:
        """For people and programs."""
        return {
            "kind": "boot",
            "cluster": self.cluster.hex(),
            "slot": self.slot,
            "boot_counter": self.boot_counter,
            "identity_key": self.identity_key.hex(),
            "roster_digest": self.roster_digest.hex(),
            "started_at": self.started_at,
            "previous": {
                "boot_counter": self.previous_boot,
                "size": self.previous_size,
                "root": self.previous_root.hex(),
            },
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenVerdict:
    """What this node thinks of one machine, and by what it judged it; decisions name it by its digest."""

    time: int
    slot: str
    boot_counter: int
    identity_key: bytes
    result: str
    """`trusted`, or the code why not."""
    evidence: bytes
    """SHA-256 of the evidence."""
    nonce: bytes
    """The nonce of this node which that evidence answers."""
    collateral: bytes
    """Digest of the collateral set it was verified with; empty for none."""
    registry_sequence: int
    """Publication number of the registry head; 0 for none."""
    registry_size: int
    registry_root: bytes
    valid_until: int

    def encode(self) -> bytes:
        """The leaf's bytes."""
        return tagged(
            VERDICT,
            u64(self.time),
            self.slot.encode(),
            u64(self.boot_counter),
            self.identity_key,
            self.result.encode(),
            self.evidence,
            self.nonce,
            self.collateral,
            u64(self.registry_sequence),
            u64(self.registry_size),
            self.registry_root,
            u64(self.valid_until),
        )

    @classmethod
    def parse(cls, data: bytes) -> SeenVerdict:
        """Inverse of `encode`; raises ReceiptError."""
        parts = untagged(data, VERDICT, 12)
        return cls(
            time=number(parts[0]),
            slot=text(parts[1]),
            boot_counter=number(parts[2]),
            identity_key=digest(parts[3]),
            result=text(parts[4]),
            evidence=digest(parts[5]),
            nonce=digest(parts[6]),
            collateral=digest(parts[7], or_empty=True),
            registry_sequence=number(parts[8]),
            registry_size=number(parts[9]),
            registry_root=digest(parts[10], or_empty=True),
            valid_until=number(parts[11]),
        )

    def to_json(self) -> dict[str, Any]:
        """For people and programs."""
        return {
            "kind": "verdict",
            "time": self.time,
            "slot": self.slot,
            "boot_counter": self.boot_counter,
            "identity_key": self.identity_key.hex(),
            "result": self.result,
            "evidence": self.evidence.hex(),
            "nonce": self.nonce.hex(),
            "collateral": self.collateral.hex(),
            "registry": {
                "sequence": self.registry_sequence,
                "size": self.registry_size,
                "root": self.registry_root.hex(),
            },
            "valid_until": self.valid_until,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was asked of a node, by whom, and what it decided."""

    time: int
    verb: str
    outcome: str
    """`allow` or `deny`."""
    code: str = ""
    """Why not; empty for `allow`."""
    request_id: bytes = b""
    """SHA-256 of the request token, 32 bytes; empty for documents, which carry no token."""
    principal: str = ""
    credential: str = ""
    """Key id of what the principal signed with."""
    resource: str = ""
    """What the token names: `key_.../version`, `sec_.../1`, another id or `*`."""
    epoch: int = 0
    certificate: bytes = b""
    """SHA-256 of the key certificate's body; empty where no key was found."""
    policy: str = ""
    policy_version: int = 0
    rule: str = ""
    members: tuple[tuple[str, bytes], ...] = ()
    """Signer set in order: slot, digest of the verdict entry it was trusted by (32 zero bytes for none)."""
    target: str = ""
    """Slot a share or partial goes to (assembler, opener); empty for none."""
    subject: bytes = b""
    """SHA-256 of what else was decided on: a document, an order; empty for none."""
    output: bytes = b""
    """Commitment to what left the node (`output_digest`); empty where nothing did."""

    def encode(self) -> bytes:
        """The leaf's bytes."""
        return tagged(
            DECISION,
            u64(self.time),
            self.verb.encode(),
            self.outcome.encode(),
            self.code.encode(),
            self.request_id,
            self.principal.encode(),
            self.credential.encode(),
            self.resource.encode(),
            u32(self.epoch),
            self.certificate,
            self.policy.encode(),
            u32(self.policy_version),
            self.rule.encode(),
            members_bytes(self.members),
            self.target.encode(),
            self.subject,
            self.output,
        )

    @classmethod
    def parse(cls, data: bytes) -> Decision:
        """Inverse of `encode`; raises ReceiptError."""
        parts = untagged(data, DECISION, 17)
        outcome, code = text(parts[2]), text(parts[3])
        if outcome not in (ALLOW, DENY) or (outcome == ALLOW) != (not code):
            raise ReceiptError("expected allow, or deny with a code")
        return cls(
            time=number(parts[0]),
            verb=text(parts[1]),
            outcome=outcome,
            code=code,
            request_id=digest(parts[4], or_empty=True),
            principal=text(parts[5]),
            credential=text(parts[6]),
            resource=text(parts[7]),
            epoch=number(parts[8], 4),
            certificate=digest(parts[9], or_empty=True),
            policy=text(parts[10]),
            policy_version=number(parts[11], 4),
            rule=text(parts[12]),
            members=_members(parts[13]),
            target=text(parts[14]),
            subject=digest(parts[15], or_empty=True),
            output=digest(parts[16], or_empty=True),
        )

    def to_json(self) -> dict[str, Any]:
        """For people and programs."""
        return {
            "kind": "decision",
            "time": self.time,
            "verb": self.verb,
            "outcome": self.outcome,
            "code": self.code,
            "request_id": self.request_id.hex(),
            "principal": self.principal,
            "credential": self.credential,
            "resource": self.resource,
            "epoch": self.epoch,
            "certificate": self.certificate.hex(),
            "policy": self.policy,
            "policy_version": self.policy_version,
            "rule": self.rule,
            "members": [{"slot": slot, "verdict": verdict.hex()} for slot, verdict in self.members],
            "target": self.target,
            "subject": self.subject.hex(),
            "output": self.output.hex(),
        }


Entry = Boot | SeenVerdict | Decision

_DECISION_TAG = tag_bytes(DECISION)

_KINDS: dict[bytes, type[Boot] | type[SeenVerdict] | type[Decision]] = {
    tag_bytes(BOOT): Boot,
    tag_bytes(VERDICT): SeenVerdict,
    tag_bytes(DECISION): Decision,
}


def parse_entry(data: bytes) -> Entry:
    """The entry of a leaf; raises ReceiptError (`receipt.malformed`)."""
    if len(data) > ENTRY_BYTES_MAX:
        raise ReceiptError(f"expected an entry of at most {ENTRY_BYTES_MAX} bytes, found {len(data)}")
    parts = split(data)
    kind = _KINDS.get(parts[0]) if parts else None
    if kind is None:
        raise ReceiptError("expected a log entry of a known kind")
    return kind.parse(data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """What whoever stores entries looks up: the kind by its tag, and of decisions request, resource and certificate."""

    tag: bytes
    verb: str = ""
    request_id: bytes = b""
    resource: str = ""
    certificate: bytes = b""


def glance(data: bytes) -> Glance:
    """A look at an entry without reading all of it; raises ReceiptError for what has no parts."""
    parts = split(data)
    if len(parts) != 18 or parts[0] != _DECISION_TAG:
        return Glance(tag=parts[0] if parts else b"")
    return Glance(
        tag=parts[0],
        verb=parts[2].decode("utf-8", "replace"),
        request_id=parts[5],
        resource=parts[8].decode("utf-8", "replace"),
        certificate=parts[10],
    )


def entry_digest(data: bytes) -> bytes:
    """How other entries name this one: its RFC 6962 leaf hash, 32 bytes."""
    return leaf_hash(data)


def output_digest(scheme: str, *parts: bytes) -> bytes:
    """The commitment to what left a node, 32 bytes; every scheme puts a value of high entropy among its parts."""
    return hashlib.sha256(tagged("log-output", scheme.encode(), *parts)).digest()


def members_bytes(members: tuple[tuple[str, bytes], ...]) -> bytes:
    """Per member: one byte of length, the slot, 32 bytes of digest."""
    return b"".join([bytes((len(slot),)) + slot.encode() + verdict for slot, verdict in members])


def _members(part: bytes) -> tuple[tuple[str, bytes], ...]:
    members: list[tuple[str, bytes]] = []
    at = 0
    while at < len(part):
        start = at + 1
        at = start + part[at]
        if at + 32 > len(part):
            raise ReceiptError("a member of the signer set is cut off")
        members.append((text(part[start:at]), part[at : at + 32]))
        at += 32
    return tuple(members)
