"""Both curves in plain Python integers, from their equations alone: what the constant-time groups are compared with.

Variable time, for public test values only; shares no code with the groups it judges.
"""

from __future__ import annotations

from dataclasses import dataclass

Affine = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class EdwardsOracle:
    """-x^2 + y^2 = 1 + d x^2 y^2 over 2^255 - 19 (RFC 8032 section 5.1); complete addition law."""

    p: int = 2**255 - 19
    order: int = 2**252 + 27742317777372353535851937790883648493

    @property
    def d(self) -> int:
        """The curve constant."""
        return -121665 * pow(121666, -1, self.p) % self.p

    @property
    def base(self) -> bytes:
        """B: y = 4/5, x even."""
        return (4 * pow(5, -1, self.p) % self.p).to_bytes(32, "little")

    def decode(self, data: bytes) -> Affine:
        """The point with this encoding; ValueError when there is none."""
        y, sign = int.from_bytes(data, "little") & (2**255 - 1), data[31] >> 7
        if y >= self.p:
            raise ValueError("not canonical")
        square = (y * y - 1) * pow(self.d * y * y + 1, -1, self.p) % self.p
        x = pow(square, (self.p + 3) // 8, self.p)
        if x * x % self.p != square:
            x = x * pow(2, (self.p - 1) // 4, self.p) % self.p
        if x * x % self.p != square or (x == 0 and sign):
            raise ValueError("not on the curve")
        return (x if x & 1 == sign else self.p - x, y)

    def encode(self, point: Affine) -> bytes:
        """The 32-byte encoding."""
        return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")

    def add(self, a: Affine, b: Affine) -> Affine:
        """a + b."""
        (x1, y1), (x2, y2), p = a, b, self.p
        k = self.d * x1 * x2 * y1 * y2 % p
        return (
            (x1 * y2 + x2 * y1) * pow(1 + k, -1, p) % p,
            (y1 * y2 + x1 * x2) * pow(1 - k, -1, p) % p,
        )

    def mult(self, k: int, data: bytes) -> bytes:
        """k * point by double and add, on encodings; k is not reduced."""
        total, addend = (0, 1), self.decode(data)
        while k:
            if k & 1:
                total = self.add(total, addend)
            addend, k = self.add(addend, addend), k >> 1
        return self.encode(total)

    def sum(self, *points: bytes) -> bytes:
        """The sum of encodings."""
        total = (0, 1)
        for point in points:
            total = self.add(total, self.decode(point))
        return self.encode(total)

    def scalar(self, k: int) -> bytes:
        """The scalar encoding of k mod L."""
        return (k % self.order).to_bytes(32, "little")

    def integer(self, data: bytes) -> int:
        """The integer a scalar or wide encoding stands for."""
        return int.from_bytes(data, "little")


@dataclass(frozen=True, slots=True, kw_only=True)
class WeierstrassOracle:
    """y^2 = x^3 + 7 over 2^256 - 2^32 - 977 (SEC 2 section 2.4.1); None is the point at infinity."""

    p: int = 2**256 - 2**32 - 977
    order: int = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

    @property
    def base(self) -> bytes:
        """G, compressed."""
        return bytes.fromhex("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")

    def decode(self, data: bytes) -> Affine:
        """The point with this compressed encoding; ValueError when there is none."""
        x = int.from_bytes(data[1:], "big")
        square = (x**3 + 7) % self.p
        y = pow(square, (self.p + 1) // 4, self.p)
        if len(data) != 33 or data[0] not in (2, 3) or x >= self.p or y * y % self.p != square:
            raise ValueError("not on the curve")
        return (x, y if y & 1 == data[0] & 1 else self.p - y)

    def encode(self, point: Affine | None) -> bytes:
        """The 33-byte encoding; ValueError for infinity, which has none."""
        if point is None:
            raise ValueError("infinity")
        return bytes([2 + (point[1] & 1)]) + point[0].to_bytes(32, "big")

    def add(self, a: Affine | None, b: Affine | None) -> Affine | None:
        """a + b."""
        if a is None or b is None:
            return a or b
        if a[0] == b[0]:
            if (a[1] + b[1]) % self.p == 0:
                return None
            slope = 3 * a[0] * a[0] * pow(2 * a[1], -1, self.p)
        else:
            slope = (b[1] - a[1]) * pow(b[0] - a[0], -1, self.p)
        x = (slope * slope - a[0] - b[0]) % self.p
        return (x, (slope * (a[0] - x) - a[1]) % self.p)

    def mult(self, k: int, data: bytes) -> bytes:
        """k * point by double and add, on encodings; k is not reduced."""
        total: Affine | None = None
        addend: Affine | None = self.decode(data)
        while k:
            if k & 1:
                total = self.add(total, addend)
            addend, k = self.add(addend, addend), k >> 1
        return self.encode(total)

    def sum(self, *points: bytes) -> bytes:
        """The sum of encodings."""
        total: Affine | None = None
        for point in points:
            total = self.add(total, self.decode(point))
        return self.encode(total)

    def scalar(self, k: int) -> bytes:
        """The scalar encoding of k mod n."""
        return (k % self.order).to_bytes(32, "big")

    def integer(self, data: bytes) -> int:
        """The integer a scalar or wide encoding stands for."""
        return int.from_bytes(data, "big")
