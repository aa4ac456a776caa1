"""No production function touches a secret unmeasured, unless the list says why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.ct.reach import reached, touching

LISTED: dict[str, str] = json.loads(Path(__file__).with_name("unreached.json").read_text())


@pytest.fixture(scope="module")
def unreached() -> set[str]:
    """Functions that touch a secret and that no case enters."""
    entered = reached()
    return {name for name, place in touching() if place not in entered}


def test_every_function_that_touches_a_secret_is_measured_or_listed(unreached: set[str]) -> None:
    """A new function joins the gate, or the list with a reason."""
    assert unreached - LISTED.keys() == set()


def test_the_list_is_true(unreached: set[str]) -> None:
    """What the list excuses exists and is not measured, and every excuse says something."""
    assert LISTED.keys() - unreached == set()
    assert all(len(reason) > 20 for reason in LISTED.values())


def test_an_unmeasured_function_would_be_noticed() -> None:
    """Without the cases nothing counts as measured, and the search finds methods and plain functions alike."""
    names = {name for name, _ in touching()}
    assert {"secret.declassify", "threshold.frost.sign", "threshold.bip340.sign_share"} <= names
    assert {"threshold.ecdsa.signer.Signer._add", "group.secp256k1_rows.add_row"} <= names
    assert "threshold.degree.check_degree" not in names
