"""What a node opened inside its enclave: believed only with the signature of that node's attested identity key.

HPKE to a recipient says nothing about the sender, so without the signature a gateway could answer with a plaintext of
its own.
"""

from __future__ import annotations

from typing import Any

from attestation.envelope import b64url_decode
from attestation.errors import CodedError
from enclave.identity import is_signed
from enclave.wire import opened_bytes
from kms.client.attestor import Attestor
from kms.client.errors import VerificationError
from kms.client.verification import member


class OpenedChecker:
    """Checks who opened; without an attestor (insecure_skip_attestation) only form counts."""

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
        if self._attestor is None:
            return sealed
        view = await self._attestor.view()
        if not is_signed(view.identities.get(opener, b""), signature, statement):
            view = await self._attestor.refresh(view)  # the node may have rebooted since
            if not is_signed(view.identities.get(opener, b""), signature, statement):
                raise VerificationError(f"what was opened is not signed by {opener} as attested", code="verify.opened")
        return sealed
