"""Taproot output keys and addresses, held against the vectors of BIP-341, BIP-350 and BIP-86."""

from __future__ import annotations

import pytest

from enclave.bech32 import segwit_address
from enclave.errors import CallerError
from enclave.taproot import output_key, output_tweak, p2tr_address

BIP350 = [
    (
        "bc", 1, "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
        "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
    ),
    (
        "bc", 1, "751e76e8199196d454941c45d1b3a323f1433bd6751e76e8199196d454941c45d1b3a323f1433bd6",
        "bc1pw508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7kt5nd6y",
    ),
    ("bc", 16, "751e", "bc1sw50qgdz25j"),
    ("bc", 2, "751e76e8199196d454941c45d1b3a323", "bc1zw508d6qejxtdg4y5r3zarvaryvaxxpcs"),
    (
        "tb", 1, "000000c4a5cad46221b2a187905e5266362b99d5e91c6ce24d165dab93e86433",
        "tb1pqqqqp399et2xygdj5xreqhjjvcmzhxw4aywxecjdzew6hylgvsesf3hn0c",
    ),
]  # fmt: skip
"""BIP-350, valid addresses of versions above 0, lower case."""

BIP341 = [
    (
        "d6889cb081036e0faefa3a35157ad71086b123b2b144b649798b494c300a961d", "",
        "b86e7be8f39bab32a6f2c0443abbc210f0edac0e2c53d501b36b64437d9c6c70",
        "53a1f6e454df1aa2776a2814a721372d6258050de330b3c6d10ee8f4e0dda343",
        "bc1p2wsldez5mud2yam29q22wgfh9439spgduvct83k3pm50fcxa5dps59h4z5",
    ),
    (
        "187791b6f712a8ea41c8ecdd0ee77fab3e85263b37e1ec18a3651926b3a6cf27",
        "5b75adecf53548f3ec6ad7d78383bf84cc57b55a3127c72b9a2481752dd88b21",
        "cbd8679ba636c1110ea247542cfbd964131a6be84f873f7f3b62a777528ed001",
        "147c9c57132f6e7ecddba9800bb0c4449251c92a1e60371ee77557b6620f3ea3",
        "bc1pz37fc4cn9ah8anwm4xqqhvxygjf9rjf2resrw8h8w4tmvcs0863sa2e586",
    ),
]  # fmt: skip
"""BIP-341 wallet vectors: internal key, Merkle root, tweak, output key, address."""


@pytest.mark.parametrize(("prefix", "version", "program", "address"), BIP350)
def test_addresses_are_those_of_bip350(prefix: str, version: int, program: str, address: str) -> None:
    """The encoder gives the published texts, among them the odd sizes."""
    assert segwit_address(prefix, version, bytes.fromhex(program)) == address


@pytest.mark.parametrize("parity", ["02", "03"])
@pytest.mark.parametrize(("internal", "root", "tweak", "output", "address"), BIP341)
def test_output_keys_are_those_of_bip341(
    internal: str, root: str, tweak: str, output: str, address: str, parity: str
) -> None:
    """Tweak and output key follow from the x-coordinate alone, whatever the parity of the certified point."""
    point, merkle_root = bytes.fromhex(parity + internal), bytes.fromhex(root)
    assert output_tweak(point, merkle_root).value.hex() == tweak
    assert output_key(point, merkle_root).hex() == output
    assert segwit_address("bc", 1, bytes.fromhex(output)) == address


def test_a_key_alone_has_the_address_of_bip86() -> None:
    """The first receiving address of BIP-86's wallet."""
    internal = bytes.fromhex("02cc8a4bc64d897bddc5fbc2f670f7a8ba0b386779106cf1223c6fc5d7cd6fc115")
    assert p2tr_address(internal) == "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr"


@pytest.mark.parametrize(("version", "size"), [(0, 31), (17, 32), (1, 1), (1, 41)])
def test_programs_outside_bip173_are_refused(version: int, size: int) -> None:
    """Version 0 has two sizes; the others have bounds."""
    with pytest.raises(CallerError) as caught:
        segwit_address("bc", version, bytes(size))
    assert caught.value.code == "address.program"


def test_what_is_no_point_has_no_output() -> None:
    """An x-coordinate without a point is refused."""
    with pytest.raises(CallerError):
        output_key(b"\x02" + bytes(31) + b"\x05")
