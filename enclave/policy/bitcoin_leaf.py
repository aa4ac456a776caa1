"""Conditions on Bitcoin transactions: whom they pay, how much leaves, and at what fee."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from enclave.errors import CallerError
from enclave.fields import Fields
from enclave.payload.bitcoin_address import is_data, parse_bitcoin_address, script_text
from enclave.payload.psbt import PsbtSpend
from enclave.policy.checks import LIST_MAX, Check, capped, listed, read_amount


@dataclass(frozen=True, slots=True, kw_only=True)
class BitcoinLeaf:
    """Conditions on one signature of a PSBT; None means that the rule does not restrict it."""

    recipients: frozenset[bytes] | None = None
    """Output scripts; change back to the spending script is always allowed."""
    value_max: int | None = None
    """Satoshis that may leave with one transaction, fee included."""
    fee_max: int | None = None
    data_any: bool = False
    """Whether outputs that only carry data are allowed."""

    def checks(self, spend: PsbtSpend) -> Iterator[Check]:
        """Every condition of an allow rule."""
        for payment in spend.payments:
            if is_data(payment.script):
                yield Check("bitcoin.data", self.data_any, "an output only carries data")
                yield Check("bitcoin.data", payment.satoshis == 0, partial(_burned, payment.satoshis))
            elif self.recipients is not None:
                known = payment.script in self.recipients
                yield listed("bitcoin.recipients", known, "recipient", payment.script, script_text)
        if self.value_max is not None:
            yield capped("bitcoin.value_max", spend.leaving, self.value_max, "satoshis")
        if self.fee_max is not None:
            yield capped("bitcoin.fee_max", spend.fee, self.fee_max, "satoshis of fees")

    def touches(self, spend: PsbtSpend) -> Iterator[Check]:
        """Every condition of a deny rule."""
        if self.recipients is not None:
            known = any(payment.script in self.recipients for payment in spend.payments)
            yield listed("bitcoin.recipients", known, "recipients of the transaction")


def read_bitcoin(fields: Fields, *, denies: bool) -> BitcoinLeaf:
    """The `bitcoin` member of a rule; raises the reader's error."""
    recipients = None
    if "recipients" in fields:
        values = fields.items("recipients", low=1, high=LIST_MAX)
        recipients = frozenset(_script(fields, value) for value in values)
    if denies:
        fields.done()
        return BitcoinLeaf(recipients=recipients)
    leaf = BitcoinLeaf(
        recipients=recipients,
        value_max=read_amount(fields, "value_max"),
        fee_max=read_amount(fields, "fee_max"),
        data_any=fields.choice("data", ("none", "any"), "none") == "any",
    )
    fields.done()
    return leaf


def _script(fields: Fields, value: Any) -> bytes:
    try:
        return parse_bitcoin_address(value)
    except CallerError as error:
        fields.refuse(error.detail, "recipients")


def _burned(satoshis: int) -> str:
    return f"{satoshis} satoshis in an output nobody can spend"
