"""Both groups against integers: every operation, random and extreme scalars, every refusal they share."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from enclave.errors import AbortError, CallerError, EnclaveError
from enclave.group import ED25519, GROUPS, SECP256K1, Group, check_primitives
from enclave.secret import Secret
from tests.enclave.group_oracle import EdwardsOracle, WeierstrassOracle

Oracle = EdwardsOracle | WeierstrassOracle
PAIRS: list[tuple[Group, Oracle]] = [(ED25519, EdwardsOracle()), (SECP256K1, WeierstrassOracle())]
IDS = [group.name for group, _ in PAIRS]
both = pytest.mark.parametrize(("group", "oracle"), PAIRS, ids=IDS)

EDGES = (1, 2, 3, 2**128 - 1, 2**128, 2**200, 2**252)


def scalars(order: int) -> st.SearchStrategy[int]:
    """Non-zero scalars, with the extremes drawn often."""
    near = [k % order for k in (*EDGES, *(-k for k in EDGES))]
    return st.one_of(st.sampled_from(near), st.integers(1, order - 1))


def hold(oracle: Oracle, k: int) -> Secret:
    """A test value as a secret, past the group's own constructor."""
    return Secret.take(bytearray(oracle.scalar(k)))


@both
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_scalar_arithmetic_equals_integers(group: Group, oracle: Oracle, data: st.DataObject) -> None:
    """Sum, difference, product, negation and inverse agree with integers mod the order, or abort on zero."""
    a, b = data.draw(scalars(group.order)), data.draw(scalars(group.order))
    cases: list[tuple[int, Callable[[], Secret]]] = [
        (a + b, lambda: group.add(hold(oracle, a), hold(oracle, b))),
        (a - b, lambda: group.sub(hold(oracle, a), hold(oracle, b))),
        (a * b, lambda: group.mul(hold(oracle, a), hold(oracle, b))),
        (a * b, lambda: group.mul_public(hold(oracle, a), b)),
        (a * b, lambda: group.mul_public(hold(oracle, a), b - group.order)),
        (-a, lambda: group.negate(hold(oracle, a))),
        (pow(a, -1, group.order), lambda: group.invert(hold(oracle, a))),
        (a, lambda: group.scalar_from_public(a)),
    ]
    for expected, operation in cases:
        if expected % group.order == 0:
            with pytest.raises(AbortError):
                operation()
        else:
            assert group.scalar_to_public_bytes(operation()) == oracle.scalar(expected)


@both
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_polynomials_and_sums_equal_integers(group: Group, oracle: Oracle, data: st.DataObject) -> None:
    """Values and sums agree with integers, also where partial sums vanish; the inputs stay as they were."""
    numbers = data.draw(st.lists(scalars(group.order), min_size=1, max_size=6))
    x = data.draw(st.integers(1, 65_535))
    # A value that vanishes on the way is an abort of its own: a random polynomial meets it with probability 2^-252.
    on_the_way = accumulate(reversed(numbers), lambda value, c: (value * x + c) % group.order)
    assume(all(list(on_the_way)[:-1]))
    held = [hold(oracle, number) for number in numbers]
    cases: list[tuple[int, Callable[[], Secret]]] = [
        (sum(c * x**power for power, c in enumerate(numbers)), lambda: group.evaluate(held, x)),
        (sum(numbers), lambda: group.total(held)),
        (numbers[0], lambda: group.total([hold(oracle, 5), hold(oracle, group.order - 5), held[0]])),
        (0, lambda: group.total([held[0], hold(oracle, -numbers[0] % group.order)])),
    ]
    for expected, operation in cases:
        if expected % group.order == 0:
            with pytest.raises(AbortError):
                operation()
        else:
            assert group.scalar_to_public_bytes(operation()) == oracle.scalar(expected)
    assert [group.scalar_to_public_bytes(secret) for secret in held] == [oracle.scalar(n) for n in numbers]


@both
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_point_arithmetic_equals_integers(group: Group, oracle: Oracle, data: st.DataObject) -> None:
    """Both ways to multiply, public and secret, and point sums agree with the curve equation."""
    a, b = data.draw(scalars(group.order)), data.draw(scalars(group.order))
    P = oracle.mult(a, oracle.base)
    Q = oracle.mult(b, P)
    assert group.base_mult(hold(oracle, a)) == group.base_mult_public(a) == P
    assert group.mult(hold(oracle, b), P) == group.mult_public(b, P) == Q
    if (a + a * b) % group.order:
        assert group.point_add(P, Q) == oracle.sum(P, Q)
    assert group.point_add(P, P, P) == oracle.mult(3, P)
    if (a - a * b) % group.order:
        assert group.point_sub(P, Q) == group.point_add(P, group.mult_public(-1, Q))


