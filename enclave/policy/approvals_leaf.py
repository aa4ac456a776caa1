"""The condition that people approve: which group, how many of them, and from which amount on (specs/approvals.md).

Rules kept: what cannot be read counts as above every amount; a request of another chain than the amount's is not
below it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from enclave.errors import RefusedError
from enclave.fields import Fields
from enclave.key_specs import Usage
from enclave.payload.sign import Payload
from enclave.policy.assets import ASSET_KINDS, Asset, read_asset
from enclave.policy.checks import read_amount

MINIMUM_MAX = 16
"""Most approvals a rule can ask for."""

LASTS_S = 86_400
"""How long a request waits unless the rule says otherwise, in seconds."""

LASTS_S_MIN = 60
LASTS_S_MAX = 7 * 86_400
"""Longest wait: nodes remember what is waiting and what was executed for as long."""

AMOUNT_KINDS = tuple(kind for kind in ASSET_KINDS if kind != "requests")


@dataclass(frozen=True, slots=True, kw_only=True)
class Above:
    """Up to `amount` base units of `asset` nobody has to approve."""

    asset: Asset
    amount: int

    def exceeded(self, kind: str, payload: Any) -> bool:
        """Whether a payload takes more than the amount, or may."""
        if not isinstance(payload, Payload) or not self._is_readable(payload):
            return True
        try:
            # A readable payload is of the asset's own chain, and so is its key.
            usage = Usage.BITCOIN if self.asset.kind == "satoshis" else Usage.EVM
            return self.asset.amount(kind, usage, payload) > self.amount
        except RefusedError:
            return True  # budget.unreadable: it may take any amount

    def _is_readable(self, payload: Payload) -> bool:
        if self.asset.kind == "satoshis":
            return payload.bitcoin is not None
        if self.asset.chain_id is None:
            return payload.solana is not None
        if payload.transaction is not None:
            return payload.transaction.chain_id == self.asset.chain_id
        return payload.typed_data is not None and payload.typed_data.chain_id in (None, self.asset.chain_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalTerms:
    """What a rule asks of people."""

    group: str
    minimum: int
    """Distinct approvers, with distinct keys."""
    above: Above | None = None
    """None: always."""
    lasts_s: int = LASTS_S
    """Seconds from the request's token on, within which approvals count."""

    def needed(self, kind: str, payload: Any) -> bool:
        """Whether this payload needs the approvals."""
        return self.above is None or self.above.exceeded(kind, payload)

    def to_json(self) -> dict[str, Any]:
        """As a policy writes it."""
        value: dict[str, Any] = {"group": self.group, "minimum": self.minimum, "lasts_s": self.lasts_s}
        if self.above is not None:
            value["above"] = {"asset": self.above.asset.to_json(), "amount": str(self.above.amount)}
        return value


def read_approvals(fields: Fields) -> ApprovalTerms:
    """The member `approvals` of an allow rule; raises the reader's error."""
    terms = ApprovalTerms(
        group=fields.label("group"),
        minimum=fields.integer("minimum", 1, MINIMUM_MAX),
        above=_read_above(fields.fields("above")) if "above" in fields else None,
        lasts_s=fields.integer("lasts_s", LASTS_S_MIN, LASTS_S_MAX, LASTS_S),
    )
    fields.done()
    return terms


def _read_above(fields: Fields) -> Above:
    asset = read_asset(fields.fields("asset"))
    if asset.kind not in AMOUNT_KINDS:
        fields.refuse(f"expected an asset of {', '.join(AMOUNT_KINDS)}", "asset")
    amount = read_amount(fields, "amount")
    if amount is None:
        fields.refuse("expected a decimal string of base units", "amount")
    fields.done()
    return Above(asset=asset, amount=amount)
