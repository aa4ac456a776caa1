"""The AMD side of the simulated authority: one root and two intermediates per product, and the machines.

Keys are made the first time a product is asked for, because most clusters have no AMD machine.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from attestation.errors import AttestationError
from attestation.simulated import amd_certificates as certificates
from attestation.simulated import storage
from attestation.simulated.amd_certificates import FirmwareLevels
from attestation.simulated.snp import CPUID, SnpPlatform


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductKeys:
    """ARK, ASK (signs VCEKs) and ASVK (signs VLEKs) of one product."""

    ark: x509.Certificate
    ark_key: rsa.RSAPrivateKey
    ask: x509.Certificate
    ask_key: rsa.RSAPrivateKey
    asvk: x509.Certificate
    asvk_key: rsa.RSAPrivateKey


class AmdVendor:
    """Products and machines kept in one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def platform(
        self,
        name: str,
        *,
        product: str = "Milan",
        chip_id: bytes | None = None,
        levels: FirmwareLevels | None = None,
        masked: bool = False,
    ) -> SnpPlatform:
        """The machine called `name`: loaded if known, else made; `masked` gives it a VLEK and no chip id."""
        if not name or not all(c.isalnum() or c in "-_" for c in name):
            raise AttestationError(f"expected a plain machine name, found {name[:40]!r}", code="simulated.name")
        directory = self.directory / "platforms" / name
        if (directory / "platform.json").exists():
            return _load_platform(directory)
        keys = self.product(product)
        levels = levels or FirmwareLevels(fmc=1 if product == "Turin" else None)
        chip_id = chip_id or secrets.token_bytes(8 if product == "Turin" else 64)
        signing_key = ec.generate_private_key(ec.SECP384R1())
        certificate = certificates.leaf_certificate(
            signing_key.public_key(),
            keys.asvk if masked else keys.ask,
            keys.asvk_key if masked else keys.ask_key,
            product=product,
            levels=levels,
            chip_id=None if masked else chip_id,
        )
        platform = SnpPlatform(
            name=name,
            product=product,
            chip_id=chip_id,
            levels=levels,
            signing_key=signing_key,
            certificate=certificate,
            seal_secret=secrets.token_bytes(32),
            masked=masked,
        )
        _save_platform(directory, platform)
        return platform

    def product(self, product: str) -> ProductKeys:
        """The keys of `product`, made if they do not exist yet."""
        if product not in CPUID:
            raise AttestationError(f"expected one of {sorted(CPUID)}, found {product[:20]!r}", code="simulated.name")
        directory = self.directory / product
        if not (directory / "asvk.pem").exists():
            _create_product(directory, product)
        loaded = {name: _load(directory, name) for name in ("ark", "ask", "asvk")}
        (ark, ark_key), (ask, ask_key), (asvk, asvk_key) = loaded["ark"], loaded["ask"], loaded["asvk"]
        return ProductKeys(ark=ark, ark_key=ark_key, ask=ask, ask_key=ask_key, asvk=asvk, asvk_key=asvk_key)

    def roots(self) -> list[bytes]:
        """DER of the ARK of each product made so far."""
        return [self.product(product).ark.public_bytes(Encoding.DER) for product in self._products()]

    def collateral(self, issued_at: int, *, revoked: tuple[int, ...] = ()) -> list[bytes]:
        """Intermediates, a fresh CRL per product and every machine's leaf, one DER each."""
        blobs: list[bytes] = []
        for product in self._products():
            keys = self.product(product)
            blobs += [keys.ask.public_bytes(Encoding.DER), keys.asvk.public_bytes(Encoding.DER)]
            blobs.append(certificates.revocation_list(keys.ark, keys.ark_key, revoked, issued_at=issued_at))
        return blobs + [path.read_bytes() for path in sorted((self.directory / "platforms").glob("*/leaf.der"))]

    def _products(self) -> list[str]:
        return [product for product in CPUID if (self.directory / product / "asvk.pem").exists()]


def _create_product(directory: Path, product: str) -> None:
    storage.private_directory(directory)
    root_key = certificates.new_key()
    # The file whose presence means "complete" is written last.
    for file, name in (("ark", f"ARK-{product}"), ("ask", f"SEV-{product}"), ("asvk", f"SEV-VLEK-{product}")):
        key = root_key if file == "ark" else certificates.new_key()
        certificate = certificates.authority_certificate(name, key.public_key(), f"ARK-{product}", root_key)
        storage.save_rsa_key(directory / f"{file}.key", key)
        storage.write_private(directory / f"{file}.pem", certificate.public_bytes(Encoding.PEM))


def _load(directory: Path, name: str) -> tuple[x509.Certificate, rsa.RSAPrivateKey]:
    certificate = x509.load_pem_x509_certificate((directory / f"{name}.pem").read_bytes())
    return certificate, storage.load_rsa_key(directory / f"{name}.key")


def _save_platform(directory: Path, platform: SnpPlatform) -> None:
    storage.private_directory(directory)
    storage.save_key(directory / "signing.key", platform.signing_key)
    storage.write_private(directory / "leaf.der", platform.certificate)
    storage.write_private(directory / "seal.secret", platform.seal_secret)
    facts = {
        "name": platform.name,
        "product": platform.product,
        "chip_id": platform.chip_id.hex(),
        "levels": asdict(platform.levels),
        "masked": platform.masked,
    }
    storage.write_private(directory / "platform.json", json.dumps(facts, indent=1).encode())


def _load_platform(directory: Path) -> SnpPlatform:
    try:
        value = json.loads((directory / "platform.json").read_bytes())
        return SnpPlatform(
            name=value["name"],
            product=value["product"],
            chip_id=bytes.fromhex(value["chip_id"]),
            levels=FirmwareLevels(**value["levels"]),
            masked=value["masked"],
            signing_key=storage.load_key(directory / "signing.key"),
            certificate=(directory / "leaf.der").read_bytes(),
            seal_secret=(directory / "seal.secret").read_bytes(),
        )
    except (OSError, ValueError, KeyError, TypeError):
        raise AttestationError(f"no readable simulated machine at {directory}", code="simulated.storage") from None