@both
@settings(max_examples=60, deadline=None)
@given(
    wide=st.one_of(
        st.binary(min_size=64, max_size=64),
        st.sampled_from(
            [b"\xff" * 64, b"\x01" + bytes(63), bytes(63) + b"\x01", bytes(16) + b"\xff" * 48, b"\xff" * 16 + bytes(48)]
        ),
    )
)
def test_wide_reduction_equals_integers(group: Group, oracle: Oracle, wide: bytes) -> None:
    """64 bytes reduce to the same scalar as the integer they encode, zero digits and extremes included."""
    if oracle.integer(wide) % group.order == 0:
        return
    reduced = group.scalar_from_wide(Secret.take(bytearray(wide)))
    assert group.scalar_to_public_bytes(reduced) == oracle.scalar(oracle.integer(wide))


@both
def test_zero_never_becomes_a_scalar(group: Group, oracle: Oracle) -> None:
    """Every way to arrive at zero aborts instead."""
    zero, one, minus = Secret.zero(32), group.scalar_from_public(1), group.scalar_from_public(-1)
    order_wide = (3 * group.order).to_bytes(64, "little" if oracle.scalar(1)[0] else "big")
    for operation in (
        lambda: group.add(one, minus),
        lambda: group.sub(one, one),
        lambda: group.mul(one, zero),
        lambda: group.mul_public(one, 0),
        lambda: group.mul_public(one, group.order),
        lambda: group.negate(zero),
        lambda: group.invert(zero),
        lambda: group.scalar_from_public(0),
        lambda: group.scalar_from_public(2 * group.order),
        lambda: group.scalar_from_wide(Secret.zero(64)),
        lambda: group.scalar_from_wide(Secret.take(bytearray(order_wide))),
        lambda: group.scalar_from_wide(one),
        lambda: group.base_mult(zero),
        lambda: group.mult(zero, oracle.base),
        lambda: group.base_mult_public(0),
        lambda: group.mult_public(group.order, oracle.base),
        lambda: group.point_sub(oracle.base, oracle.base),
        lambda: group.point_add(oracle.base, group.base_mult_public(-1)),
    ):
        with pytest.raises(AbortError):
            operation()


@both
@pytest.mark.parametrize("offset", [0, 1, 2**64])
def test_scalar_checks_refuse_what_is_not_reduced(group: Group, oracle: Oracle, offset: int) -> None:
    """The order, the order plus one and more are no scalars; neither are zero and wrong sizes; order - 1 is one."""
    byteorder = "little" if oracle.scalar(1)[0] else "big"
    beyond = (group.order + offset).to_bytes(32, byteorder)  # type: ignore[arg-type]
    for bad in (beyond, bytes(32), b"\xff" * 32, b"\x01" * 31, b"\x01" * 33):
        with pytest.raises(CallerError) as raised:
            group.scalar_check(bad)
        assert raised.value.code == "scalar.invalid"
        with pytest.raises(CallerError) as raised:
            group.scalar_check_secret(Secret.take(bytearray(bad)))
        assert raised.value.code == "scalar.invalid"
    group.scalar_check(oracle.scalar(-1))
    group.scalar_check_secret(hold(oracle, -1))


@both
def test_points_of_wrong_form_are_refused_at_every_entry(group: Group, oracle: Oracle) -> None:
    """Empty, short, long, all-ones and all-zero encodings raise `point.invalid` wherever a point comes in."""
    one = group.scalar_from_public(1)
    for bad in (b"", oracle.base[:-1], oracle.base + b"\0", b"\xff" * group.point_bytes):
        for entry in (
            lambda bad=bad: group.validate_point(bad),
            lambda bad=bad: group.mult(one, bad),
            lambda bad=bad: group.mult_public(5, bad),
            lambda bad=bad: group.point_add(bad),
            lambda bad=bad: group.point_add(oracle.base, bad),
            lambda bad=bad: group.point_sub(oracle.base, bad),
            lambda bad=bad: group.point_sub(bad, oracle.base),
        ):
            with pytest.raises(CallerError) as raised:
                entry()
            assert raised.value.code == "point.invalid"
    with pytest.raises(CallerError):
        group.point_add()


@both
def test_random_scalars_are_valid_and_differ(group: Group, oracle: Oracle) -> None:
    """Fresh scalars are canonical, non-zero and never the same."""
    seen = {group.scalar_to_public_bytes(group.random_scalar()) for _ in range(64)}
    assert len(seen) == 64
    for data in seen:
        group.scalar_check(data)


