"""PSBTs for tests: hashes, keys, scripts and addresses by an independent library (buidl), the container by hand."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO

from buidl.ecc import PrivateKey, S256Point, SchnorrSignature, Signature
from buidl.hash import hash_taptweak
from buidl.helper import encode_varstr, read_varstr
from buidl.script import Script, address_to_script_pubkey
from buidl.tx import Tx, TxIn, TxOut

DEFAULT, ALL, NONE, ANYONECANPAY = 0, 1, 2, 0x80


def raw(script: Script) -> bytes:
    """The bytes of a script."""
    return bytes(script.raw_serialize())


class Key:
    """A private key and the scripts it spends."""

    def __init__(self, secret: bytes) -> None:
        self.private = PrivateKey(int.from_bytes(secret, "big"))
        self.sec = bytes(self.private.point.sec())
        self.p2tr = raw(self.private.point.p2tr_script())
        self.p2wpkh = raw(self.private.point.p2wpkh_script())
        self.p2pkh = raw(self.private.point.p2pkh_script())

    @property
    def address(self) -> str:
        """The P2WPKH address."""
        return str(self.private.point.p2wpkh_address())

    def ecdsa(self, sighash: bytes) -> bytes:
        """DER of a signature."""
        return bytes(self.private.sign(int.from_bytes(sighash, "big")).der())

    def schnorr(self, sighash: bytes) -> bytes:
        """64 bytes under the Taproot output key."""
        tweak = int.from_bytes(hash_taptweak(self.private.point.bip340()), "big")
        return bytes(self.private.tweaked(tweak).sign_schnorr(sighash, aux=bytes(32)).serialize())


OWN, PAYEE_KEY = Key(bytes(range(1, 33))), Key(bytes(range(2, 34)))
PAYEE = PAYEE_KEY.p2wpkh
PAYEE_ADDRESS = PAYEE_KEY.address


def segwit_script(sec: bytes) -> bytes:
    """The P2WPKH script of a compressed public key."""
    return raw(S256Point.parse(sec).p2wpkh_script())


def segwit_address(sec: bytes) -> str:
    """The P2WPKH address of a compressed public key."""
    return str(S256Point.parse(sec).p2wpkh_address())


def taproot_script(output_key: bytes) -> bytes:
    """The script of a Taproot output under a 32-byte key."""
    return b"\x51\x20" + output_key


def script_of(address: str) -> bytes:
    """The script an address stands for."""
    return raw(address_to_script_pubkey(address))


def is_schnorr(output_key: bytes, signature: bytes, sighash: bytes) -> bool:
    """Whether a signature holds under a 32-byte key."""
    point = S256Point.parse_bip340(output_key)
    return bool(point.verify_schnorr(sighash, SchnorrSignature.parse(signature)))


def is_ecdsa(sec: bytes, der: bytes, sighash: bytes) -> bool:
    """Whether a DER signature holds under a compressed key."""
    return bool(S256Point.parse(sec).verify(int.from_bytes(sighash, "big"), Signature.parse(der)))


def output(script: bytes, satoshis: int) -> TxOut:
    """One output."""
    return TxOut(satoshis, Script.parse(BytesIO(encode_varstr(script))))


def serialized(tx: Tx) -> bytes:
    """Without witnesses."""
    return bytes(tx.serialize_legacy())


@dataclass
class Psbt:
    """A PSBT whose maps can be changed at will before it is written."""

    tx: Tx
    inputs: list[dict[bytes, bytes]]
    outputs: list[dict[bytes, bytes]] = field(default_factory=list)
    spent: list[tuple[bytes, int]] = field(default_factory=list)
    """What the inputs spend: script and satoshis."""

    def serialize(self) -> bytes:
        """Magic, the transaction, a map per input and output."""
        text = b"psbt\xff" + encode_varstr(b"\x00") + encode_varstr(serialized(self.tx)) + b"\x00"
        for entries in (*self.inputs, *(self.outputs or [{} for _ in self.tx.tx_outs])):
            text += b"".join(encode_varstr(key) + encode_varstr(value) for key, value in entries.items()) + b"\x00"
        return bytes(text)

    @classmethod
    def parse(cls, data: bytes) -> Psbt:
        """Read one back."""
        stream = BytesIO(data)
        assert stream.read(5) == b"psbt\xff"

        def entries() -> dict[bytes, bytes]:
            found = {}
            while key := read_varstr(stream):
                found[bytes(key)] = bytes(read_varstr(stream))
            return found

        tx = Tx.parse_legacy(BytesIO(entries()[b"\x00"]))
        inputs = [entries() for _ in tx.tx_ins]
        outputs = [entries() for _ in tx.tx_outs]
        assert not stream.read()
        return cls(tx, inputs, outputs)

    def sighash(self, number: int, spent: Sequence[tuple[bytes, int]] | None = None, hash_type: int = ALL) -> bytes:
        """The hash of an input, by buidl: BIP-341 for Taproot scripts, BIP-143 for others."""
        spends = list(spent if spent is not None else self.spent)
        for item, (script, satoshis) in zip(self.tx.tx_ins, spends, strict=True):
            item._value, item._script_pubkey = satoshis, output(script, satoshis).script_pubkey
        if spends[number][0][:1] == b"\x51":
            return bytes(self.tx.sig_hash_bip341(number, hash_type=hash_type))
        value = self.tx.sig_hash_bip143(number)
        return bytes(value) if isinstance(value, bytes) else int(value).to_bytes(32, "big")


def earlier(owner: bytes, satoshis: int, salt: int) -> Tx:
    """A transaction whose second output is the one spent."""
    funding = TxIn(hashlib.sha256(bytes([salt])).digest(), 0)
    return Tx(2, [funding], [output(PAYEE, 1), output(owner, satoshis)], 0)


def built(inputs: list[tuple[bytes, int]], outputs: list[tuple[bytes, int]], *, whole: bool = True) -> Psbt:
    """A PSBT that spends outputs (script, satoshis) into others."""
    sources = [earlier(owner, satoshis, salt) for salt, (owner, satoshis) in enumerate(inputs)]
    vin = [TxIn(source.hash(), 1, sequence=0xFFFFFFFD) for source in sources]
    tx = Tx(2, vin, [output(script, satoshis) for script, satoshis in outputs], 0)
    maps = []
    for source in sources:
        entries = {b"\x00": serialized(source)} if whole else {}
        maps.append(entries | {b"\x01": bytes(source.tx_outs[1].serialize())})
    return Psbt(tx, maps, spent=list(inputs))


def taproot_psbt(
    output_key: bytes | None = None, *, satoshis: int = 90_000, pays: int = 60_000, payee: bytes = PAYEE
) -> bytes:
    """A PSBT that spends one Taproot output of `satoshis` and pays somebody; the rest is change less 1000 of fee."""
    own = OWN.p2tr if output_key is None else taproot_script(output_key)
    spent = TxIn(hashlib.sha256(own).digest(), 0, sequence=0xFFFFFFFD)
    tx = Tx(2, [spent], [output(payee, pays), output(own, satoshis - pays - 1_000)], 0)
    return Psbt(tx, [{b"\x01": bytes(output(own, satoshis).serialize())}]).serialize()
