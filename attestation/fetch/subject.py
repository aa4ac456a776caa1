"""What collateral is wanted for: one Intel platform or one AMD chip, read from evidence or named by hand."""

from __future__ import annotations

from dataclasses import dataclass

from attestation.amd.report import SnpReport, TcbVersion
from attestation.errors import EvidenceError
from attestation.evidence import Tee, detect
from attestation.intel.pck import ISSUER_NAMES, parse_extension
from attestation.intel.quote import parse_quote
from attestation.pem import canonical_chain
from attestation.x509 import parse_certificate

PRODUCTS = ("Milan", "Genoa", "Turin")
_PRODUCTS_OF_VERSION_2 = ("Milan", "Genoa")


@dataclass(frozen=True, slots=True, kw_only=True)
class IntelSubject:
    """A processor family with one kind of evidence and one certificate authority."""

    tee: Tee
    fmspc: bytes
    """6 bytes."""
    authority: str
    """"platform" or "processor": which PCK authority's revocation list."""

    @property
    def file_name(self) -> str:
        """The file of a collateral directory that holds everything for it."""
        return f"intel-{self.tee.value}-{self.fmspc.hex()}-{self.authority}.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class AmdSubject:
    """A product, and the chip and firmware level of the report if a VCEK is wanted."""

    products: tuple[str, ...]
    """Candidates in order of trial: a version 2 report does not say."""
    kind: str
    """"vcek" or "vlek": which intermediate and which list."""
    chip_id: bytes | None = None
    """The field of the report, 64 bytes, or 8 on Turin."""
    reported_tcb: bytes | None = None
    """8 bytes, as in the report."""

    def file_name(self, product: str) -> str:
        """The file of a collateral directory that holds everything for it."""
        parts = ["amd", product.lower(), self.kind]
        if self.chip_id is not None and self.reported_tcb is not None:
            parts += [self.chip_id.hex()[:16], self.reported_tcb.hex()]
        return "-".join(parts) + ".pem"

    def vcek_path(self, product: str) -> str | None:
        """The key service's path of the chip's certificate; None if no chip was named."""
        if self.chip_id is None or self.reported_tcb is None or self.kind != "vcek":
            return None
        levels = TcbVersion.parse(self.reported_tcb, product)
        chip = self.chip_id[:8] if product == "Turin" else self.chip_id
        query = [("blSPL", levels.bootloader), ("teeSPL", levels.tee), ("snpSPL", levels.snp)]
        query.append(("ucodeSPL", levels.microcode))
        if levels.fmc is not None:
            query.insert(0, ("fmcSPL", levels.fmc))
        terms = "&".join(f"{name}={level:02d}" for name, level in query)
        return f"/vcek/v1/{product}/{chip.hex()}?{terms}"


def subject_of(evidence: bytes) -> IntelSubject | AmdSubject | None:
    """What this evidence needs; None for Nitro, which carries its whole chain.

    Raises AttestationError if the evidence does not parse.  Nothing is verified: a forged quote makes us
    fetch genuine collateral that nobody needs.
    """
    tee = detect(evidence)
    if tee is Tee.NITRO:
        return None
    if tee is Tee.SEV_SNP:
        return _amd(SnpReport.parse(evidence))
    quote = parse_quote(evidence)
    chain = [parse_certificate(data) for data in canonical_chain(quote.pck_chain)]
    if len(chain) < 2 or chain[1].common_name not in ISSUER_NAMES:
        raise EvidenceError("the quote carries no PCK certificate chain", code="evidence.malformed")
    return IntelSubject(tee=tee, fmspc=parse_extension(chain[0]).fmspc, authority=ISSUER_NAMES[chain[1].common_name])


def _amd(report: SnpReport) -> AmdSubject:
    products = (report.product,) if report.product is not None else _PRODUCTS_OF_VERSION_2
    if report.signing_key == 1 or not any(report.chip_id):
        # A VLEK is handed out to the provider only, and a masked chip id names no chip.
        return AmdSubject(products=products, kind="vlek" if report.signing_key == 1 else "vcek")
    return AmdSubject(products=products, kind="vcek", chip_id=report.chip_id, reported_tcb=report.reported_tcb)
