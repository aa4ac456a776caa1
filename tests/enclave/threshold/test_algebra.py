"""Whatever order a key is refreshed, reshared and repaired in, it stays the same key, and old shares stay worthless."""

from __future__ import annotations

import dataclasses
import os
from itertools import combinations
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from enclave.group.ed25519 import ED25519
from enclave.group.secp256k1 import SECP256K1
from enclave.threshold import derive, refresh, repair, repair_messages, shamir, vss
from enclave.threshold.dkg import KeyShare
from tests.enclave.threshold.support import generate
from tests.enclave.threshold.test_epochs import check_shares, run_refresh, run_reshare

Shares = dict[int, KeyShare]


class LifeOfAKey(RuleBasedStateMachine):
    """Operations in any order; after each, every quorum has the key and no mixture of epochs has."""

    def __init__(self) -> None:
        super().__init__()
        self.group: Any = None
        self.shares: Shares = {}
        self.before: Shares = {}
        """The epoch before the present one."""
        self.public_key = b""
        self.chain_code = os.urandom(32)

    @property
    def threshold(self) -> int:
        """T of the present sharing."""
        return len(next(iter(self.shares.values())).commitments)

    @property
    def slots(self) -> dict[int, str]:
        """The present holders."""
        return {i: f"node-{i}" for i in sorted(self.shares)}

    @initialize(group=st.sampled_from([ED25519, SECP256K1]), threshold=st.integers(2, 3))
    def born(self, group: Any, threshold: int) -> None:
        """A key generation among four."""
        self.group, self.shares = group, generate(group, 4, threshold)
        self.public_key = self.shares[1].public_key

    @rule()
    def refreshed(self) -> None:
        """New shares for the same holders."""
        session = os.urandom(32)
        parties = {
            i: refresh.Participant(self.group, session=session, slots=self.slots, share=share, context=b"epoch")
            for i, share in self.shares.items()
        }
        self.before, (_, self.shares) = self.shares, run_refresh(parties)

    @rule(data=st.data())
    def reshared(self, data: st.DataObject) -> None:
        """Another committee, another threshold, dealt by any quorum."""
        dealers = sorted(data.draw(st.permutations(sorted(self.shares)))[: self.threshold])
        start, size = data.draw(st.sampled_from([1, 2, 6])), data.draw(st.integers(3, 4))
        receivers = {j: f"node-{j}" for j in range(start, start + size)}
        threshold = data.draw(st.integers(2, 3))
        _, first, second, holders = run_reshare(self.group, self.shares, dealers, receivers, threshold)
        self.before = self.shares
        self.shares = {j: holder.receive(first, second)[1] for j, holder in holders.items()}

    @rule(data=st.data())
    @precondition(lambda self: len(self.shares) > self.threshold)
    def repaired(self, data: st.DataObject) -> None:
        """One holder loses its share and gets the very same one back from T others."""
        target, *others = data.draw(st.permutations(sorted(self.shares)))
        helpers = sorted(others[: self.threshold])
        terms = repair_messages.repair_terms(
            self.group,
            session=os.urandom(32),
            helpers={i: f"node-{i}" for i in helpers},
            target=target,
            target_slot=f"node-{target}",
            commitments=self.shares[target].commitments,
            context=b"epoch",
        )
        parts = {i: repair.Helper(terms, index=i, share=self.shares[i].secret) for i in helpers}
        lost = repair.Target(terms)
        first = {**{i: helper.round1() for i, helper in parts.items()}, target: lost.round1()}
        second = {i: helper.round2(first) for i, helper in parts.items()}
        third = {i: helper.round3(second) for i, helper in parts.items()}
        rebuilt = lost.finish(first, second, third)
        assert rebuilt.secret.same(self.shares[target].secret)
        # The members of a repair need not know the other holders; a node has them from the key's certificate.
        assert set(rebuilt.public_shares) == {target, *helpers}
        self.shares[target] = dataclasses.replace(rebuilt, public_shares=self.shares[target].public_shares)

    @invariant()
    def any_quorum_has_the_key(self) -> None:
        """Shares verify, public data agree, and combining does not depend on who combines."""
        if not self.shares:
            return
        check_shares(self.group, self.shares, self.public_key, self.threshold)
        for chosen in combinations(sorted(self.shares), self.threshold):
            joined = shamir.combine(self.group, {i: self.shares[i].secret for i in chosen})
            assert self.group.base_mult(joined) == self.public_key

    @invariant()
    def fewer_have_another(self) -> None:
        """T - 1 shares join to something else."""
        if self.shares:
            few = dict(list(self.shares.items())[: self.threshold - 1])
            joined = shamir.combine(self.group, {i: share.secret for i, share in few.items()})
            assert self.group.base_mult(joined) != self.public_key

    @invariant()
    def epochs_do_not_mix(self) -> None:
        """One share of the epoch before in a quorum misses the key."""
        for i, old in self.before.items():
            others = [j for j in sorted(self.shares) if j != i][: self.threshold - 1]
            mixed = {i: old.secret} | {j: self.shares[j].secret for j in others}
            assert self.group.base_mult(shamir.combine(self.group, mixed)) != self.public_key

    @invariant()
    def children_follow(self) -> None:
        """Children's shares join to the child of the key, which no operation changes."""
        if self.shares:
            child = derive.derive(self.group, self.public_key, self.chain_code, (7, 1))
            chosen = sorted(self.shares)[: self.threshold]
            parts = {i: derive.child_share(self.group, self.shares[i].secret, child.tweak) for i in chosen}
            assert self.group.base_mult(shamir.combine(self.group, parts)) == child.public_key
            for i in chosen:
                public = vss.public_share(self.group, self.shares[i].commitments, i)
                assert derive.child_point(self.group, public, child.tweak) == self.group.base_mult(parts[i])


TestLifeOfAKey = LifeOfAKey.TestCase
TestLifeOfAKey.settings = settings(max_examples=6, stateful_step_count=6, deadline=None)
