"""What a rule says about opening ciphertexts: inside an enclave only, under which contexts, and sealed again to whom.

A partial result opens every ciphertext with the same encapsulated key, whatever context the request claims.  So a
condition on context binds only what a named enclave opens with that very context, and is an error anywhere else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from enclave.errors import CallerError
from enclave.fields import Fields
from enclave.ids import check_id
from enclave.payload.decrypt import CONTEXT_MAX, DecryptBody
from enclave.policy.checks import LIST_MAX, Check, listed


@dataclass(frozen=True, slots=True, kw_only=True)
class OpeningLeaf:
    """Conditions on decryption and rewrapping; None means that the rule does not restrict that fact."""

    enclave_required: bool = False
    contexts: Mapping[str, frozenset[str]] | None = None
    """Member of the encryption context -> its allowed values; every member named must be there."""
    targets: frozenset[str] | None = None
    """Keys that a plaintext may be sealed to again; in an allow rule None means none."""

    def checks(self, body: DecryptBody) -> Iterator[Check]:
        """The conditions of an allow rule."""
        if self.enclave_required:
            yield Check("opened_in_enclave", body.opener is not None, "the rule wants it opened inside an enclave")
        if self.contexts is not None:
            for name, values in self.contexts.items():
                yield Check("context", body.context.get(name) in values, f"context member {name}")
        if body.target is not None:
            holds = self.targets is not None and body.target.key in self.targets
            yield listed("rewrap_to", holds, "key", body.target.key)

    def touches(self, body: DecryptBody) -> Iterator[Check]:
        """Whether a deny rule's facts are there; what opens every context touches every context."""
        if self.contexts is not None and body.opener is not None:
            for name, values in self.contexts.items():
                yield Check("context", body.context.get(name) in values, f"context member {name}")
        if self.targets is not None:
            found = body.target is not None and body.target.key in self.targets
            yield Check("rewrap_to", found, "the key it is sealed to again")


def read_opening(fields: Fields, *, denies: bool) -> OpeningLeaf:
    """The members `opened_in_enclave`, `context` and `rewrap_to` of a rule; raises the reader's error."""
    required = "opened_in_enclave" in fields
    if required:
        if denies:
            fields.refuse("only allow rules have it", "opened_in_enclave")
        fields.constant("opened_in_enclave", "required")
    contexts = _contexts(fields)
    if contexts is not None and not denies and not required:
        fields.refuse("a partial result opens every context: keep it with opened_in_enclave required", "context")
    return OpeningLeaf(enclave_required=required, contexts=contexts, targets=_targets(fields))


def _contexts(fields: Fields) -> dict[str, frozenset[str]] | None:
    if "context" not in fields:
        return None
    names = fields.peek("context")
    nested = fields.fields("context")
    if not 1 <= len(names) <= CONTEXT_MAX or not all(1 <= len(name) <= 64 for name in names):
        fields.refuse(f"expected 1 to {CONTEXT_MAX} members of at most 64 characters", "context")
    return {name: frozenset(nested.texts(name, low=1, high=LIST_MAX)) for name in names}


def _targets(fields: Fields) -> frozenset[str] | None:
    if "rewrap_to" not in fields:
        return None
    keys = fields.texts("rewrap_to", low=1, high=LIST_MAX)
    try:
        return frozenset(check_id(key, "key") for key in keys)
    except CallerError as error:
        fields.refuse(error.detail, "rewrap_to")
