"""The client: one cluster, one principal, everything verified before it is returned."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from enclave.roster import Roster
from kms.client.agents import Agents
from kms.client.approvers import Approvers
from kms.client.attestor import Attestor
from kms.client.audit import Audit
from kms.client.batches import Batches
from kms.client.caller import Caller
from kms.client.ceremonies import Ceremonies
from kms.client.certified import AttestedChecker, CertificateChecker, UncheckedChecker
from kms.client.cluster_file import ClusterFile
from kms.client.credentials import Credentials
from kms.client.decryption import Decryption
from kms.client.documents import Documents
from kms.client.enrolments import Enrolments
from kms.client.errors import ConfigurationError
from kms.client.events import Events
from kms.client.keys import Keys
from kms.client.operations import Operations
from kms.client.policies import Policies
from kms.client.receipts import Receipts
from kms.client.restrictions import Restrictions
from kms.client.roster_updates import RosterUpdates
from kms.client.secrets import Secrets
from kms.client.sender import SenderChecker
from kms.client.signing import Signing
from kms.client.transport import TIMEOUT_S, Transport
from kms.client.trust import TrustAnchors
from kms.client.verification import ClusterView, fetch_roster, verify_cluster


class Client:
    """Made by `Client.connect`; used as `async with`, or closed with `close()`.

    `keys`, `agents`, `policies`, `documents`, `sign`, `decryption`, `secrets`, `audit`, `receipts`,
    `operations`, `approvers` and `restrictions` hold the verbs.
    """

    def __init__(
        self,
        transport: Transport,
        trust: TrustAnchors,
        *,
        credentials: Credentials | None,
        insecure_skip_attestation: bool,
        clock: Callable[[], int],
    ) -> None:
        self.trust = trust
        self._transport = transport
        self._attestor = Attestor(transport, trust, clock=clock)
        self.caller = Caller(transport, cluster=trust.cluster_id, credentials=credentials, clock=clock)
        checker: CertificateChecker = (
            UncheckedChecker() if insecure_skip_attestation else AttestedChecker(self._attestor)
        )
        self.documents = Documents(self.caller)
        attestor = None if insecure_skip_attestation else self._attestor
        self.keys = Keys(self.caller, checker, self.documents, attestor)
        self.agents = Agents(self.caller, self.documents)
        self.policies = Policies(self.caller, self.documents)
        self.sign = Signing(self.caller, self.keys)
        attestor = None if insecure_skip_attestation else self._attestor
        sender = SenderChecker(attestor, cluster=trust.cluster_id)
        self.decryption = Decryption(self.caller, self.keys, sender)
        self.batch = Batches(self.caller, self.keys, self.decryption)
        self.secrets = Secrets(self.caller, checker, attestor, sender)
        self.operations = Operations(self.caller)
        self.ceremonies = Ceremonies(self.caller)
        self.approvers = Approvers(self.caller, self.documents)
        self.audit = Audit(self.caller)
        self.events = Events(self.caller)
        self.receipts = Receipts(self.caller, trust)
        self.enrolments = Enrolments(self.caller)
        self.rosters = RosterUpdates(self.caller, transport, trust)
        self.restrictions = Restrictions(self.caller, self.documents, self.keys, transport, trust)

    @classmethod
    def connect(
        cls,
        cluster_file: str | os.PathLike[str] | None = None,
        *,
        url: str | None = None,
        cluster_id: str | None = None,
        trust: TrustAnchors | None = None,
        credentials: Credentials | None = None,
        insecure_skip_attestation: bool = False,
        timeout_s: float = TIMEOUT_S,
        clock: Callable[[], int] = lambda: int(time.time()),
    ) -> Client:
        """A client of the cluster that `cluster_file` describes, or of `url` pinned by `cluster_id` or `trust`.

        Nothing is sent before the first call.  Raises ConfigurationError.  `insecure_skip_attestation`
        believes whatever node identities the gateway names: for debugging a cluster that does not
        attest, never for money.
        """
        if cluster_file is not None:
            file = ClusterFile.load(Path(cluster_file))
            url = url or file.url
            trust = trust or file.trust
        if trust is None and cluster_id is not None:
            trust = TrustAnchors.pinned(cluster_id)
        if url is None or trust is None:
            raise ConfigurationError(
                "expected a cluster file, or a url with a cluster_id or trust anchors",
                hint="the cluster file is the cluster.json that `kms dev` wrote or your operator gave you",
            )
        return cls(
            Transport(url, timeout_s=timeout_s),
            trust,
            credentials=credentials,
            insecure_skip_attestation=insecure_skip_attestation,
            clock=clock,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def verify(self, *, again: bool = False) -> ClusterView:
        """The verified view of the cluster: every node with its standing or the error that says why not.

        `again` asks every node for fresh evidence now.  Raises VerificationError if no node can be trusted.
        """
        return await self._attestor.view(again=again)

    async def look(self) -> ClusterView:
        """A fresh view whatever it shows; `verify` is the one that insists on a trusted node."""
        return await verify_cluster(self._transport, self.trust, now=self.caller.clock())

    async def roster(self) -> Roster:
        """The cluster's roster, checked against the pinned id."""
        return await fetch_roster(self._transport, self.trust)

    async def info(self) -> Any:
        """`GET /v1`: version and features, as the gateway tells them."""
        return await self._transport.json("GET", "/v1")

    async def nodes(self) -> Any:
        """`GET /v1/nodes`: connections and the nodes' own verdict tables, as the gateway tells them."""
        return await self._transport.json("GET", "/v1/nodes")
