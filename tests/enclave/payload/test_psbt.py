"""PSBTs built and hashed by an independent library; what each signature spends, and every lie about it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from enclave.errors import CallerError
from enclave.payload.psbt import parse_psbt, with_signature
from tests.enclave.payload.psbts import (
    ALL,
    ANYONECANPAY,
    DEFAULT,
    NONE,
    OWN,
    PAYEE_ADDRESS,
    Psbt,
    built,
    earlier,
    is_schnorr,
    output,
    serialized,
)
from tests.enclave.payload.psbts import PAYEE as FOREIGN

OWN_TAPROOT, OWN_SEGWIT = OWN.p2tr, OWN.p2wpkh


def refused(data: bytes, number: int = 0) -> CallerError:
    """The error for one input."""
    with pytest.raises(CallerError) as caught:
        parse_psbt(data, number)
    return caught.value


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("hash_type", [None, DEFAULT, ALL])
def test_taproot_hashes_are_those_of_another_library(number: int, hash_type: int | None) -> None:
    """Two inputs, change and a payment; amounts and scripts of all inputs are hashed."""
    psbt = built([(OWN_TAPROOT, 90_000), (FOREIGN, 50_000)], [(FOREIGN, 60_000), (OWN_TAPROOT, 79_000)], whole=False)
    if hash_type is not None:
        psbt.inputs[number][b"\x03"] = hash_type.to_bytes(4, "little")
    if number == 1:
        assert refused(psbt.serialize(), 1).code == "payload.bitcoin"  # version 0 needs earlier transactions
        return
    spend = parse_psbt(psbt.serialize(), number)
    assert spend.sighash == psbt.sighash(number, hash_type=hash_type or DEFAULT)
    assert (spend.is_taproot, spend.leaving, spend.fee) == (True, 11_000, 1_000)


def test_segwit_hashes_are_those_of_another_library() -> None:
    """P2WPKH with whole earlier transactions."""
    psbt = built([(OWN_SEGWIT, 90_000), (FOREIGN, 50_000)], [(FOREIGN, 60_000), (OWN_SEGWIT, 79_000)])
    spend = parse_psbt(psbt.serialize(), 0)
    assert spend.sighash == psbt.sighash(0)
    assert (spend.is_taproot, spend.leaving, spend.fee) == (False, 11_000, 1_000)


def test_a_taproot_signature_lands_in_its_field() -> None:
    """And verifies under the output key; a second one changes nothing."""
    psbt = built([(OWN_TAPROOT, 90_000)], [(FOREIGN, 60_000)])
    spend = parse_psbt(psbt.serialize(), 0)
    signature = OWN.schnorr(spend.sighash)
    data = with_signature(psbt.serialize(), spend, signature, b"")
    signed = Psbt.parse(data)
    assert signed.inputs[0][b"\x13"] == signature
    assert is_schnorr(OWN_TAPROOT[2:], signature, psbt.sighash(0, hash_type=DEFAULT))
    assert with_signature(data, spend, signature, b"") == data


def test_an_ecdsa_signature_lands_beside_its_key() -> None:
    """DER with its hash type."""
    psbt = built([(OWN_SEGWIT, 90_000), (OWN_SEGWIT, 10_000)], [(FOREIGN, 60_000)])
    spend = parse_psbt(psbt.serialize(), 1)
    der = OWN.ecdsa(spend.sighash)
    signed = Psbt.parse(with_signature(psbt.serialize(), spend, der, OWN.sec))
    assert signed.inputs[1][b"\x02" + OWN.sec] == der + b"\x01"
    assert signed.inputs[0] == psbt.inputs[0]


def test_only_what_leaves_the_own_script_counts() -> None:
    """Change is an output to the very script that is spent; the same key under another script is a payment."""
    psbt = built([(OWN_TAPROOT, 90_000)], [(OWN_TAPROOT, 30_000), (OWN_SEGWIT, 50_000)])
    spend = parse_psbt(psbt.serialize(), 0)
    assert spend.leaving == 60_000
    assert [payment.satoshis for payment in spend.payments] == [50_000]


def test_a_transaction_counts_once_over_its_inputs() -> None:
    """Whoever signs all own inputs is charged what leaves, exactly once."""
    psbt = built([(FOREIGN, 5_000), (OWN_TAPROOT, 90_000), (OWN_TAPROOT, 40_000)], [(FOREIGN, 100_000)])
    data = psbt.serialize()
    assert [parse_psbt(data, number).counted for number in (1, 2)] == [130_000, 0]


def test_others_may_pay_more_than_leaves() -> None:
    """An input of somebody else does not make what leaves negative."""
    psbt = built([(OWN_TAPROOT, 1_000), (FOREIGN, 90_000)], [(OWN_TAPROOT, 50_000), (FOREIGN, 40_000)])
    assert parse_psbt(psbt.serialize(), 0).leaving == 0


def test_facts_name_who_is_paid() -> None:
    """For explanations: addresses, amounts and the fee."""
    psbt = built([(OWN_TAPROOT, 90_000)], [(FOREIGN, 60_000)])
    facts = parse_psbt(psbt.serialize(), 0).facts()
    assert facts["payments"] == [{"to": PAYEE_ADDRESS, "satoshis": 60_000}]
    assert (facts["leaving"], facts["fee"], facts["txid"]) == (90_000, 30_000, psbt.tx.id())


def lie_about_amount(psbt: Psbt) -> None:
    """The stated output differs from the earlier transaction's."""
    psbt.inputs[0][b"\x01"] = bytes(output(OWN_SEGWIT, 1_000).serialize())


