"""Plans, custodians' files and the roster fields that `setup` writes."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from attestation.envelope import b64url_decode
from attestation.errors import CodedError
from enclave.backup.mnemonics import read_mnemonic, recombined
from enclave.backup.recipient import fingerprint
from enclave.fields import Fields
from enclave.roster_terms import read_backup
from kms.client.backup.custodians import make, read_custodian, read_plan

CLUSTER = b"\x07" * 32
SLOTS = ("node-1", "node-2")


def plan_of(*sets: dict[str, Any]) -> dict[str, Any]:
    """A plan file."""
    return {"sets": list(sets)}


def one(name: str, slots: list[str], members: list[str], threshold: int = 2) -> dict[str, Any]:
    """A set of one group."""
    return {"set": name, "slots": slots, "groups": [{"threshold": threshold, "members": members}]}


DISJOINT = plan_of(one("a", ["node-1"], ["Ann", "Ben", "Cat"]), one("b", ["node-2"], ["Dan", "Eve", "Fay"]))


def test_files_make_the_keys_the_roster_gets(tmp_path: Path) -> None:
    """One file per person, 0600; two of three make the key that the proposed roster names; the terms are valid."""
    plans = read_plan(DISJOINT, SLOTS, accept_common=False)
    paths, patch = make(plans, cluster=CLUSTER, accept_common=False, directory=tmp_path / "vault")
    assert [stat.S_IMODE(path.stat().st_mode) for path in paths] == [0o600] * 7
    terms = read_backup(Fields(patch, where="", error=lambda detail: CodedError(detail)), SLOTS)
    assert terms is not None
    assert (terms.by_set["a"].threshold, terms.by_set["a"].members) == (2, ("Ann", "Ben", "Cat"))
    people = [read_custodian(tmp_path / "vault" / f"custodian-{name}.json", cluster=CLUSTER) for name in ("Ann", "Cat")]
    given = {person.custodian: read_mnemonic(person.custodian, person.entries[0].mnemonic) for person in people}
    assert recombined(given).public == terms.slots["node-1"].key
    assert people[0].entries[0].recipient == fingerprint(terms.slots["node-1"].key)
    assert b64url_decode(patch["backup"]["slots"][0]["key"]) == terms.slots["node-1"].key


def test_nothing_is_written_over(tmp_path: Path) -> None:
    """A second setup into the same directory leaves every file as it was, also if only one name is taken."""
    plans = read_plan(DISJOINT, SLOTS, accept_common=False)
    (tmp_path / "custodian-Fay.json").write_text("precious")
    with pytest.raises(CodedError) as error:
        make(plans, cluster=CLUSTER, accept_common=False, directory=tmp_path)
    assert error.value.code == "backup.exists"
    assert [path.name for path in tmp_path.iterdir()] == ["custodian-Fay.json"]
    assert (tmp_path / "custodian-Fay.json").read_text() == "precious"


@pytest.mark.parametrize(
    "plan",
    [
        plan_of(one("a", ["node-1", "node-2"], ["Ann", "Ben"])),
        plan_of(one("a", ["node-1"], ["Ann", "Ben"]), one("b", ["node-2"], ["Ben", "Cat"])),
    ],
)
def test_common_custodians_take_an_open_word(plan: dict[str, Any], tmp_path: Path) -> None:
    """One set for two slots, or one person in two sets: refused, or said in the roster."""
    with pytest.raises(CodedError) as error:
        read_plan(plan, SLOTS, accept_common=False)
    assert error.value.code == "backup.common-custodians"
    plans = read_plan(plan, SLOTS, accept_common=True)
    _, patch = make(plans, cluster=CLUSTER, accept_common=True, directory=tmp_path)
    assert patch["backup"]["accept_common_custodians"] is True
    ben = read_custodian(tmp_path / "custodian-Ben.json", cluster=CLUSTER)
    assert [entry.slot for entry in ben.entries] == ["node-1", "node-2"]
    assert ben.entries[0].recipient != ben.entries[1].recipient


def test_groups_state_the_fewest_people(tmp_path: Path) -> None:
    """Two of three groups of 2-of-3, 3-of-4 and 1-of-1: three people suffice, and the roster says three."""
    groups = [
        {"threshold": 2, "members": ["a", "b", "c"]},
        {"threshold": 3, "members": ["d", "e", "f", "g"]},
        {"threshold": 1, "members": ["h"]},
    ]
    (plan,) = read_plan(
        plan_of({"set": "s", "slots": ["node-1"], "group_threshold": 2, "groups": groups}), SLOTS, accept_common=False
    )
    assert (plan.fewest, len(plan.members)) == (3, 8)


@pytest.mark.parametrize(
    ("plan", "code"),
    [
        (plan_of(one("a", ["node-9"], ["Ann", "Ben"])), "client.backup-plan"),
        (plan_of(one("a", ["node-1"], ["Ann", "Ben"]), one("a", ["node-2"], ["Cat", "Dan"])), "client.backup-plan"),
        (plan_of(one("a", ["node-1"], ["Ann", "Ben"]), one("b", ["node-1"], ["Cat", "Dan"])), "client.backup-plan"),
        (plan_of(one("a", ["node-1"], ["Ann", "Ben"], threshold=3)), "backup.groups"),
        (plan_of(one("a", ["node-1"], ["Ann", "Ben"], threshold=1)), "backup.groups"),
        (plan_of(), "client.backup-plan"),
        ({"sets": [], "other": 1}, "client.backup-plan"),
        ([], "client.backup-plan"),
    ],
)
def test_plans_that_are_none(plan: Any, code: str) -> None:
    """Unknown and repeated slots and sets, impossible numbers, other shapes."""
    with pytest.raises(CodedError) as error:
        read_plan(plan, SLOTS, accept_common=True)
    assert error.value.code == code


def test_files_of_other_clusters_and_damaged_files(tmp_path: Path) -> None:
    """Told before any word of them is looked at."""
    plans = read_plan(DISJOINT, SLOTS, accept_common=False)
    make(plans, cluster=CLUSTER, accept_common=False, directory=tmp_path)
    path = tmp_path / "custodian-Ann.json"
    with pytest.raises(CodedError) as error:
        read_custodian(path, cluster=bytes(32))
    assert error.value.code == "backup.foreign"
    value = json.loads(path.read_text())
    for damaged in (b"", b"{", json.dumps(value | {"type": "x"}).encode(), json.dumps(value | {"more": 1}).encode()):
        (tmp_path / "damaged.json").write_bytes(damaged)
        with pytest.raises(CodedError) as error:
            read_custodian(tmp_path / "damaged.json", cluster=CLUSTER)
        assert error.value.code == "client.backup-file"
