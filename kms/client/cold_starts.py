"""Cold starts from an operator's side: one signature over where every slot stood (specs/rollback.md section 5)."""

from __future__ import annotations

from typing import Any

from attestation.canonical import canonical_json
from enclave.roster import Roster
from enclave.witness.cold_start import ColdStart
from kms.client.caller import Caller


class ColdStarts:
    """The verb of one operator."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def confirm(self, roster: Roster, counters: dict[str, tuple[int, bytes]]) -> dict[str, str]:
        """Sign and hand in; per slot nothing, or the code why it does not go on.  Raises RequestRefusedError."""
        document = ColdStart(cluster=roster.cluster_id, incarnation=roster.incarnation, counters=counters)
        envelope = document.envelope().signed(self._caller.credentials.key.ed25519)
        body = canonical_json({"document": envelope.to_json()})
        answer: Any = await self._caller.call("POST", "/v1/cold-start", act="documents.put", body=body)
        return dict(answer["nodes"])
