"""Child keys, computed here from a certified key: nothing a gateway says enters an address (specs/derivation.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from enclave.child_keys import child_of
from enclave.key_addresses import addresses_of
from enclave.threshold.derive import format_path, parse_path
from kms.client.certified import CertifiedKey


@dataclass(frozen=True, slots=True, kw_only=True)
class DerivedKey:
    """The child of a certified key at a path."""

    key: str
    """Id of the key it is a child of; requests name that key and the path."""
    path: str
    public_key: bytes
    chain_code: bytes
    addresses: dict[str, str]
    attested: bool

    def to_json(self) -> dict[str, Any]:
        """The record for machines; bytes in hex."""
        return {
            "key": self.key,
            "path": self.path,
            "public_key": self.public_key.hex(),
            "chain_code": self.chain_code.hex(),
            "addresses": self.addresses,
            "attested": self.attested,
        }


def derived_key(certified: CertifiedKey, path: str) -> DerivedKey:
    """The child at `path` (`m/0/5`); raises CallerError (`path.invalid`, `derive.refused`)."""
    child = child_of(certified.certificate, parse_path(path))
    return DerivedKey(
        key=certified.key,
        path=format_path(child.path),
        public_key=child.facts.public_key,
        chain_code=child.facts.chain_code,
        addresses=addresses_of(child.facts.usage, child.facts.spec, child.facts.public_key),
        attested=certified.attested,
    )
