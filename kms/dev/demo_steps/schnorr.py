"""BIP-340 verification and Taproot addresses in plain integers: for public data, sharing no code with the nodes."""

from __future__ import annotations

import hashlib

P = 2**256 - 2**32 - 977
N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
G = (
    0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
    0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
)
BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"

Point = tuple[int, int] | None


def tagged(tag: str, data: bytes) -> bytes:
    """BIP-340's tagged hash."""
    prefix = hashlib.sha256(tag.encode()).digest()
    return hashlib.sha256(prefix + prefix + data).digest()


def key_of(address: str) -> bytes:
    """The 32-byte output key inside a P2TR address, its checksum unread."""
    values = [BECH32.index(character) for character in address.rpartition("1")[2][1:-6]]
    bits = 5 * len(values)
    number = int("".join(f"{value:05b}" for value in values), 2)
    return (number >> bits % 8).to_bytes(bits // 8, "big")


def verify(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether a 64-byte signature holds under a 32-byte x-only key (BIP-340, section "Verification")."""
    point = lift(int.from_bytes(public_key, "big"))
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    if point is None or len(signature) != 64 or r >= P or s >= N:
        return False
    e = int.from_bytes(tagged("BIP0340/challenge", signature[:32] + public_key + message), "big") % N
    found = add(multiply(s, G), multiply(N - e, point))
    return found is not None and found[1] % 2 == 0 and found[0] == r


def lift(x: int) -> Point:
    """The point with this x and an even y, if there is one."""
    square = (pow(x, 3, P) + 7) % P
    y = pow(square, (P + 1) // 4, P)
    if x >= P or y * y % P != square:
        return None
    return x, y if y % 2 == 0 else P - y


def add(one: Point, other: Point) -> Point:
    """The sum; None stands for the point at infinity."""
    if one is None or other is None:
        return one or other
    if one[0] == other[0] and one[1] != other[1]:
        return None
    if one == other:
        slope = 3 * one[0] * one[0] * pow(2 * one[1], -1, P) % P
    else:
        slope = (other[1] - one[1]) * pow(other[0] - one[0], -1, P) % P
    x = (slope * slope - one[0] - other[0]) % P
    return x, (slope * (one[0] - x) - one[1]) % P


def multiply(scalar: int, point: Point) -> Point:
    """scalar * point, by double and add."""
    total: Point = None
    for bit in f"{scalar:b}":
        total = add(total, total)
        if bit == "1":
            total = add(total, point)
    return total
