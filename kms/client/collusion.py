"""Who must collude for what: the answer a cluster's documents give, row by row, in numbers and names.

Every count is of parties that must act *together against* the cluster's rules; "any 3 of 5" means
that two cannot.  Counts of operators and providers follow from where the verified nodes stand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from enclave.diversity import Dimension, NodeFacts
from enclave.key_specs import Custody
from enclave.roster import Role, Roster
from enclave.roster_terms import BackupTerms
from kms.client.certified import CertifiedKey
from kms.client.cluster_audit import ClusterAudit


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One thing nobody should be able to do alone."""

    what: str
    who: str
    at_least: str
    """What that takes in operators, providers and vendors; empty where it does not apply."""


def collusion_table(audit: ClusterAudit) -> list[Row]:
    """The rows for keys (one per kind of key), then for documents, then for single parties."""
    roster = audit.view.roster
    facts = {item.slot: item for item in audit.view.facts}
    rows = [row for keys in _kinds(audit) for row in _key_rows(keys, facts)]
    administrators = len(roster.holders(Role.ADMIN))
    registrars = len(roster.holders(Role.ADMIN, Role.REGISTRAR))
    terms = roster.proof_of_cloud
    members = len(terms.members)
    rows += [
        Row(
            what="admit another machine, image or operator (a new roster)",
            who=f"{roster.quorum_for('roster')} of {_count(administrators, 'administrator')}",
            at_least="",
        ),
        Row(
            what="change a policy",
            who=f"{roster.quorum_for('policy')} of {_count(administrators, 'administrator')}",
            at_least="",
        ),
        Row(
            what="register an agent",
            who=f"{roster.quorum_for('agent')} of {_count(registrars, 'registrar or administrator')}",
            at_least="",
        ),
        Row(
            what="say that a machine stands in a cloud, or take a revocation back",
            who=f"{terms.threshold} of {_count(members, 'registry member')}",
            at_least="",
        ),
        Row(what="revoke a machine", who="the registry's online key alone (it can only restrict)", at_least=""),
        *_principal_rows(roster),
        Row(
            what="make evidence of code that does not run",
            who="a processor vendor, or whoever extracts a machine's attestation key (of the machine it is from)",
            at_least="",
        ),
        Row(
            what="use a key, or substitute a key or an address, from the gateway or its database",
            who="impossible for them alone: they can delay and withhold",
            at_least="",
        ),
    ]
    return rows


def _principal_rows(roster: Roster) -> Iterable[Row]:
    """Whoever the roster gives a say beside operators: each only where it names some."""
    delay = roster.upgrade_delay
    yield Row(
        what="run other code on the nodes",
        who=f"{roster.quorum_for('roster')} administrators, then nobody may object for"
        f" {_count(delay // 3600, 'hour') if delay >= 3600 else _count(delay, 'second')}",
        at_least="",
    )
    yield Row(
        what="admit another boot of an admitted machine with admitted code",
        who=_count(roster.quorum_for("enrol"), "administrator"),
        at_least="",
    )
    for issuer in roster.oidc:
        yield Row(
            what=f"act as any principal that {issuer.issuer} names",
            who=f"that issuer alone, or whoever has one of its {_count(len(issuer.keys), 'pinned key')}",
            at_least="",
        )
    for group in roster.approvers:
        yield Row(
            what=f"approve what policies send to {group.group}",
            who=f"as many as the policy says, of {_count(len(group.members), 'approver')}",
            at_least="",
        )
    if roster.backup is not None:
        yield from _custodian_rows(roster.backup)


def _custodian_rows(backup: BackupTerms) -> Iterable[Row]:
    """A key with threshold T is in T backups; how many people that takes depends on who stands in several sets."""
    for slot, entry in backup.slots.items():
        custodians = backup.by_set[entry.custodians]
        yield Row(
            what=f"open the backup of {slot}",
            who=f"{custodians.threshold} of {_count(len(custodians.members), 'custodian')} of {custodians.set}",
            at_least="",
        )
    used = [backup.by_set[entry.custodians] for entry in backup.slots.values()]
    people = [name for item in used for name in item.members]
    shared = sorted({name for name in people if people.count(name) > 1})
    fewest = sorted(item.threshold for item in used)
    told = f"{', '.join(shared)} stand for more than one slot, as the roster accepts" if shared else "all different"
    yield Row(
        what="learn keys from backups",
        who=f"the custodians of as many slots as shares reveal a key; {told}",
        at_least=f"{sum(fewest[:2])} custodians where 2 shares do" if len(fewest) > 1 and not shared else "",
    )


def _kinds(audit: ClusterAudit) -> list[list[CertifiedKey]]:
    """Keys that have the same answer, together."""
    kinds: dict[tuple[object, ...], list[CertifiedKey]] = {}
    for item in audit.keys or ():
        c = item.certified.certificate
        kind = (c.custody, c.shares_needed, c.signing_quorum, tuple(sorted(c.slots)), tuple(sorted(c.assemblers)))
        kinds.setdefault(kind, []).append(item.certified)
    return list(kinds.values())


def _key_rows(keys: Sequence[CertifiedKey], facts: dict[str, NodeFacts]) -> Iterable[Row]:
    certificate = keys[0].certificate
    slots, needed, quorum = certificate.slots, certificate.shares_needed, certificate.signing_quorum
    mine = [facts[slot] for slot in slots if slot in facts]
    complete = len(mine) == len(slots)
    named = f"{_count(len(keys), f'{certificate.custody} key')} on {', '.join(sorted(slots))}"
    yield Row(
        what=f"learn or misuse {named}",
        who=f"{needed} of {len(slots)} nodes",
        at_least=_fewest(mine, needed) if complete else "not all of its nodes are verified",
    )
    if certificate.custody == Custody.RECONSTRUCT:
        yield Row(
            what=f"misuse {named} while it is used",
            who=f"1 of {_count(len(certificate.assemblers), 'assembler enclave')}: "
            f"{', '.join(sorted(certificate.assemblers))}",
            at_least="",
        )
    stopping = len(slots) - quorum + 1
    yield Row(
        what=f"stop {named}",
        who=f"{stopping} of {len(slots)} nodes ({quorum} are needed)",
        at_least=_fewest(mine, stopping) if complete else "not all of its nodes are verified",
    )


def _fewest(nodes: Sequence[NodeFacts], needed: int) -> str:
    """How many operators, providers and vendors hold `needed` of the nodes at the least."""
    told = []
    for dimension in (Dimension.OPERATOR, Dimension.PROVIDER, Dimension.VENDOR):
        counts = sorted(Counter(node.value(dimension) for node in nodes).values(), reverse=True)
        held, number = 0, 0
        for count in counts:
            if held >= needed:
                break
            held, number = held + count, number + 1
        told.append(_count(number, str(dimension)))
    return ", ".join(told)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
