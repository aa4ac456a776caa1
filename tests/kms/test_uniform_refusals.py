"""Refusals that must not tell which of several reasons they have: by their words, their steps or their time."""

from __future__ import annotations

import asyncio
import gc
import json
import random
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from attestation.envelope import b64url
from enclave.errors import CallerError
from enclave.group import ED25519
from enclave.ids import new_id
from enclave.payload.decrypt import context_info
from enclave.secret import Secret
from enclave.threshold import hpke, opening, shamir
from enclave.wire.message import Message
from kms.admission import Call
from kms.endpoint import Context, Endpoint
from kms.errors import NotFoundError
from kms.routes import ENDPOINTS
from kms.routes.shapes import visible_key
from tests.ct.ttest import ROUNDS, THRESHOLD_T, largest_t
from tests.kms.fabric import Fabric

pytestmark = pytest.mark.asyncio(loop_scope="module")

MISSING = "key_" + "a" * 26
REFUSED_EARLY = ((403, "role.missing"), (400, "request.malformed"))
"""Refusals that have nothing to do with the key."""

MARGIN_NS = 2_000
"""Differences of medians below this are let pass, in nanoseconds: a lookup in a longer table of agents costs 300, and
one HTTP exchange on an idle loopback varies by 100 000."""

OPENING_MARGIN_NS = 200
"""The same for opening a ciphertext, which takes 15 000: other objects lie in other cache lines."""

SAMPLES = 500
"""Timed calls of one round, both classes together."""

PREFIX = "/v1/keys/{key}"
OPEN_TO_AGENTS = [
    pytest.param(endpoint, id=f"{endpoint.method} {endpoint.path.removeprefix(PREFIX) or '/'}")
    for endpoint in ENDPOINTS
    if endpoint.path.startswith(PREFIX)
]


# --- keys -------------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hidden(fabric: Fabric) -> dict[str, str]:
    """Keys that are none of the agent's business, by what is special about each, and ids of no key."""
    foreign, narrow = new_id("pol"), new_id("pol")
    others = {"name": "others", "effect": "allow", "agents": [new_id("agt")], "kinds": ["message", "decrypt"]}
    many = [others | {"name": f"others-{i}", "agents": [new_id("agt")]} for i in range(200)]
    for policy, rules in ((foreign, [others, *many]), (narrow, [others, own_rule(fabric, new_id("key"))])):
        document = fabric.policy_document(policy=policy, rules=tuple(rules))
        assert (await fabric.put("PUT", f"/v1/policies/{policy}", document))[0] == 200
    keys = {}
    for name, policy in (("in use", foreign), ("not in memory", foreign), ("disabled", foreign), ("narrow", narrow)):
        keys[name] = (await fabric.create_key(name=f"hidden-{len(keys)}", policy=policy))["key"]
    state = fabric.key_state(keys["disabled"], "disabled", 1)
    assert (await fabric.put("POST", f"/v1/keys/{keys['disabled']}/disable", state))[0] == 200
    del fabric.gateway.keyring._cached[keys["not in memory"]]
    return keys | {"missing": MISSING, "nonsense": "nonsense"}


def own_rule(fabric: Fabric, key: str) -> dict[str, Any]:
    """A rule that names the agent, for one key that is not the one asked for."""
    return {"name": "own", "effect": "allow", "agents": [fabric.agent_id], "keys": [key], "kinds": ["message"]}


@pytest.mark.parametrize("endpoint", OPEN_TO_AGENTS)
async def test_hidden_keys_answer_like_missing_ones(fabric: Fabric, hidden: dict[str, str], endpoint: Endpoint) -> None:
    """Another's key, in use or not, disabled, or of a policy that knows the agent otherwise: one answer, whole."""
    answers = set()
    for key in hidden.values():
        body = b"" if endpoint.method == "GET" else b'{"kind":"message","message":"AAAA"}'
        token = fabric.token(str(endpoint.act), f"{key}/1", body)
        status, content, headers = await fabric.send(
            endpoint.method,
            endpoint.path.replace("{key}", key),
            token=token,
            body=body,
            headers={"X-Request-Id": "same-for-all"},
        )
        shown = {name: value for name, value in headers.items() if name not in ("Date", "Content-Length", "RateLimit")}
        answers.add((status, content, tuple(sorted(shown.items()))))
    assert len(answers) == 1, answers
    status, content, _ = answers.pop()
    # Endpoints for operators refuse an agent before they look for the key.
    assert (status, json.loads(content)["code"]) in ((404, "not-found"), *REFUSED_EARLY), content


