"""Approvers: register, list and revoke (an operator's verbs)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from attestation.canonical import canonical_json
from enclave.approvals.approver import Approver
from enclave.documents import parse_document
from enclave.ids import check_id, check_name
from enclave.roster import Roster
from enclave.signing_key import PublicKey
from kms.client.caller import Caller
from kms.client.documents import Documents, next_sequence
from kms.client.errors import RequestRefusedError, VerificationError
from kms.client.verification import member


class Approvers:
    """`client.approvers`."""

    def __init__(self, caller: Caller, documents: Documents) -> None:
        self._caller = caller
        self._documents = documents

    def draft(self, name: str, *, approver: str, groups: Sequence[str], keys: Sequence[PublicKey]) -> Approver:
        """The registration, for as many operators to sign as change policies (`client.documents`)."""
        return Approver(
            cluster=self._caller.cluster,
            approver=check_id(approver, "apr"),
            name=check_name(name),
            groups=tuple(check_name(group) for group in groups),
            keys=tuple(keys),
            state="active",
            sequence=next_sequence(),
            issued_at=self._caller.clock(),
        )

    async def create(self, name: str, *, approver: str, groups: Sequence[str], keys: Sequence[PublicKey]) -> Approver:
        """Register an approver's public keys (1 to 8) and groups, signed by the caller alone."""
        document = self.draft(name, approver=approver, groups=groups, keys=keys)
        await self._documents.sign_and_put(document)
        return document

    async def revoke(self, approver: str, *, roster: Roster) -> Approver:
        """Revoke an approver for good, also what waits already with their approval."""
        known = {item.approver: item for item in await self.list(roster=roster)}
        current = known.get(check_id(approver, "apr"))
        if current is None:
            raise RequestRefusedError(
                f"no approver {approver}", code="not-found", hint="`kms approvers list` shows all"
            )
        document = replace(
            current,
            state="revoked",
            sequence=max(next_sequence(), current.sequence + 1),
            issued_at=self._caller.clock(),
            digest=b"",
        )
        await self._documents.sign_and_put(document)
        return document

    async def list(self, *, roster: Roster) -> list[Approver]:
        """All approvers with documents; each one's signatures are checked under the roster."""
        answer = await self._caller.call("GET", "/v1/approvers", act="agents.list")
        return [_approver(record, roster) for record in member(answer, "approvers", list)]


def _approver(record: Any, roster: Roster) -> Approver:
    document = parse_document(canonical_json(member(record, "document", dict)), roster)
    if not isinstance(document, Approver):
        raise VerificationError("a document in the list is not an approver's", code="verify.document")
    return document
