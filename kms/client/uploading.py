"""The upload of one opaque secret: dealt once, sealed to the boots that nodes run now, and once more if one rebooted.

Nothing is sealed to a node whose evidence this client has not verified just now (specs/opaque-secrets.md section 3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

from enclave.group.ed25519 import ED25519
from enclave.presentation import PeerStanding
from enclave.secret_upload import VERSION, SealedFor, SecretUpload, share_info
from enclave.secret_wrap import wrap
from enclave.threshold import shamir
from enclave.threshold.ceremony_kem import SEALED_BYTES, seal
from kms.client.errors import UnavailableError
from kms.client.verification import ClusterView


class Upload:
    """A dealt secret; a context manager that wipes the shares."""

    def __init__(
        self,
        content: bytes | bytearray,
        slots: Sequence[str],
        *,
        cluster: bytes,
        secret: str,
        name: str,
        policy: str,
        shares_needed: int,
        now: int,
    ) -> None:
        """A fresh scalar encrypts `content` and is split among `slots`; then it is wiped.  Raises CallerError."""
        with ED25519.random_scalar() as scalar:
            shares, commitments = shamir.split(ED25519, scalar, shares_needed, range(1, len(slots) + 1))
            wrapped = wrap(scalar, content, cluster=cluster, secret=secret, version=VERSION)
        self._cluster = cluster
        self._shares = [shares[index] for index in range(1, len(slots) + 1)]
        self._draft = SecretUpload(
            secret=secret,
            name=name,
            policy=policy,
            shares_needed=shares_needed,
            commitments=commitments,
            wrapped=wrapped,
            created_at=now,
            shares=tuple(SealedFor(slot=slot, boot_counter=1, sealed=bytes(SEALED_BYTES)) for slot in slots),
        )
        self._transcript = self._draft.transcript(cluster)
        self.certificate = self._draft.certificate(cluster)
        """What the nodes must certify."""

    def sealed(self, standings: Mapping[str, PeerStanding]) -> SecretUpload:
        """The upload with every share sealed to the boot that was verified."""
        shares = []
        for item, share in zip(self._draft.shares, self._shares, strict=True):
            identity = standings[item.slot].identity
            info = share_info(
                self._cluster,
                self._transcript,
                slot=item.slot,
                boot_counter=identity.boot_counter,
                identity_key=identity.identity_key,
            )
            shares.append(
                SealedFor(
                    slot=item.slot, boot_counter=identity.boot_counter, sealed=seal(identity.kem_key, share, info)
                )
            )
        return replace(self._draft, shares=tuple(shares))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for share in self._shares:
            share.wipe()


def holders(view: ClusterView, nodes: Sequence[str] | None) -> dict[str, PeerStanding]:
    """The verified standing of each node that is to hold a share, in roster order.

    Raises UnavailableError (`unavailable.nodes`) if one of them could not be verified or does not exist.
    """
    known = [slot.slot for slot in view.roster.slots]
    wanted = known if nodes is None else [slot for slot in known if slot in nodes]
    found = {slot: standing for slot in wanted if (standing := view.nodes[slot].standing) is not None}
    missing = sorted((set(wanted) | set(nodes or ())) - set(found))
    if missing:
        raise UnavailableError(
            f"a share is only sealed to a verified node; not verified: {', '.join(missing)}",
            code="unavailable.nodes",
            hint="`kms nodes attest` shows why; name the nodes to use",
        )
    return found
