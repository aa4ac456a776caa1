"""What evidence is judged by: rosters, collateral, registry snapshot and time; also kept with every set of bundles.

Rules kept: everything in it is signed by somebody else and verified at each use; a set keeps what its evidence was
judged by, so that it can be judged again when every machine is gone.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from attestation.collateral import Collateral
from attestation.envelope import b64url_decode
from attestation.proof_of_cloud.snapshot import RegistrySnapshot
from enclave.backup.bundle import decoded
from enclave.presentation import PeerStanding, check_presentation, verifier_for
from enclave.roster import Roster
from enclave.roster_chain import judged_by, read_chain, rosters_of
from enclave.wire.attestation import Presentation
from enclave.wire.message import Message, encode
from kms.client.errors import ConfigurationError, VerificationError
from kms.client.transport import Transport
from kms.client.trust import TrustAnchors
from kms.client.verification import check_roots, fetch_rosters, held_rosters, member


class _Kept(Message, frozen=True):
    collateral: list[bytes]
    snapshot: bytes
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """One moment's means to judge evidence."""

    rosters: tuple[Roster, ...]
    collateral: tuple[bytes, ...]
    snapshot: bytes
    at: int
    """Unix seconds."""

    @property
    def roster(self) -> Roster:
        """The newest version."""
        return self.rosters[-1]

    def judge(self, presentation: Presentation, nonce: bytes) -> PeerStanding:
        """The standing that evidence over `nonce` proves; raises CodedError."""
        terms = self.roster.proof_of_cloud
        snapshot = RegistrySnapshot.parse(self.snapshot).verify(
            terms.members, terms.threshold, terms.freshness_key, self.at, terms.max_age_s
        )
        return check_presentation(
            presentation,
            roster=judged_by(self.rosters, presentation.identity.roster_digest),
            own_nonce=nonce,
            verifier=verifier_for(self.roster),
            collateral=Collateral.of(*self.collateral),
            snapshot=snapshot,
            now=self.at,
        )

    def kept(self) -> bytes:
        """As it is kept beside bundles; rosters have their own ways."""
        return encode(_Kept(collateral=list(self.collateral), snapshot=self.snapshot, at=self.at))

    def as_of(self, kept: bytes) -> Surroundings:
        """What was kept, under the rosters known now; raises BackupError (`backup.malformed`)."""
        then = decoded(_Kept, kept)
        return replace(self, collateral=tuple(then.collateral), snapshot=then.snapshot, at=then.at)


async def from_gateway(transport: Transport, trust: TrustAnchors) -> Surroundings:
    """As a gateway offers them; raises VerificationError, UnavailableError."""
    rosters = await fetch_rosters(transport, trust)
    blobs = member(await transport.json("GET", "/v1/collateral"), "blobs", list)
    return Surroundings(
        rosters=rosters,
        collateral=tuple(b64url_decode(blob) for blob in blobs),
        snapshot=await transport.send("GET", "/v1/registry"),
        at=int(time.time()),
    )


def from_files(
    trust: TrustAnchors, *, rosters: Path | None, collateral: Sequence[Path], registry: Path | None
) -> Surroundings:
    """From files, for a cluster that is gone; raises ConfigurationError, VerificationError, CodedError.

    Without `rosters` the chain is the one this client followed; without a registry or collateral only bundles can be
    judged, by what is kept beside them.
    """
    if rosters is not None:
        chain = tuple(rosters_of(read_chain(_read(rosters))))
        if chain[0].cluster_id != trust.cluster_id:
            raise VerificationError(f"{rosters} is of another cluster", code="verify.cluster")
        chain = check_roots(chain, trust)
    else:
        chain = held_rosters(trust)
    return Surroundings(
        rosters=chain,
        collateral=tuple(Collateral.load(list(collateral)).blobs()) if collateral else (),
        snapshot=_read(registry) if registry is not None else b"",
        at=int(time.time()),
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from None
