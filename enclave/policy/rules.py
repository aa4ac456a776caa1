"""Policies as data: rules read strictly, so that a misspelt condition is an error and not a wider rule."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attestation.errors import CodedError, PolicyError
from enclave.addresses import parse_evm_address, parse_solana_address
from enclave.errors import CallerError
from enclave.fields import Fields
from enclave.ids import check_id
from enclave.payload.sign import KINDS_ALL
from enclave.policy.leaves import EvmLeaf, SolanaLeaf, TokenTerms
from enclave.policy.times import TimeLeaf, read_time

RULES_MAX = 256
"""Most rules of a policy: evaluation is linear and runs on every node."""

LIST_MAX = 4096
"""Most entries of one list in a rule."""

KINDS = KINDS_ALL | {"decrypt"}
"""What a rule can be about: the payload kinds of signing, and decryption."""

_SELECTOR = re.compile(r"0x[0-9a-f]{8}")
_AMOUNT = re.compile(r"0|[1-9][0-9]{0,77}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule; None means that the rule does not restrict that fact."""

    name: str
    effect: str
    """`allow` or `deny`."""
    agents: frozenset[str] | None
    keys: frozenset[str] | None
    kinds: frozenset[str] | None
    """None only in deny rules: every kind."""
    evm: EvmLeaf | None
    solana: SolanaLeaf | None
    time: TimeLeaf | None
    digest: bool
    """Whether blind signatures over digests are allowed."""
    plaintext_to_gateway: bool
    """Whether the gateway may see a decrypted plaintext."""

    @property
    def denies(self) -> bool:
        """Whether the rule forbids what it matches."""
        return self.effect == "deny"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A checked list of rules; what no rule allows is denied."""

    rules: tuple[Rule, ...]

    @classmethod
    def of(cls, rules: Sequence[Mapping[str, Any]]) -> Policy:
        """Read rules from their JSON form; raises PolicyError (`policy.malformed`)."""
        if len(rules) > RULES_MAX:
            raise PolicyError(f"expected at most {RULES_MAX} rules, found {len(rules)}")
        read = tuple(_read_rule(rule, f"rules[{number}]") for number, rule in enumerate(rules))
        if len({rule.name for rule in read}) != len(read):
            raise PolicyError("two rules share one name")
        return cls(rules=read)


def _malformed(detail: str) -> CodedError:
    return PolicyError(detail)


def _read_rule(value: Any, where: str) -> Rule:
    fields = Fields(value, where=where, error=_malformed)
    name = fields.label("name")
    effect = fields.choice("effect", ("allow", "deny"))
    rule = Rule(
        name=name,
        effect=effect,
        agents=_ids(fields, "agents", "agt", "opr"),
        keys=_ids(fields, "keys", "key"),
        kinds=_kinds(fields, effect),
        evm=_read_evm(fields.fields("evm"), effect) if "evm" in fields else None,
        solana=_read_solana(fields.fields("solana"), effect) if "solana" in fields else None,
        time=read_time(fields.fields("time")) if "time" in fields else None,
        digest=_allowed(fields, "digest", effect),
        plaintext_to_gateway=_allowed(fields, "plaintext_to_gateway", effect),
    )
    fields.done()
    _check_kinds(rule, fields)
    return rule


def _check_kinds(rule: Rule, fields: Fields) -> None:
    """A condition on a kind the rule is not about would silently do nothing."""
    about = KINDS if rule.kinds is None else rule.kinds
    for present, kind, member in (
        (rule.evm is not None, "evm_transaction", "evm"),
        (rule.solana is not None, "solana_message", "solana"),
        (rule.digest, "digest", "digest"),
        (rule.plaintext_to_gateway, "decrypt", "plaintext_to_gateway"),
    ):
        if present and kind not in about:
            fields.refuse(f"the rule is not about {kind}", member)
    if rule.denies and rule.evm is not None and rule.solana is not None:
        fields.refuse("one deny rule cannot look at two chains; write two rules", "solana")


def _ids(fields: Fields, name: str, *prefixes: str) -> frozenset[str] | None:
    if name not in fields:
        return None
    values = fields.texts(name, low=1, high=LIST_MAX)
    for value in values:
        prefix = next((one for one in prefixes if value.startswith(one + "_")), prefixes[0])
        try:
            check_id(value, prefix)
        except CallerError as error:
            fields.refuse(error.detail, name)
    return frozenset(values)


def _kinds(fields: Fields, effect: str) -> frozenset[str] | None:
    if effect == "deny" and "kinds" not in fields:
        return None
    values = fields.texts("kinds", low=1, high=len(KINDS))
    if not set(values) <= KINDS:
        fields.refuse(f"expected kinds of {', '.join(sorted(KINDS))}", "kinds")
    return frozenset(values)


def _allowed(fields: Fields, name: str, effect: str) -> bool:
    if name not in fields:
        return False
    if effect == "deny":
        fields.refuse("only allow rules have it", name)
    fields.constant(name, "allow")
    return True


def _read_evm(fields: Fields, effect: str) -> EvmLeaf:
    if effect == "deny":
        leaf = EvmLeaf(
            chain_ids=_chain_ids(fields), recipients=_addresses(fields, "recipients"), selectors=_selectors(fields)
        )
        fields.done()
        return leaf
    leaf = EvmLeaf(
        chain_ids=_chain_ids(fields),
        recipients=_addresses(fields, "recipients"),
        value_max=_amount(fields, "value_max"),
        fee_max=_amount(fields, "fee_max"),
        contract_creation=fields.boolean("contract_creation", False),
        data_any=fields.choice("data", ("none", "any"), "none") == "any",
        selectors=_selectors(fields),
        set_code=fields.boolean("set_code", False),
    )
    fields.done()
    if leaf.data_any and leaf.selectors:
        fields.refuse("data any makes the selectors useless; keep one", "selectors")
    return leaf


def _read_solana(fields: Fields, effect: str) -> SolanaLeaf:
    programs = _accounts(fields, "programs")
    recipients = _accounts(fields, "recipients")
    if effect == "deny":
        fields.done()
        return SolanaLeaf(programs=programs, recipients=recipients)
    tokens_any = False
    tokens: dict[bytes, TokenTerms] | None = None
    if "tokens" in fields:
        tokens_any = fields.peek("tokens") == "any"
        tokens = None if tokens_any else _tokens(fields)
        if tokens_any:
            fields.take("tokens")
    leaf = SolanaLeaf(
        programs=programs,
        recipients=recipients,
        lamports_max=_amount(fields, "lamports_max"),
        fee_max=_amount(fields, "fee_max"),
        tokens_any=tokens_any,
        tokens=tokens,
        instructions_any=fields.choice("instructions", ("known", "any"), "known") == "any",
    )
    fields.done()
    return leaf


def _tokens(fields: Fields) -> dict[bytes, TokenTerms]:
    tokens: dict[bytes, TokenTerms] = {}
    for item in fields.each("tokens", low=1, high=256):
        mint = _account(item, "mint", item.take("mint"))
        if mint in tokens:
            item.refuse("this mint is named twice", "mint")
        tokens[mint] = TokenTerms(recipients=_accounts(item, "recipients"), amount_max=_amount(item, "amount_max"))
    return tokens


def _chain_ids(fields: Fields) -> frozenset[int] | None:
    if "chain_ids" not in fields:
        return None
    values = fields.items("chain_ids", low=1, high=256)
    if not all(type(value) is int and value >= 1 for value in values):
        fields.refuse("expected chain ids as integers", "chain_ids")
    return frozenset(values)


def _addresses(fields: Fields, name: str) -> frozenset[bytes] | None:
    if name not in fields:
        return None
    addresses = set()
    for value in fields.items(name, low=1, high=LIST_MAX):
        try:
            addresses.add(parse_evm_address(value))
        except CallerError as error:
            fields.refuse(error.detail, name)
    return frozenset(addresses)


def _accounts(fields: Fields, name: str) -> frozenset[bytes] | None:
    if name not in fields:
        return None
    return frozenset(_account(fields, name, value) for value in fields.items(name, low=1, high=LIST_MAX))


def _account(fields: Fields, name: str, value: Any) -> bytes:
    try:
        return parse_solana_address(value)
    except CallerError as error:
        fields.refuse(error.detail, name)


def _selectors(fields: Fields) -> frozenset[bytes]:
    if "selectors" not in fields:
        return frozenset()
    values = fields.texts("selectors", low=1, high=LIST_MAX)
    if not all(_SELECTOR.fullmatch(value) for value in values):
        fields.refuse("expected 0x and 8 lower-case hex digits", "selectors")
    return frozenset(bytes.fromhex(value[2:]) for value in values)


def _amount(fields: Fields, name: str) -> int | None:
    if name not in fields:
        return None
    value = fields.take(name)
    if not isinstance(value, str) or not _AMOUNT.fullmatch(value):
        fields.refuse("expected a decimal string of base units", name)
    return int(value)
