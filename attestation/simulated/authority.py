"""The simulated vendor: keeps development keys in a directory, certifies machines, issues collateral.

Whoever holds this directory can make evidence for any machine and any measurement, so it is for
development and tests; a node never sees it, only the socket of its own machine (`service.py`).
"""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attestation.errors import AttestationError
from attestation.simulated import storage, tcb
from attestation.simulated.amd import AmdVendor
from attestation.simulated.certificates import (
    Issuer,
    new_platform_ca,
    new_root,
    new_tcb_signer,
    revocation_list,
)
from attestation.simulated.nitro import NitroVendor
from attestation.simulated.pck import PckFacts
from attestation.simulated.platform import Platform, load_platform, new_platform, save_platform
from attestation.simulated.tcb import TcbClaims

BACKDATE_S = 60
"""Collateral is dated one minute before `now`, so that a verifier with a slightly slow clock accepts it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """Root, Platform CA and TCB signer of a simulated Intel, with the machines they certified."""

    directory: Path
    root: Issuer
    platform_ca: Issuer
    tcb_signer: Issuer

    @classmethod
    def create(cls, directory: Path) -> Authority:
        """Make new keys in `directory`; raises AttestationError (`simulated.exists`) if it already has some."""
        if (directory / "root.pem").exists():
            raise AttestationError(
                f"an authority already lives in {directory}", code="simulated.exists", hint="load it instead"
            )
        storage.private_directory(directory)
        root = new_root()
        authority = cls(
            directory=directory, root=root, platform_ca=new_platform_ca(root), tcb_signer=new_tcb_signer(root)
        )
        storage.save_issuer(directory, "platform-ca", authority.platform_ca)
        storage.save_issuer(directory, "tcb-signer", authority.tcb_signer)
        storage.save_issuer(directory, "root", root)
        return authority

    @classmethod
    def load(cls, directory: Path) -> Authority:
        """Read the keys of `directory`; raises AttestationError (`simulated.storage`)."""
        return cls(
            directory=directory,
            root=storage.load_issuer(directory, "root"),
            platform_ca=storage.load_issuer(directory, "platform-ca"),
            tcb_signer=storage.load_issuer(directory, "tcb-signer"),
        )

    @property
    def root_der(self) -> bytes:
        """The root certificate a development verifier pins."""
        return self.root.der

    def platform(self, name: str, *, ppid: bytes | None = None, facts: PckFacts | None = None) -> Platform:
        """The machine called `name`: loaded if known, else made (with `ppid` or `facts` if given) and kept."""
        if not name or not all(c.isalnum() or c in "-_" for c in name):
            raise AttestationError(f"expected a plain machine name, found {name[:40]!r}", code="simulated.name")
        directory = self.directory / "platforms" / name
        if (directory / "platform.json").exists():
            return load_platform(directory, self.platform_ca, self.root)
        if facts is None:
            facts = PckFacts(ppid=ppid or secrets.token_bytes(16), instance_id=secrets.token_bytes(16))
        platform = new_platform(name, facts, self.platform_ca, self.root)
        save_platform(directory, platform)
        return platform

    @property
    def amd(self) -> AmdVendor:
        """The AMD side of this authority; its keys are made when first needed."""
        return AmdVendor(self.directory / "amd")

    @property
    def nitro(self) -> NitroVendor:
        """The Nitro side of this authority; its keys are made when first needed."""
        return NitroVendor(self.directory / "nitro")

    def roots(self) -> list[bytes]:
        """DER of every root made so far: what a development verifier pins."""
        return [self.root_der, *self.amd.roots(), *self.nitro.roots()]

    def reissue(self, platform: Platform, facts: PckFacts) -> Platform:
        """Give `platform` a new PCK certificate stating `facts` (a TCB recovery, or its reverse) and keep it."""
        changed = platform.reissued(self.platform_ca, facts, self.root)
        save_platform(self.directory / "platforms" / platform.name, changed)
        return changed

    def revoke_pck(self, platform: Platform) -> None:
        """List the machine's PCK certificate in every later CRL."""
        serials = {*self._revoked_serials(), platform.pck.serial_number}
        text = json.dumps([str(serial) for serial in sorted(serials)])
        storage.write_private(self.directory / "revoked.json", text.encode())

    def collateral(self, now: int, *, claims: TcbClaims | None = None) -> list[bytes]:
        """Fresh signed collateral as blobs: a `QuoteCollateralV3` bundle for TDX, the SGX documents, AMD's if any.

        `claims` changes what the newest Intel TCB level says.
        """
        sgx = self.bundle(now, claims=claims, tdx=False)
        for name in ("pck_crl", "root_ca_crl", "pck_crl_issuer_chain"):
            del sgx[name]
        bundles = [self.bundle(now, claims=claims), sgx]
        return [*(json.dumps(bundle).encode() for bundle in bundles), *self.amd.collateral(now - BACKDATE_S)]

    def bundle(self, now: int, *, claims: TcbClaims | None = None, tdx: bool = True) -> dict[str, Any]:
        """One `QuoteCollateralV3` object (TDX, or SGX with `tdx=False`) issued a minute before `now`."""
        claims = claims or TcbClaims()
        issued_at = now - BACKDATE_S
        key = self.tcb_signer.key
        info = (tcb.tdx_tcb_info if tdx else tcb.sgx_tcb_info)(key, claims, issued_at=issued_at)
        identity = tcb.qe_identity(key, claims, tdx=tdx, issued_at=issued_at)
        signer_chain = (self.tcb_signer.pem + self.root.pem).decode()
        return {
            "pck_crl_issuer_chain": (self.platform_ca.pem + self.root.pem).decode(),
            "root_ca_crl": revocation_list(self.root, (), issued_at=issued_at).hex(),
            "pck_crl": revocation_list(self.platform_ca, self._revoked_serials(), issued_at=issued_at).hex(),
            "tcb_info_issuer_chain": signer_chain,
            "tcb_info": info.text.decode(),
            "tcb_info_signature": info.signature.hex(),
            "qe_identity_issuer_chain": signer_chain,
            "qe_identity": identity.text.decode(),
            "qe_identity_signature": identity.signature.hex(),
        }

    def _revoked_serials(self) -> list[int]:
        path = self.directory / "revoked.json"
        return [int(serial) for serial in json.loads(path.read_bytes())] if path.exists() else []


def simulated_measurement(name: str) -> bytes:
    """A stable 48-byte measurement standing for the image called `name`."""
    return hashlib.sha384(b"holdfast simulated image\x00" + name.encode()).digest()
