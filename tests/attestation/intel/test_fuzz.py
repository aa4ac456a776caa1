"""Hostile bytes raise our own errors and nothing else: truncations, flips, splices and noise."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attestation.collateral import Collateral
from attestation.errors import AttestationError
from attestation.evidence import Claims, detect
from attestation.pem import canonical_chain, split_blocks
from attestation.policy import AppraisalPolicy
from attestation.verdict import Result
from attestation.verifier import Verifier
from attestation.x509 import parse_certificate
from tests.attestation import shared_vectors as shared
from tests.attestation.intel.kit import NOW, Kit

FLIPS = 10_000


def bases(kit: Kit) -> list[tuple[Verifier, bytes, Collateral, int]]:
    """Evidence that verifies: own quotes of all versions, and genuine ones where they are at hand."""
    found = [
        (Verifier.with_root(kit.root.der), kit.quote(version=version), Collateral.of(kit.bundle(sgx=version == 3)), NOW)
        for version in (3, 4, 5)
    ]
    for entry in shared.entries("dcap-quote"):
        if entry["id"] in ("tdx4-near-b9e238b2", "tdx5-google-cf77a6e9", "sgx3-automata-268c0681"):
            case = next(case for case in entry["verifications"] if "bundle" in case)
            collateral = Collateral.of(shared.read(case["bundle"]))
            found.append((Verifier.production(), shared.read(entry["file"]), collateral, case["now_used_unix"]))
    return found


def test_ten_thousand_flips(kit: Kit) -> None:
    """A changed bit is refused with a typed error, or leaves the evidence id as it was."""
    rng = random.Random(20261122)
    starts = bases(kit)
    for number in range(FLIPS):
        verifier, evidence, collateral, now = starts[number % len(starts)]
        changed = bytearray(evidence)
        for _ in range(rng.choice((1, 1, 1, 2, 5))):
            position = rng.randrange(len(changed))
            changed[position] ^= 1 << rng.randrange(8)
        if bytes(changed) == evidence:
            continue
        try:
            claims = verifier.verify(bytes(changed), collateral=collateral, now=now)
        except AttestationError:
            continue
        # Only what is not signed can have changed, so it is still the same evidence.
        assert claims.evidence_id == verifier.verify(evidence, collateral=collateral, now=now).evidence_id


def test_every_truncation_of_every_base(kit: Kit) -> None:
    """No prefix verifies except those that cut padding, and none raises anything else."""
    for verifier, evidence, collateral, now in bases(kit):
        whole = evidence.rstrip(b"\x00")
        for length in range(len(whole)):
            with pytest.raises(AttestationError):
                verifier.verify(evidence[:length], collateral=collateral, now=now)


def test_flips_in_collateral(kit: Kit) -> None:
    """A changed bit in a bundle is refused, or was in text that is not signed; never anything but a typed error."""
    rng = random.Random(7)
    quote, bundle = kit.quote(), kit.bundle()
    verifier = Verifier.with_root(kit.root.der)
    for _ in range(1500):
        changed = bytearray(bundle)
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        with suppress(AttestationError):
            verifier.verify(quote, collateral=Collateral.of(bytes(changed)), now=NOW)


def test_flips_inside_certificates_and_lists(kit: Kit) -> None:
    """Parsers of certificates, lists and PEM raise only typed errors on changed DER."""
    rng = random.Random(11)
    value = json.loads(kit.bundle())
    for start in (kit.platform_ca.der, kit.leaf.public_bytes(Encoding.DER), bytes.fromhex(value["pck_crl"])):
        for _ in range(1500):
            changed = bytearray(start)
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
            for read in (parse_certificate, Collateral.of):
                with suppress(AttestationError):
                    read(bytes(changed))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(noise=st.binary(max_size=2000))
def test_noise(kit: Kit, noise: bytes) -> None:
    """Any bytes at all: typed errors from every parser, an untrusted verdict from `examine`."""
    header = kit.quote()[:48]
    for data in (noise, header + noise, b"0" + noise, b"{" + noise, b"-----" + noise):
        for read in (detect, Collateral.of, canonical_chain, split_blocks, kit_verify(kit)):
            with suppress(AttestationError):
                read(data)
        verdict = kit.verifier.examine(data, now=NOW, policy=AppraisalPolicy.development())
        assert verdict.result is not Result.TRUSTED
        assert verdict.steps


def kit_verify(kit: Kit) -> Callable[[bytes], Claims]:
    """Verification without collateral."""
    return lambda data: kit.verifier.verify(data, now=NOW)
