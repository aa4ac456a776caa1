"""What a simulated Intel machine is: identifiers, TCB numbers, and the PCK certificate that states them.

Same members and lengths as Intel's SGX extension (PCK certificate profile, OID 1.2.840.113741.1.13.1).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from attestation.simulated import der_writer as der
from attestation.simulated.certificates import Issuer, end_entity

SGX_EXTENSION = "1.2.840.113741.1.13.1"

FMSPC = bytes.fromhex("484c44460001")
"""Family-model-stepping code of every simulated machine ("HLDF", then 1): no Intel product has it."""

PCE_ID = bytes(2)

COMPONENTS_UP_TO_DATE = bytes.fromhex("04040202040100050000000000000000")
"""The 16 SGX TCB components of a current machine; the same numbers as a machine seen in late 2025."""

COMPONENTS_OUT_OF_DATE = bytes.fromhex("03030202030100040000000000000000")
"""Components that meet only the older level of the simulated TCB info."""

COMPONENTS_UNSUPPORTED = bytes(16)
"""Components below every level: the verifier must answer "TCB not supported"."""

PCE_SVN_UP_TO_DATE = 13
PCE_SVN_OUT_OF_DATE = 11


@dataclass(frozen=True, slots=True, kw_only=True)
class PckFacts:
    """The facts a PCK certificate states about one machine."""

    ppid: bytes
    """16 bytes; stable over every re-issue."""
    instance_id: bytes
    """16 bytes: platform instance id."""
    components: bytes = COMPONENTS_UP_TO_DATE
    pce_svn: int = PCE_SVN_UP_TO_DATE
    fmspc: bytes = FMSPC
    pce_id: bytes = PCE_ID
    sgx_type: int = 1
    smt: bool = True

    def out_of_date(self) -> PckFacts:
        """The same machine before its microcode update."""
        return replace(self, components=COMPONENTS_OUT_OF_DATE, pce_svn=PCE_SVN_OUT_OF_DATE)


def sgx_extension(facts: PckFacts) -> bytes:
    """The DER value of the SGX extension."""

    def member(suffix: str, value: bytes) -> bytes:
        return der.sequence(der.oid(f"{SGX_EXTENSION}.{suffix}"), value)

    tcb = der.sequence(
        *(member(f"2.{i + 1}", der.integer(svn)) for i, svn in enumerate(facts.components)),
        member("2.17", der.integer(facts.pce_svn)),
        member("2.18", der.octets(facts.components)),
    )
    configuration = der.sequence(
        member("7.1", der.boolean(True)),
        member("7.2", der.boolean(False)),
        member("7.3", der.boolean(facts.smt)),
    )
    return der.sequence(
        member("1", der.octets(facts.ppid)),
        member("2", tcb),
        member("3", der.octets(facts.pce_id)),
        member("4", der.octets(facts.fmspc)),
        member("5", der.integer(facts.sgx_type, der.ENUMERATED)),
        member("6", der.octets(facts.instance_id)),
        member("7", configuration),
    )


def pck_certificate(issuer: Issuer, public_key: ec.EllipticCurvePublicKey, facts: PckFacts) -> x509.Certificate:
    """A PCK leaf over `facts`, issued by the (simulated) Platform CA."""
    extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(SGX_EXTENSION), sgx_extension(facts))
    return end_entity(issuer, "Intel SGX PCK Certificate", public_key, extension)