def context_of(fabric: Fabric, key: str) -> Context:
    """What a handler gets for a request of the agent that names `key`."""
    text = fabric.token("sign", f"{key}/1", b"")
    call = fabric.gateway.admissions.authenticate(
        authorization=f"Bearer {text}",
        idempotency_key=None,
        method="POST",
        path=f"/v1/keys/{key}/sign",
        body=b"",
        act="sign",  # type: ignore[arg-type]
    )
    assert isinstance(call, Call)
    return Context(
        gateway=fabric.gateway, method="POST", path="", params={"key": key}, query={}, body=b"", idempotency_key=None,
        call=call,
    )  # fmt: skip


async def refused(context: Context, find: Callable[[Context], Awaitable[object]]) -> None:
    """One lookup that finds nothing."""
    try:
        await find(context)
    except NotFoundError:
        return
    raise AssertionError("the key was found")


async def careless(context: Context) -> None:
    """The lookup as one would write it: the cache first, then the question who may see it.  The control."""
    key = await context.gateway.keyring.get(context.params["key"])
    if key is None or not context.gateway.directory.may_see(
        context.caller.principal, key=key.key, policy=key.certificate.policy
    ):
        raise NotFoundError("no such key, or none of yours")


@contextmanager
def entered(*places: str) -> Iterator[list[str]]:
    """The functions entered in files whose path holds one of `places`, in order, on any thread of the gateway."""
    seen: list[str] = []

    def enter(frame: FrameType, event: str, _argument: object) -> None:
        code = frame.f_code
        if event == "call" and any(place in code.co_filename for place in places):
            seen.append(f"{code.co_filename.rpartition('/')[2]}:{code.co_name}")

    before = sys.getprofile()
    sys.setprofile(enter)
    try:
        yield seen
    finally:
        sys.setprofile(before)


LOOKUP = (
    "kms/keyring.py",
    "kms/routes/shapes.py",
    "kms/directory.py",
    "kms/visibility.py",
    "kms/store/",
    "kms/keys.py",
)


async def test_hidden_keys_take_the_steps_of_missing_ones(fabric: Fabric, hidden: dict[str, str]) -> None:
    """Every refused lookup enters the same functions in the same order; a careless one does not."""
    steps: dict[str, list[str]] = {}
    for name, key in hidden.items():
        context = context_of(fabric, key)
        with entered(*LOOKUP) as seen:
            await refused(context, visible_key)
        steps[name] = sorted(seen)  # hidden keys answer `may_see` before the store is asked, or after it
    assert len({tuple(found) for found in steps.values()}) == 1, steps
    assert "sqlite.py:key_policy" in steps["missing"]
    by_hand = {}
    for name in ("in use", "missing"):
        context = context_of(fabric, hidden[name])
        with entered(*LOOKUP) as seen:
            await refused(context, careless)
        by_hand[name] = sorted(seen)
    assert by_hand["in use"] != by_hand["missing"]


async def test_hidden_keys_take_the_time_of_missing_ones(fabric: Fabric, hidden: dict[str, str]) -> None:
    """A smoke test: medians of Welch's t stay below the bound, and the careless lookup is found out."""
    measured = {}
    for name, find in (("product", visible_key), ("control", careless)):
        rounds = []
        for _ in range(ROUNDS):
            contexts = [context_of(fabric, hidden["in use"]), context_of(fabric, MISSING)]
            rounds.append(await _timed(contexts, find))
        measured[name] = statistics.median(rounds)
    assert measured["control"] > THRESHOLD_T, "the machine is too noisy: the run is void"
    assert measured["product"] <= THRESHOLD_T, measured


