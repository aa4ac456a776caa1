"""Partially signed Bitcoin transactions: what one signature of them spends, and whom it pays (BIP-174, BIP-371).

Rules kept (specs/payloads.md):
1. version 0; every map parses, no key twice, nothing after the last map;
2. each input states the output it spends; for SegWit version 0 the whole earlier transaction as well, because such
   a signature commits to one amount only;
3. the signed input is a plain P2TR or P2WPKH output; its hash covers the whole transaction;
4. own outputs are those whose script equals the signed input's: to lie about that script is to get a signature
   that holds nowhere, since the hash commits to it; what leaves is own inputs less own outputs, fee included;
5. what leaves is counted with the first own input: without that signature the transaction is not valid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from enclave.errors import CallerError
from enclave.payload.bitcoin import (
    SIGHASH_ALL,
    SIGHASH_DEFAULT,
    Output,
    Reader,
    Transaction,
    parse_output,
    parse_transaction,
    refuse,
    segwit_sighash,
    string,
    taproot_sighash,
)
from enclave.payload.bitcoin_address import script_text

MAGIC = b"psbt\xff"

PSBT_BYTES_MAX = 512 << 10

INPUTS_MAX = 256
"""Most inputs: each is signed by a request of its own."""

_GLOBAL_TRANSACTION, _GLOBAL_VERSION = 0x00, 0xFB
_IN_TRANSACTION, _IN_OUTPUT, _IN_PARTIAL_SIGNATURE, _IN_SIGHASH = 0x00, 0x01, 0x02, 0x03
_IN_TAP_SIGNATURE, _IN_TAP_ROOT = 0x13, 0x18

Map = Mapping[bytes, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class PsbtSpend:
    """One input's signature, and all it does."""

    source: bytes
    """The PSBT as it came."""
    transaction: Transaction
    spent: tuple[Output, ...]
    """The outputs that the inputs spend, in their order."""
    number: int
    """The input to sign."""
    hash_type: int
    sighash: bytes

    @property
    def script(self) -> bytes:
        """Script of the signed input: the key's own."""
        return self.spent[self.number].script

    @property
    def is_taproot(self) -> bool:
        """Whether a Schnorr signature is asked for; else an ECDSA one."""
        return is_p2tr(self.script)

    @property
    def payments(self) -> tuple[Output, ...]:
        """Outputs to others."""
        return tuple(output for output in self.transaction.outputs if output.script != self.script)

    @property
    def fee(self) -> int:
        """What the transaction pays to miners, by all its inputs together."""
        return _sum(self.spent) - _sum(self.transaction.outputs)

    @property
    def leaving(self) -> int:
        """Satoshis that leave the key's own script, fee included; others' inputs may pay for more."""
        own_in = sum(output.satoshis for output in self.spent if output.script == self.script)
        own_out = sum(output.satoshis for output in self.transaction.outputs if output.script == self.script)
        return max(own_in - own_out, 0)

    @property
    def counted(self) -> int:
        """What a budget takes for this signature: all that leaves with the first own input, then nothing."""
        first = next(number for number, output in enumerate(self.spent) if output.script == self.script)
        return self.leaving if self.number == first else 0

    def facts(self) -> dict[str, Any]:
        """JSON-able facts for explanations and audit."""
        return {
            "txid": self.transaction.txid[::-1].hex(),
            "input": self.number,
            "inputs": len(self.spent),
            "leaving": self.leaving,
            "fee": self.fee,
            "payments": [{"to": script_text(output.script), "satoshis": output.satoshis} for output in self.payments],
        }


def parse_psbt(data: bytes, number: int) -> PsbtSpend:
    """What signing input `number` means; raises CallerError (`payload.bitcoin`, `payload.psbt-version`)."""
    transaction, inputs, _ = _maps(data)
    if not 0 <= number < len(inputs):
        refuse(f"expected an input from 0 to {len(inputs) - 1}")
    spent = tuple(_spent(transaction, at, fields) for at, fields in enumerate(inputs))
    if _sum(spent) < _sum(transaction.outputs):
        refuse("outputs exceed inputs")
    own, fields = spent[number], inputs[number]
    hash_type = _hash_type(fields, own)
    if is_p2tr(own.script):
        if any(key[0] == _IN_TAP_ROOT for key in fields):
            refuse("the key's outputs have no script path, this input names one")
        sighash = taproot_sighash(transaction, spent, number, hash_type)
    elif is_p2wpkh(own.script):
        for at, other in enumerate(inputs):
            if bytes([_IN_TRANSACTION]) not in other:
                refuse(f"input {at} lacks its earlier transaction: this kind of signature commits to one amount")
        sighash = segwit_sighash(transaction, own, number)
    else:
        refuse("expected the signed input to be a P2TR or P2WPKH output")
    return PsbtSpend(
        source=data, transaction=transaction, spent=spent, number=number, hash_type=hash_type, sighash=sighash
    )


