"""Agents: register, list and revoke (an operator's verbs)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attestation.canonical import canonical_json
from enclave.documents import parse_document
from enclave.ids import check_id, check_name
from enclave.roster import Roster
from enclave.signing_key import PublicKey
from kms.client.caller import Caller
from kms.client.documents import Agent, Documents, next_sequence
from kms.client.errors import RequestRefusedError, VerificationError
from kms.client.verification import member


class Agents:
    """`client.agents`."""

    def __init__(self, caller: Caller, documents: Documents) -> None:
        self._caller = caller
        self._documents = documents

    async def create(
        self, name: str, *, agent: str, keys: Sequence[PublicKey], subjects: Sequence[tuple[str, str]] = ()
    ) -> Agent:
        """Register an agent's public keys (up to 8); what it may do is for policies to say.

        `subjects` are (issuer, subject) pairs of identity providers in the roster that may speak for it.
        """
        document = Agent(
            cluster=self._caller.cluster,
            agent=check_id(agent, "agt"),
            name=check_name(name),
            keys=tuple(keys),
            subjects=tuple(subjects),
            state="active",
            sequence=next_sequence(),
            issued_at=self._caller.clock(),
        )
        await self._documents.sign_and_put(document)
        return document

    async def revoke(self, agent: str, *, roster: Roster) -> Agent:
        """Revoke an agent for good; its name and keys are taken from the document operators signed."""
        known = {item.agent: item for item in await self.list(roster=roster)}
        current = known.get(check_id(agent, "agt"))
        if current is None:
            raise RequestRefusedError(f"no agent {agent}", code="not-found", hint="`kms agents list` shows all agents")
        document = Agent(
            cluster=self._caller.cluster,
            agent=agent,
            name=current.name,
            keys=current.keys,
            subjects=current.subjects,
            state="revoked",
            sequence=max(next_sequence(), current.sequence + 1),
            issued_at=self._caller.clock(),
        )
        await self._documents.sign_and_put(document)
        return document

    async def list(self, *, roster: Roster) -> list[Agent]:
        """All agents; each document's signatures are checked under the roster."""
        answer = await self._caller.call("GET", "/v1/agents", act="agents.list")
        return [_agent(record, roster) for record in member(answer, "agents", list)]


def _agent(record: Any, roster: Roster) -> Agent:
    document = parse_document(canonical_json(member(record, "document", dict)), roster)
    if not isinstance(document, Agent):
        raise VerificationError("a document in the list is not an agent's", code="verify.document")
    return document
