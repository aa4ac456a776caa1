"""A key as its nodes certified it: the only form in which this library hands out a public key or an address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from attestation.errors import CodedError
from enclave.certificate import KeyCertificate, certificate_bytes, certificate_from_json, verify_certificate
from enclave.derived_key import with_derived_key
from enclave.key_addresses import addresses_of
from enclave.key_specs import SHARES_NEEDED_MIN
from enclave.signing_key import PublicKey
from enclave.wire.documents import CertificateSignature
from kms.client.attestor import Attestor
from kms.client.errors import ClientError, UnavailableError, VerificationError
from kms.client.verification import ClusterView, member


@dataclass(frozen=True, slots=True, kw_only=True)
class CertifiedKey:
    """A verified key record; what no node signs (state, labels) is in `informative`."""

    certificate: KeyCertificate
    signers: tuple[str, ...]
    """Slots whose signature verified, at least `shares_needed`."""
    attested: bool
    """Whether the signers' evidence was verified (False only after insecure_skip_attestation)."""
    informative: dict[str, Any]
    """`state` and `labels` as the gateway tells them."""

    @property
    def key(self) -> str:
        """The key's id."""
        return str(self.certificate.key)

    @property
    def resource(self) -> str:
        """What a token for this key names."""
        return f"{self.key}/{self.certificate.version}"

    @property
    def public_key(self) -> bytes:
        """32 bytes (Ed25519, X25519) or 33 (secp256k1, compressed)."""
        return self.certificate.public_key

    @property
    def addresses(self) -> dict[str, str]:
        """Chain -> address, computed here from the certified public key."""
        return addresses_of(self.certificate.usage, self.certificate.spec, self.certificate.public_key)

    def to_json(self) -> dict[str, Any]:
        """The record for machines; bytes in hex."""
        certificate = self.certificate
        return {
            "key": self.key,
            "version": certificate.version,
            "name": certificate.name,
            "spec": str(certificate.spec),
            "usage": str(certificate.usage),
            "custody": str(certificate.custody),
            "state": self.informative.get("state"),
            "public_key": self.public_key.hex(),
            "addresses": self.addresses,
            "policy": certificate.policy,
            "shares_needed": certificate.shares_needed,
            "signing_quorum": certificate.signing_quorum,
            "privacy_threshold": certificate.privacy_threshold,
            "nodes": [node.slot for node in certificate.nodes],
            "assemblers": list(certificate.assemblers),
            "epoch": certificate.epoch,
            "activated_at": certificate.activated_at,
            "origin": str(certificate.origin),
            "exportable": certificate.exportable,
            "labels": self.informative.get("labels") or {},
            "certified_by": list(self.signers),
            "attested": self.attested,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedCertificate:
    """A certificate nobody has checked yet, with what the reader knows about the key."""

    body: bytes
    signatures: Sequence[CertificateSignature]
    cluster: bytes
    signers_min: int
    """Signatures needed at least: a body states its own T, and two corrupt nodes could state a lower one."""

    def verified(self, identities: Mapping[str, bytes]) -> tuple[KeyCertificate, tuple[str, ...]]:
        """The certificate under these identity keys, and which slots signed it; raises PeerError."""
        certificate = verify_certificate(
            self.body,
            self.signatures,
            identities=identities,
            cluster=self.cluster,
            signers_min=self.signers_min,
        )
        certificate = with_derived_key(certificate, self.signatures, identities)
        message = certificate_bytes(self.body)
        signed = {item.slot for item in self.signatures if _signed(identities.get(item.slot), message, item.signature)}
        return certificate, tuple(sorted(signed & set(certificate.slots)))


class CertificateChecker(Protocol):
    """Decides whether a certificate counts."""

    attested: bool

    async def check(self, offered: OfferedCertificate) -> tuple[KeyCertificate, tuple[str, ...]]:
        """The certificate and who signed it; raises VerificationError."""
        ...


class AttestedChecker:
    """A certificate counts with signatures of enough nodes whose evidence this client verified itself."""

    attested = True

    def __init__(self, attestor: Attestor) -> None:
        self._attestor = attestor

    async def check(self, offered: OfferedCertificate) -> tuple[KeyCertificate, tuple[str, ...]]:
        """Verify; looks at the nodes again once if that may help, because identity keys change at each boot."""
        view = await self._attestor.view()
        try:
            return offered.verified(view.identities)
        except CodedError:
            view = await self._attestor.refresh(view)
        try:
            return offered.verified(view.identities)
        except CodedError as error:
            raise _untrusted(error, view) from None


class UncheckedChecker:
    """Takes identity keys as the gateway tells them (insecure_skip_attestation): only form and consistency count."""

    attested = False

    async def check(self, offered: OfferedCertificate) -> tuple[KeyCertificate, tuple[str, ...]]:
        """Verify the signatures under whatever keys came with them."""
        told = {signature.slot: signature.identity_key for signature in offered.signatures}
        try:
            return offered.verified(told)
        except CodedError as error:
            raise _untrusted(error, None) from None


async def certified_key(
    record: Any,
    *,
    key: str | None,
    checker: CertificateChecker,
    cluster: bytes,
    signers_min: int = SHARES_NEEDED_MIN,
) -> CertifiedKey:
    """The verified form of a key record the gateway sent; `key` is the id that was asked for.

    Raises VerificationError: `verify.certificate`, `verify.resource`, `verify.public-key`,
    `verify.address`, `verify.record`.
    """
    body, signatures = _read(member(record, "certificate", dict))
    certificate, signers = await checker.check(
        OfferedCertificate(body=body, signatures=signatures, cluster=cluster, signers_min=signers_min)
    )
    if key is not None and certificate.key != key:
        raise VerificationError(f"asked for {key}, the certificate is of {certificate.key}", code="verify.resource")
    certified = CertifiedKey(
        certificate=certificate,
        signers=signers,
        attested=checker.attested,
        informative=_informative(record),
    )
    _compare(record, certified)
    return certified


def _informative(record: dict[str, Any]) -> dict[str, Any]:
    """What only the gateway says; its form is checked, because people's terminals and programs read it."""
    state, labels = record.get("state"), record.get("labels", {})
    if state not in (None, "enabled", "disabled") or not isinstance(labels, dict):
        raise VerificationError("state or labels do not have their stated form", code="verify.malformed")
    if not all(isinstance(text, str) and text.isprintable() for pair in labels.items() for text in pair):
        raise VerificationError("labels do not have their stated form", code="verify.malformed")
    return {"state": state, "labels": labels}


def _compare(record: dict[str, Any], certified: CertifiedKey) -> None:
    """Whatever the gateway says beside the certificate must agree with it; silence is fine."""
    certificate = certified.certificate
    proven = certified.to_json()
    told_key = record.get("public_key")
    if told_key is not None and told_key != certificate.public_key.hex():
        raise VerificationError("the public key is not the certified one", code="verify.public-key")
    addresses = record.get("addresses", {})
    if not isinstance(addresses, dict):
        raise VerificationError("the addresses do not have their stated form", code="verify.malformed")
    for chain, address in addresses.items():
        if proven["addresses"].get(chain) != address:
            raise VerificationError(f"the {chain} address is not that of the certified key", code="verify.address")
    for name in ("key", "policy", "name", "version", "spec", "usage", "custody", "shares_needed",
                 "signing_quorum", "privacy_threshold", "nodes", "assemblers", "epoch", "activated_at", "origin",
                 "exportable"):  # fmt: skip
        if name in record and record[name] != proven[name]:
            raise VerificationError(f"the {name} is not the certified one", code="verify.record")


def _read(offered: dict[str, Any]) -> tuple[bytes, tuple[CertificateSignature, ...]]:
    try:
        return certificate_from_json(offered)
    except CodedError as error:
        raise VerificationError(f"key certificate: {error.detail}", code="verify.malformed") from None


def _signed(identity_key: bytes | None, message: bytes, signature: bytes) -> bool:
    return identity_key is not None and PublicKey(algorithm="EdDSA", key=identity_key).verify(message, signature)


def _untrusted(error: CodedError, view: ClusterView | None) -> ClientError:
    """Not enough signatures count: a lie, or nodes this client could not verify just now."""
    away = [check for check in view.nodes.values() if check.error is not None] if view is not None else []
    if error.code != "certificate.signatures" or not away:
        return VerificationError(f"key certificate: {error.detail}", code="verify.certificate")
    reasons = ", ".join(f"{check.slot} {check.error.code}" for check in away if check.error is not None)
    detail = f"key certificate: {error.detail}; not verified: {reasons}"
    hint = "`kms nodes attest` shows what failed at each node"
    if all(getattr(check.error, "unavailable", False) for check in away):
        return UnavailableError(detail, code="unavailable.nodes", hint=hint)
    return VerificationError(detail, code="verify.certificate", hint=hint)
