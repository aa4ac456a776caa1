"""SLIP-39 mnemonic shares: one share a line, combined by the standard's reference implementation.

That implementation is not constant time: combine shares on a machine of yours that nobody else measures.
"""

from __future__ import annotations

from shamir_mnemonic import MnemonicError, combine_mnemonics
from shamir_mnemonic.share import Share
from shamir_mnemonic.wordlist import WORDLIST

from enclave.imports.scalars import swallow
from kms.client.importing.bip32 import derive
from kms.client.importing.material import Curve, KeyMaterial, MaterialError

TEXT_BYTES_MAX = 64 << 10
SHARES_MAX = 256
"""Sixteen groups of sixteen."""

_WORDS = frozenset(WORDLIST)


def from_slip39(text: bytes | bytearray, path: str, curve: Curve, *, passphrase: bytes = b"") -> KeyMaterial:
    """The key at `path` below the master secret of enough shares.

    A wrong passphrase gives another key, not an error: compare the address.  Raises MaterialError:
    `client.import-word` (share and word), `client.import-checksum` (share), `client.import-shares`,
    `client.import-path`.
    """
    mnemonics = _read(text)
    shares = [_share(number, mnemonic) for number, mnemonic in enumerate(mnemonics, 1)]
    _check_set(shares)
    if not all(32 <= byte <= 126 for byte in passphrase):
        raise MaterialError("a SLIP-39 passphrase is printable ASCII", code="client.import-password")
    try:
        secret = combine_mnemonics(mnemonics, passphrase)
    except MnemonicError:
        raise MaterialError(
            "the shares do not fit together", code="client.import-shares", hint="use shares of one backup, each once"
        ) from None
    return derive(swallow(secret), path, curve, f"{len(mnemonics)} SLIP-39 shares")


def _read(text: bytes | bytearray) -> list[str]:
    try:
        lines = bytes(text[: TEXT_BYTES_MAX + 1]).decode("ascii").lower().splitlines()
    except UnicodeDecodeError:
        lines = []
    mnemonics = [" ".join(line.split()) for line in lines if line.strip()]
    if not mnemonics or len(mnemonics) > SHARES_MAX or len(text) > TEXT_BYTES_MAX:
        raise MaterialError("expected SLIP-39 shares, one a line", code="client.import-form")
    return mnemonics


def _share(number: int, mnemonic: str) -> Share:
    unknown = [at for at, word in enumerate(mnemonic.split(), 1) if word not in _WORDS]
    if unknown:
        raise MaterialError(
            f"share {number}: not in the SLIP-39 word list: word {', '.join(map(str, unknown))}",
            code="client.import-word",
            hint="SLIP-39 has a word list of its own; a BIP-39 mnemonic is imported with --from bip39",
        )
    try:
        return Share.from_mnemonic(mnemonic)
    except MnemonicError:
        raise MaterialError(
            f"share {number}: wrong length or checksum",
            code="client.import-checksum",
            hint="a word is wrong or missing",
        ) from None


def _check_set(shares: list[Share]) -> None:
    first = shares[0]
    if any(share.common_parameters() != first.common_parameters() for share in shares):
        raise MaterialError("the shares are of different backups", code="client.import-shares")
    groups: dict[int, list[Share]] = {}
    for share in shares:
        groups.setdefault(share.group_index, []).append(share)
    if len(groups) != first.group_threshold:
        raise MaterialError(
            f"expected shares of {first.group_threshold} groups, found {len(groups)}", code="client.import-shares"
        )
    for members in groups.values():
        indexes = {share.index for share in members}
        needed = members[0].member_threshold
        if len(indexes) != len(members) or len(members) != needed:
            raise MaterialError(
                f"expected exactly {needed} different shares of a group, found {len(indexes)}",
                code="client.import-shares",
            )
