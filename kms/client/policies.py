"""Policies: put a new version and read the current one, as its operators signed it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attestation.canonical import canonical_json
from enclave.documents import parse_document
from enclave.ids import check_id, check_name, new_id
from enclave.roster import Roster
from kms.client.caller import Caller
from kms.client.documents import Documents, PolicyDocument
from kms.client.errors import RequestRefusedError, VerificationError
from kms.client.verification import member


class Policies:
    """`client.policies`."""

    def __init__(self, caller: Caller, documents: Documents) -> None:
        self._caller = caller
        self._documents = documents

    async def put(
        self,
        name: str,
        rules: Sequence[Mapping[str, Any]],
        *,
        roster: Roster,
        policy: str | None = None,
        limits: Mapping[str, Any] | None = None,
    ) -> PolicyDocument:
        """A new policy, or the next version of `policy`, signed by the caller alone and handed in.

        `limits` are the members `budgets`, `rate` and `nonce_guard`, as far as wanted.
        """
        document = await self.draft(name, rules, roster=roster, policy=policy, limits=limits)
        await self._documents.sign_and_put(document)
        return document

    async def draft(
        self,
        name: str,
        rules: Sequence[Mapping[str, Any]],
        *,
        roster: Roster,
        policy: str | None = None,
        limits: Mapping[str, Any] | None = None,
    ) -> PolicyDocument:
        """The document `put` would sign, for several operators to sign; versions count from 1."""
        version = 1
        if policy is not None:
            try:
                version = (await self.get(policy, roster=roster)).version + 1
            except RequestRefusedError as error:
                if error.status != 404:
                    raise
        return PolicyDocument(
            cluster=self._caller.cluster,
            policy=check_id(policy, "pol") if policy is not None else new_id("pol"),
            name=check_name(name),
            version=version,
            rules=list(rules),
            issued_at=self._caller.clock(),
            **dict(limits or {}),
        )

    async def get(self, policy: str, *, roster: Roster) -> PolicyDocument:
        """The newest version; its signatures are checked under the roster.

        Raises VerificationError (`verify.resource`) if the gateway sends another policy.
        """
        check_id(policy, "pol")
        answer = await self._caller.call("GET", f"/v1/policies/{policy}", act="policies.get", resource=policy)
        document = parse_document(canonical_json(member(answer, "document", dict)), roster)
        if not isinstance(document, PolicyDocument) or document.policy != policy:
            raise VerificationError(f"asked for {policy}, found another document", code="verify.resource")
        return document

    async def budgets(self, policy: str) -> Any:
        """How far the budgets of a policy are used at each node, as the nodes tell the gateway (informative)."""
        path = f"/v1/budgets/{check_id(policy, 'pol')}"
        return await self._caller.call("GET", path, act="policies.get", resource=policy)
