"""The JSON Schema of a policy's rules, for editors and other languages (specs/schemas/policy.json).

It describes form; what spans members (a condition on a kind the rule is not about, EIP-55
checksums, base58 sizes) only `enclave.policy.rules` checks.
"""

from __future__ import annotations

from typing import Any

from enclave.payload.abi import SIGNATURE_CHARACTERS_MAX
from enclave.payload.decrypt import CONTEXT_MAX
from enclave.policy.approvals_leaf import LASTS_S_MAX, LASTS_S_MIN, MINIMUM_MAX
from enclave.policy.assets import amount_assets
from enclave.policy.calls_leaf import CALLS_MAX, PATH_MAX, TERMS_MAX
from enclave.policy.checks import LIST_MAX
from enclave.policy.jws_leaf import CLAIMS_MAX, LIFETIME_S_MAX
from enclave.policy.kinds import KINDS
from enclave.policy.rules import PATHS_MAX, RULES_MAX
from enclave.policy.times import DAYS
from enclave.policy.workload_leaf import MEASUREMENTS_MAX, REGISTERS, TEES

_AMOUNT = {"type": "string", "pattern": "^(0|[1-9][0-9]{0,77})$"}
_EVM_ADDRESS = {"type": "string", "pattern": "^0x[0-9a-fA-F]{40}$"}
_ACCOUNT = {"type": "string", "pattern": "^[1-9A-HJ-NP-Za-km-z]{32,44}$"}
_SELECTOR = {"type": "string", "pattern": "^0x[0-9a-f]{8}$"}
_CLOCK = {"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$"}
_SECONDS = {"type": "integer", "minimum": 0}
_CHAIN = {"type": "integer", "minimum": 1}


