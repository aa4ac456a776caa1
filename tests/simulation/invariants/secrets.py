"""The secrets that exist in a timeline, as only the simulation can know them."""

from __future__ import annotations

from collections.abc import Mapping

from enclave.secret import Secret, declassify
from tests.simulation.facts import Facts

ORDERS = {
    "ed25519": (2**252 + 27742317777372353535851937790883648493, "little"),
    "secp256k1": (0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141, "big"),
}


def shares(facts: Facts) -> dict[tuple[str, int, int], dict[int, bytes]]:
    """(key/version, epoch, T) -> share index -> share, of all nodes that run."""
    found: dict[tuple[str, int, int], dict[int, bytes]] = {}
    for node in facts.states:
        for name, held in node.keys._keys.items():
            facts_of = held.certificate
            group = found.setdefault((name, facts_of.epoch, facts_of.shares_needed), {})
            group[held.index] = _bytes(held.share)
    return found


def encoding_of(facts: Facts, name: str) -> tuple[int, str]:
    """Order and byte order of the scalars of `key/version`."""
    spec = next((record["spec"] for record in facts.cluster.keys.values() if name.startswith(record["key"])), "")
    return ORDERS["secp256k1" if spec.startswith("secp256k1") else "ed25519"]


def at_zero(group: Mapping[int, bytes], order: int, encoding: str) -> int:
    """Lagrange interpolation at 0, written down once more so that no code is shared with what is checked."""
    total = 0
    for i, share in group.items():
        weight = 1
        for j in group:
            if j != i:
                weight = weight * j * pow(j - i, -1, order) % order
        total += weight * int.from_bytes(share, "little" if encoding == "little" else "big")
    return total % order


def sealed_roots(facts: Facts) -> list[bytes]:
    """Sealing keys of all platforms."""
    return [_bytes(host.tee.sealing_key("holdfast/store/v1")) for host in facts.hosts if host.tee.can_seal]


def _bytes(secret: Secret) -> bytes:
    return declassify(secret)
