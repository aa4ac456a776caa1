"""Intel's documents for one platform: what is asked for, and what must hold before one is kept.

1 root CRL: signed by the root, current · 2 PCK CRL: issuer chain to the root, issuer not revoked, current ·
3 TCB info and 4 enclave identity: signed by a TCB signer that the root issued and did not revoke,
for this platform, current.  API: Intel PCS version 4.
"""

from __future__ import annotations

import dataclasses
import json
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric import ec

from attestation.collateral import Collateral
from attestation.collateral_items import CrlItem, IdentityItem, Item, TcbInfoItem, read_blob
from attestation.errors import CollateralError
from attestation.fetch.endpoints import ROOT_CRL_PATHS
from attestation.fetch.http import Response
from attestation.fetch.keeper import Keeper
from attestation.fetch.source import Wanted
from attestation.fetch.subject import IntelSubject
from attestation.intel import collateral_check, qe_identity, tcb_info
from attestation.intel.pck import ISSUER_NAMES, p256_key
from attestation.pem import encode_certificate, split_blocks
from attestation.roots import TrustAnchor
from attestation.x509 import Certificate, check_critical_extensions, check_issued, parse_certificate

Kind = TypeVar("Kind", CrlItem, TcbInfoItem, IdentityItem)

CHAIN_BYTES_MAX = 32 * 1024
"""An issuer chain in a header: Intel's have 5 kB when URL-encoded."""

