"""Proves bundles and mnemonics on this machine, without restoring anything: every share against its certificate.

Rules kept: for a drill on an offline machine, which then has had the slot's shares in its memory; nothing is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from attestation.errors import CodedError
from enclave.backup.bundle import Indexed
from enclave.backup.mnemonics import Given, check_together, read_mnemonic, recombined
from enclave.backup.opening import check_bundle
from enclave.backup.recipient import BackupKey
from enclave.errors import BackupError
from kms.client.backup.custodians import CustodianFile
from kms.client.backup.sets import BundleSet, Coverage, coverage


@dataclass(slots=True, kw_only=True)
class Proof:
    """What came of it."""

    opened: dict[str, int] = field(default_factory=dict)
    """Slot -> shares that fit their certificates."""
    troubles: dict[str, CodedError] = field(default_factory=dict)
    """Slot -> why its bundle was not opened."""
    proven: dict[tuple[str, int], Coverage] = field(default_factory=dict)
    """What the opened bundles alone would restore."""


def prove(found: BundleSet, files: Sequence[CustodianFile]) -> Proof:
    """Recombine each slot's key of the mnemonics given, open its bundle and check all of it."""
    proof = Proof()
    indexes: dict[str, list[Indexed]] = {}
    for slot, bundle in found.bundles.items():
        try:
            key = key_of(slot, bundle.header.recipient, files)
            try:
                proof.opened[slot] = len(check_bundle(bundle, key))
            finally:
                key.wipe()
            indexes[slot] = bundle.closing.index
        except CodedError as error:
            proof.troubles[slot] = error
    proof.proven = coverage(indexes)
    return proof


def key_of(slot: str, recipient: bytes, files: Sequence[CustodianFile]) -> BackupKey:
    """A slot's private key of its custodians' files.

    Raises BackupError: `backup.mnemonics-too-few`, `backup.mnemonic-word`, `backup.mnemonic-checksum`,
    `backup.mnemonic-set`, `backup.wrong-key`.
    """
    given: dict[str, Given] = {}
    others = 0
    for file in files:
        for entry in file.entries:
            if entry.slot != slot:
                continue
            if entry.recipient != recipient:
                others += 1
                continue
            one = read_mnemonic(file.custodian, entry.mnemonic)
            check_together(given, one)
            given[one.custodian] = one
    if not given and others:
        raise BackupError(
            f"the mnemonics for {slot} are of another setup than the bundle",
            code="backup.mnemonic-set",
            hint="bundles made before a new setup open with the earlier mnemonics",
        )
    if not given:
        raise BackupError(f"no mnemonic for {slot}", code="backup.mnemonics-too-few")
    key = recombined(given)
    if not key.is_for(recipient):
        key.wipe()
        raise BackupError(
            f"the mnemonics for {slot} make another key than its bundle is sealed to", code="backup.wrong-key"
        )
    return key
