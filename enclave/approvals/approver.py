"""Who may approve: people with keys of their own, in groups that policies name (specs/approvals.md section 2).

They come from signed `approver` documents, and from the roster's approver groups under ids made of their keys.
Rules kept: a revoked approver stays revoked, also one of the roster; an approver is never an agent or operator.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from attestation.envelope import b64url
from attestation.errors import DocumentError
from enclave.errors import CallerError
from enclave.fields import Fields
from enclave.ids import check_name
from enclave.signing_key import PublicKey
from enclave.wire.message import tagged

if TYPE_CHECKING:
    from enclave.roster import Roster

KEYS_MAX = 8
"""Most keys of one approver."""

GROUPS_MAX = 32
"""Most groups of one approver."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approver:
    """A person's registered keys, groups and standing; as a document or as the roster states it."""

    cluster: bytes
    approver: str
    name: str
    groups: tuple[str, ...]
    keys: tuple[PublicKey, ...]
    state: str
    """`active` or `revoked`."""
    sequence: int
    issued_at: int
    digest: bytes = b""

    kind = "approver"

    @property
    def subject(self) -> str:
        """What the document is about: the approver id."""
        return self.approver

    @property
    def restricts(self) -> bool:
        """Whether it only takes power away."""
        return self.state == "revoked"

    def key(self, kid: str) -> PublicKey | None:
        """The key with this key id while the approver is active, else None."""
        if self.state != "active":
            return None
        return next((key for key in self.keys if key.kid == kid), None)

    def payload(self) -> dict[str, Any]:
        """The JSON value that is signed."""
        return {
            "type": "holdfast/approver/v1",
            "cluster": self.cluster.hex(),
            "approver": self.approver,
            "name": self.name,
            "groups": list(self.groups),
            "keys": [{"alg": key.algorithm, "key": b64url(key.key)} for key in self.keys],
            "state": self.state,
            "sequence": self.sequence,
            "issued_at": self.issued_at,
        }


def read_approver(fields: Fields, digest: bytes) -> Approver:
    """The payload of an approver document; raises the reader's error."""
    fields.constant("type", "holdfast/approver/v1")
    approver = Approver(
        cluster=fields.hexadecimal("cluster", size=32),
        approver=fields.identifier("approver", "apr"),
        name=fields.label("name"),
        groups=_read_groups(fields),
        keys=tuple(_read_key(item) for item in fields.each("keys", low=1, high=KEYS_MAX)),
        state=fields.choice("state", ("active", "revoked")),
        sequence=fields.integer("sequence", 1),
        issued_at=fields.integer("issued_at"),
        digest=digest,
    )
    if len({key.kid for key in approver.keys}) != len(approver.keys):
        fields.refuse("expected distinct keys", "keys")
    fields.done()
    return approver


def roster_approver(roster: Roster, approver: str) -> Approver | None:
    """The approver of the roster's groups under this id, if any."""
    groups, found = [], None
    for group in roster.approvers:
        for member in group.members:
            if roster_approver_id(member.key) == approver:
                groups.append(group.group)
                found = found or member
    if found is None:
        return None
    return Approver(
        cluster=roster.cluster_id,
        approver=approver,
        name=found.approver,
        groups=tuple(groups),
        keys=(found.key,),
        state="active",
        sequence=0,
        issued_at=roster.created_at,
    )


def roster_approver_id(key: PublicKey) -> str:
    """The id of an approver the roster names: it follows from the key."""
    digest = hashlib.sha256(tagged("approver-id", key.algorithm.encode(), key.key)).digest()[:16]
    return "apr_" + base64.b32encode(digest).decode("ascii").rstrip("=").lower()


def _read_groups(fields: Fields) -> tuple[str, ...]:
    groups = fields.texts("groups", low=1, high=GROUPS_MAX)
    for group in groups:
        try:
            check_name(group)
        except CallerError as error:
            fields.refuse(error.detail, "groups")
    return groups


def _read_key(fields: Fields) -> PublicKey:
    algorithm = fields.take("alg")
    key = fields.base64("key", size_max=33)
    try:
        return PublicKey.parse(algorithm, key)
    except DocumentError as error:
        fields.refuse(error.detail, "key")
