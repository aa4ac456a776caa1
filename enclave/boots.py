"""Which boot of each peer counts: sealed records, and the proof by which a reboot needs nobody's permission.

Rules kept (specs/enrolment.md): a slot's boot counter never goes back and one boot has one identity; a later boot is
admitted when it proves the sealed boot chain of the one before and runs the same code, or when an operator enrolled
exactly that identity; an enrolment admits one boot and is spent by the next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from enclave.errors import CallerError, StorageError, WireError
from enclave.group.ed25519 import ED25519
from enclave.identity import BootIdentity, is_signed
from enclave.seal import SealedStore
from enclave.threshold import pop
from enclave.wire.attestation import BootProof, Identity, Presentation
from enclave.wire.message import decode_as, encode, tagged

CHAIN, PEER = "boot-chain", "peer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """What an operator's enrolment names: one identity of one boot of a slot."""

    identity_key: bytes
    boot_counter: int
    sequence: int


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    boot_counter: int
    identity_key: bytes
    kem_key: bytes
    tls_spki: bytes
    chain_key: bytes
    registers: dict[str, str]
    enrolled: int
    """Sequence of the newest enrolment this record rests on or has outlived; 0 for none."""


class BootBook:
    """The newest admitted boot of every peer, across this node's own restarts."""

    def __init__(self, store: SealedStore | None = None) -> None:
        """Load what is sealed; without a store nothing outlives the process.  Raises StorageError."""
        self._store = store
        self._records: dict[str, _Record] = {}
        self.enrolled: Callable[[str], Admission | None] = lambda _slot: None
        """The newest enrolment of a slot, from the documents this node holds."""
        self.replaced: Callable[[str], None] = lambda _slot: None
        """Called when an enrolled boot takes the place of one with a higher or equal counter: another disk."""
        for slot, value in store.items(PEER) if store is not None else ():
            try:
                self._records[slot] = decode_as(_Record, value)
            except WireError:
                raise StorageError("a sealed record of a peer does not have its form", code="storage.form") from None

    def refusal(self, identity: Identity) -> str | None:
        """Why this identity cannot be its slot's, whatever its evidence says; None if it can."""
        record = self._records.get(identity.slot)
        if record is None or self._is_enrolled(identity, record):
            return None
        if identity.boot_counter < record.boot_counter:
            return "boot counter went back: an older run of this node, or its disk was rolled back"
        if identity.boot_counter == record.boot_counter and not _is_same(identity, record):
            return "a second identity claims this boot: two copies of this node are running"
        return None

    def admit(self, presentation: Presentation, registers: Mapping[str, str]) -> str | None:
        """Let a verified boot count from now on, or say why an operator has to enrol it first.

        `registers` are the measured values the roster names for the slot.
        """
        identity = presentation.identity
        record = self._records.get(identity.slot)
        enrolment = self.enrolled(identity.slot)
        chain_key = _chain_key(presentation)
        if record is not None and not _is_same(identity, record) and not self._is_enrolled(identity, record):
            if not chain_key or chain_key != record.chain_key:
                return "a new boot without proof that it continues the one before: an operator has to enrol it"
            if any(registers.get(name) != value for name, value in record.registers.items() if name in registers):
                return "a new boot with other code than before: an operator has to enrol it"
        new = _Record(
            boot_counter=identity.boot_counter,
            identity_key=identity.identity_key,
            kem_key=identity.kem_key,
            tls_spki=identity.tls_spki,
            chain_key=chain_key,
            registers=dict(registers),
            enrolled=max(record.enrolled if record is not None else 0, enrolment.sequence if enrolment else 0),
        )
        if record is not None and identity.boot_counter <= record.boot_counter and not _is_same(identity, record):
            self.replaced(identity.slot)
        if new != record:
            self._records[identity.slot] = new
            if self._store is not None:
                self._store.put(PEER, identity.slot, encode(new))
        return None

    def _is_enrolled(self, identity: Identity, record: _Record) -> bool:
        enrolment = self.enrolled(identity.slot)
        if enrolment is None or enrolment.sequence <= record.enrolled:
            return False
        return (enrolment.identity_key, enrolment.boot_counter) == (identity.identity_key, identity.boot_counter)


def boot_proof(store: SealedStore, identity: BootIdentity) -> BootProof:
    """This boot's proof that it continues the boots before it on this disk; the chain starts at the first.

    Raises StorageError.
    """
    public = identity.public
    try:
        secret = store.get_secret(CHAIN, "")
    except StorageError as error:
        if error.code != "storage.missing":
            raise
        secret = ED25519.random_scalar()
        store.put_secret(CHAIN, "", secret)
        store.commit()
    with secret:
        chain_key = ED25519.base_mult(secret)
        proof = pop.prove(ED25519, secret, chain_key, _statement(public))
    return BootProof(
        chain_key=chain_key,
        commitment=proof.commitment,
        response=proof.response,
        signature=identity.sign(tagged("boot-chain", _statement(public), chain_key)),
    )


def _chain_key(presentation: Presentation) -> bytes:
    """The chain key that a boot proved and its identity vouches for; empty if there is none."""
    proof, identity = presentation.boot, presentation.identity
    if proof is None:
        return b""
    statement = _statement(identity)
    if not is_signed(identity.identity_key, proof.signature, tagged("boot-chain", statement, proof.chain_key)):
        return b""
    try:
        ED25519.validate_point(proof.chain_key)
    except CallerError:
        return b""
    if not pop.verify(ED25519, proof.chain_key, statement, pop.Proof(proof.commitment, proof.response)):
        return b""
    return proof.chain_key


def _statement(identity: Identity) -> bytes:
    return tagged(
        "boot",
        identity.cluster,
        identity.slot.encode(),
        identity.boot_counter.to_bytes(8, "big"),
        identity.identity_key,
    )


def _is_same(identity: Identity, record: _Record) -> bool:
    """Whether an identity is the recorded one; the roster it names may have changed since."""
    return (identity.boot_counter, identity.identity_key, identity.kem_key, identity.tls_spki) == (
        record.boot_counter,
        record.identity_key,
        record.kem_key,
        record.tls_spki,
    )
