"""Export of an exportable key to this process: shares sealed to a one-shot key, combined and checked in the arena.

Steps (specs/import-export.md section 6): 1 a one-shot key; 2 sealed shares of the nodes that agree, each held against
its certified public share; 3 combined, the result held against the certified public key; 4 written encrypted.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from attestation.envelope import b64url_decode
from attestation.errors import CodedError
from enclave.certificate import KeyCertificate, NodeShare
from enclave.errors import AbortError, CallerError, PeerError
from enclave.group import GROUPS
from enclave.imports.scalars import x25519_private
from enclave.key_specs import P256
from enclave.payload.export import ExportBody, exported_share_info
from enclave.secret import Secret
from enclave.threshold import p256, p256_wrap, reconstruct
from kms.client.caller import Caller
from kms.client.certified import CertifiedKey
from kms.client.errors import VerificationError
from kms.client.importing.material import CURVE_OF_SPEC, Curve
from kms.client.partials import SUITE
from kms.client.verification import member


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExportedKey:
    """A whole private key in this process; a context manager that wipes it."""

    certificate: KeyCertificate
    secret: Secret
    """The key in its usual encoding; of an Ed25519 key the bare scalar, because no seed exists."""

    @property
    def curve(self) -> Curve:
        """The key's curve."""
        return CURVE_OF_SPEC[self.certificate.spec]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.secret.wipe()


class KeyExport:
    """One export of one key."""

    def __init__(self, caller: Caller, certified: CertifiedKey) -> None:
        self._caller = caller
        self._certified = certified
        self._certificate = certified.certificate
        self._recipient = X25519PrivateKey.generate()

    async def run(self) -> ExportedKey:
        """The key; raises RequestRefusedError (`export.not-exportable`, `policy.denied`), VerificationError."""
        key = self._certified.key
        body = ExportBody(recipient=self._recipient.public_key().public_bytes_raw()).body()
        path = f"/v1/keys/{key}/export"
        token = self._caller.token("POST", path, act="keys.export", resource=self._certified.resource, body=body)
        answer = await self._caller.send("POST", path, token=token, body=body)
        # The request id: tokens made here have one spelling.
        return self._open(answer, hashlib.sha256(token.encode("ascii")).digest())

    def _open(self, answer: Any, request_id: bytes) -> ExportedKey:
        """Steps 2 and 3; a share that is not its holder's is passed over while there are enough others."""
        certificate = self._certificate
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
            return ExportedKey(certificate=certificate, secret=self._joined(shares, answer))
        except (AbortError, PeerError, CallerError) as error:
            raise VerificationError(
                f"the shares do not make the certified key: {error.detail}", code="verify.share"
            ) from None
        finally:
            for share in shares.values():
                share.wipe()

    def _joined(self, shares: dict[int, Secret], answer: Any) -> Secret:
        certificate = self._certificate
        group = GROUPS[certificate.kind.group]
        point = certificate.group_key or certificate.public_key
        public_shares = {node.index: node.public_share for node in certificate.nodes}
        with reconstruct.joined(group, shares=shares, public_key=point, public_shares=public_shares) as scalar:
            if certificate.spec == "hpke-x25519":
                return x25519_private(scalar, certificate.public_key)
            if certificate.spec != P256:
                return scalar.duplicate()
            private = self._p256(scalar, answer)
        if p256.public_of(private) != certificate.public_key:
            private.wipe()
            raise AbortError("the private key is not that of the certified public key")
        return private

    def _p256(self, scalar: Secret, answer: Any) -> Secret:
        certificate = self._certificate
        if certificate.wrapped_digest is None:
            return p256.private_of(scalar, key=certificate.key, version=certificate.version)
        try:
            wrapped = b64url_decode(answer.get("wrapped"))
        except CodedError:
            wrapped = b""
        if hashlib.sha256(wrapped).digest() != certificate.wrapped_digest:
            raise VerificationError("the wrapped key is not the certified one", code="verify.secret")
        return p256_wrap.unwrap(scalar, wrapped, key=certificate.key, version=certificate.version)

    def _open_share(self, item: Any, request_id: bytes) -> tuple[NodeShare, Secret | None]:
        """The holder by the certificate, and its share if it is true to its public point."""
        certificate, slot = self._certificate, member(item, "slot", str)
        node = certificate.node(slot)
        if node is None:
            raise VerificationError(f"{slot[:64]} does not hold this key", code="verify.share")
        group = GROUPS[certificate.kind.group]
        info = exported_share_info(request_id, certificate.key, certificate.version, certificate.epoch, slot)
        try:
            share = Secret.take(bytearray(SUITE.decrypt(b64url_decode(item.get("sealed")), self._recipient, info=info)))
            group.scalar_check_secret(share)
            is_true = group.base_mult(share) == node.public_share
        except (InvalidTag, ValueError, AbortError, CallerError, CodedError):
            return node, None
        return node, share if is_true else None
