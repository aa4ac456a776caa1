"""SEV-SNP and Nitro evidence, cut and flipped everywhere: only typed errors, and never another verdict."""

from __future__ import annotations

import random

import pytest

from attestation.collateral import Collateral
from attestation.errors import AttestationError
from attestation.verifier import Verifier
from tests.vectors.case import Case
from tests.vectors.catalogue import every_case

BASES = [case for case in every_case() if case.name in ("snp-ok", "snp-ok-vlek", "nitro-ok")]
FLIPS = 10_000


@pytest.mark.parametrize("case", BASES, ids=lambda case: case.name)
def test_every_truncation(case: Case) -> None:
    """Evidence cut at any length is refused with a typed error."""
    verifier, collateral = Verifier.with_root(*case.roots), Collateral.of(*case.collateral)
    for size in range(len(case.evidence)):
        with pytest.raises(AttestationError):
            verifier.verify(case.evidence[:size], collateral=collateral, now=case.now)


@pytest.mark.parametrize("case", BASES, ids=lambda case: case.name)
def test_ten_thousand_flips(case: Case) -> None:
    """One to three flipped bits are refused, or change nothing that is signed and keep the evidence id."""
    verifier, collateral = Verifier.with_root(*case.roots), Collateral.of(*case.collateral)
    genuine = verifier.verify(case.evidence, collateral=collateral, now=case.now)
    chance = random.Random(case.name)
    for _ in range(FLIPS):
        changed = bytearray(case.evidence)
        for _ in range(chance.choice((1, 1, 2, 3))):
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
        try:
            claims = verifier.verify(bytes(changed), collateral=collateral, now=case.now)
        except AttestationError:
            continue
        assert claims.evidence_id == genuine.evidence_id


@pytest.mark.parametrize("case", BASES, ids=lambda case: case.name)
def test_flips_in_collateral(case: Case) -> None:
    """Changed certificates are refused with a typed error, or are not needed."""
    verifier, chance = Verifier.with_root(*case.roots), random.Random(case.name)
    if not case.collateral:
        pytest.skip("this evidence carries its own chain")
    for _ in range(500):
        blobs = [bytearray(blob) for blob in case.collateral]
        blob = chance.choice(blobs)
        blob[chance.randrange(len(blob))] ^= 1 << chance.randrange(8)
        try:
            verifier.verify(case.evidence, collateral=Collateral.of(*map(bytes, blobs)), now=case.now)
        except AttestationError:
            continue
