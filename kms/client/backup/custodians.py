"""Custodians: who holds which mnemonic, the files they get, and what the roster has to say about it.

Rules kept (specs/backup.md section 3): custodian sets share nobody and serve one slot each, unless that is accepted
openly; a file holds one person's mnemonics and is never written over; made without a network.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attestation.canonical import parse_json
from attestation.envelope import b64url
from attestation.errors import CodedError, DocumentError
from enclave.backup.mnemonics import GroupTerms, check_groups, new_key
from enclave.backup.recipient import fingerprint
from enclave.fields import Fields
from enclave.roster_slots import SLOTS_MAX
from enclave.roster_terms import CUSTODIANS_MAX, SETS_MAX, CustodianSet, common_custodians
from kms.client.errors import ConfigurationError

FILE_TYPE = "holdfast/custodian/v1"

FILE_BYTES_MAX = 1 << 20

PATCH_FILE = "roster-backup.json"
"""The fields for `kms cluster roster propose --edit`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPlan:
    """One custodian set, and the slots it serves."""

    set: str
    slots: tuple[str, ...]
    group_threshold: int
    groups: tuple[GroupTerms, ...]

    @property
    def members(self) -> tuple[str, ...]:
        """Everybody, in order."""
        return tuple(name for group in self.groups for name in group.members)

    @property
    def fewest(self) -> int:
        """The smallest number of people who have the key."""
        return sum(sorted(group.threshold for group in self.groups)[: self.group_threshold])

    def terms(self) -> CustodianSet:
        """As the roster states it."""
        return CustodianSet(set=self.set, threshold=self.fewest, members=self.members)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One mnemonic in a custodian's file."""

    slot: str
    set: str
    recipient: bytes
    """Fingerprint of the backup key it is a part of."""
    group: int
    """Number of the SLIP-39 group, from 1."""
    groups_needed: int
    members_needed: int
    """Of this group."""
    mnemonic: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CustodianFile:
    """What one person holds."""

    cluster: bytes
    custodian: str
    entries: tuple[Entry, ...]
    read_me: str = ""


def read_plan(value: Any, slots: Sequence[str], *, accept_common: bool) -> tuple[SetPlan, ...]:
    """The sets of a plan file, checked.

    Raises ConfigurationError (`client.backup-plan`, `backup.common-custodians`), BackupError (`backup.groups`).
    """
    fields = Fields(value, where="", error=_malformed)
    plans = tuple(_read_set(item) for item in fields.each("sets", low=1, high=SETS_MAX))
    fields.done()
    served = [slot for plan in plans for slot in plan.slots]
    if unknown := sorted(set(served) - set(slots)):
        raise _malformed(f"the roster has no slot {unknown[0]}")
    if len(set(served)) != len(served) or len({plan.set for plan in plans}) != len(plans):
        raise _malformed("each set and each slot stands in a plan once")
    for plan in plans:
        check_groups(plan.group_threshold, plan.groups)
        if len(plan.members) > CUSTODIANS_MAX:
            raise _malformed(f"a set has at most {CUSTODIANS_MAX} custodians")
    per_slot = [plan.set for plan in plans for _ in plan.slots]
    shared = common_custodians([plan.terms() for plan in plans], per_slot)
    if shared and not accept_common:
        raise ConfigurationError(
            f"{shared} stands for more than one slot: so few people could learn keys that more slots are to protect",
            code="backup.common-custodians",
            hint="name other people for each slot, or pass --accept-common-custodians, which the roster then shows",
        )
    return plans


def make(
    plans: Sequence[SetPlan], *, cluster: bytes, accept_common: bool, directory: Path
) -> tuple[list[Path], dict[str, Any]]:
    """Make every slot's key, write one file per custodian and the roster's fields; returns files and fields.

    Nothing is written if a file of any of the names exists already.  Raises ConfigurationError
    (`backup.exists`, `client.backup-file`).
    """
    people = sorted({name for plan in plans for name in plan.members})
    paths = {name: directory / f"custodian-{_file_name(name)}.json" for name in people}
    if len(set(paths.values())) != len(paths):
        raise _malformed("two custodians' names differ in no letter or digit")
    patch_path = directory / PATCH_FILE
    for path in (*paths.values(), patch_path):
        if path.exists():
            raise ConfigurationError(f"{path} exists and is never written over", code="backup.exists")
    entries: dict[str, list[dict[str, Any]]] = {name: [] for name in people}
    slots: list[dict[str, str]] = []
    for plan in plans:
        for slot in plan.slots:
            public, made = new_key(plan.group_threshold, plan.groups)
            slots.append({"slot": slot, "key": b64url(public), "custodians": plan.set})
            for number, (group, mnemonics) in enumerate(zip(plan.groups, made, strict=True), start=1):
                for name, text in mnemonics.items():
                    entries[name].append(_entry(plan, group, number, slot, public, text))
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name, path in paths.items():
        _write(path, _file(cluster, name, entries[name]))
    patch = {
        "backup": {
            "slots": slots,
            "custodians": [
                {"set": plan.set, "threshold": plan.fewest, "members": list(plan.members)} for plan in plans
            ],
            "accept_common_custodians": accept_common,
        }
    }
    _write(patch_path, patch)
    return [*paths.values(), patch_path], patch


