"""Agents: register, list, change their keys and revoke (verbs of registrars and administrators)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from attestation.canonical import canonical_json
from enclave.documents import parse_document
from enclave.errors import CallerError
from enclave.ids import check_id, check_name
from enclave.roster import Roster
from enclave.signing_key import PublicKey
from kms.client.caller import Caller
from kms.client.documents import Agent, Documents, next_sequence
from kms.client.errors import RequestRefusedError, VerificationError
from kms.client.verification import member

KEYS_MAX = 8
"""Most keys of an agent (specs/control-documents.md)."""


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
        return await self._continue(await self.get(agent, roster=roster), state="revoked")

    async def get(self, agent: str, *, roster: Roster) -> Agent:
        """One agent's newest document, its signatures checked under the roster; RequestRefusedError (`not-found`)."""
        known = {item.agent: item for item in await self.list(roster=roster)}
        current = known.get(check_id(agent, "agt"))
        if current is None:
            raise RequestRefusedError(f"no agent {agent}", code="not-found", hint="`kms agents list` shows all agents")
        return current

    async def add_key(self, agent: str, key: PublicKey, *, roster: Roster) -> Agent:
        """Let another key speak for the agent, beside those it has; raises CallerError (`agent.keys`).

        The other keys come from the document that the gateway shows: an older one, signed as truly, could bring a
        removed key back.  Look at the result; what must never count again is taken back (`restrictions`).
        """
        current = await self.get(agent, roster=roster)
        others = tuple(one for one in current.keys if one.kid != key.kid)
        if len(others) >= KEYS_MAX:
            raise CallerError(f"an agent has at most {KEYS_MAX} keys", code="agent.keys", hint="remove one first")
        return await self._continue(current, keys=(*others, key))

    async def remove_key(self, agent: str, kid: str, *, roster: Roster) -> Agent:
        """The agent without the key of this id, which no request counts with from then on.

        Raises CallerError (`agent.keys`) if it has no such key, or would have neither keys nor an identity provider.
        """
        current = await self.get(agent, roster=roster)
        left = tuple(one for one in current.keys if one.kid != kid)
        if len(left) == len(current.keys):
            known = ", ".join(one.kid for one in current.keys) or "none"
            raise CallerError("the agent has no key of that id", code="agent.keys", hint=f"it has {known}")
        if not left and not current.subjects:
            raise CallerError(
                "that is the agent's only key", code="agent.keys", hint="add another first, or revoke the agent"
            )
        return await self._continue(current, keys=left)

    async def _continue(self, current: Agent, **changes: Any) -> Agent:
        """Sign and hand in the document that follows."""
        fresh: dict[str, Any] = {
            "sequence": max(next_sequence(), current.sequence + 1),
            "issued_at": self._caller.clock(),
            "digest": b"",
        }
        document = replace(current, **(fresh | changes))
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