async def _timed(contexts: list[Context], find: Callable[[Context], Awaitable[object]]) -> float:
    classes = [random.getrandbits(1) for _ in range(SAMPLES)]
    times = []
    gc.collect()
    gc.disable()
    try:
        for side in classes:
            await asyncio.sleep(0)
            start = time.perf_counter_ns()
            await refused(contexts[side], find)
            times.append(time.perf_counter_ns() - start)
    finally:
        gc.enable()
    return t_beyond_margin(classes[20:], times[20:])


def t_beyond_margin(classes: list[int], times: list[int], margin_ns: int = MARGIN_NS) -> float:
    """The largest |t|, or 0 if the medians lie closer than any network shows."""
    one, other = (statistics.median(t for c, t in zip(classes, times, strict=True) if c == side) for side in (0, 1))
    return largest_t(classes, times) if abs(one - other) > margin_ns else 0.0


# --- ciphertexts ---------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sealing(fabric: Fabric) -> dict[str, Any]:
    """A decryption key."""
    return await fabric.create_key(name="sealing", spec="hpke-x25519", usage="decrypt")


def broken(public_key: bytes) -> dict[str, tuple[bytes, dict[str, str]]]:
    """Ciphertexts of one length that do not open, each for a reason of its own, with the context they come with."""
    context = {"purpose": "test"}
    good = hpke.seal(public_key, b"plaintext", context_info(context))
    other = X25519PrivateKey.generate().public_key().public_bytes_raw()
    return {
        "wrong key": (hpke.seal(other, b"plaintext", context_info(context)), context),
        "wrong tag": (good[:-1] + bytes([good[-1] ^ 1]), context),
        "wrong ciphertext": (good[:32] + bytes([good[32] ^ 1]) + good[33:], context),
        "wrong context": (good, {"purpose": "other"}),
        "wrong enc": (hpke.seal(public_key, b"plaintext", b"")[:32] + good[32:], context),
    }


def malformed(public_key: bytes) -> dict[str, tuple[bytes, dict[str, str]]]:
    """Ciphertexts that anybody can see cannot open."""
    good = hpke.seal(public_key, b"plaintext", b"")
    return {
        "short by one": (good[:-1], {}),
        "no tag": (good[:40], {}),
        "nothing": (b"", {}),
        "zero enc": (bytes(32) + good[32:], {}),
        "enc above the field": (b"\xff" * 32 + good[32:], {}),
        "enc on the twist": ((2).to_bytes(32, "little") + good[32:], {}),
    }


@pytest.mark.parametrize("opener", [None, "node-2"])
async def test_ciphertexts_that_do_not_open_answer_alike(
    fabric: Fabric, sealing: dict[str, Any], opener: str | None
) -> None:
    """Wrong key, tag, context or encapsulated key, cut short or no point at all: one answer, whole."""
    public_key = bytes.fromhex(sealing["public_key"])
    answers: dict[str, tuple[int, str]] = {}
    asked: dict[str, list[tuple[str, str]]] = {}
    for name, (ciphertext, context) in (broken(public_key) | malformed(public_key)).items():
        body: dict[str, Any] = {"ciphertext": b64url(ciphertext), "context": context}
        if opener is not None:
            body |= {
                "opened_in_enclave": opener,
                "recipient": b64url(X25519PrivateKey.generate().public_key().public_bytes_raw()),
            }
        with _asked(fabric) as calls:
            status, answer = await fabric.use(sealing, "decrypt", body, headers={"X-Request-Id": "same-for-all"})
        answers[name], asked[name] = (status, str(answer)), sorted(calls)
    assert len(set(answers.values())) == 1, answers
    assert "decrypt.failed" in answers["wrong tag"][1]
    # What only the key could tell apart, nodes are asked about alike.
    counted = {name: [verb for verb, _ in asked[name]] for name in broken(public_key)}
    assert len({tuple(verbs) for verbs in counted.values()}) == 1, counted
    assert "partial" in counted["wrong tag"]


