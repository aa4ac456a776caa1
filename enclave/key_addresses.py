"""The addresses of a key: they follow from its usage, its kind and its public key, and from nothing a gateway says."""

from __future__ import annotations

from enclave.addresses import evm_address, p2wpkh_address, solana_address
from enclave.key_specs import Usage
from enclave.taproot import p2tr_address

TAPROOT_SPEC = "secp256k1-schnorr"


def addresses_of(usage: str, spec: str, public_key: bytes) -> dict[str, str]:
    """Chain -> address; empty for keys of no chain.  Raises CallerError (`address.key`, `point.invalid`)."""
    if usage == Usage.EVM:
        return {"evm": evm_address(public_key)}
    if usage == Usage.SOLANA:
        return {"solana": solana_address(public_key)}
    if usage == Usage.BITCOIN:
        return {"bitcoin": p2tr_address(public_key) if spec == TAPROOT_SPEC else p2wpkh_address(public_key)}
    return {}
