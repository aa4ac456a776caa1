"""A backup key's seed in SLIP-39 mnemonics: split offline, recombined once in the restoring process.

Rules kept (specs/backup.md section 3): whatever is wrong with a mnemonic is told by custodian and word, never by the
words; enough parts of one set are chosen among those given; the library is not constant time, so it runs where nobody
else measures, once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from shamir_mnemonic import MnemonicError, combine_mnemonics, generate_mnemonics
from shamir_mnemonic.share import Share
from shamir_mnemonic.wordlist import WORDLIST

from enclave.backup.recipient import SEED_BYTES, BackupKey
from enclave.errors import BackupError
from enclave.imports.scalars import swallow
from enclave.secret import Secret, declassify

WORDS = 33
"""Words of one mnemonic of 32 bytes."""

MEMBERS_MAX = 16
"""Of one group, and groups of one set: SLIP-39 numbers both with four bits."""

_KNOWN = frozenset(WORDLIST)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupTerms:
    """One group: so many of its members together have the group's part."""

    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """One custodian's mnemonic, read."""

    custodian: str
    text: str
    share: Share


def split(seed: Secret, group_threshold: int, groups: Sequence[GroupTerms]) -> list[dict[str, str]]:
    """Per group: member -> mnemonic.  The seed's bytes pass through the library and are overwritten afterwards.

    Raises BackupError (`backup.groups`) for numbers that SLIP-39 does not have.
    """
    check_groups(group_threshold, groups)
    plain = declassify(seed)
    try:
        made = generate_mnemonics(group_threshold, [(group.threshold, len(group.members)) for group in groups], plain)
    finally:
        swallow(plain).wipe()
    return [dict(zip(group.members, words, strict=True)) for group, words in zip(groups, made, strict=True)]


def new_key(group_threshold: int, groups: Sequence[GroupTerms]) -> tuple[bytes, list[dict[str, str]]]:
    """A fresh backup key: its public half, and per group member -> mnemonic, proven to make it again.

    Raises BackupError (`backup.groups`).
    """
    check_groups(group_threshold, groups)
    with Secret.random(SEED_BYTES) as seed:
        key = BackupKey(seed)
        made = split(seed, group_threshold, groups)
    try:
        given = {name: read_mnemonic(name, text) for group in made for name, text in group.items()}
        again = recombined(given)
        if again.public != key.public:
            raise BackupError("the mnemonics do not make the key again", code="backup.mnemonic-set")
        again.wipe()
    finally:
        key.wipe()
    return key.public, made


def recombined(given: Mapping[str, Given]) -> BackupKey:
    """The private key that these mnemonics make, whatever it is for; raises as `combine`."""
    with combine(given) as seed:
        return BackupKey(seed)


def check_groups(group_threshold: int, groups: Sequence[GroupTerms]) -> None:
    """Raise BackupError (`backup.groups`) unless the library can split so and nobody holds two parts of one key."""
    people = [name for group in groups for name in group.members]
    for group in groups:
        if not 0 < group.threshold <= len(group.members) <= MEMBERS_MAX:
            raise _groups("a group's threshold is from 1 to its number of members, at most 16")
        if group.threshold == 1 and len(group.members) > 1:
            raise _groups("SLIP-39 has no 1-of-many groups: give one member, or raise the threshold")
    if not 0 < group_threshold <= len(groups) <= MEMBERS_MAX:
        raise _groups("the group threshold is from 1 to the number of groups, at most 16")
    if len(set(people)) != len(people):
        raise _groups("somebody stands in a set twice")


def read_mnemonic(custodian: str, text: str) -> Given:
    """One mnemonic, its words and checksum checked.

    Raises BackupError: `backup.mnemonic-word` (which words), `backup.mnemonic-checksum`.
    """
    words = text.lower().split()
    unknown = [str(place) for place, word in enumerate(words, 1) if word not in _KNOWN]
    if unknown:
        raise BackupError(
            f"mnemonic of {custodian}: word {', '.join(unknown)} is not in the SLIP-39 word list",
            code="backup.mnemonic-word",
            hint="compare with the sheet; the first four letters tell every word apart",
        )
    try:
        share = Share.from_mnemonic(" ".join(words))
    except MnemonicError:
        share = None
    if share is None or len(words) != WORDS:
        raise BackupError(
            f"mnemonic of {custodian}: {len(words)} words of {WORDS}, or a checksum that does not fit",
            code="backup.mnemonic-checksum",
            hint="a word is wrong, missing or in another's place",
        )
    return Given(custodian=custodian, text=" ".join(words), share=share)


def check_together(known: Mapping[str, Given], new: Given) -> None:
    """Raise BackupError (`backup.mnemonic-set`, `backup.mnemonic-twice`) unless `new` goes with the others."""
    for other in known.values():
        if other.custodian == new.custodian:
            continue
        if other.share.common_parameters() != new.share.common_parameters():
            raise BackupError(
                f"the mnemonics of {new.custodian} and {other.custodian} are of different keys or setups",
                code="backup.mnemonic-set",
                hint="every setup makes mnemonics anew: use those of the slot's present key",
            )
        if (other.share.group_index, other.share.index) == (new.share.group_index, new.share.index):
            raise BackupError(
                f"{new.custodian} and {other.custodian} brought the same mnemonic", code="backup.mnemonic-twice"
            )


def missing(given: Mapping[str, Given]) -> str:
    """What is lacking until the seed can be recombined, in words; empty if nothing."""
    if not given:
        return "mnemonics of enough custodians"
    groups = _by_group(given)
    first = next(iter(given.values())).share
    lacking = sorted(
        (shares[0].share.member_threshold - len(shares), index)
        for index, shares in groups.items()
        if len(shares) < shares[0].share.member_threshold
    )
    complete = len(groups) - len(lacking)
    wanted = first.group_threshold - complete
    if wanted <= 0:
        return ""
    told = [f"{count} more of group {index + 1}" for count, index in lacking[:wanted]]
    if wanted > len(lacking):
        told.append(f"{wanted - len(lacking)} more groups")
    return ", ".join(told)


def combine(given: Mapping[str, Given]) -> Secret:
    """The seed.  Raises BackupError: `backup.mnemonics-too-few`, `backup.mnemonic-set`."""
    lacking = missing(given)
    if lacking:
        raise BackupError(f"too few mnemonics: {lacking}", code="backup.mnemonics-too-few")
    first = next(iter(given.values())).share
    complete = [items for items in _by_group(given).values() if len(items) >= items[0].share.member_threshold]
    chosen = [
        item.text
        for items in complete[: first.group_threshold]
        for item in islice(items, items[0].share.member_threshold)
    ]
    try:
        plain = combine_mnemonics(chosen)
    except MnemonicError:
        raise BackupError("the mnemonics do not fit together", code="backup.mnemonic-set") from None
    if len(plain) != SEED_BYTES:
        raise BackupError("the mnemonics are of no backup key", code="backup.mnemonic-set")
    return swallow(plain)


def _by_group(given: Mapping[str, Given]) -> dict[int, list[Given]]:
    groups: dict[int, list[Given]] = {}
    for item in given.values():
        groups.setdefault(item.share.group_index, []).append(item)
    return groups


def _groups(detail: str) -> BackupError:
    return BackupError(detail, code="backup.groups")
