"""The decision: default deny, deny wins, approvals where a rule asks for them, explained (specs/policy.md)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from enclave.payload.decrypt import DecryptBody
from enclave.payload.export import ExportBody
from enclave.payload.sign import Payload
from enclave.policy.approvals_leaf import ApprovalTerms
from enclave.policy.bitcoin_leaf import BitcoinLeaf
from enclave.policy.checks import Check, listed
from enclave.policy.evm_leaf import EvmLeaf
from enclave.policy.kinds import EVM_KINDS, OPENING_KINDS
from enclave.policy.rules import Policy, Rule
from enclave.policy.solana_leaf import SolanaLeaf
from enclave.threshold.derive import format_path
from enclave.workload import WorkloadFacts

_EVM_ANY = EvmLeaf()
_SOLANA_ANY = SolanaLeaf()
_BITCOIN_ANY = BitcoinLeaf()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked: who, with which key, for which kind of payload, and the payload as parsed."""

    agent: str
    """`agt_...` or `opr_...`: the verified issuer of the request token."""
    key: str
    kind: str
    payload: Payload | DecryptBody | WorkloadFacts | ExportBody | None = None
    now: int | None = None
    """Unix seconds on the deciding node's clock; without it no time condition opens anything."""


class Compiled(Protocol):
    """A signed policy document, which carries its checked rules."""

    @property
    def compiled(self) -> Policy:
        """The rules."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleTrace:
    """How one rule was decided: it matches when all its checks hold."""

    rule: str
    effect: str
    matched: bool
    checks: tuple[Check, ...]

    @property
    def because(self) -> str:
        """The first check that does not hold, or what matched."""
        failed = next((check for check in self.checks if not check.holds), None)
        return "every condition holds" if failed is None else f"{failed.leaf}: {failed.detail}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Allowed or not, by which rule, and how every rule was decided."""

    allowed: bool
    rule: str | None
    """The rule that decided; None if none allowed it."""
    reason: str
    approvals: ApprovalTerms | None = None
    """What people must approve before it is allowed; then `allowed` is False, and `rule` is who says so."""
    rules: tuple[Rule, ...] = field(repr=False)
    request: Request = field(repr=False)

    @property
    def traces(self) -> tuple[RuleTrace, ...]:
        """How every rule was decided.  Made anew when asked for: most decisions are never explained."""
        return tuple(_trace(rule, self.request) for rule in self.rules)

    @property
    def explanation(self) -> list[str]:
        """One line per rule, for people."""
        return [
            f"{trace.rule} ({trace.effect}) {'matches' if trace.matched else 'does not match'}: {trace.because}"
            for trace in self.traces
        ]

    def to_json(self) -> dict[str, Any]:
        """The decision with its tree of rules and checks."""
        return {
            "allowed": self.allowed,
            "rule": self.rule,
            "reason": self.reason,
            **({} if self.approvals is None else {"approvals": self.approvals.to_json()}),
            "rules": [
                {
                    "rule": trace.rule,
                    "effect": trace.effect,
                    "matched": trace.matched,
                    "checks": [
                        {"leaf": check.leaf, "holds": check.holds, "detail": check.detail} for check in trace.checks
                    ],
                }
                for trace in self.traces
            ],
        }


def evaluate(policy: Policy | Compiled, request: Request) -> Decision:
    """Decide `request`: the first matching deny rule, else the first allow rule that asks nobody, else one that asks.

    So rules add up whatever their order, and taking an allow rule away never allows more.
    """
    rules = (policy if isinstance(policy, Policy) else policy.compiled).rules
    transaction = request.payload.transaction if isinstance(request.payload, Payload) else None
    plain = asking = None
    for rule in rules:
        if rule.kinds is not None and request.kind not in rule.kinds:
            continue
        if transaction is not None and rule.evm is not None and not rule.denies and rule.evm.misses(transaction):
            continue
        # A deny rule wins wherever it stands; once something allows it, only those are still of interest.
        if (plain is not None and not rule.denies) or not _matches(rule, request):
            continue
        if rule.denies:
            return Decision(
                allowed=False, rule=rule.name, reason=f"rule {rule.name} forbids it", rules=rules, request=request
            )
        if rule.approvals is None or not rule.approvals.needed(request.kind, request.payload):
            plain = rule
        else:
            asking = asking or rule
    if plain is not None:
        return Decision(
            allowed=True, rule=plain.name, reason=f"rule {plain.name} allows it", rules=rules, request=request
        )
    if asking is not None and asking.approvals is not None:
        terms = asking.approvals
        reason = f"rule {asking.name} allows it with {terms.minimum} approvals of group {terms.group}"
        return Decision(allowed=False, rule=asking.name, reason=reason, approvals=terms, rules=rules, request=request)
    traces = tuple(_trace(rule, request) for rule in rules)
    return Decision(allowed=False, rule=None, reason=_nearest(traces), rules=rules, request=request)


def _matches(rule: Rule, request: Request) -> bool:
    """As `_trace`, no further than the first check that fails."""
    for check in _subject(rule, request):
        if not check.holds:
            return False
    return all(check.holds for check in (_touches(rule, request) if rule.denies else _allows(rule, request)))


def _nearest(traces: tuple[RuleTrace, ...]) -> str:
    """Why nothing allowed it: the allow rule that came closest."""
    allows = [trace for trace in traces if trace.effect == "allow"]
    if not allows:
        return "no rule allows anything"
    nearest = min(allows, key=lambda trace: sum(not check.holds for check in trace.checks))
    return f"no rule allows it; nearest is {nearest.rule}: {nearest.because}"


