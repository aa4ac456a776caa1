"""The roster chain as a client follows it: from the pinned cluster id to the newest version, never back.

Rules kept (specs/client-verification.md section 3): the first roster's digest is the pinned cluster id; every later
one is the signed successor of the one before; what was verified once is kept, in the process and, for clients of a
cluster file, beside that file; a gateway that shows less is not believed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from attestation.envelope import Envelope
from attestation.errors import CodedError
from enclave.roster import Roster
from enclave.roster_chain import Link, envelopes_of, read_chain, write_chain
from kms.client.errors import ConfigurationError, RequestRefusedError, VerificationError
from kms.client.transport import Transport

PARTS_MAX = 64
"""Most parts a chain is read in; one holds up to 1024 versions."""


class FollowedChain:
    """The versions verified so far; shared by everything that trusts the same anchors."""

    def __init__(self, *, path: Path | None = None) -> None:
        """`path` is where the chain is kept between processes; None keeps it in memory."""
        self._path = path
        self._links: list[Link] = []

    @property
    def rosters(self) -> tuple[Roster, ...]:
        """The versions verified so far, oldest first; empty before the first look."""
        return tuple(link.roster for link in self._links)

    @property
    def envelopes(self) -> list[bytes]:
        """Their signed envelopes."""
        return [link.envelope for link in self._links]

    def begin(self, cluster_id: bytes, held: bytes | None) -> None:
        """Take what the cluster file and an earlier process give; once, before the first look.

        Raises ConfigurationError (`client.rosters`) for a chain that does not verify.
        """
        if self._links:
            return
        links: list[Link] = []
        for data in filter(None, (held, self._kept(cluster_id))):
            try:
                links += read_chain(data, known=links[-1].roster if links else None)
            except CodedError as error:
                raise ConfigurationError(
                    f"the rosters held for this cluster do not verify: {error.detail}", code="client.rosters"
                ) from None
        _check_cluster(links, cluster_id)
        self._links = links

    async def follow(self, transport: Transport, cluster_id: bytes) -> None:
        """Verify and take what the gateway has beyond what is held.

        Raises VerificationError (`verify.roster`, `verify.cluster`), UnavailableError.
        """
        offered = await transport.send("GET", "/v1/roster")
        try:
            version = _version(offered)
            if not self._links and version == 1:
                self._take(read_chain(offered), cluster_id)
            await self._catch_up(transport, version, cluster_id)
            if version == self._newest:
                read_chain(offered, known=self._links[-1].roster)
        except (RequestRefusedError, VerificationError):
            raise
        except CodedError as error:
            raise VerificationError(f"roster: {error.detail}", code="verify.roster", hint=error.hint) from None

    async def _catch_up(self, transport: Transport, version: int, cluster_id: bytes) -> None:
        """Up to the version the gateway names; a part that brings nothing ends it."""
        for _ in range(PARTS_MAX):
            newest = self._newest
            if version <= newest:
                return
            part = await transport.send("GET", "/v1/roster/chain", query={"after": str(newest)})
            if not envelopes_of(part):
                break
            self._take(read_chain(part, known=self._links[-1].roster if self._links else None), cluster_id)
            if self._newest == newest:
                break
        raise VerificationError(
            f"the gateway names roster version {version} and proves none after {self._newest}", code="verify.roster"
        )

    @property
    def _newest(self) -> int:
        return self._links[-1].roster.version if self._links else 0

    def _take(self, links: Sequence[Link], cluster_id: bytes) -> None:
        _check_cluster(links, cluster_id)
        self._links += links
        if links and self._path is not None and len(self._links) > 1:
            # Not being able to keep it costs protection against an older roster in the next process, nothing now.
            with contextlib.suppress(OSError):
                self._keep(self._path)

    def _keep(self, path: Path) -> None:
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        draft.write_bytes(write_chain(self.envelopes))
        draft.replace(path)

    def _kept(self, cluster_id: bytes) -> bytes | None:
        """What an earlier process kept, if it is of this cluster: a developer's directory may hold another by now."""
        if self._path is None:
            return None
        try:
            data = self._path.read_bytes()
            value = data and read_chain(data)
        except FileNotFoundError:
            return None
        except (OSError, CodedError) as error:
            raise ConfigurationError(
                f"cannot use {self._path}: {getattr(error, 'detail', error)}",
                code="client.rosters",
                hint="remove it if you know why; it keeps an older roster from being shown to you",
            ) from None
        return data if value and value[0].roster.cluster_id == cluster_id else None


def _check_cluster(links: Sequence[Link], cluster_id: bytes) -> None:
    if links and links[0].roster.cluster_id != cluster_id:
        raise VerificationError(
            f"expected cluster {cluster_id.hex()[:16]}, found {links[0].roster.cluster_id.hex()[:16]}",
            code="verify.cluster",
            hint="the URL or the file belongs to another cluster, or the cluster was made anew",
        )


def _version(envelope: bytes) -> int:
    value = Envelope.parse(envelope).value()
    version = value.get("version") if isinstance(value, dict) else None
    if type(version) is not int or version < 1:
        raise VerificationError("the gateway's roster has no version", code="verify.roster")
    return version
