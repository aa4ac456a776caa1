"""What a rule can be about."""

from __future__ import annotations

from enclave.payload.sign import KINDS_ALL

OPENING_KINDS = frozenset({"decrypt", "rewrap"})
"""Kinds that open ciphertexts."""

KINDS = (KINDS_ALL - {"bitcoin_sighash"}) | OPENING_KINDS | {"data_key", "release", "export"}
"""What a rule can be about: payload kinds of signing (a sighash is a `digest`), decryption, secrets and keys that
leave."""

EVM_KINDS = frozenset({"evm_transaction", "eip712", "eip7702_authorization"})
"""Kinds the member `evm` is about."""

WAITING_KINDS = (KINDS_ALL - {"bitcoin_sighash"}) | OPENING_KINDS
"""Kinds that can wait for approvals: for the others the gateway would see a plaintext, or evidence would grow old."""
