"""Bitcoin: a Taproot key-path spend whose sighash, output key and witness are computed and checked independently."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import pytest

from kms.dev.demo_steps import schnorr
from tests.enclave.payload.psbts import (
    PAYEE,
    Psbt,
    built,
    is_ecdsa,
    segwit_address,
    segwit_script,
    serialized,
    taproot_psbt,
    taproot_script,
)
from tests.kms.acceptance.api import Agent, RefusedError, b64, unb64
from tests.kms.acceptance.taproot import ALL, DEFAULT, Input, Output, Spend, output_key, pay_to, read

VECTORS = Path(__file__).parents[3] / "../shared/vectors/crypto/bip340/test-vectors.csv"

RAW = (
    "02000000097de20cbff686da83a54981d2b9bab3586f4ca7e48f57f5b55963115f3b334e9c010000000000000000d7b7cab57b1393ace2d064"
    "f4d4a2cb8af6def61273e127517d44759b6dafdd990000000000fffffffff8e1f583384333689228c5d28eac13366be082dc57441760d95727"
    "5419a418420000000000fffffffff0689180aa63b30cb162a73c6d2a38b7eeda2a83ece74310fda0843ad604853b0100000000feffffffaa52"
    "02bdf6d8ccd2ee0f0202afbbb7461d9264a25e5bfd3c5a52ee1239e0ba6c0000000000feffffff956149bdc66faa968eb2be2d2faa29718acb"
    "fe3941215893a2a3446d32acd050000000000000000000e664b9773b88c09c32cb70a2a3e4da0ced63b7ba3b22f848531bbb1d5d5f4c940100"
    "00000000000000e9aa6b8e6c9de67619e6a3924ae25696bb7b694bb677a632a74ef7eadfd4eabf0000000000ffffffffa778eb6a263dc09046"
    "4cd125c466b5a99667720b1c110468831d058aa1b82af10100000000ffffffff0200ca9a3b000000001976a91406afd46bcdfd22ef94ac122a"
    "a11f241244a37ecc88ac807840cb0000000020ac9a87f5594be208f8532db38cff670c450ed2fea8fcdefcc9a663f78bab962b0065cd1d"
)
SPENT = [
    (420000000, "512053a1f6e454df1aa2776a2814a721372d6258050de330b3c6d10ee8f4e0dda343"),
    (462000000, "5120147c9c57132f6e7ecddba9800bb0c4449251c92a1e60371ee77557b6620f3ea3"),
    (294000000, "76a914751e76e8199196d454941c45d1b3a323f1433bd688ac"),
    (504000000, "5120e4d810fd50586274face62b8a807eb9719cef49c04177cc6b76a9a4251d5450e"),
    (630000000, "512091b64d5324723a985170e4dc5a0f84c041804f2cd12660fa5dec09fc21783605"),
    (378000000, "00147dd65592d0ab2fe0d0257d571abf032cd9db93dc"),
    (672000000, "512075169f4001aa68f15bbed28b218df1d0a62cbbcf1188c6665110c293c907b831"),
    (546000000, "5120712447206d7a5238acc7ff53fbe94a3b64539ad291c7cdbc490b7577e4b17df5"),
    (588000000, "512077e30a5522dd9f894c3f8b8bd4c4b2cf82ca7da8a3ea6a239655c39c050ab220"),
]
"""BIP-341 wallet vectors, key-path spending: the unsigned transaction and what it spends."""

SIGHASH_DEFAULT = "4f900a0bae3f1446fd48490c2958b5a023228f01661cda3496a11da502a7f7ef"
WITNESS_DEFAULT = (
    "b4010dd48a617db09926f729e79c33ae0b4e94b79f04a1ae93ede6315eb3669de185a17d2b0ac9ee09fd4c64b678a0b61a0a86fa888a273c85"
    "11be83bfd6810f"
)
SIGHASH_ALL = "bf013ea93474aa67815b1b6cc441d23b64fa310911d991e713cd34c7f5d46669"
"""The same vectors' hash and signature of input 4 (default), and hash of input 3 (all)."""


def test_the_independent_pieces_are_bip341s() -> None:
    """Sighash, output key and verification, as used below, give the figures of BIP-341's wallet vectors."""
    spend = read(bytes.fromhex(RAW), [Output(amount=a, script=bytes.fromhex(script)) for a, script in SPENT])
    assert spend.sighash(4, DEFAULT).hex() == SIGHASH_DEFAULT
    assert spend.sighash(3, ALL).hex() == SIGHASH_ALL
    internal = bytes.fromhex("d6889cb081036e0faefa3a35157ad71086b123b2b144b649798b494c300a961d")
    assert pay_to(output_key(internal)).hex() == SPENT[0][1]
    key, witness = bytes.fromhex(SPENT[4][1])[2:], bytes.fromhex(WITNESS_DEFAULT)
    assert schnorr.verify(key, witness, bytes.fromhex(SIGHASH_DEFAULT))
    assert not schnorr.verify(key, witness, bytes.fromhex(SIGHASH_ALL))


def test_the_independent_verifier_is_bip340s() -> None:
    """It agrees with each of BIP-340's 19 rows."""
    if not VECTORS.exists():
        pytest.skip("vectors absent: bip340/test-vectors.csv")
    with VECTORS.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 19
    for row in rows:
        key, message, signature = (bytes.fromhex(row[name]) for name in ("public key", "message", "signature"))
        assert schnorr.verify(key, signature, message) == (row["verification result"] == "TRUE"), row["index"]


