"""Custodians' mnemonics: groups, and errors that name the word and the person."""

from __future__ import annotations

import itertools

import pytest

from attestation.errors import CodedError
from enclave.backup.mnemonics import (
    GroupTerms,
    check_together,
    combine,
    missing,
    new_key,
    read_mnemonic,
    recombined,
)


def code_of(error: pytest.ExceptionInfo[CodedError]) -> str:
    """The stable code."""
    return error.value.code


FAMILY = (
    GroupTerms(threshold=1, members=("owner",)),
    GroupTerms(threshold=2, members=("ann", "ben", "cat")),
    GroupTerms(threshold=3, members=("dan", "eve", "fay", "gil")),
)


@pytest.fixture(scope="module")
def made() -> tuple[bytes, dict[str, str]]:
    """A key of two groups of three, and everybody's mnemonic."""
    public, groups = new_key(2, FAMILY)
    return public, {name: text for group in groups for name, text in group.items()}


def given(made: tuple[bytes, dict[str, str]], *names: str) -> dict[str, object]:
    """What these people bring."""
    return {name: read_mnemonic(name, made[1][name]) for name in names}


@pytest.mark.parametrize(
    "names",
    [("owner", "ann", "cat"), ("owner", "dan", "eve", "gil"), ("ann", "ben", "dan", "fay", "gil"),
     ("owner", "ann", "ben", "cat", "dan")],
)  # fmt: skip
def test_two_groups_make_the_key(made: tuple[bytes, dict[str, str]], names: tuple[str, ...]) -> None:
    """Any two complete groups; people beyond those change nothing."""
    people = given(made, *names)
    assert missing(people) == ""
    assert recombined(people).public == made[0]


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ((), "mnemonics of enough custodians"),
        (("owner",), "1 more groups"),
        (("owner", "ann"), "1 more of group 2"),
        (("dan", "eve"), "1 more of group 3, 1 more groups"),
        (("ann", "dan"), "1 more of group 2, 2 more of group 3"),
    ],
)
def test_what_is_missing_is_told(made: tuple[bytes, dict[str, str]], names: tuple[str, ...], told: str) -> None:
    """By group; and too few never combine."""
    people = given(made, *names)
    assert missing(people) == told
    with pytest.raises(CodedError) as error:
        combine(people)
    assert code_of(error) == "backup.mnemonics-too-few"


def test_any_three_of_five_and_no_two(made: tuple[bytes, dict[str, str]]) -> None:
    """All ten combinations make the key."""
    public, (group,) = new_key(1, [GroupTerms(threshold=3, members=("a", "b", "c", "d", "e"))])
    for names in itertools.combinations(group, 3):
        assert recombined({name: read_mnemonic(name, group[name]) for name in names}).public == public
    for names in itertools.combinations(group, 2):
        assert missing({name: read_mnemonic(name, group[name]) for name in names}) == "1 more of group 1"


def test_a_typing_error_names_word_and_person(made: tuple[bytes, dict[str, str]]) -> None:
    """Not a word, another word, two exchanged, one missing: each told, and never the words themselves."""
    words = made[1]["ann"].split()
    for place in (1, 17, 33):
        typo = [*words[: place - 1], "zzzz", *words[place:]]
        with pytest.raises(CodedError) as error:
            read_mnemonic("ann", " ".join(typo))
        assert code_of(error) == "backup.mnemonic-word"
        assert f"word {place} " in error.value.detail
        assert "ann" in error.value.detail
        assert "zzzz" not in error.value.detail
    other = [*words[:9], "academic" if words[9] != "academic" else "acid", *words[10:]]
    swapped = [*words[:4], words[5], words[4], *words[6:]]
    for wrong in (other, words[:-1], [*words, words[0]], *([swapped] if words[4] != words[5] else [])):
        with pytest.raises(CodedError) as error:
            read_mnemonic("ann", " ".join(wrong))
        assert code_of(error) == "backup.mnemonic-checksum"


def test_case_and_spaces_do_not_matter(made: tuple[bytes, dict[str, str]]) -> None:
    """People type."""
    text = made[1]["ann"]
    assert read_mnemonic("ann", f"  {text.upper().replace(' ', '   ')} ").text == text


def test_sets_do_not_mix(made: tuple[bytes, dict[str, str]]) -> None:
    """A mnemonic of another setup of the very same people names both."""
    _, groups = new_key(2, FAMILY)
    with pytest.raises(CodedError) as error:
        check_together(given(made, "ann"), read_mnemonic("ben", groups[1]["ben"]))
    assert code_of(error) == "backup.mnemonic-set"


@pytest.mark.parametrize(
    ("threshold", "groups"),
    [
        (1, [GroupTerms(threshold=1, members=("a", "b"))]),
        (1, [GroupTerms(threshold=3, members=("a", "b"))]),
        (2, [GroupTerms(threshold=2, members=("a", "b"))]),
        (1, [GroupTerms(threshold=2, members=("a", "a"))]),
        (0, [GroupTerms(threshold=2, members=("a", "b"))]),
        (1, [GroupTerms(threshold=2, members=tuple(map(str, range(17))))]),
    ],
)
def test_numbers_that_slip39_does_not_have(threshold: int, groups: list[GroupTerms]) -> None:
    """Told before a key is made."""
    with pytest.raises(CodedError) as error:
        new_key(threshold, groups)
    assert code_of(error) == "backup.groups"
