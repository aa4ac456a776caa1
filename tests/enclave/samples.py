"""A small cluster's vocabulary, deterministic, for the tests of this package."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from enclave.diversity import Dimension, DiversityTerms
from enclave.roster import Environment, OperatorEntry, ProofOfCloudTerms, Role, Roster, SlotEntry
from enclave.signing_key import SigningKey

NOW = 1_790_000_000
"""The tests' clock, Unix seconds."""


def an_id(prefix: str, number: int = 0) -> str:
    """A valid id that names itself."""
    return f"{prefix}_{'abcdefghijklmnopqrstuvwxyz234567'[number] * 26}"


AGENT = an_id("agt")
KEY = an_id("key")
POLICY = an_id("pol")
ADMIN = an_id("opr", 0)
REGISTRAR = an_id("opr", 1)
AUDITOR = an_id("opr", 2)
ADMIN_2 = an_id("opr", 3)


def seeded_key(label: str) -> SigningKey:
    """An Ed25519 key made from a label: the same in every run."""
    return SigningKey(Ed25519PrivateKey.from_private_bytes(hashlib.sha256(label.encode()).digest()))


KEYS = {operator: seeded_key(operator) for operator in (ADMIN, REGISTRAR, AUDITOR, ADMIN_2)}

_ROLES = {ADMIN: Role.ADMIN, REGISTRAR: Role.REGISTRAR, AUDITOR: Role.AUDITOR, ADMIN_2: Role.ADMIN}


def a_slot(number: int, **changes: Any) -> SlotEntry:
    """Slot `node-<number>` on loopback."""
    entry = SlotEntry(
        slot=f"node-{number}",
        url=f"tls://127.0.0.1:{9000 + number}",
        operator=ADMIN,
        platform=hashlib.sha256(b"platform %d" % number).digest(),
        measurements={"mrtd": frozenset({"ab" * 48})},
        failure_domain={"provider": "example", "region": "eu-1"},
    )
    return replace(entry, **changes)


def a_roster(**changes: Any) -> Roster:
    """A development roster of five nodes, two administrators, a registrar and an auditor."""
    values: dict[str, Any] = {
        "version": 1,
        "environment": Environment.DEVELOPMENT,
        "created_at": NOW - 1000,
        "slots": tuple(a_slot(number) for number in range(1, 6)),
        "operators": tuple(
            OperatorEntry(operator=operator, name=role.value, key=KEYS[operator].public.key, roles=frozenset({role}))
            for operator, role in _ROLES.items()
        ),
        "quorum": {"roster": 1},
        "appraisal": {},
        "proof_of_cloud": ProofOfCloudTerms(
            members={"member-1": bytes(range(32)), "member-2": bytes(range(1, 33))},
            threshold=2,
            freshness_key=bytes(range(2, 34)),
            level=1,
            max_age_s=86400,
        ),
        "diversity": DiversityTerms(limits={Dimension.REGION: 5}, accept_common=frozenset({Dimension.PROVIDER})),
    }
    return Roster(**values | changes)


def a_production_roster(**changes: Any) -> Roster:
    """The same cluster as production demands it."""
    slots = tuple(a_slot(number, url=f"tls://node-{number}.example.org:8443") for number in range(1, 6))
    return a_roster(**{"environment": Environment.PRODUCTION, "slots": slots, "quorum": {"roster": 2}} | changes)
