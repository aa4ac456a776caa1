"""Opaque secrets: sealed on this machine and shared among verified nodes; what is released goes to workloads only.

A fresh uniform scalar encrypts the secret and is split here with Feldman commitments; each share is sealed to the KEM
key of one node whose evidence this client verified (specs/opaque-secrets.md section 3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from enclave.errors import CallerError
from enclave.ids import check_id, check_name, new_id
from enclave.presentation import PeerStanding
from enclave.secret_upload import PLAINTEXT_BYTES_MAX
from kms.client.attestor import Attestor
from kms.client.caller import Caller
from kms.client.certified import CertificateChecker, CertifiedKey, certified_key
from kms.client.errors import ConfigurationError, VerificationError
from kms.client.release import Quote, Release
from kms.client.sender import SenderChecker
from kms.client.uploading import Upload, holders
from kms.client.verification import member


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSecret:
    """A secret as its nodes certified it."""

    certified: CertifiedKey
    missing: tuple[str, ...] = ()
    """Slots that have not taken their share: one more loss is one less to spare."""

    @property
    def secret(self) -> str:
        """The secret's id."""
        return self.certified.key

    def to_json(self) -> dict[str, Any]:
        """The record for machines."""
        digest = self.certified.certificate.wrapped_digest or b""
        return self.certified.to_json() | {"wrapped_digest": digest.hex(), "missing": list(self.missing)}


class Secrets:
    """`client.secrets`."""

    def __init__(
        self, caller: Caller, checker: CertificateChecker, attestor: Attestor | None, sender: SenderChecker
    ) -> None:
        self._caller = caller
        self._checker = checker
        self._attestor = attestor
        self._sender = sender

    async def put(
        self,
        name: str,
        content: bytes | bytearray,
        *,
        policy: str,
        nodes: Sequence[str] | None = None,
        shares_needed: int = 3,
    ) -> StoredSecret:
        """Seal `content` (1 byte to 64 KiB) here and upload it; nothing but this process ever sees it.

        `nodes` default to every node of the roster, and each of them must be verified and take its share for the
        result to have none missing.  Raises VerificationError, UnavailableError, RequestRefusedError.
        """
        if not 0 < len(content) <= PLAINTEXT_BYTES_MAX:
            raise CallerError(f"a secret has 1 to {PLAINTEXT_BYTES_MAX} bytes", code="secret.too-large")
        if self._attestor is None:
            raise ConfigurationError(
                "secrets are sealed to nodes this client verified", hint="do not skip attestation for uploads"
            )
        standings = holders(await self._attestor.view(again=True), nodes)
        secret = new_id("sec")
        with Upload(
            content,
            list(standings),
            cluster=self._caller.cluster,
            secret=secret,
            name=check_name(name),
            policy=check_id(policy, "pol"),
            shares_needed=shares_needed,
            now=self._caller.clock(),
        ) as upload:
            stored = await self._send(upload, standings)
            if stored.missing:
                # A node may have rebooted between evidence and upload: seal to what runs now, the same secret.
                standings = holders(await self._attestor.view(again=True), nodes)
                stored = await self._send(upload, standings)
        return stored

    async def _send(self, upload: Upload, standings: Mapping[str, PeerStanding]) -> StoredSecret:
        certificate = upload.certificate
        answer = await self._caller.call(
            "PUT",
            f"/v1/secrets/{certificate.key}",
            act="secrets.put",
            resource=certificate.key,
            body=upload.sealed(standings).body(),
        )
        certified = await self._verify(
            member(answer, "record", dict), certificate.key, signers_min=certificate.shares_needed
        )
        if certified.certificate != certificate:
            raise VerificationError("the nodes certified another secret than the uploaded one", code="verify.order")
        missing = tuple(slot for slot in standings if slot not in certified.signers)
        return StoredSecret(certified=certified, missing=missing)

    async def get(self, secret: str) -> StoredSecret:
        """The secret's verified record; its content is only released to workloads."""
        check_id(secret, "sec")
        answer = await self._caller.call("GET", f"/v1/secrets/{secret}", act="secrets.get", resource=secret)
        return StoredSecret(certified=await self._verify(answer, secret))

    async def list(self) -> list[StoredSecret]:
        """Every secret this principal may see, each verified."""
        found: list[StoredSecret] = []
        cursor = "sec_"
        while True:
            answer = await self._caller.call("GET", "/v1/secrets", act="secrets.get", query={"cursor": cursor})
            records = member(answer, "secrets", list)
            found += [StoredSecret(certified=await self._verify(record, None)) for record in records]
            following = answer.get("next_cursor")
            if following is None:
                return found
            if not isinstance(following, str) or not following > cursor:
                raise VerificationError("the next page does not lie after this one", code="verify.malformed")
            cursor = following

    async def release(self, secret: str, quote: Quote, *, collateral: Sequence[bytes] = ()) -> bytearray:
        """The content, inside the workload whose enclave `quote` asks for evidence; overwrite it after use.

        `collateral` are certificates of this platform that the cluster may lack (an AMD machine's own).  Raises
        RequestRefusedError where a node or the policy does not accept the workload, VerificationError.
        """
        stored = await self.get(secret)
        return await Release(self._caller, self._sender, stored.certified).run(quote, collateral)

    async def _verify(self, record: Any, secret: str | None, *, signers_min: int = 2) -> CertifiedKey:
        certified = await certified_key(
            record, key=secret, checker=self._checker, cluster=self._caller.cluster, signers_min=signers_min
        )
        if certified.certificate.wrapped_digest is None:
            raise VerificationError("the certificate is of a key, not of a secret", code="verify.resource")
        return certified
