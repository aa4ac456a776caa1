"""A key split among the nodes that will hold it: dealt once, sealed to the boots that run now, again if one rebooted.

Nothing is sealed to a node whose evidence this client has not verified just now (specs/import-export.md section 3).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType
from typing import Self

from enclave.group import GROUPS
from enclave.imports.possession import prove_possession
from enclave.imports.upload import VERSION, KeyUpload, share_info
from enclave.key_order import KeyOrder
from enclave.key_specs import P256
from enclave.presentation import PeerStanding
from enclave.secret import Secret
from enclave.secret_upload import SealedFor
from enclave.threshold import p256_wrap, shamir
from enclave.threshold.ceremony_kem import SEALED_BYTES, seal
from kms.client.importing.material import CURVE_OF_SPEC, KeyMaterial, MaterialError

CHAIN_CODE_BYTES = 32


class Dealing:
    """A dealt key; a context manager that wipes the shares."""

    def __init__(self, material: KeyMaterial, order: KeyOrder, *, cluster: bytes, key: str, now: int) -> None:
        """Split the key among the order's nodes.  Raises MaterialError (`client.import-curve`)."""
        curve = CURVE_OF_SPEC[order.spec]
        if material.curve is not curve:
            raise MaterialError(
                f"a {order.spec} key is of {curve}, this one is of {material.curve}", code="client.import-curve"
            )
        self._cluster = cluster
        shares, commitments, wrapped = _split(material, order, key)
        self._shares = [shares[index] for index in order.participants]
        draft = KeyUpload(
            key=key,
            order=order,
            commitments=commitments,
            public_key=material.public_key,
            chain_code=material.chain_code or os.urandom(CHAIN_CODE_BYTES),
            created_at=now,
            wrapped=wrapped,
            proof=b"",
            shares=tuple(SealedFor(slot=slot, boot_counter=1, sealed=bytes(SEALED_BYTES)) for slot in order.nodes),
        )
        self._transcript = draft.transcript(cluster)
        proof = prove_possession(order.spec, material.secret, commitments[0], self._transcript)
        self._draft = draft.with_proof(proof)
        self.certificate = draft.certificate(cluster)
        """What the nodes must certify."""

    def sealed(self, standings: Mapping[str, PeerStanding]) -> KeyUpload:
        """The upload with every share sealed to the boot that was verified."""
        shares = []
        for item, share in zip(self._draft.shares, self._shares, strict=True):
            identity = standings[item.slot].identity
            info = share_info(
                self._cluster,
                self._transcript,
                slot=item.slot,
                boot_counter=identity.boot_counter,
                identity_key=identity.identity_key,
            )
            sealed = seal(identity.kem_key, share, info)
            shares.append(SealedFor(slot=item.slot, boot_counter=identity.boot_counter, sealed=sealed))
        return replace(self._draft, shares=tuple(shares))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for share in self._shares:
            share.wipe()


def _split(material: KeyMaterial, order: KeyOrder, key: str) -> tuple[dict[int, Secret], tuple[bytes, ...], bytes]:
    """Shares by index, commitments, and the wrapped key where another scalar is shared in its place."""
    group = GROUPS[order.kind.group]
    if order.spec != P256:
        return *shamir.split(group, material.secret, order.shares_needed, order.participants), b""
    with group.random_scalar() as scalar:
        wrapped = p256_wrap.wrap(scalar, material.secret, key=key, version=VERSION)
        return *shamir.split(group, scalar, order.shares_needed, order.participants), wrapped
