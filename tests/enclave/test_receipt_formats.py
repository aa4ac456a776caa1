"""Formats that the enclave writes and the base package reads for itself: both must say the same."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attestation.errors import ReceiptError
from attestation.receipts import encoding
from attestation.receipts.heartbeat import Heartbeat as ReadHeartbeat
from attestation.receipts.identity import Presented
from attestation.receipts.msgpack import unpack
from attestation.receipts.roster import default_countersigners, read_chain
from enclave.evidence_binding import nonce_root, report_data
from enclave.roster_terms import WitnessTerms
from enclave.wire.attestation import Identity
from enclave.wire.heartbeats import Heartbeat, Seen, heartbeat_bytes
from enclave.wire.message import encode, tagged
from tests.enclave.samples import ADMIN, KEYS, a_roster

VALUES = st.recursive(
    st.booleans() | st.integers(0, 2**64 - 1) | st.text(max_size=40) | st.binary(max_size=300),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=40), inner, max_size=20),
    max_leaves=40,
)


@given(st.text(alphabet="abc-", min_size=1, max_size=20), st.lists(st.binary(max_size=80), max_size=6))
def test_tagged_bytes_are_the_same(tag: str, parts: list[bytes]) -> None:
    """What is signed by enclave code is what the base package verifies, and it reads back into its parts."""
    assert encoding.tagged(tag, *parts) == tagged(tag, *parts)
    assert encoding.untagged(tagged(tag, *parts), tag, len(parts)) == parts


@given(VALUES)
def test_messagepack_is_read_as_it_is_written(value: object) -> None:
    """Whatever a heartbeat could be made of reads back, by another reader than the one that wrote it."""
    assert unpack(msgspec.msgpack.encode(value)) == value


@given(st.binary(max_size=60))
def test_hostile_messagepack_is_refused_or_read(data: bytes) -> None:
    """Bytes read to the very value another library reads, or are refused with the typed error."""
    try:
        found = unpack(data)
    except ReceiptError:
        return
    assert msgspec.msgpack.decode(data) == found


@pytest.mark.parametrize(
    "data",
    [
        b"\xc0",
        b"\xca\0\0\0\0",
        b"\xff",
        b"\x82\xa1a\x01\xa1a\x02",
        b"\x81\x01\x02",
        b"\xdd\xff\xff\xff\xff",
    ],
)
def test_what_heartbeats_do_not_use_is_refused(data: bytes) -> None:
    """Nothing, floats, negative numbers, repeated or numeric keys, huge arrays."""
    with pytest.raises(ReceiptError):
        unpack(data)


def test_deep_messagepack_is_refused() -> None:
    """A thousand arrays in each other do not exhaust the reader."""
    with pytest.raises(ReceiptError):
        unpack(b"\x91" * 1000 + b"\x01")


def a_heartbeat() -> Heartbeat:
    """One with a row for a peer."""
    row = Seen(slot="node-2", boot_counter=4, identity=bytes(32), sequence=9, log_size=7, log_root=bytes(32), wait_ms=0)
    values = {
        field.name: {int: 1, str: "node-1", bytes: bytes(32), bool: False}.get(field.type, [])
        for field in msgspec.structs.fields(Heartbeat)
    }
    return Heartbeat(**(values | {"seen": [row]}))


def test_heartbeats_are_read_without_enclave_code() -> None:
    """Author, times, heads and rows of a node's heartbeat are what the base package finds in it."""
    signed = a_heartbeat()
    found = ReadHeartbeat.parse(encode(signed), bytes(64))
    assert (found.slot, found.boot_counter, found.time) == (signed.slot, signed.boot_counter, signed.time)
    assert (found.log_size, found.log_root) == (signed.log_size, signed.log_root)
    row = found.echo("node-2")
    assert row is not None
    assert (row.boot_counter, row.log_size) == (4, 7)
    assert encoding.tagged("heartbeat", found.cluster, found.body) == heartbeat_bytes(signed.cluster, encode(signed))


def test_report_data_is_the_same() -> None:
    """The evidence a node makes for its identity is the evidence a receipt's reader expects."""
    identity = Identity(
        cluster=hashlib.sha256(b"c").digest(),
        slot="node-1",
        boot_counter=3,
        identity_key=bytes(range(32)),
        kem_key=b"k" * 1216,
        tls_spki=bytes(32),
        roster_digest=bytes(32),
        purpose="serve",
    )
    nonces = [bytes([number]) * 32 for number in range(5)]
    presented = Presented(
        slot=identity.slot,
        boot_counter=identity.boot_counter,
        identity_key=identity.identity_key,
        kem_key=identity.kem_key,
        tls_spki=identity.tls_spki,
        roster_digest=identity.roster_digest,
        purpose=identity.purpose,
        nonces=tuple(nonces),
        evidence=b"",
    )
    assert presented.report_data(identity.cluster) == report_data(identity, nonce_root(nonces))


def test_rosters_are_read_alike() -> None:
    """Digest, cluster id, slots, registry and the number of countersigners are those the enclave's reader finds."""
    first = a_roster()
    second = replace(
        first, version=2, cluster=first.cluster_id, previous=first.digest, witness=WitnessTerms(q=4, f=1, a=3)
    )
    envelopes = [json.loads(roster.sign(KEYS[ADMIN])) for roster in (first, second)]
    for found, roster in zip(read_chain(envelopes), (first, second), strict=True):
        assert (found.digest, found.cluster) == (roster.digest, roster.cluster_id)
        assert [slot.slot for slot in found.slots] == [slot.slot for slot in roster.slots]
        assert dict(found.members) == dict(roster.proof_of_cloud.members)
        assert found.countersigners == roster.witness_terms.a
    broken = [
        envelopes[1:],
        envelopes[::-1],
        [envelopes[0], envelopes[0]],
        [envelopes[0], envelopes[1] | {"signatures": []}],
        [{"payloadType": "x", "payload": "AA", "signatures": []}],
        [None],
    ]
    for chain in broken:
        with pytest.raises(ReceiptError) as caught:
            read_chain(chain)
        assert caught.value.code == "receipt.roster"


@pytest.mark.parametrize("count", range(1, 12))
def test_the_default_number_of_countersigners_is_the_same(count: int) -> None:
    """Where a roster does not say, both readers count alike."""
    assert default_countersigners(count - 1) == WitnessTerms.default(count).a
