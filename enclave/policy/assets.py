"""What budgets and amounts in rules count, and how much of it one request takes.

Rules kept: value is what is transferred plus the most that can be paid in fees; an approval counts as a
transfer; a payload that may move the asset in a way that cannot be read is refused, never counted as nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from enclave.addresses import checksum_address, solana_address
from enclave.errors import RefusedError
from enclave.fields import Fields
from enclave.payload.decrypt import DecryptBody
from enclave.payload.evm import EvmTransaction
from enclave.payload.export import ExportBody
from enclave.payload.sign import Payload
from enclave.payload.solana import SolanaMessage
from enclave.payload.solana_programs import ASSOCIATED_TOKEN, SYSTEM, Effect, EffectKind
from enclave.policy.checks import read_account, read_address
from enclave.policy.kinds import KINDS
from enclave.workload import WorkloadFacts

ASSET_KINDS = ("evm-native", "evm-token", "lamports", "spl-token", "satoshis", "requests")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One countable thing; `amount` answers how much of it a payload takes."""

    kind: str
    chain_id: int | None = None
    token: bytes | None = None
    """Contract (20 bytes) or mint (32 bytes)."""
    kinds: frozenset[str] | None = None
    """Of asset `requests`: the payload kinds that count, None for every kind."""

    @property
    def text(self) -> str:
        """A name that differs whenever the asset does."""
        parts = [self.kind]
        if self.chain_id is not None:
            parts.append(str(self.chain_id))
        if self.token is not None:
            parts.append(self.token.hex())
        if self.kinds is not None:
            parts.append(",".join(sorted(self.kinds)))
        return ":".join(parts)

    def to_json(self) -> dict[str, Any]:
        """As a policy writes it."""
        value: dict[str, Any] = {"kind": self.kind}
        if self.chain_id is not None:
            value["chain_id"] = self.chain_id
        if self.token is not None and self.kind == "evm-token":
            value["token"] = checksum_address(self.token)
        if self.token is not None and self.kind == "spl-token":
            value["mint"] = solana_address(self.token)
        if self.kinds is not None:
            value["kinds"] = sorted(self.kinds)
        return value

    def amount(self, kind: str, usage: str, payload: Payload | DecryptBody | WorkloadFacts | ExportBody) -> int:
        """Base units that a payload of policy kind `kind` takes; raises RefusedError (`budget.unreadable`)."""
        if self.kind == "requests":
            return int(self.kinds is None or kind in self.kinds)
        if not isinstance(payload, Payload):
            return 0
        if self.kind in ("evm-native", "evm-token"):
            return self._evm(usage, payload)
        if self.kind == "satoshis":
            return self._bitcoin(usage, payload)
        return self._solana(payload.solana) if payload.solana is not None else 0

    def _evm(self, usage: str, payload: Payload) -> int:
        if usage != "evm":
            return 0
        if payload.delegation is not None or payload.kind == "digest":
            raise _unreadable("a blind signature or a delegation of the account may move anything")
        if payload.transaction is not None:
            transaction = payload.transaction
            if transaction.chain_id != self.chain_id:
                return 0
            return self._native(transaction) if self.kind == "evm-native" else self._token_call(transaction)
        if payload.typed_data is None or self.kind == "evm-native":
            return 0
        # Typed data without a chain id counts on every chain.
        if payload.typed_data.chain_id not in (None, self.chain_id):
            return 0
        if payload.typed_data.verifying_contract == self.token and not payload.token_moves:
            raise _unreadable("typed data for the token that is no known permit or transfer")
        return sum(move.amount for move in payload.token_moves if move.token == self.token)

    @staticmethod
    def _native(transaction: EvmTransaction) -> int:
        return transaction.value + transaction.fee_max

    def _token_call(self, transaction: EvmTransaction) -> int:
        if transaction.to != self.token or not transaction.data:
            return 0
        move = transaction.token_move
        if move is None:
            raise _unreadable("a call of the token that is no plain transfer or approval")
        return move.amount

    @staticmethod
    def _bitcoin(usage: str, payload: Payload) -> int:
        if usage != "bitcoin":
            return 0
        if payload.kind == "bitcoin_sighash":
            raise _unreadable("a blind signature may move anything")
        return payload.bitcoin.counted if payload.bitcoin is not None else 0

    def _solana(self, message: SolanaMessage) -> int:
        effects = message.effects()
        if any(self._is_opaque(effect) for effect in effects):
            raise _unreadable("an instruction that may move it and is not understood")
        if self.kind == "lamports":
            return sum(effect.lamports for effect in effects) + message.fee_max
        return sum(effect.amount for effect in effects if effect.mint == self.token)

    def _is_opaque(self, effect: Effect) -> bool:
        """Whether an instruction may move the asset without saying how much."""
        if effect.kind is EffectKind.OPAQUE:
            return True
        if self.kind == "lamports":
            return effect.kind is EffectKind.OTHER
        if effect.kind is EffectKind.TOKEN_TRANSFER:
            return effect.mint is None  # the unchecked transfer names no mint
        return effect.kind is EffectKind.OTHER and effect.program not in (SYSTEM, ASSOCIATED_TOKEN)


def read_asset(fields: Fields) -> Asset:
    """The member `asset` of a budget; raises the reader's error."""
    kind = fields.choice("kind", ASSET_KINDS)
    chain_id = fields.integer("chain_id", 1) if kind in ("evm-native", "evm-token") else None
    token = None
    if kind == "evm-token":
        token = read_address(fields, "token", fields.take("token"))
    elif kind == "spl-token":
        token = read_account(fields, "mint", fields.take("mint"))
    kinds = None
    if kind == "requests" and "kinds" in fields:
        kinds = frozenset(fields.texts("kinds", low=1, high=len(KINDS)))
        if not kinds <= KINDS:
            fields.refuse(f"expected kinds of {', '.join(sorted(KINDS))}", "kinds")
    fields.done()
    return Asset(kind=kind, chain_id=chain_id, token=token, kinds=kinds)


def amount_assets() -> list[dict[str, Any]]:
    """JSON Schemas of the assets that have amounts."""
    chain = {"type": "integer", "minimum": 1}
    token = {"type": "string", "pattern": "^0x[0-9a-fA-F]{40}$"}
    mint = {"type": "string", "pattern": "^[1-9A-HJ-NP-Za-km-z]{32,44}$"}
    members: tuple[dict[str, Any], ...] = (
        {"kind": {"const": "evm-native"}, "chain_id": chain},
        {"kind": {"const": "evm-token"}, "chain_id": chain, "token": token},
        {"kind": {"const": "lamports"}},
        {"kind": {"const": "spl-token"}, "mint": mint},
        {"kind": {"const": "satoshis"}},
    )
    return [
        {"type": "object", "properties": item, "additionalProperties": False, "required": list(item)}
        for item in members
    ]


def _unreadable(detail: str) -> RefusedError:
    return RefusedError(
        f"a budget counts this asset: {detail}", code="budget.unreadable", hint="use a key whose policy has no budget"
    )
