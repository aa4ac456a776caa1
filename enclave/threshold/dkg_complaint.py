"""A complaint anyone can check: the receiver opens its ceremony key and shows what the dealer really sealed.

Rules kept (specs/dkg.md section 7): a complaint counts only with the complete signed payloads of both rounds, and
only for an attempt that never becomes a key; it reveals nothing but shares of that attempt.
"""

from __future__ import annotations

from collections.abc import Mapping

from enclave.errors import CallerError, PeerError
from enclave.threshold import dkg_messages as messages
from enclave.threshold import vss
from enclave.threshold.ceremony import Ceremony
from enclave.threshold.ceremony_kem import CeremonyKey, open_scalar


def verify_complaint(
    ceremony: Ceremony,
    round1: Mapping[int, bytes],
    round2: Mapping[int, bytes],
    *,
    dealer: int,
    receiver: int,
    revealed: bytes,
) -> None:
    """Return if the complaint of `receiver` against `dealer` is proven.

    Raises CallerError: `complaint.malformed` when the revealed key is not the receiver's, `complaint.unfounded`
    when the dealer's share is good.  Raises PeerError, AbortError when the public payloads themselves are at fault.
    """
    if not {dealer, receiver} <= set(ceremony.slots) or dealer == receiver:
        raise CallerError("a complaint names two participants", code="complaint.malformed")
    firsts = messages.read_round1(ceremony, round1)
    seconds = messages.read_round2(ceremony, round1, firsts, round2)
    key = CeremonyKey.from_revealed(revealed)
    if key.public != firsts[receiver].kem_key:
        raise CallerError("revealed key is not the receiver's ceremony key", code="complaint.malformed")
    associated = messages.share_context(ceremony, messages.echo_of(ceremony, round1), dealer, receiver)
    try:
        share = open_scalar(ceremony.group, key, seconds[dealer].sealed[receiver], associated)
    except CallerError:
        return
    with share:
        try:
            vss.verify_share(ceremony.group, share, receiver, seconds[dealer].commitments)
        except PeerError:
            return
    raise CallerError("the dealer's share matches its commitments", code="complaint.unfounded")
