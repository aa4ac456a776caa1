"""Whom a policy lets see its keys, as lookups: the time of an answer must not grow with rules the asker cannot see."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from enclave.policy import Rule


@dataclass(slots=True)
class _Keys:
    """The keys of a policy that somebody may see."""

    all: bool = False
    some: set[str] = field(default_factory=set)

    def add(self, keys: frozenset[str] | None) -> None:
        self.all = self.all or keys is None
        self.some |= keys or frozenset()

    def __contains__(self, key: str | None) -> bool:
        """Whether this key is one of them; None asks for any."""
        return self.all or (bool(self.some) if key is None else key in self.some)


class Audience:
    """Agents and keys that the allow rules of one policy speak of."""

    __slots__ = ("_anybody", "_named")

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self._anybody = _Keys()
        self._named: dict[str, _Keys] = {}
        for rule in rules:
            if rule.denies:
                continue
            if rule.agents is None:
                self._anybody.add(rule.keys)
            for agent in rule.agents or ():
                self._named.setdefault(agent, _Keys()).add(rule.keys)

    def includes(self, agent: str, key: str | None) -> bool:
        """Whether an allow rule speaks of this agent and this key; None asks for any key."""
        return key in self._anybody or key in self._named.get(agent, _NOTHING)


_NOTHING = _Keys()
NOBODY = Audience()
"""The audience of a policy that does not exist."""