_CHAIN_HEADERS = (
    "tcb-info-issuer-chain",
    "sgx-tcb-info-issuer-chain",
    "sgx-enclave-identity-issuer-chain",
    "sgx-pck-crl-issuer-chain",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class IntelDocuments:
    """Everything one platform needs, verified."""

    root_crl: CrlItem
    pck_crl: CrlItem
    tcb_info: TcbInfoItem
    identity: IdentityItem

    @property
    def items(self) -> tuple[CrlItem | TcbInfoItem | IdentityItem, ...]:
        """In the order they were verified."""
        return (self.root_crl, self.pck_crl, self.tcb_info, self.identity)


@dataclass(frozen=True, slots=True, kw_only=True)
class IntelJudge:
    """The checks, under one trusted root and one time."""

    root: Certificate
    root_key: ec.EllipticCurvePublicKey
    now: int

    @classmethod
    def of(cls, anchor: TrustAnchor, now: int) -> IntelJudge:
        """A judge that trusts this root."""
        root = parse_certificate(anchor.der)
        return cls(root=root, root_key=p256_key(root), now=now)

    def root_crl(self, answer: Response) -> CrlItem:
        """The root's list; raises AttestationError."""
        item = _only(_crl_items(answer.body), CrlItem, "a revocation list")
        collateral_check.check_list_signature(item, self.root, self.root_key)
        collateral_check.check_current(item, self.now)
        collateral_check.check_not_revoked(item, self.root)
        return item

    def pck_crl(self, answer: Response, authority: str, root_crl: CrlItem) -> CrlItem:
        """The list of the PCK authority, with the chain it came with; raises AttestationError."""
        chain = _chain(answer)
        issuer = chain[0]
        if ISSUER_NAMES.get(issuer.common_name) != authority:
            raise CollateralError(f"expected the {authority} CA's list, found {issuer.common_name!r}")
        check_issued(issuer, self.root, self.root_key, cas_below=1, now=self.now)
        check_critical_extensions(issuer)
        collateral_check.check_not_revoked(root_crl, issuer)
        item = dataclasses.replace(_only(_crl_items(answer.body), CrlItem, "a revocation list"), chain=chain)
        collateral_check.check_list_signature(item, issuer, p256_key(issuer))
        collateral_check.check_current(item, self.now)
        return item

    def tcb_info(self, answer: Response, subject: IntelSubject, root_crl: CrlItem) -> TcbInfoItem:
        """The TCB info of this platform family; raises AttestationError."""
        found = _only(read_blob(answer.body), TcbInfoItem, "TCB info")
        item = dataclasses.replace(found, chain=_chain(answer))
        collateral_check.check_signer(item, "TCB info", Collateral(), self, root_crl, self.now)
        tcb_info.check_applies(item.info, tee=subject.tee, fmspc=subject.fmspc, pce_id=item.info.pce_id, now=self.now)
        return item

    def identity(self, answer: Response, subject: IntelSubject, root_crl: CrlItem) -> IdentityItem:
        """The identity of the quoting enclave; raises AttestationError."""
        found = _only(read_blob(answer.body), IdentityItem, "an enclave identity")
        item = dataclasses.replace(found, chain=_chain(answer))
        collateral_check.check_signer(item, "enclave identity", Collateral(), self, root_crl, self.now)
        qe_identity.check_applies(item.identity, tee=subject.tee, now=self.now)
        return item


def fetch_intel(
    subject: IntelSubject, keeper: Keeper, anchor: TrustAnchor, held: Collateral, now: int, *, early: bool = False
) -> IntelDocuments:
    """The four documents under this root, each the newest of held and fetched; raises FetchError.

    `early` asks for what Intel will require next, where it publishes that in advance.
    """
    judge = IntelJudge.of(anchor, now)
    lists = [_as_answer(item) for item in held.crls]
    root_crl = keeper.newest(Wanted(name="root CRL", vendor="intel", paths=ROOT_CRL_PATHS), judge.root_crl, lists)
    pck_crl = keeper.newest(
        _wanted(
            f"PCK CRL ({subject.authority})",
            f"/sgx/certification/v4/pckcrl?ca={subject.authority}&encoding=der",
        ),
        lambda answer: judge.pck_crl(answer, subject.authority, root_crl),
        lists,
    )
    kind = subject.tee.value
    update = "update=early" if early else ""
    info = keeper.newest(
        _wanted(
            f"TCB info ({kind} {subject.fmspc.hex()})",
            f"/{kind}/certification/v4/tcb?fmspc={subject.fmspc.hex().upper()}{update and '&' + update}",
        ),
        lambda answer: judge.tcb_info(answer, subject, root_crl),
        [_as_answer(item) for item in held.tcb_infos],
    )
    identity = keeper.newest(
        _wanted(f"enclave identity ({kind})", f"/{kind}/certification/v4/qe/identity{update and '?' + update}"),
        lambda answer: judge.identity(answer, subject, root_crl),
        [_as_answer(item) for item in held.identities],
    )
    return IntelDocuments(root_crl=root_crl, pck_crl=pck_crl, tcb_info=info, identity=identity)


def bundle(documents: IntelDocuments) -> bytes:
    """The documents as one `QuoteCollateralV3` file."""
    info, identity, pck_crl = documents.tcb_info, documents.identity, documents.pck_crl
    members = {
        "pck_crl_issuer_chain": _pem(pck_crl.chain),
        "root_ca_crl": documents.root_crl.crl.der.hex(),
        "pck_crl": pck_crl.crl.der.hex(),
        "tcb_info_issuer_chain": _pem(info.chain),
        "tcb_info": info.body.decode(),
        "tcb_info_signature": info.signature.hex(),
        "qe_identity_issuer_chain": _pem(identity.chain),
        "qe_identity": identity.body.decode(),
        "qe_identity_signature": identity.signature.hex(),
    }
    return json.dumps(members, indent=1).encode() + b"\n"


def _wanted(name: str, path: str) -> Wanted:
    return Wanted(name=name, vendor="intel", paths=(path,))


def _as_answer(item: CrlItem | TcbInfoItem | IdentityItem) -> Response:
    """A held document in the form it once arrived in, so that it passes the same checks as a fetched one."""
    headers = {} if item.chain is None else {_CHAIN_HEADERS[0]: urllib.parse.quote(_pem(item.chain))}
    return Response(status=200, headers=headers, body=dataclasses.replace(item, chain=None).blob())


def _chain(answer: Response) -> tuple[Certificate, ...]:
    """The issuer chain from the answer's headers: URL-encoded PEM, signer first."""
    text = next((answer.headers[name] for name in _CHAIN_HEADERS if name in answer.headers), "")
    if not text or len(text) > CHAIN_BYTES_MAX:
        raise CollateralError("expected an issuer chain with the document", code="collateral.signer")
    # unquote_to_bytes leaves "+" alone, which base64 needs; some services write a space as "+" before "CERTIFICATE".
    decoded = urllib.parse.unquote_to_bytes(text.replace("BEGIN+", "BEGIN ").replace("END+", "END "))
    blocks = split_blocks(decoded)
    if not blocks or any(label != "CERTIFICATE" for label, _ in blocks):
        raise CollateralError("expected an issuer chain with the document", code="collateral.signer")
    return tuple(parse_certificate(data) for _, data in blocks)


def _crl_items(body: bytes) -> list[Item]:
    """A list as DER, PEM, or the hex text caching services send."""
    text = body.strip()
    if len(text) % 2 == 0 and text and set(text) <= _HEX:
        body = bytes.fromhex(text.decode("ascii"))
    return read_blob(body)


def _only(items: Sequence[Item], kind: type[Kind], what: str) -> Kind:
    if len(items) != 1 or not isinstance(items[0], kind):
        raise CollateralError(f"expected {what} and nothing else", code="collateral.unknown-format")
    return items[0]


def _pem(chain: tuple[Certificate, ...] | None) -> str:
    return b"".join(encode_certificate(certificate.der) for certificate in chain or ()).decode()


_HEX = frozenset(b"0123456789abcdefABCDEF")
