"""Import of an existing key: verified nodes, a split made here, every holder's word before the key exists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attestation.canonical import canonical_json
from enclave.ids import check_id, check_name, new_id
from enclave.key_order import KeyOrder
from enclave.presentation import PeerStanding
from kms.client.attestor import Attestor
from kms.client.caller import Caller
from kms.client.certified import CertificateChecker, CertifiedKey, certified_key
from kms.client.errors import ConfigurationError, RequestRefusedError, VerificationError
from kms.client.importing.dealing import Dealing
from kms.client.importing.material import KeyMaterial
from kms.client.uploading import holders
from kms.client.verification import member

AGAIN = frozenset({"import.boot", "import.acceptances", "share.unreadable"})
"""Refusals that a node which rebooted between evidence and upload explains."""

ATTEMPTS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedKey:
    """A key as its nodes certified it."""

    certified: CertifiedKey
    missing: tuple[str, ...]
    """Holders that accepted their share and have not been told yet that all did; they are told again by repair."""

    @property
    def key(self) -> str:
        """The key's id."""
        return self.certified.key

    def to_json(self) -> dict[str, Any]:
        """The record for machines."""
        return self.certified.to_json() | {"missing": list(self.missing)}


class KeyImports:
    """The import verb of `client.keys`."""

    def __init__(self, caller: Caller, checker: CertificateChecker, attestor: Attestor | None) -> None:
        self._caller = caller
        self._checker = checker
        self._attestor = attestor

    async def import_key(
        self,
        name: str,
        material: KeyMaterial,
        *,
        spec: str,
        usage: str,
        policy: str,
        custody: str | None = None,
        shares_needed: int | None = None,
        nodes: Sequence[str] | None = None,
        assemblers: Sequence[str] | None = None,
        labels: Mapping[str, str] | None = None,
        exportable: bool = False,
    ) -> ImportedKey:
        """Split `material` here and have its nodes take it in; the certificate says `origin: imported`.

        Raises MaterialError, VerificationError, UnavailableError, RequestRefusedError (`import.duplicate`, ...).
        """
        if self._attestor is None:
            raise ConfigurationError(
                "a key is only sealed to nodes this client verified", hint="do not skip attestation for imports"
            )
        view = await self._attestor.view(again=True)
        standings = holders(view, nodes)
        order: dict[str, Any] = {
            "name": check_name(name),
            "spec": spec,
            "usage": usage,
            "policy": check_id(policy, "pol"),
            "nodes": list(standings),
            "labels": dict(labels or {}),
            "exportable": exportable,
        }
        for member_name, value in (("custody", custody), ("shares_needed", shares_needed)):
            order |= {} if value is None else {member_name: value}
        order |= {} if assemblers is None else {"assemblers": list(assemblers)}
        checked = KeyOrder.parse(canonical_json(order), view.roster)
        cluster = self._caller.cluster
        with Dealing(material, checked, cluster=cluster, key=new_id("key"), now=self._caller.clock()) as dealing:
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    imported = await self._send(dealing, standings)
                except RequestRefusedError as error:
                    if error.code not in AGAIN or attempt == ATTEMPTS:
                        raise
                else:
                    if not imported.missing or attempt == ATTEMPTS:
                        return imported
                standings = holders(await self._attestor.view(again=True), checked.nodes)
        raise AssertionError("the last attempt returns or raises")

    async def _send(self, dealing: Dealing, standings: Mapping[str, PeerStanding]) -> ImportedKey:
        expected = dealing.certificate
        answer = await self._caller.call(
            "POST",
            "/v1/keys/import",
            act="keys.import",
            resource=expected.key,
            body=dealing.sealed(standings).body(),
        )
        certified = await certified_key(
            member(answer, "record", dict),
            key=expected.key,
            checker=self._checker,
            cluster=self._caller.cluster,
            signers_min=expected.shares_needed,
        )
        if certified.certificate != expected:
            raise VerificationError("the nodes certified another key than the imported one", code="verify.order")
        missing = tuple(slot for slot in expected.slots if slot not in certified.signers)
        return ImportedKey(certified=certified, missing=missing)