@both
def test_hash_to_scalar_separates_tags_and_parts(group: Group, oracle: Oracle) -> None:
    """Tags, the places where parts end, and the group itself all change the scalar; equal input does not."""
    inputs: list[tuple[str, tuple[bytes, ...]]] = [
        ("a", (b"bc",)),
        ("ab", (b"c",)),
        ("a", (b"b", b"c")),
        ("a", (b"bc", b"")),
    ]
    results = {group.hash_to_scalar(tag, *parts) for tag, parts in inputs}
    assert len(results) == len(inputs)
    assert all(0 <= k < group.order for k in results)
    assert group.hash_to_scalar("a", b"bc") == group.hash_to_scalar("a", b"bc")
    other = next(other for other in GROUPS.values() if other.name != group.name)
    assert group.hash_to_scalar("a", b"bc") % 2**128 != other.hash_to_scalar("a", b"bc") % 2**128


@both
def test_operands_are_left_alone(group: Group, oracle: Oracle) -> None:
    """No operation changes its inputs: results live in slots of their own."""
    a, b = hold(oracle, 5), hold(oracle, 7)
    for operation in (group.add, group.sub, group.mul):
        operation(a, b).wipe()
    group.negate(a)
    group.mul_public(a, 9)
    group.invert(a)
    group.base_mult(a)
    group.mult(a, oracle.base)
    assert (group.scalar_to_public_bytes(a), group.scalar_to_public_bytes(b)) == (oracle.scalar(5), oracle.scalar(7))


def test_primitives_are_present_and_compute() -> None:
    """The start-up check passes on this installation."""
    check_primitives()


def test_start_up_refuses_a_missing_function(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library without one of the private functions is named, before anything is computed."""
    from enclave import group
    from enclave.errors import EnclaveError

    monkeypatch.setattr(group, "_SODIUM_NAMES", (*group._SODIUM_NAMES, "crypto_core_ed25519_imagined"))
    with pytest.raises(EnclaveError, match="crypto_core_ed25519_imagined") as raised:
        check_primitives()
    assert raised.value.code == "primitive.unavailable"


def test_start_up_refuses_an_old_release(monkeypatch: pytest.MonkeyPatch) -> None:
    """A release below the floor is named with the floor."""
    from enclave import group
    from enclave.errors import EnclaveError

    monkeypatch.setattr(group, "VERSION_FLOORS", {"PyNaCl": (99, 0, 0)})
    with pytest.raises(EnclaveError, match=r"expected PyNaCl 99\.0\.0") as raised:
        check_primitives()
    assert raised.value.code == "primitive.unavailable"


VECTORS = json.loads((Path(__file__).parents[2] / "specs/vectors/scalars.json").read_text())


@pytest.mark.parametrize(
    "vector",
    VECTORS,
    ids=lambda v: f"{v['group']}.{v['operation']}({','.join(i[:4] + '-' + i[-4:] for i in v['inputs'])})",
)
def test_published_edge_cases(vector: dict[str, Any]) -> None:
    """Every vector of specs/vectors/scalars.json gives its result or raises its code."""
    group, operation = GROUPS[vector["group"]], vector["operation"]
    inputs = [bytes.fromhex(text) for text in vector["inputs"]]
    public = {"scalar_check": 0, "validate_point": 0, "mult": 1}.get(operation, len(inputs))
    arguments = [Secret.take(bytearray(value)) if i < public else value for i, value in enumerate(inputs)]
    expect = vector.get("expect")
    if expect not in (None, "ok"):
        with pytest.raises(EnclaveError) as raised:
            getattr(group, operation)(*arguments)
        assert raised.value.code == expect
        if operation == "scalar_check":
            with pytest.raises(CallerError):
                group.scalar_check_secret(Secret.take(bytearray(inputs[0])))
        return
    result = getattr(group, operation)(*arguments)
    if isinstance(result, Secret):
        result = group.scalar_to_public_bytes(result)
    assert result == (None if expect == "ok" else bytes.fromhex(vector["result"]))


def test_vectors_agree_with_the_integers() -> None:
    """The vectors themselves are what the equations say: sums and products mod the order, recomputed here."""
    checked = 0
    operations = {"add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b}
    oracles = {group.name: oracle for group, oracle in PAIRS}
    for vector in VECTORS:
        if vector["operation"] in operations:
            oracle = oracles[vector["group"]]
            value = operations[vector["operation"]](*(oracle.integer(bytes.fromhex(i)) for i in vector["inputs"]))
            zero = value % oracle.order == 0
            assert zero == ("expect" in vector)
            assert zero or bytes.fromhex(vector["result"]) == oracle.scalar(value)
            checked += 1
    assert checked == 30
