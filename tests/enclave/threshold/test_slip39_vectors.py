"""SLIP-39: the library that reads word shares, on the client's side only, agrees with the published cases."""

from __future__ import annotations

import pytest

from tests.enclave.threshold.support import vectors

shamir_mnemonic = pytest.importorskip("shamir_mnemonic", reason="the library for SLIP-39 is not installed")


def test_word_shares_join_or_are_refused() -> None:
    """Of 45 published sets the valid ones give their master secret, all others raise the library's own error."""
    joined = refused = 0
    for description, mnemonics, secret, _ in vectors("slip39/vectors.json"):
        if secret:
            assert shamir_mnemonic.combine_mnemonics(mnemonics, b"TREZOR").hex() == secret, description
            joined += 1
        else:
            with pytest.raises(shamir_mnemonic.MnemonicError):
                shamir_mnemonic.combine_mnemonics(mnemonics, b"TREZOR")
            refused += 1
    assert joined + refused == 45
    assert min(joined, refused) > 10
