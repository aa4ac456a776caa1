"""Fixed bytes of every format the node writes: a change here is a change of version."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from pathlib import Path

import msgspec

from enclave.channel import ShareContext, _associated, _info
from enclave.seal import SealedStore
from enclave.secret import Secret, declassify
from enclave.wire.attestation import Identity
from enclave.wire.ceremonies import CeremonyMessage, ceremony_message_bytes
from enclave.wire.documents import acknowledgement_bytes
from enclave.wire.frame import Answer, Call, Fault, decode_calls, frame
from enclave.wire.message import Empty, encode
from enclave.wire.signing import Signer, SignRequest

CLUSTER = bytes(range(32))


class FixedTee:
    """A platform whose sealing keys are known."""

    can_seal = True

    def quote(self, report_data: bytes) -> bytes:
        """Not asked for here."""
        raise NotImplementedError

    def sealing_key(self, label: str) -> Secret:
        """SHA-256 of the label."""
        return Secret.take(bytearray(hashlib.sha256(label.encode()).digest()))


def identity(slot: str) -> Identity:
    """A fixed identity."""
    return Identity(
        cluster=CLUSTER,
        slot=slot,
        boot_counter=7,
        identity_key=b"\1" * 32,
        kem_key=b"\2" * 1216,
        tls_spki=b"\3" * 32,
        roster_digest=b"\4" * 32,
        purpose="serve",
    )


GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text())
"""Sealed rows are of format 1, under FixedTee's keys, for cluster 00..1f and slot node-1."""


def test_a_store_of_format_one_opens(tmp_path: Path) -> None:
    """Rows sealed by the first release still open, head included."""
    path = tmp_path / "node.db"
    SealedStore.open(path, cluster=CLUSTER, slot="node-1", tee=FixedTee()).close()
    connection = sqlite3.connect(path)
    rows = [(kind, name, counter, bytes.fromhex(value)) for kind, name, counter, value in GOLDEN["sealed_rows"]]
    connection.executemany("INSERT INTO sealed VALUES (?, ?, ?, ?)", rows)
    connection.commit()
    connection.close()
    store = SealedStore.open(path, cluster=CLUSTER, slot="node-1", tee=FixedTee())
    assert store.get("document", "agent:agt_x") == b"an envelope"
    with store.get_secret("share", "key_x/1") as share:
        assert declassify(share) == b"s" * 32
    store.close()


def test_associated_data_of_channels() -> None:
    """What a sealed share and a session key are bound to."""
    context = ShareContext(key="key_x", version=1, epoch=2, request_id=b"r" * 32)
    a, b = identity("node-1"), identity("node-2")
    bound = _associated(context, a, b, b"s" * 16, 5)
    assert hashlib.sha256(bound).hexdigest() == GOLDEN["sealed_share_associated_data_sha256"]
    assert hashlib.sha256(_info(a, b, b"s" * 16)).hexdigest() == GOLDEN["channel_key_info_sha256"]


def test_signed_bytes() -> None:
    """What acknowledgements and ceremony messages sign."""
    message = CeremonyMessage(
        session=b"s" * 32, round=2, slot="node-1", boot_counter=7, payload=b"payload", signature=b""
    )
    assert ceremony_message_bytes(message).hex() == GOLDEN["ceremony_message"]
    assert acknowledgement_bytes(CLUSTER, "node-1", 7, b"\5" * 32).hex() == GOLDEN["acknowledgement"]


def test_frames() -> None:
    """A frame of calls and one of answers, byte for byte."""
    request = SignRequest(token="t", body=b"b", nonce=b"n", signers=[Signer("node-1", b"h", b"i")])
    calls = [Call(1, "status", msgspec.Raw(encode(Empty()))), Call(2, "sign", msgspec.Raw(encode(request)))]
    assert frame(calls).hex() == GOLDEN["calls_frame"]
    assert [call.verb for call in decode_calls(frame(calls)[4:])] == ["status", "sign"]
    answers = [Answer(1, Fault("code", "detail", "hint", ["node-2"]), msgspec.Raw(b"\xc0"))]
    assert frame(answers).hex() == GOLDEN["answers_frame"]