def lie_about_source(psbt: Psbt) -> None:
    """Another transaction than the input refers to."""
    psbt.inputs[0][b"\x00"] = serialized(earlier(OWN_SEGWIT, 90_000, 99))


def leave_out_source(psbt: Psbt) -> None:
    """The other input's earlier transaction is missing."""
    del psbt.inputs[1][b"\x00"]


def ask_for_less(psbt: Psbt) -> None:
    """A hash that commits to no output."""
    psbt.inputs[0][b"\x03"] = NONE.to_bytes(4, "little")


def ask_for_one_input(psbt: Psbt) -> None:
    """A hash that lets anybody add inputs."""
    psbt.inputs[0][b"\x03"] = (ALL | ANYONECANPAY).to_bytes(4, "little")


def spend_too_much(psbt: Psbt) -> None:
    """Outputs above inputs."""
    psbt.tx.tx_outs[0].amount = 500_000


@pytest.mark.parametrize(
    "lie",
    [lie_about_amount, lie_about_source, leave_out_source, ask_for_less, ask_for_one_input, spend_too_much],
)
def test_a_lie_is_refused(lie: Callable[[Psbt], None]) -> None:
    """The same PSBT without the lie is accepted."""
    psbt = built([(OWN_SEGWIT, 90_000), (FOREIGN, 50_000)], [(FOREIGN, 60_000)])
    parse_psbt(psbt.serialize(), 0)
    lie(psbt)
    assert refused(psbt.serialize()).code == "payload.bitcoin"


def test_an_input_without_its_output_is_refused() -> None:
    """Nobody can tell what is spent."""
    psbt = built([(OWN_TAPROOT, 90_000)], [(FOREIGN, 60_000)], whole=False)
    del psbt.inputs[0][b"\x01"]
    assert refused(psbt.serialize()).code == "payload.bitcoin"


def test_a_script_path_is_refused() -> None:
    """The key's outputs commit to no script tree."""
    psbt = built([(OWN_TAPROOT, 90_000)], [(FOREIGN, 60_000)])
    psbt.inputs[0][b"\x18"] = bytes(32)
    assert refused(psbt.serialize()).code == "payload.bitcoin"


def test_another_kind_of_output_is_refused() -> None:
    """Old scripts are not spent here."""
    psbt = built([(OWN.p2pkh, 90_000)], [(FOREIGN, 60_000)])
    assert refused(psbt.serialize()).code == "payload.bitcoin"


@pytest.mark.parametrize("number", [1, 255])
def test_the_input_must_exist(number: int) -> None:
    """There is one input."""
    assert refused(built([(OWN_TAPROOT, 90_000)], [(FOREIGN, 1)]).serialize(), number).code == "payload.bitcoin"


def test_version_2_is_named() -> None:
    """Its own code, because a wallet can write the other version."""
    psbt = built([(OWN_TAPROOT, 90_000)], [(FOREIGN, 60_000)])
    data = psbt.serialize()
    general = data[:5] + b"\x01\xfb\x04" + (2).to_bytes(4, "little") + data[5:]
    assert refused(general).code == "payload.psbt-version"


def test_damage_is_refused() -> None:
    """A doubled key, missing and trailing bytes, no magic, too many bytes."""
    data = built([(OWN_TAPROOT, 90_000)], [(FOREIGN, 60_000)]).serialize()
    end = 5 + 2 + 1 + data[7]
    doubled = data[:end] + data[5:end] + data[end:]
    for damaged in (doubled, data[:-1], data + b"\0", data[1:], b"", data + bytes(600_000)):
        assert refused(damaged).code == "payload.bitcoin"
    parse_psbt(data, 0)


def test_every_cut_is_refused() -> None:
    """No prefix of a PSBT is a PSBT, and none raises another error."""
    data = built([(OWN_SEGWIT, 90_000)], [(FOREIGN, 60_000)]).serialize()
    for length in range(len(data)):
        assert refused(data[:length]).code in ("payload.bitcoin", "payload.psbt-version")


def test_a_transaction_too_large_to_be_relayed_is_not_judged() -> None:
    """What is signed has at most 100 000 bytes; an earlier transaction, with its witnesses, four times as many."""
    tiny, fits = (b"", 0), 100_000 // 9 - 8
    assert len(parse_psbt(built([(OWN_TAPROOT, 90_000)], [tiny] * fits, whole=False).serialize(), 0).payments) == fits
    psbt = built([(OWN_TAPROOT, 90_000)], [tiny] * (fits + 10), whole=False)
    assert "100000 bytes" in refused(psbt.serialize()).detail
