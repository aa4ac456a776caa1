"""Recorded bytes of the ceremony formats: today's code must read them and compute the same hashes."""

from __future__ import annotations

import json
from pathlib import Path

from enclave.group import ED25519
from enclave.threshold import dkg_messages as messages
from enclave.threshold.ceremony import Ceremony
from enclave.threshold.ceremony_kem import CeremonyKey, open_scalar
from enclave.wire.message import decode_as
from tests.enclave.threshold.support import reveal

RECORD = json.loads((Path(__file__).parent / "golden" / "dkg-ed25519.json").read_text())


def test_a_recorded_key_generation_still_verifies() -> None:
    """Binding, echo, transcript hash and published values of the recorded payloads are unchanged."""
    terms = Ceremony(
        protocol="dkg",
        group=ED25519,
        session=bytes.fromhex(RECORD["session"]),
        slots={int(i): slot for i, slot in RECORD["slots"].items()},
        threshold=RECORD["threshold"],
        context=bytes.fromhex(RECORD["context"]),
    )
    first, second = ({int(i): bytes.fromhex(p) for i, p in RECORD[name].items()} for name in ("round1", "round2"))
    assert terms.binding.hex() == RECORD["binding"]
    assert messages.echo_of(terms, first).hex() == RECORD["echo"]
    outcome = messages.verify_transcript(terms, first, second)
    assert outcome.transcript.hex() == RECORD["transcript"]
    assert [c.hex() for c in outcome.commitments] == RECORD["commitments"]
    assert {str(i): p.hex() for i, p in outcome.public_shares.items()} == RECORD["public_shares"]
    key = CeremonyKey.from_revealed(bytes.fromhex(RECORD["ceremony_key_seeds_of_2"]))
    sealed = decode_as(messages.Round2, second[1]).sealed[2]
    associated = messages.share_context(terms, bytes.fromhex(RECORD["echo"]), 1, 2)
    share = open_scalar(ED25519, key, sealed, associated)
    assert reveal(ED25519, share).hex() == RECORD["share_from_1_to_2"]
