"""May this agent use this key for exactly this?  Rules evaluated by every node on the payload it parsed itself."""

from enclave.policy.approvals_leaf import ApprovalTerms
from enclave.policy.evaluate import Decision, Request, RuleTrace, evaluate
from enclave.policy.rules import Policy, Rule

__all__ = ["ApprovalTerms", "Decision", "Policy", "Request", "Rule", "RuleTrace", "evaluate"]