def policy_schema() -> dict[str, Any]:
    """The schema of the member `rules` (JSON Schema 2020-12)."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Holdfast policy rules",
        "type": "array",
        "maxItems": RULES_MAX,
        "items": {"oneOf": [_rule("allow"), _rule("deny")]},
    }


def _rule(effect: str) -> dict[str, Any]:
    members: dict[str, Any] = {
        "name": {"type": "string", "pattern": "^[a-z][a-z0-9-]{0,62}$"},
        "effect": {"const": effect},
        "agents": _list({"type": "string", "pattern": "^(agt|opr)_[a-z2-7]{26}$"}),
        "keys": _list({"type": "string", "pattern": "^key_[a-z2-7]{26}$"}),
        "kinds": _list({"enum": sorted(KINDS)}, high=len(KINDS)),
        "paths": _list({"type": "string", "pattern": "^m(/(0|[1-9][0-9]{0,9})){0,16}$"}, high=PATHS_MAX),
        "evm": _evm(effect),
        "solana": _solana(effect),
        "bitcoin": _bitcoin(effect),
        "context": _context(),
        "rewrap_to": _list({"type": "string", "pattern": "^key_[a-z2-7]{26}$"}),
        "time": _object(
            not_before=_SECONDS,
            not_after=_SECONDS,
            days=_list({"enum": list(DAYS)}, high=7),
            **{"from": _CLOCK, "to": _CLOCK},
        ),
    }
    if effect == "allow":
        members |= {"digest": {"const": "allow"}, "plaintext_to_gateway": {"const": "allow"}}
        members |= {"export": {"const": "allow"}, "jws": _jws()}
        members |= {"approvals": _approvals()}
        members |= {"opened_in_enclave": {"const": "required"}, "workload": _workload()}
    required = ["name", "effect", "kinds"] if effect == "allow" else ["name", "effect"]
    rule = _object(**members) | {"required": required}
    return (
        rule | {"dependentRequired": {"context": ["opened_in_enclave"], "export": ["agents"]}}
        if effect == "allow"
        else rule
    )


def _approvals() -> dict[str, Any]:
    above = _object(asset={"oneOf": amount_assets()}, amount=_AMOUNT) | {"required": ["asset", "amount"]}
    return _object(
        group={"type": "string", "pattern": "^[a-z][a-z0-9-]{0,62}$"},
        minimum={"type": "integer", "minimum": 1, "maximum": MINIMUM_MAX},
        above=above,
        lasts_s={"type": "integer", "minimum": LASTS_S_MIN, "maximum": LASTS_S_MAX},
    ) | {"required": ["group", "minimum"]}


def _workload() -> dict[str, Any]:
    register = _list({"type": "string", "pattern": "^([0-9a-f]{2}){1,64}$"}, high=MEASUREMENTS_MAX)
    registers = {
        "type": "object",
        "propertyNames": {"enum": sorted(REGISTERS)},
        "additionalProperties": register,
        "minProperties": 1,
    }
    tees = _list({"enum": sorted(TEES)}, high=len(TEES))
    return _object(measurements=registers, tees=tees) | {"required": ["measurements"]}


def _context() -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": _list({"type": "string", "minLength": 1, "maxLength": 256}),
        "propertyNames": {"minLength": 1, "maxLength": 64},
        "minProperties": 1,
        "maxProperties": CONTEXT_MAX,
    }


def _bitcoin(effect: str) -> dict[str, Any]:
    address = {"type": "string", "minLength": 14, "maxLength": 90}
    members: dict[str, Any] = {"recipients": _list(address)}
    if effect == "allow":
        members |= {"value_max": _AMOUNT, "fee_max": _AMOUNT, "data": {"enum": ["none", "any"]}}
    return _object(**members)


def _jws() -> dict[str, Any]:
    text = {"type": "string", "minLength": 1}
    claims = {
        "type": "object",
        "additionalProperties": _list(text),
        "minProperties": 1,
        "maxProperties": CLAIMS_MAX,
    }
    return _object(
        types=_list(text, high=64),
        claims=claims,
        only={"type": "boolean"},
        lifetime_s_max={"type": "integer", "minimum": 1, "maximum": LIFETIME_S_MAX},
    )


def _evm(effect: str) -> dict[str, Any]:
    members: dict[str, Any] = {
        "chain_ids": _list(_CHAIN, high=256),
        "recipients": _list(_EVM_ADDRESS),
        "selectors": _list(_SELECTOR),
    }
    if effect == "allow":
        flag = {"type": "boolean"}
        token = _object(
            token=_EVM_ADDRESS, recipients=_list(_EVM_ADDRESS), amount_max=_AMOUNT, approvals={"type": "boolean"}
        ) | {"required": ["token"]}
        members |= {
            "value_max": _AMOUNT,
            "fee_max": _AMOUNT,
            "contract_creation": flag,
            "set_code": flag,
            "data": {"enum": ["none", "any"]},
            "tokens": _list(token, high=256),
            "calls": _list(_call(), high=CALLS_MAX),
            "primary_types": _list({"type": "string", "minLength": 1, "maxLength": 256}, high=256),
            "contracts": _list(_EVM_ADDRESS),
            "delegates": _list(_EVM_ADDRESS),
        }
    return _object(**members)


def _call() -> dict[str, Any]:
    bound = {"type": "string", "pattern": "^(0|-?[1-9][0-9]{0,77})$"}
    argument = _object(
        at=_list({"type": "integer", "minimum": 0}, high=PATH_MAX),
        **{"in": _list({"type": ["string", "boolean"]}), "min": bound, "max": bound},
    ) | {"required": ["at"], "anyOf": [{"required": [name]} for name in ("in", "min", "max")]}
    function = {
        "type": "string",
        "pattern": "^[A-Za-z_$][A-Za-z0-9_$]*\\([a-z0-9,()\\[\\]]*\\)$",
        "maxLength": SIGNATURE_CHARACTERS_MAX,
    }
    return _object(contract=_EVM_ADDRESS, function=function, args=_list(argument, high=TERMS_MAX)) | {
        "required": ["contract", "function"]
    }


def _solana(effect: str) -> dict[str, Any]:
    members: dict[str, Any] = {"programs": _list(_ACCOUNT), "recipients": _list(_ACCOUNT)}
    if effect == "allow":
        token = _object(mint=_ACCOUNT, recipients=_list(_ACCOUNT), amount_max=_AMOUNT) | {"required": ["mint"]}
        members |= {
            "lamports_max": _AMOUNT,
            "fee_max": _AMOUNT,
            "tokens": {"oneOf": [{"const": "any"}, _list(token, high=256)]},
            "instructions": {"enum": ["known", "any"]},
        }
    return _object(**members)


def _object(**members: Any) -> dict[str, Any]:
    return {"type": "object", "properties": members, "additionalProperties": False}


def _list(items: Any, *, high: int = LIST_MAX) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": 1, "maxItems": high}