def spend_of(script: bytes) -> Spend:
    """Two inputs of the same key and two outputs, one of them change."""
    inputs = tuple(
        Input(
            transaction=hashlib.sha256(b"%d" % number).digest(),
            number=number,
            sequence=0xFFFFFFFD,
            spent=Output(amount=70_000 + number, script=script),
        )
        for number in range(2)
    )
    outputs = (
        Output(amount=100_000, script=bytes.fromhex("00147dd65592d0ab2fe0d0257d571abf032cd9db93dc")),
        Output(amount=39_000, script=script),
    )
    return Spend(inputs=inputs, outputs=outputs, lock_time=850_000)


@pytest.mark.cluster
@pytest.mark.parametrize("path", [None, "m/86/0/7"])
def test_a_key_path_spend(agent: Agent, keys: dict[str, str], path: str | None) -> None:
    """Both inputs' witnesses verify under the tweaked key in the output, for the key and for a child."""
    if path is None:
        record = agent.get(keys["bitcoin"])
    else:
        record = agent.post(keys["bitcoin"], "derive", {"path": path}, act="keys.get")
    key = output_key(bytes.fromhex(record["public_key"])[1:])
    assert schnorr.key_of(record["addresses"]["bitcoin"]) == key
    spend = spend_of(pay_to(key))
    for position in range(2):
        for hash_type in (DEFAULT, ALL):
            sighash = spend.sighash(position, hash_type)
            members = {"sighash": b64(sighash)} | ({} if path is None else {"path": path})
            witness = unb64(agent.sign(keys["bitcoin"], "bitcoin_sighash", **members)["bip340"])
            assert schnorr.verify(key, witness, sighash)
            assert not schnorr.verify(key, witness, spend.sighash(1 - position, hash_type))
            assert not schnorr.verify(bytes.fromhex(record["public_key"])[1:], witness, sighash)


@pytest.mark.cluster
def test_a_taproot_psbt(agent: Agent, keys: dict[str, str]) -> None:
    """The nodes compute the sighash from the PSBT: buidl and plain integers compute the same and accept the witness."""
    key = schnorr.key_of(agent.get(keys["bitcoin"])["addresses"]["bitcoin"])
    data = taproot_psbt(key)
    signed = Psbt.parse(unb64(agent.sign(keys["bitcoin"], "bitcoin_psbt", psbt=b64(data), input=0)["psbt"]))
    signature = signed.inputs[0][b"\x13"]
    spend = read(serialized(signed.tx), [Output(amount=90_000, script=pay_to(key))])
    assert schnorr.verify(key, signature, spend.sighash(0))
    assert signed.sighash(0, [(taproot_script(key), 90_000)], DEFAULT) == spend.sighash(0)
    with pytest.raises(RefusedError) as caught:
        agent.sign(
            keys["bitcoin"], "bitcoin_psbt", psbt=b64(taproot_psbt(key, payee=taproot_script(key[::-1]))), input=0
        )
    assert caught.value.code in ("policy.denied", "payload.bitcoin")


@pytest.mark.cluster
def test_a_segwit_psbt(agent: Agent, keys: dict[str, str]) -> None:
    """Version 0: threshold ECDSA under the key's P2WPKH address, verified by buidl over the hash it computes."""
    record = agent.get(keys["segwit"])
    public = bytes.fromhex(record["public_key"])
    own = segwit_script(public)
    assert segwit_address(public) == record["addresses"]["bitcoin"]
    psbt = built([(own, 90_000)], [(PAYEE, 60_000), (own, 29_000)])
    members = {"psbt": b64(psbt.serialize()), "input": 0}
    signed = Psbt.parse(unb64(agent.sign(keys["segwit"], "bitcoin_psbt", **members)["psbt"]))
    assert is_ecdsa(public, signed.inputs[0][b"\x02" + public][:-1], psbt.sighash(0))


@pytest.mark.cluster
def test_a_sighash_is_no_text(agent: Agent, keys: dict[str, str]) -> None:
    """Smuggled as kind `message`, the 32 bytes are hashed under a tag: what comes back spends nothing."""
    key = schnorr.key_of(agent.get(keys["bitcoin"])["addresses"]["bitcoin"])
    sighash = spend_of(pay_to(key)).sighash(0)
    signature = unb64(agent.sign(keys["bitcoin"], "message", message=b64(sighash))["bip340"])
    assert not schnorr.verify(key, signature, sighash)
    assert schnorr.verify(key, signature, schnorr.tagged("Holdfast/message", sighash))
    with pytest.raises(RefusedError) as caught:
        agent.sign(keys["solana"], "bitcoin_sighash", sighash=b64(sighash))
    assert caught.value.code == "payload.usage"


@pytest.mark.cluster
def test_an_inner_hash_is_no_text(agent: Agent, keys: dict[str, str]) -> None:
    """Bitcoin hashes twice: the first hash of a transaction as `message` is not completed to its sighash."""
    public = bytes.fromhex(agent.get(keys["segwit"])["public_key"])
    inner = hashlib.sha256(b"the preimage of a sighash").digest()
    signed = agent.sign(keys["segwit"], "message", message=b64(inner))
    signature = unb64(signed["der"])
    assert not is_ecdsa(public, signature, hashlib.sha256(inner).digest())
    assert is_ecdsa(public, signature, schnorr.tagged("Holdfast/message", inner))
