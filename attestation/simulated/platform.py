"""One simulated machine: its identifiers, its quoting keys and the secret its sealing keys come from."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from attestation.errors import AttestationError
from attestation.proof_of_cloud.platform_id import PlatformId
from attestation.simulated import storage
from attestation.simulated.certificates import Issuer
from attestation.simulated.pck import PckFacts, pck_certificate
from attestation.simulated.sealing import derive_sealing_key
from attestation.simulated.tdx import (
    SGX_QUOTING_ENCLAVE,
    EnclaveReport,
    QuoteSigner,
    QuotingEnclave,
    TdReport,
    TdReport15,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """A machine known to the authority: sign quotes with `quote`, derive sealing keys with `sealing_key`."""

    name: str
    facts: PckFacts
    signer: QuoteSigner
    pck: x509.Certificate
    seal_secret: bytes

    tee: ClassVar[str] = "tdx"

    @property
    def platform_id(self) -> PlatformId:
        """The id a verifier reads from this machine's evidence."""
        return PlatformId(kind="intel:ppid", value=self.facts.ppid)

    def quote(
        self,
        report_data: bytes,
        *,
        mrtd: bytes,
        mrconfigid: bytes = bytes(48),
        rtmrs: Sequence[bytes] = (bytes(48),) * 4,
        enclave: QuotingEnclave | None = None,
        now: int = 0,  # noqa: ARG002 - a TDX quote carries no time; other platforms' evidence does
        **overrides: Any,
    ) -> bytes:
        """A TDX quote over 64 bytes of `report_data`.

        `overrides` are further `TdReport` fields (`attributes`, `tee_tcb_svn`, `mrowner`, ...) and
        `enclave` another quoting enclave: that is how adversarial evidence is made.
        """
        report = TdReport(report_data=report_data, mrtd=mrtd, mrconfigid=mrconfigid, rtmrs=rtmrs, **overrides)
        signer = self.signer if enclave is None else replace(self.signer, enclave=enclave)
        return signer.quote(report)

    def quote_v5(self, report_data: bytes, *, mrtd: bytes, **overrides: Any) -> bytes:
        """A version 5 quote (TD report 1.5); `overrides` are fields of `TdReport15`."""
        return self.signer.quote(TdReport15(report_data=report_data, mrtd=mrtd, **overrides))

    def enclave_quote(self, report_data: bytes, *, mrenclave: bytes, **overrides: Any) -> bytes:
        """A version 3 SGX quote; `overrides` are fields of `EnclaveReport`."""
        signer = replace(self.signer, enclave=SGX_QUOTING_ENCLAVE)
        return signer.enclave_quote(EnclaveReport(report_data=report_data, mrenclave=mrenclave, **overrides))

    def sealing_key(self, measurement: bytes, label: str) -> bytearray:
        """32 bytes bound to this machine, to `measurement` and to `label`; survives reboots."""
        return derive_sealing_key(self.seal_secret, measurement, label)

    def reissued(self, issuer: Issuer, facts: PckFacts, root: Issuer) -> Platform:
        """The same machine and keys under a new PCK certificate stating `facts`."""
        pck = pck_certificate(issuer, self.signer.pck_key.public_key(), facts)
        signer = replace(self.signer, chain_pem=chain_pem(pck, issuer, root))
        return replace(self, facts=facts, pck=pck, signer=signer)


def new_platform(name: str, facts: PckFacts, issuer: Issuer, root: Issuer) -> Platform:
    """A machine with fresh keys, certified by `issuer`."""
    pck_key = ec.generate_private_key(ec.SECP256R1())
    pck = pck_certificate(issuer, pck_key.public_key(), facts)
    signer = QuoteSigner(
        attestation_key=ec.generate_private_key(ec.SECP256R1()),
        pck_key=pck_key,
        chain_pem=chain_pem(pck, issuer, root),
    )
    return Platform(name=name, facts=facts, signer=signer, pck=pck, seal_secret=secrets.token_bytes(32))


def chain_pem(pck: x509.Certificate, issuer: Issuer, root: Issuer) -> bytes:
    """Leaf, intermediate, root, and the closing NUL real quotes carry."""
    return pck.public_bytes(Encoding.PEM) + issuer.pem + root.pem + b"\x00"


def save_platform(directory: Path, platform: Platform) -> None:
    """Write the machine's files into `directory`."""
    storage.private_directory(directory)
    storage.save_key(directory / "pck.key", platform.signer.pck_key)
    storage.save_key(directory / "attestation.key", platform.signer.attestation_key)
    storage.write_private(directory / "pck.pem", platform.pck.public_bytes(Encoding.PEM))
    storage.write_private(directory / "seal.secret", platform.seal_secret)
    facts = {
        "name": platform.name,
        "ppid": platform.facts.ppid.hex(),
        "instance_id": platform.facts.instance_id.hex(),
        "components": platform.facts.components.hex(),
        "pce_svn": platform.facts.pce_svn,
        "fmspc": platform.facts.fmspc.hex(),
        "pce_id": platform.facts.pce_id.hex(),
        "sgx_type": platform.facts.sgx_type,
        "smt": platform.facts.smt,
    }
    # Written last: a directory without it is an unfinished machine and is made anew.
    storage.write_private(directory / "platform.json", json.dumps(facts, indent=1).encode())


def load_platform(directory: Path, issuer: Issuer, root: Issuer) -> Platform:
    """Read what `save_platform` wrote; raises AttestationError (`simulated.storage`)."""
    try:
        value = json.loads((directory / "platform.json").read_bytes())
        pck = x509.load_pem_x509_certificate((directory / "pck.pem").read_bytes())
        seal_secret = (directory / "seal.secret").read_bytes()
        facts = PckFacts(
            ppid=bytes.fromhex(value["ppid"]),
            instance_id=bytes.fromhex(value["instance_id"]),
            components=bytes.fromhex(value["components"]),
            pce_svn=value["pce_svn"],
            fmspc=bytes.fromhex(value["fmspc"]),
            pce_id=bytes.fromhex(value["pce_id"]),
            sgx_type=value["sgx_type"],
            smt=value["smt"],
        )
    except (OSError, ValueError, KeyError, TypeError):
        raise AttestationError(f"no readable simulated machine at {directory}", code="simulated.storage") from None
    signer = QuoteSigner(
        attestation_key=storage.load_key(directory / "attestation.key"),
        pck_key=storage.load_key(directory / "pck.key"),
        chain_pem=chain_pem(pck, issuer, root),
    )
    return Platform(name=value["name"], facts=facts, signer=signer, pck=pck, seal_secret=seal_secret)
