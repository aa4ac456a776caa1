"""What nodes seal to this process: believed with the signature of the sender's attested identity key.

HPKE to a recipient says nothing about the sender: without signatures a gateway could answer with a plaintext of its
own, or put the blame for a wrong partial result on a node.
"""

from __future__ import annotations

from typing import Any

from attestation.envelope import b64url_decode
from attestation.errors import CodedError
from enclave.identity import is_signed
from enclave.wire.decrypt import opened_bytes, proven_partial_bytes
from kms.client.attestor import Attestor
from kms.client.errors import VerificationError
from kms.client.verification import member


class SenderChecker:
    """Checks who sealed; without an attestor (insecure_skip_attestation) only form counts."""

    def __init__(self, attestor: Attestor | None, *, cluster: bytes) -> None:
        self._attestor = attestor
        self._cluster = cluster

    async def sealed(self, answer: Any, *, name: str, key: str, opener: str, request_id: bytes, version: int) -> bytes:
        """The bytes in member `name`, once the node that was asked signed them for this request.

        Raises VerificationError (`verify.opened`).
        """
        if member(answer, "opened_by", str) != opener:
            raise VerificationError("another node opened it than the one asked", code="verify.opened")
        boot = member(answer, "boot_counter", int)
        try:
            sealed, signature = b64url_decode(answer.get(name)), b64url_decode(answer.get("signature"))
            statement = opened_bytes(
                cluster=self._cluster,
                request_id=request_id,
                key=key,
                slot=opener,
                boot_counter=boot,
                sealed=sealed,
                target_version=version,
            )
        except (CodedError, OverflowError):
            raise VerificationError("the answer does not have its stated form", code="verify.malformed") from None
        if not await self.is_of(opener, signature, statement):
            raise VerificationError(f"what was opened is not signed by {opener} as attested", code="verify.opened")
        return sealed

    async def check_partial(self, item: Any, *, slot: str, key: str, request_id: bytes) -> None:
        """Raises VerificationError (`verify.partial`) unless `slot` signed the partial result for this request."""
        boot = member(item, "boot_counter", int)
        try:
            statement = proven_partial_bytes(
                cluster=self._cluster,
                request_id=request_id,
                key=key,
                slot=slot,
                boot_counter=boot,
                sealed=b64url_decode(item.get("sealed")),
            )
            signature = b64url_decode(item.get("signature"))
        except (CodedError, OverflowError):
            raise VerificationError("the answer does not have its stated form", code="verify.malformed") from None
        if not await self.is_of(slot, signature, statement):
            raise VerificationError(f"the partial result is not signed by {slot} as attested", code="verify.partial")

    async def is_of(self, slot: str, signature: bytes, statement: bytes) -> bool:
        """Whether the node in `slot` signed; looks at the nodes again once, because it may have rebooted."""
        if self._attestor is None:
            return True
        view = await self._attestor.view()
        if is_signed(view.identities.get(slot, b""), signature, statement):
            return True
        view = await self._attestor.refresh(view)
        return is_signed(view.identities.get(slot, b""), signature, statement)
