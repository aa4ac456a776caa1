"""Is the machine behind a connection the node it says it is?  Asked before any request goes there.

The TLS certificate of a node proves nothing by itself, and an identity is only as good as the evidence
around it: whoever sits on the network can answer with his own key and the node's words.  So the gateway
verifies each node's evidence over its own nonce, by the same check as nodes and clients.  This guards what
requests say on their way; whether a share may be used is still decided by nodes alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attestation.collateral import Collateral
from attestation.errors import CodedError
from attestation.proof_of_cloud.snapshot import RegistrySnapshot
from enclave.presentation import check_presentation, verifier_for
from enclave.roster import Roster
from enclave.roster_chain import judged_by
from enclave.wire.attestation import Presentation
from kms.errors import KmsError
from kms.fleet.sources import WatchedFiles


class Admittance:
    """Judges evidence with the collateral and registry files this gateway relays."""

    def __init__(
        self, roster: Roster, *, collateral: WatchedFiles, registry: WatchedFiles, clock: Callable[[], int]
    ) -> None:
        self.follow([roster])
        self._collateral_files = collateral
        self._registry_files = registry
        self._clock = clock
        self._collateral: tuple[tuple[bytes, ...], Collateral] = ((), Collateral())

    def follow(self, rosters: Sequence[Roster]) -> None:
        """Judge by these versions from now on, oldest first: evidence may name any, and later ones restrict it."""
        self._rosters = tuple(rosters)
        self._verifier = verifier_for(self._rosters[-1])
        self._snapshot: tuple[bytes, RegistrySnapshot] | None = None

    def check(self, presentation: Presentation, nonce: bytes) -> None:
        """Return only if the evidence answers `nonce` and passes every check; raises KmsError with the code why not."""
        try:
            check_presentation(
                presentation,
                roster=judged_by(self._rosters, presentation.identity.roster_digest),
                own_nonce=nonce,
                verifier=self._verifier,
                collateral=self._held(),
                snapshot=self._newest(),
                now=self._clock(),
            )
        except CodedError as error:
            raise KmsError(error.detail, code=error.code, hint=error.hint) from None

    def _held(self) -> Collateral:
        contents = self._collateral_files.contents
        if self._collateral[0] != contents:
            self._collateral = (contents, Collateral.of(*contents))
        return self._collateral[1]

    def _newest(self) -> RegistrySnapshot:
        for content in self._registry_files.contents:
            if self._snapshot is None or self._snapshot[0] != content:
                self._snapshot = (content, RegistrySnapshot.parse(content))
            return self._snapshot[1]
        raise KmsError("this gateway holds no registry to judge evidence by", code="evidence.unjudged")