def _trace(rule: Rule, request: Request) -> RuleTrace:
    checks = tuple(_subject(rule, request))
    if all(check.holds for check in checks):
        checks += tuple(_touches(rule, request) if rule.denies else _allows(rule, request))
    return RuleTrace(rule=rule.name, effect=rule.effect, matched=all(check.holds for check in checks), checks=checks)


def _subject(rule: Rule, request: Request) -> Iterator[Check]:
    """Who, which key, which kind, when: the same for both effects."""
    if rule.kinds is not None:
        yield Check("kinds", request.kind in rule.kinds, f"kind {request.kind}")
    if rule.agents is not None:
        yield Check("agents", request.agent in rule.agents, f"requested by {request.agent}")
    elif not rule.denies:
        # Operators use keys only where a rule names them.
        yield Check("agents", request.agent.startswith("agt_"), f"requested by {request.agent}")
    if rule.keys is not None:
        yield Check("keys", request.key in rule.keys, f"key {request.key}")
    if rule.paths is not None:
        path = request.payload.path if isinstance(request.payload, Payload) else ()
        yield listed("paths", any(path[: len(prefix)] == prefix for prefix in rule.paths), "path", path, format_path)
    if rule.time is not None:
        # Without a clock the cautious answer: an allow rule does not apply, a deny rule does.
        holds = rule.denies if request.now is None else rule.time.holds(request.now)
        yield Check("time", holds, f"at {request.now}")


def _allows(rule: Rule, request: Request) -> Iterator[Check]:
    payload = request.payload
    match request.kind:
        case "decrypt" | "rewrap":
            if not isinstance(payload, DecryptBody):
                yield _unreadable(request.kind)
                return
            yield from rule.opening.checks(payload)
            if payload.target is None and payload.recipient is None:
                detail = "without a recipient the gateway sees the plaintext"
                yield Check("plaintext_to_gateway", rule.plaintext_to_gateway, detail)
        case "release":
            if not isinstance(payload, WorkloadFacts):
                yield _unreadable("workload")
            elif rule.workload is None:
                yield Check("workload", False, "the rule names no workload")
            else:
                yield from rule.workload.checks(payload)
        case "export":
            yield Check("export", rule.export, "a key leaves the nodes for good")
        case "data_key":
            yield Check("plaintext_to_gateway", rule.plaintext_to_gateway, "the gateway makes and sees the data key")
        case "digest":
            yield Check("digest", rule.digest, "a digest cannot be read by policy")
        case "evm_transaction":
            if isinstance(payload, Payload) and payload.transaction is not None:
                yield from (rule.evm or _EVM_ANY).checks(payload.transaction)
            else:
                yield _unreadable("evm")
        case "eip712":
            if isinstance(payload, Payload) and payload.typed_data is not None:
                yield from (rule.evm or _EVM_ANY).typed_checks(payload.typed_data, payload.token_moves)
            else:
                yield _unreadable("evm")
        case "eip7702_authorization":
            if isinstance(payload, Payload) and payload.delegation is not None:
                yield from (rule.evm or _EVM_ANY).delegation_checks(payload.delegation)
            else:
                yield _unreadable("evm")
        case "solana_message":
            if isinstance(payload, Payload) and payload.solana is not None:
                yield from (rule.solana or _SOLANA_ANY).checks(payload.solana)
            else:
                yield _unreadable("solana")
        case "bitcoin_psbt":
            if isinstance(payload, Payload) and payload.bitcoin is not None:
                yield from (rule.bitcoin or _BITCOIN_ANY).checks(payload.bitcoin)
            else:
                yield _unreadable("bitcoin")
        case "jws":
            if isinstance(payload, Payload) and payload.jws is not None:
                yield from () if rule.jws is None else rule.jws.checks(payload.jws, request.now)
            else:
                yield _unreadable("jws")


def _touches(rule: Rule, request: Request) -> Iterator[Check]:
    """What a deny rule looks at; a payload that was not parsed counts as touched."""
    payload = request.payload
    if rule.opening.contexts is not None or rule.opening.targets is not None:
        yield Check("decrypt", request.kind in OPENING_KINDS, f"kind {request.kind}")
        if isinstance(payload, DecryptBody):
            yield from rule.opening.touches(payload)
    if rule.evm is not None:
        yield Check("evm", request.kind in EVM_KINDS, f"kind {request.kind}")
        if isinstance(payload, Payload):
            yield from _touches_evm(rule.evm, payload)
    if rule.solana is not None:
        yield Check("solana", request.kind == "solana_message", f"kind {request.kind}")
        if isinstance(payload, Payload) and payload.solana is not None:
            yield from rule.solana.touches(payload.solana)
    if rule.bitcoin is not None:
        yield Check("bitcoin", request.kind == "bitcoin_psbt", f"kind {request.kind}")
        if isinstance(payload, Payload) and payload.bitcoin is not None:
            yield from rule.bitcoin.touches(payload.bitcoin)


def _touches_evm(leaf: EvmLeaf, payload: Payload) -> Iterator[Check]:
    moved = [move.recipient for move in payload.token_moves]
    if payload.transaction is not None:
        transaction = payload.transaction
        yield from leaf.touches(transaction.chain_id, [transaction.to, *moved], transaction.selector)
    elif payload.typed_data is not None:
        yield from leaf.touches(payload.typed_data.chain_id, [payload.typed_data.verifying_contract, *moved], b"")
    elif payload.delegation is not None:
        yield from leaf.touches(payload.delegation.chain_id, [payload.delegation.address], b"")


def _unreadable(leaf: str) -> Check:
    return Check(leaf, False, "the payload was not parsed")
