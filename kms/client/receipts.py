"""Receipts: what proves later, to anybody, what the nodes decided on one request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from attestation.envelope import b64url_decode
from attestation.receipts.document import RECEIPT_BYTES_MAX
from attestation.receipts.exported import entry_line, header_line
from attestation.receipts.judge import ReceiptVerdict, judge
from attestation.receipts.reading import hexadecimal
from attestation.roots import Roots
from attestation.verdict import Result
from kms.client.caller import Caller
from kms.client.errors import RequestRefusedError, UnavailableError, VerificationError
from kms.client.trust import TrustAnchors
from kms.client.verification import member

WAIT_S = 30.0
"""How long `get` waits for the nodes' peers to countersign: three heartbeats take six seconds."""

FETCHED_S = 5.0
"""How long a request may be unknown: a gateway fetches the nodes' logs every second."""

PAUSE_S = 1.0
PAGE_SIZE = 1000
"""Log entries asked for at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A verified receipt: the file to keep, and what it proves."""

    data: bytes
    verdict: ReceiptVerdict


class Receipts:
    """`client.receipts`."""

    def __init__(self, caller: Caller, trust: TrustAnchors) -> None:
        self._caller = caller
        self._trust = trust

    async def get(self, request_id: str, *, wait_s: float = WAIT_S, message: bytes | None = None) -> Receipt:
        """The receipt of a request by its id (`request_id` of a signature) or its operation's, verified here.

        `message` is what was signed, checked against what the nodes committed to.  Raises VerificationError if the
        receipt does not prove what it says, RequestRefusedError (`receipt.unknown`), UnavailableError
        (`receipt.pending` after `wait_s` seconds).
        """
        data = await self._fetch(request_id, wait_s)
        verdict = self.verify(data, message=message)
        if verdict.result is not Result.TRUSTED:
            failed = next(step for step in verdict.steps if step.code is not None)
            raise VerificationError(failed.reason or failed.name, code=failed.code)
        if not request_id.startswith("op_") and verdict.facts["request_id"] != request_id:
            raise VerificationError("the receipt is of another request", code="receipt.request")
        return Receipt(data=data, verdict=verdict)

    def verify(self, data: bytes, *, message: bytes | None = None) -> ReceiptVerdict:
        """The verdict on a receipt of this cluster; needs no connection."""
        simulated = self._trust.simulated_roots
        roots = Roots.of(simulated) if simulated else Roots.production()
        return judge(data, cluster=self._trust.cluster_id, roots=roots, message=message)

    async def log(self, slot: str, *, boot_counter: int | None = None) -> AsyncIterator[bytes]:
        """A node's whole log as the lines of an export (specs/receipts.md section 8), for auditors."""
        query = {"slot": slot} | ({"boot": str(boot_counter)} if boot_counter is not None else {})
        head = await self._page("checkpoint", query)
        boot, size = member(head, "boot_counter", int), member(head, "size", int)
        yield header_line(slot, boot, member(head, "note", str).encode())
        query, start = {"slot": slot, "boot": str(boot)}, 0
        while start < size:
            page = await self._page("entries", query | {"start": str(start), "limit": str(PAGE_SIZE)})
            listed = member(page, "entries", list)
            for item in listed[: size - start]:
                number, digest = member(item, "index", int), hexadecimal(member(item, "hash", str), "hash")
                content = b64url_decode(item["entry"]) if item.get("entry") is not None else None
                yield entry_line(number, content, digest)
            start += len(listed)
            if not listed:
                raise VerificationError("the gateway does not have the log up to its head", code="log.not-stored")

    async def _page(self, name: str, query: dict[str, str]) -> object:
        answer: object = await self._caller.call("GET", f"/v1/log/{name}", act="audit.read", query=query)
        return answer

    async def _fetch(self, request_id: str, wait_s: float) -> bytes:
        path = f"/v1/receipts/{request_id}"
        started = asyncio.get_running_loop().time()
        deadline, unknown_until = started + wait_s, started + min(wait_s, FETCHED_S)
        while True:
            token = self._caller.token("GET", path, act="receipts.get", resource=request_id)
            try:
                return await self._caller.transport.send("GET", path, token=token, bytes_max=RECEIPT_BYTES_MAX)
            except UnavailableError as error:
                if error.code != "receipt.pending" or asyncio.get_running_loop().time() > deadline:
                    raise
            except RequestRefusedError as error:
                if error.code != "receipt.unknown" or asyncio.get_running_loop().time() > unknown_until:
                    raise
            await asyncio.sleep(PAUSE_S)
