"""The release of a secret to the workload this process runs in (specs/opaque-secrets.md section 5).

Steps: 1 nonces that attested holders signed; 2 a one-shot key of this process; 3 evidence of this enclave over both;
4 shares sealed to that key, each held against its certified public share; 5 combined, the secret unwrapped, all wiped.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from attestation.canonical import canonical_json
from attestation.envelope import b64url, b64url_decode
from attestation.errors import CodedError
from enclave.certificate import NodeShare
from enclave.errors import AbortError, CallerError
from enclave.group.ed25519 import ED25519
from enclave.secret import Secret
from enclave.secret_wrap import unwrap
from enclave.threshold import reconstruct
from enclave.workload import release_nonce_bytes, release_report_data, released_share_info
from kms.client.caller import Caller
from kms.client.certified import CertifiedKey
from kms.client.errors import VerificationError
from kms.client.partials import SUITE
from kms.client.sender import SenderChecker
from kms.client.signing import request_id_of
from kms.client.verification import member

Quote = Callable[[bytes], "bytes | Awaitable[bytes]"]
"""Evidence of the enclave this process runs in over 64 bytes of report data."""


class Release:
    """One release of one secret."""

    def __init__(self, caller: Caller, sender: SenderChecker, certified: CertifiedKey) -> None:
        self._caller = caller
        self._sender = sender
        self._certified = certified
        self._certificate = certified.certificate
        self._recipient = X25519PrivateKey.generate()

    async def run(self, quote: Quote, collateral: Sequence[bytes]) -> bytearray:
        """The content; raises RequestRefusedError, VerificationError (`verify.nonce`, `verify.share`, ...)."""
        nonces = await self._challenge()
        public = self._recipient.public_key().public_bytes_raw()
        report_data = release_report_data(
            cluster=self._caller.cluster,
            secret=self._certified.key,
            version=self._certificate.version,
            recipient=public,
            nonces=[nonce for _, nonce in nonces],
        )
        made = quote(report_data)
        evidence = await made if inspect.isawaitable(made) else made
        request: dict[str, Any] = {
            "evidence": b64url(evidence),
            "recipient": b64url(public),
            "nonces": [{"slot": slot, "nonce": b64url(nonce)} for slot, nonce in nonces],
        }
        if collateral:
            request["collateral"] = [b64url(blob) for blob in collateral]
        body = canonical_json(request)
        path = f"/v1/secrets/{self._certified.key}/release"
        token = self._caller.token("POST", path, act="secrets.release", resource=self._certified.resource, body=body)
        answer = await self._caller.send("POST", path, token=token, body=body)
        return self._open(answer, request_id_of(token))

    async def _challenge(self) -> list[tuple[str, bytes]]:
        """Step 1."""
        key = self._certified.key
        answer = await self._caller.call(
            "POST",
            f"/v1/secrets/{key}/challenge",
            act="secrets.release",
            resource=self._certified.resource,
            body=b"{}",
        )
        nonces = []
        for item in member(answer, "nonces", list):
            slot, boot = member(item, "slot", str), member(item, "boot_counter", int)
            expires_at = member(item, "expires_at", int)
            try:
                nonce, signature = b64url_decode(item.get("nonce")), b64url_decode(item.get("signature"))
                statement = release_nonce_bytes(
                    cluster=self._caller.cluster,
                    secret=key,
                    version=self._certificate.version,
                    slot=slot,
                    boot_counter=boot,
                    nonce=nonce,
                    expires_at=expires_at,
                )
            except (CodedError, OverflowError):
                raise VerificationError("a nonce does not have its stated form", code="verify.malformed") from None
            if self._certificate.node(slot) is None or not await self._sender.is_of(slot, signature, statement):
                raise VerificationError(f"the nonce of {slot[:64]} is not signed by that node", code="verify.nonce")
            nonces.append((slot, nonce))
        return nonces

    def _open(self, answer: Any, request_id: bytes) -> bytearray:
        """Steps 4 and 5; a share that is not its holder's is passed over while there are enough others."""
        certificate = self._certificate
        try:
            wrapped = b64url_decode(answer.get("wrapped"))
        except CodedError:
            raise VerificationError("the answer lacks the wrapped secret", code="verify.malformed") from None
        if hashlib.sha256(wrapped).digest() != certificate.wrapped_digest:
            raise VerificationError("the wrapped secret is not the certified one", code="verify.secret")
        shares: dict[int, Secret] = {}
        try:
            for item in member(answer, "shares", list):
                node, share = self._open_share(item, request_id)
                if share is not None and node.index not in shares and len(shares) < certificate.shares_needed:
                    shares[node.index] = share
            if len(shares) < certificate.shares_needed:
                raise VerificationError(
                    f"expected true shares of {certificate.shares_needed} nodes, found {len(shares)}",
                    code="verify.share",
                )
            public_shares = {node.index: node.public_share for node in certificate.nodes}
            with reconstruct.joined(
                ED25519, shares=shares, public_key=certificate.public_key, public_shares=public_shares
            ) as scalar:
                return unwrap(
                    scalar,
                    wrapped,
                    cluster=self._caller.cluster,
                    secret=self._certified.key,
                    version=certificate.version,
                )
        finally:
            for share in shares.values():
                share.wipe()

    def _open_share(self, item: Any, request_id: bytes) -> tuple[NodeShare, Secret | None]:
        """The holder by the certificate, and its share if it is true to its public point."""
        slot = member(item, "slot", str)
        node = self._certificate.node(slot)
        if node is None:
            raise VerificationError(f"{slot[:64]} does not hold this secret", code="verify.share")
        info = released_share_info(request_id, self._certified.key, self._certificate.version, slot)
        try:
            share = Secret.take(bytearray(SUITE.decrypt(b64url_decode(item.get("sealed")), self._recipient, info=info)))
            ED25519.scalar_check_secret(share)
            is_true = ED25519.base_mult(share) == node.public_share
        except (InvalidTag, ValueError, AbortError, CallerError, CodedError):
            return node, None
        return node, share if is_true else None
