"""PSBTs for tests that need one of each kind, built by an independent library."""

from __future__ import annotations

import hashlib
from typing import Any

from embit import ec, script
from embit.psbt import PSBT
from embit.transaction import Transaction, TransactionInput, TransactionOutput

PAYEE = script.p2wpkh(ec.PrivateKey(bytes(range(2, 34))))


def earlier(owner: Any, satoshis: int, salt: int) -> Transaction:
    """A transaction whose second output is the one spent."""
    funding = TransactionInput(hashlib.sha256(bytes([salt])).digest(), 0)
    return Transaction(vout=[TransactionOutput(1, PAYEE), TransactionOutput(satoshis, owner)], vin=[funding])


def built(inputs: list[tuple[Any, int]], outputs: list[tuple[Any, int]], *, whole: bool = True) -> PSBT:
    """A PSBT that spends outputs (script, satoshis) into others."""
    sources = [earlier(owner, satoshis, salt) for salt, (owner, satoshis) in enumerate(inputs)]
    vin = [TransactionInput(source.txid(), 1, sequence=0xFFFFFFFD) for source in sources]
    psbt = PSBT(Transaction(vin=vin, vout=[TransactionOutput(amount, target) for target, amount in outputs]))
    for field, source in zip(psbt.inputs, sources, strict=True):
        field.witness_utxo = source.vout[1]
        if whole:
            field.non_witness_utxo = source
    return psbt


def taproot_script(output_key: bytes) -> Any:
    """The script of a Taproot output under a 32-byte key."""
    return script.Script(b"\x51\x20" + output_key)


def taproot_psbt(
    output_key: bytes | None = None, *, satoshis: int = 90_000, pays: int = 60_000, payee: Any = PAYEE
) -> bytes:
    """A PSBT that spends one Taproot output of `satoshis` and pays somebody; the rest is change less 1000 of fee."""
    own = script.p2tr(ec.PrivateKey(bytes(range(1, 33)))) if output_key is None else taproot_script(output_key)
    spent = TransactionInput(hashlib.sha256(own.data).digest(), 0, sequence=0xFFFFFFFD)
    outputs = [TransactionOutput(pays, payee), TransactionOutput(satoshis - pays - 1_000, own)]
    psbt = PSBT(Transaction(vin=[spent], vout=outputs))
    psbt.inputs[0].witness_utxo = TransactionOutput(satoshis, own)
    return bytes(psbt.serialize())
