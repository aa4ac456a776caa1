"""Bundle files: every kind of damage has its own code, and no damage passes."""

from __future__ import annotations

import hashlib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attestation.errors import CodedError
from enclave.backup.bundle import MAGIC, Bundle, assemble, read_bundle, write_bundle
from enclave.backup.mnemonics import read_mnemonic, recombined
from enclave.backup.opening import check_bundle, open_parts
from enclave.backup.recipient import BackupKey
from enclave.wire.message import encode
from tests.enclave.backup.conftest import Kept


def code(kept: Kept, data: bytes, slot: str = "node-1", cluster: bytes | None = None) -> str:
    """What a file is refused with."""
    with pytest.raises(CodedError) as error:
        read_bundle(data, cluster=cluster or kept.vault.roster.cluster_id, slot=slot)
    return error.value.code


def key_of(kept: Kept, slot: str) -> BackupKey:
    """A slot's private key of three custodians."""
    words = kept.vault.mnemonics[slot]
    names = list(words)[1:4]
    return recombined({name: read_mnemonic(name, words[name]) for name in names})


def test_a_file_reads_back(kept: Kept) -> None:
    """Everything as it was, and it opens: one share that fits, with both kinds of recipient key."""
    for slot, bundle in kept.bundles.items():
        again = read_bundle(write_bundle(bundle), cluster=kept.vault.roster.cluster_id, slot=slot)
        assert again == bundle
        certificates = check_bundle(again, key_of(kept, slot))
        assert [item.key for item in certificates.values()] == [kept.key.key]


def test_foreign_swapped_newer_and_nonsense(kept: Kept) -> None:
    """Another cluster's, another node's, a future version's and no bundle at all."""
    data = write_bundle(kept.bundles["node-1"])
    assert code(kept, data, cluster=bytes(32)) == "backup.foreign"
    assert code(kept, data, slot="node-2") == "backup.slot"
    assert code(kept, MAGIC[:7] + b"\x02" + data[8:]) == "backup.version"
    assert code(kept, b"PK\x03\x04" + data) == "backup.malformed"
    assert code(kept, MAGIC[:7] + b"\x00" + data[8:]) == "backup.malformed"
    newer = msgspec.structs.replace(kept.bundles["node-1"].header, format=2)
    again = _with_header(kept.bundles["node-1"], encode(newer))
    assert code(kept, again) == "backup.version"


def test_every_truncation_is_told(kept: Kept) -> None:
    """Cut anywhere, also between two pieces, it is truncated or altered, never another bundle."""
    data = write_bundle(kept.bundles["node-1"])
    for end in {0, 1, 7, 8, 9, 12, 100, len(data) // 2, len(data) - 1}:
        assert code(kept, data[:end]) in ("backup.truncated", "backup.altered", "backup.malformed")
    assert code(kept, data[:100]) == "backup.truncated"
    assert code(kept, b"") == "backup.truncated"


@settings(max_examples=60, deadline=None)
@given(fraction=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_every_flipped_bit_is_told(kept: Kept, fraction: float, bit: int) -> None:
    """One bit anywhere, length fields included."""
    whole = write_bundle(kept.bundles["node-1"])
    damaged = bytearray(whole)
    # The last byte says that no evidence is kept; what is kept is judged apart.
    damaged[int(fraction * (len(whole) - 1))] ^= 1 << bit
    assert code(kept, bytes(damaged)).startswith("backup.")


def test_pieces_of_two_bundles_do_not_mix(kept: Kept) -> None:
    """Parts of one export under the header of another: the node never signed that."""
    vault = kept.vault
    one, two = kept.bundles["node-2"], vault.export("node-2")
    with pytest.raises(CodedError) as error:
        assemble(one.header_bytes, two.parts, encode(two.closing))
    assert error.value.code == "backup.signature"
    with pytest.raises(CodedError) as error:
        assemble(one.header_bytes, two.parts, encode(one.closing))
    assert error.value.code == "backup.altered"


def test_a_forger_with_the_public_key_makes_no_share(kept: Kept) -> None:
    """Whoever has another slot's key cannot open it, and an index that names more keys than there are is refused."""
    bundle = kept.bundles["node-1"]
    with pytest.raises(CodedError) as error:
        list(open_parts(bundle, key_of(kept, "node-2")))
    assert error.value.code == "backup.wrong-key"
    closing = msgspec.structs.replace(bundle.closing, index=[])
    forged = Bundle(header=bundle.header, header_bytes=bundle.header_bytes, parts=bundle.parts, closing=closing)
    with pytest.raises(CodedError) as error:
        check_bundle(forged, key_of(kept, "node-1"))
    assert error.value.code == "backup.altered"


def test_parts_do_not_open_elsewhere(kept: Kept) -> None:
    """The parts of another export of the same node, under this header, do not open: each is sealed for its bundle."""
    one, two = kept.bundles["node-1"], kept.vault.export("node-1")
    forged = Bundle(header=one.header, header_bytes=one.header_bytes, parts=two.parts, closing=one.closing)
    with pytest.raises(CodedError) as error:
        check_bundle(forged, key_of(kept, "node-1"))
    assert error.value.code == "backup.altered"


def test_the_public_index_says_what_is_in_it(kept: Kept) -> None:
    """Key, epoch and the digest of the certificate all shares belong to."""
    (item,) = kept.bundles["node-3"].closing.index
    assert (item.key, item.version, item.epoch, item.shares_needed, item.holders) == (kept.key.key, 1, 1, 2, 3)
    assert item.certificate == hashlib.sha256(kept.key.body()).digest()


def test_shares_are_nowhere_in_a_file(kept: Kept) -> None:
    """Neither shares nor documents are readable in it."""
    data = write_bundle(kept.bundles["node-1"])
    assert b"holdfast/policy" not in data
    assert b"holdfast/agent" not in data


def _with_header(bundle: Bundle, header: bytes) -> bytes:
    changed = Bundle(header=bundle.header, header_bytes=header, parts=bundle.parts, closing=bundle.closing)
    return write_bundle(changed)