def read_custodian(path: Path, *, cluster: bytes) -> CustodianFile:
    """One custodian's file; raises ConfigurationError (`client.backup-file`, `backup.foreign`)."""
    try:
        with path.open("rb") as file:
            value = parse_json(file.read(FILE_BYTES_MAX + 1), bytes_max=FILE_BYTES_MAX)
    except (OSError, DocumentError):
        raise _file_error(f"cannot read {path} as a custodian's file") from None
    fields = Fields(value, where="", error=_file_error)
    fields.constant("type", FILE_TYPE)
    found = CustodianFile(
        cluster=fields.hexadecimal("cluster", size=32),
        custodian=fields.text("custodian", characters_max=64),
        read_me=fields.text("read_me"),
        entries=tuple(_read_entry(item) for item in fields.each("entries", low=1, high=SLOTS_MAX)),
    )
    fields.done()
    if found.cluster != cluster:
        raise ConfigurationError(f"{path} is of another cluster", code="backup.foreign")
    return found


def _read_set(fields: Fields) -> SetPlan:
    plan = SetPlan(
        set=fields.label("set"),
        slots=fields.texts("slots", low=1, high=SLOTS_MAX),
        groups=tuple(_read_group(item) for item in fields.each("groups", low=1, high=CUSTODIANS_MAX)),
        group_threshold=fields.integer("group_threshold", 1, CUSTODIANS_MAX, default=1),
    )
    fields.done()
    return plan


def _read_group(fields: Fields) -> GroupTerms:
    members = fields.texts("members", low=1, high=CUSTODIANS_MAX, characters_max=64)
    group = GroupTerms(threshold=fields.integer("threshold", 1, CUSTODIANS_MAX), members=members)
    fields.done()
    return group


def _read_entry(fields: Fields) -> Entry:
    return Entry(
        slot=fields.label("slot"),
        set=fields.label("set"),
        recipient=fields.hexadecimal("key", size=32),
        group=fields.integer("group", 1, CUSTODIANS_MAX),
        groups_needed=fields.integer("groups_needed", 1, CUSTODIANS_MAX),
        members_needed=fields.integer("members_needed", 1, CUSTODIANS_MAX),
        mnemonic=fields.text("mnemonic", characters_max=1024),
    )


def _entry(plan: SetPlan, group: GroupTerms, number: int, slot: str, public: bytes, text: str) -> dict[str, Any]:
    return {
        "slot": slot,
        "set": plan.set,
        "key": fingerprint(public).hex(),
        "group": number,
        "groups_needed": plan.group_threshold,
        "members_needed": group.threshold,
        "mnemonic": text,
    }


def _file(cluster: bytes, name: str, entries: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "type": FILE_TYPE,
        "cluster": cluster.hex(),
        "custodian": name,
        "read_me": "Keep this on paper or offline, show it to nobody. With enough others it opens the backup of the"
        " slots named here. It is used with: kms backup contribute",
        "entries": entries,
    }


def _write(path: Path, value: Mapping[str, Any]) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(value, file, indent=2, ensure_ascii=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise _file_error(f"cannot write {path}: {error.strerror}") from None


def _file_name(name: str) -> str:
    return "".join(character if character.isalnum() or character in "-_" else "-" for character in name)


def _malformed(detail: str) -> CodedError:
    return ConfigurationError(detail, code="client.backup-plan", hint="see kms backup setup --help for the plan's form")


def _file_error(detail: str) -> ConfigurationError:
    return ConfigurationError(detail, code="client.backup-file")