@contextmanager
def _asked(fabric: Fabric) -> Iterator[list[tuple[str, str]]]:
    """(verb, slot) of everything nodes are asked about ciphertexts meanwhile, refused or answered."""
    calls: list[tuple[str, str]] = []
    undo = []
    for slot, node in fabric.nodes.items():

        def begin(
            connection: int, verb: str, request: Message, now: int, slot: str = slot, inner: Any = node.begin
        ) -> Message:
            if verb in ("partial", "open"):
                calls.append((verb, slot))
            return inner(connection, verb, request, now)  # type: ignore[no-any-return]

        node.begin = begin  # type: ignore[method-assign]
        undo.append(node)
    try:
        yield calls
    finally:
        for node in undo:
            del node.begin


IDS = (1, 3)


def _openings() -> dict[str, tuple[dict[int, Secret], bytes, bytes, bytes]]:
    """By reason: shares, group's X25519 key, ciphertext and HPKE info."""
    shares, commitments = shamir.split(ED25519, ED25519.random_scalar(), 2, (1, 2, 3))
    public_key = hpke.public_key_x25519(commitments[0])
    return {
        name: (shares, public_key, ciphertext, context_info(context))
        for name, (ciphertext, context) in broken(public_key).items()
    }


async def test_opening_takes_the_same_steps_whatever_is_wrong() -> None:
    """At the edge and inside an enclave, every reason enters the same functions in the same order."""
    places = ("enclave/threshold/", "enclave/group/", "enclave/derive.py")
    outside: dict[str, list[str]] = {}
    inside: dict[str, list[str]] = {}
    cases = _openings()
    for name in ("wrong key", *cases):  # the first twice: interpolation coefficients are computed once
        shares, public_key, sealed, info = cases[name]
        enc, ciphertext = sealed[:32], sealed[32:]
        with entered(*places) as seen:
            partials = {i: hpke.partial(shares[i], i, IDS, enc) for i in IDS}
            with pytest.raises(CallerError) as caught:
                hpke.open(hpke.combine(partials), enc, ciphertext, public_key, info)
        assert caught.value.code == "decrypt.failed"
        outside[name] = seen
        with entered(*places) as seen:
            points = [opening.partial_point(shares[i], i, IDS, enc) for i in IDS]
            with pytest.raises(CallerError) as caught:
                opening.open_and_reseal(
                    points, enc=enc, ciphertext=ciphertext, public_key=public_key, info=info, recipient=public_key,
                    recipient_info=b"",
                )  # fmt: skip
        assert caught.value.code == "decrypt.failed"
        inside[name] = seen
    assert all(steps == outside["wrong tag"] for steps in outside.values())
    assert all(steps == inside["wrong tag"] for steps in inside.values())


async def test_opening_takes_the_same_time_whatever_is_wrong() -> None:
    """A smoke test over pairs of reasons; comparing tags byte by byte, the control, is found out."""
    found = _openings()
    shares = found["wrong tag"][0]
    given = {}
    for name in ("wrong tag", "wrong context", "wrong ciphertext"):
        _, public_key, sealed, info = found[name]
        dh = hpke.combine({i: hpke.partial(shares[i], i, IDS, sealed[:32]) for i in IDS})
        given[name] = (dh, sealed[:32], sealed[32:], public_key, info)

    def fails(side: int, pair: tuple[str, str]) -> None:
        try:
            hpke.open(*given[pair[side]])
        except CallerError:
            return
        raise AssertionError("it opened")

    tags = [bytes([1]) + bytes(1023), bytes(1023) + bytes([1])]
    zero = bytes(1024)
    for other in ("wrong context", "wrong ciphertext"):
        assert (
            _median_t(lambda side, other=other: fails(side, ("wrong tag", other)), margin_ns=OPENING_MARGIN_NS)
            <= THRESHOLD_T
        )
    assert _median_t(lambda side: tags[side] == zero) > THRESHOLD_T, "the machine is too noisy: the run is void"


def _median_t(call: Callable[[int], object], samples: int = 4000, margin_ns: int = 0) -> float:
    clock, rounds = time.perf_counter_ns, []
    for _ in range(ROUNDS):
        classes = [random.getrandbits(1) for _ in range(samples)]
        times = []
        gc.collect()
        gc.disable()
        for side in classes:
            start = clock()
            call(side)
            times.append(clock() - start)
        gc.enable()
        rounds.append(t_beyond_margin(classes[200:], times[200:], margin_ns))
    return statistics.median(rounds)
