"""Policies as data: rules read strictly, so that a misspelt condition is an error and not a wider rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attestation.errors import CodedError, PolicyError
from enclave.errors import CallerError
from enclave.fields import Fields
from enclave.ids import check_id
from enclave.payload.sign import KINDS_ALL
from enclave.policy.approvals_leaf import ApprovalTerms, read_approvals
from enclave.policy.bitcoin_leaf import BitcoinLeaf, read_bitcoin
from enclave.policy.checks import LIST_MAX
from enclave.policy.evm_leaf import EvmLeaf, read_evm
from enclave.policy.jws_leaf import JwsLeaf, read_jws_leaf
from enclave.policy.kinds import EVM_KINDS, KINDS, OPENING_KINDS, WAITING_KINDS
from enclave.policy.opening_leaf import OpeningLeaf, read_opening
from enclave.policy.solana_leaf import SolanaLeaf, read_solana
from enclave.policy.times import TimeLeaf, read_time
from enclave.policy.workload_leaf import WorkloadLeaf, read_workload
from enclave.threshold.derive import parse_path

RULES_MAX = 256
"""Most rules of a policy: evaluation is linear and runs on every node."""

PATHS_MAX = 256
"""Most path prefixes of a rule: each is compared step by step."""


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
    paths: tuple[tuple[int, ...], ...] | None
    """Prefixes of derivation paths, one of which the signing key's path must begin with."""
    evm: EvmLeaf | None
    solana: SolanaLeaf | None
    time: TimeLeaf | None
    opening: OpeningLeaf
    workload: WorkloadLeaf | None
    digest: bool
    """Whether blind signatures over digests are allowed."""
    plaintext_to_gateway: bool
    """Whether the gateway may see a decrypted plaintext."""
    export: bool
    """Whether exportable keys may leave the nodes."""

    bitcoin: BitcoinLeaf | None = None
    jws: JwsLeaf | None = None
    approvals: ApprovalTerms | None = None
    """What people have to approve before the rule allows anything."""

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
        paths=_paths(fields),
        evm=read_evm(fields.fields("evm"), denies=effect == "deny") if "evm" in fields else None,
        solana=read_solana(fields.fields("solana"), denies=effect == "deny") if "solana" in fields else None,
        time=read_time(fields.fields("time")) if "time" in fields else None,
        opening=read_opening(fields, denies=effect == "deny"),
        workload=read_workload(fields.fields("workload")) if "workload" in fields else None,
        digest=_allowed(fields, "digest", effect),
        plaintext_to_gateway=_allowed(fields, "plaintext_to_gateway", effect),
        export=_allowed(fields, "export", effect),
        bitcoin=read_bitcoin(fields.fields("bitcoin"), denies=effect == "deny") if "bitcoin" in fields else None,
        jws=read_jws_leaf(fields.fields("jws")) if "jws" in fields else None,
        approvals=read_approvals(fields.fields("approvals")) if "approvals" in fields else None,
    )
    fields.done()
    _check_kinds(rule, fields)
    return rule


def _check_kinds(rule: Rule, fields: Fields) -> None:
    """A condition on a kind the rule is not about would silently do nothing."""
    about = KINDS if rule.kinds is None else rule.kinds
    for present, kinds, member in (
        (rule.evm is not None, EVM_KINDS, "evm"),
        (rule.solana is not None, {"solana_message"}, "solana"),
        (rule.bitcoin is not None, {"bitcoin_psbt"}, "bitcoin"),
        (rule.jws is not None, {"jws"}, "jws"),
        (rule.digest, {"digest"}, "digest"),
        (rule.plaintext_to_gateway, {"decrypt", "data_key"}, "plaintext_to_gateway"),
        (rule.opening.enclave_required, OPENING_KINDS, "opened_in_enclave"),
        (rule.opening.contexts is not None, OPENING_KINDS, "context"),
        (rule.opening.targets is not None, {"rewrap"}, "rewrap_to"),
        (rule.workload is not None, {"release"}, "workload"),
        (rule.export, {"export"}, "export"),
        (rule.paths is not None, KINDS_ALL - {"bitcoin_sighash"}, "paths"),
    ):
        if present and not kinds & about:
            fields.refuse(f"the rule is not about {' or '.join(sorted(kinds))}", member)
    if rule.export and rule.agents is None:
        fields.refuse("a rule that lets keys out names who may have them", "agents")
    if rule.approvals is not None:
        if rule.denies:
            fields.refuse("only allow rules have it", "approvals")
        if not about <= WAITING_KINDS:
            fields.refuse(f"{', '.join(sorted(about - WAITING_KINDS))} cannot wait for approvals", "approvals")
        if rule.plaintext_to_gateway:
            fields.refuse("what waits for approvals is never opened at the gateway", "plaintext_to_gateway")
    if rule.workload is not None and rule.denies:
        fields.refuse("only allow rules have it", "workload")
    if rule.jws is not None and rule.denies:
        fields.refuse("only allow rules have it", "jws")
    typed = rule.evm is not None and (rule.evm.primary_types or rule.evm.contracts is not None)
    if typed and "eip712" not in about:
        fields.refuse("the rule is not about eip712", "evm")
    if rule.evm is not None and rule.evm.calls and "evm_transaction" not in about:
        fields.refuse("the rule is not about evm_transaction", "evm")
    if rule.evm is not None and rule.evm.delegates and "eip7702_authorization" not in about:
        fields.refuse("the rule is not about eip7702_authorization", "evm")
    if rule.denies and sum(leaf is not None for leaf in (rule.evm, rule.solana, rule.bitcoin)) > 1:
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


def _paths(fields: Fields) -> tuple[tuple[int, ...], ...] | None:
    if "paths" not in fields:
        return None
    try:
        return tuple(parse_path(text) for text in fields.texts("paths", low=1, high=PATHS_MAX))
    except CallerError as error:
        fields.refuse(error.detail, "paths")


def _allowed(fields: Fields, name: str, effect: str) -> bool:
    if name not in fields:
        return False
    if effect == "deny":
        fields.refuse("only allow rules have it", name)
    fields.constant(name, "allow")
    return True