def with_signature(data: bytes, spend: PsbtSpend, signature: bytes, public_key: bytes) -> bytes:
    """The same PSBT with the signature in its input: 64 bytes of Schnorr, or DER of ECDSA beside the public key."""
    suffix = b"" if spend.hash_type == SIGHASH_DEFAULT else bytes([spend.hash_type])
    key = bytes([_IN_TAP_SIGNATURE]) if spend.is_taproot else bytes([_IN_PARTIAL_SIGNATURE]) + public_key
    _, inputs, ends = _maps(data)
    if key in inputs[spend.number]:
        return data
    entry = string(key) + string(signature + suffix)
    end = ends[spend.number]
    return data[:end] + entry + data[end:]


def is_p2tr(script: bytes) -> bool:
    """Whether a script is `OP_1 <32 bytes>`."""
    return len(script) == 34 and script[:2] == b"\x51\x20"


def is_p2wpkh(script: bytes) -> bool:
    """Whether a script is `OP_0 <20 bytes>`."""
    return len(script) == 22 and script[:2] == b"\x00\x14"


def _maps(data: bytes) -> tuple[Transaction, list[Map], list[int]]:
    """The transaction, the input maps, and the position of each input map's final zero byte."""
    if len(data) > PSBT_BYTES_MAX:
        refuse(f"expected at most {PSBT_BYTES_MAX} bytes of PSBT")
    if not data.startswith(MAGIC):
        refuse("expected a PSBT")
    reader = Reader(data[len(MAGIC) :])
    general = _map(reader)
    if general.get(bytes([_GLOBAL_VERSION]), bytes(4)) != bytes(4) or bytes([_GLOBAL_TRANSACTION]) not in general:
        raise CallerError(
            "expected a PSBT of version 0", code="payload.psbt-version", hint="let the wallet write version 0 (BIP-174)"
        )
    transaction = parse_transaction(general[bytes([_GLOBAL_TRANSACTION])], signed=False)
    if len(transaction.inputs) > INPUTS_MAX:
        refuse(f"expected at most {INPUTS_MAX} inputs")
    inputs, ends = [], []
    for _ in transaction.inputs:
        inputs.append(_map(reader))
        ends.append(len(data) - reader.left - 1)
    for _ in transaction.outputs:
        _map(reader)
    if reader.left:
        refuse("bytes follow the PSBT")
    return transaction, inputs, ends


def _map(reader: Reader) -> Map:
    fields: dict[bytes, bytes] = {}
    while key := reader.string():
        if key in fields:
            refuse("a key stands twice in one map")
        fields[key] = reader.string()
    return fields


def _spent(transaction: Transaction, at: int, fields: Map) -> Output:
    """The output that an input spends, from the earlier transaction if it is there, else as stated."""
    earlier, stated = fields.get(bytes([_IN_TRANSACTION])), fields.get(bytes([_IN_OUTPUT]))
    if earlier is None:
        if stated is None:
            refuse(f"input {at} does not say what it spends")
        return parse_output(stated)
    source, reference = parse_transaction(earlier, signed=True), transaction.inputs[at]
    if source.txid != reference.txid or reference.index >= len(source.outputs):
        refuse(f"the earlier transaction of input {at} is another one")
    output = source.outputs[reference.index]
    if stated is not None and parse_output(stated) != output:
        refuse(f"input {at} states another output than its earlier transaction has")
    return output


def _hash_type(fields: Map, own: Output) -> int:
    """SIGHASH_DEFAULT or SIGHASH_ALL, whatever the input asks for within that."""
    stated = fields.get(bytes([_IN_SIGHASH]))
    default = SIGHASH_DEFAULT if is_p2tr(own.script) else SIGHASH_ALL
    if stated is None:
        return default
    if len(stated) != 4:
        refuse("expected a sighash type of four bytes")
    value = int.from_bytes(stated, "little")
    if value not in {default, SIGHASH_ALL}:
        refuse("only signatures over the whole transaction exist: SIGHASH_DEFAULT or SIGHASH_ALL")
    return value


def _sum(outputs: tuple[Output, ...]) -> int:
    return sum(output.satoshis for output in outputs)
