"""The gateway's small parts: problems, limits, choices, verdict tables, nonce pools, configuration and logs."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import logging
from pathlib import Path

import msgspec
import pytest

import kms.errors
from attestation.errors import CodedError
from enclave.diversity import Dimension
from enclave.errors import CallerError, RefusedError, TokenError
from enclave.wire.attestation import PeerVerdict
from enclave.wire.frame import Call
from enclave.wire.message import decode_as
from enclave.wire.signing import NonceCommitment, NoncesReply, NoncesRequest
from kms import observe
from kms.admission import bearer
from kms.config import GatewayConfig
from kms.errors import ConfigurationError, CredentialError, LinkError, NodeRefusal, RateLimitError, UnavailableError
from kms.fleet.link import NodeLink
from kms.fleet.nonces import NoncePool
from kms.fleet.selection import choose
from kms.fleet.sources import WatchedFiles
from kms.fleet.verdicts import VerdictTable
from kms.problems import STATUS, STATUS_OF_FAMILY, problem_of, status_of
from kms.ratelimit import RateLimiter
from kms.routes.payloads import SignRequest
from tests.kms.frame_server import FrameServer, status

# --- problems ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status_", "code"),
    [
        (TokenError("x", code="token.expired"), 401, "token.expired"),
        (RefusedError("x"), 403, "policy.denied"),
        (NodeRefusal("x", code="policy.denied", slot="node-1"), 403, "policy.denied"),
        (NodeRefusal("x", code="attestation-denied", slot="node-1"), 403, "attestation-denied"),
        (UnavailableError("x", code="attestation-stale"), 503, "attestation-stale"),
        (UnavailableError("x"), 503, "quorum-unavailable"),
        (LinkError("x"), 503, "node-unavailable"),
        (CallerError("x", code="decrypt.failed"), 422, "decrypt.failed"),
        (CallerError("x", code="payload.kind"), 422, "payload.kind"),
        (NodeRefusal("x", code="brand-new", slot="node-1"), 502, "brand-new"),
    ],
)
def test_status_follows_from_the_code(error: CodedError, status_: int, code: str) -> None:
    """The same code has the same status whether it was raised here or at a node."""
    problem, headers = problem_of(error, request_id="r")
    assert (problem.status, problem.code) == (status_, code)
    assert ("WWW-Authenticate" in headers) == (status_ == 401)
    assert ("Retry-After" in headers) == (status_ == 503)


def test_every_error_of_this_package_has_a_status() -> None:
    """A new error class must decide its status: none falls through to 500 by accident."""
    classes = [item for item in vars(kms.errors).values() if isinstance(item, type) and issubclass(item, CodedError)]
    undecided = {CodedError, kms.errors.KmsError, kms.errors.ConfigurationError, kms.errors.AuditError, NodeRefusal}
    for kind in set(classes) - undecided:
        error = kind("x", retry_after_s=1) if kind is RateLimitError else kind("x")
        assert status_of(error) != 500 or error.code.startswith("store."), kind


def test_orders_beyond_the_rosters_terms_are_the_callers_fault() -> None:
    """A node's refusal by any dimension of diversity says 422: name other nodes and try again."""
    for dimension in Dimension:
        assert status_of(NodeRefusal("too many", code=f"diversity.{dimension}", slot="node-1")) == 422


def test_unexpected_errors_say_nothing_of_themselves() -> None:
    """What we did not raise on purpose may hold anything, so nothing of it is passed on."""
    problem, _ = problem_of(ValueError("hunter2"), request_id="r")
    assert "hunter2" not in repr(problem)
    assert (problem.status, problem.code, problem.request_id) == (500, "internal", "r")


def test_status_tables_are_sound() -> None:
    """Every status is a failure, every family ends in its separator."""
    assert all(400 <= status_ < 600 for status_ in STATUS.values())
    assert all(prefix.endswith(".") and 400 <= status_ < 600 for prefix, status_ in STATUS_OF_FAMILY)


@pytest.mark.parametrize(
    "text", ["Bearer null", "Bearer undefined", "bearer  None", "Bearer [object Object]", "Bearer"]
)
def test_unset_variables_are_recognised(text: str) -> None:
    """The words programs print for a missing value get a hint of their own."""
    with pytest.raises(CredentialError) as caught:
        bearer(text)
    assert "not set" in (caught.value.hint or "")


# --- rates -----------------------------------------------------------------------------------------------


def test_bucket_refills_and_keeps_principals_apart() -> None:
    """A burst passes, the next waits, time refills, another principal is not touched."""
    limiter = RateLimiter(per_second=2, burst=3)
    for _ in range(3):
        limiter.take("a", 0.0)
    with pytest.raises(RateLimitError) as caught:
        limiter.take("a", 0.0)
    assert caught.value.retry_after_s >= 1
    limiter.take("b", 0.0)
    limiter.take("a", 0.5)
    with pytest.raises(RateLimitError):
        limiter.take("a", 0.5)


# --- choosing ----------------------------------------------------------------------------------------------


def everyone(_one: str, _other: str) -> bool:
    """All trust each other."""
    return True


def test_lightest_healthy_nodes_are_chosen() -> None:
    """Suspect nodes come last, then the busy ones."""
    weights = {"a": (True, 0), "b": (False, 5), "c": (False, 1), "d": (False, 2)}
    assert set(choose(list(weights), 2, weight=weights.__getitem__, compatible=everyone)) == {"c", "d"}
    assert "a" not in choose(list(weights), 3, weight=weights.__getitem__, compatible=everyone)
    assert "a" in choose(list(weights), 4, weight=weights.__getitem__, compatible=everyone)


def test_preferred_nodes_come_first() -> None:
    """A named assembler takes part although it is busier."""
    weights = {"a": (False, 9), "b": (False, 0), "c": (False, 0)}
    assert "a" in choose(list(weights), 2, weight=weights.__getitem__, compatible=everyone, preferred=["a"])


def test_members_must_trust_each_other() -> None:
    """Where the lightest do not trust each other, a heavier set that does is found."""
    split = {frozenset("ab"), frozenset("ac"), frozenset("bc"), frozenset("de")}

    def compatible(one: str, other: str) -> bool:
        return frozenset((one, other)) in split

    weights = {slot: (False, number) for number, slot in enumerate("dabec")}
    assert set(choose(list(weights), 3, weight=weights.__getitem__, compatible=compatible)) == set("abc")


def test_no_set_is_an_outage_that_says_how_many() -> None:
    """Below the quorum the error names what was found."""
    with pytest.raises(UnavailableError) as caught:
        choose(["a", "b"], 3, weight=lambda _: (False, 0), compatible=everyone)
    assert (caught.value.code, "found 2" in caught.value.detail) == ("quorum-unavailable", True)


# --- verdicts -------------------------------------------------------------------------------------------------


def row(slot: str, *, boot: int = 1, result: str = "trusted", until: int = 100) -> PeerVerdict:
    """A verdict of a peer."""
    return PeerVerdict(slot=slot, boot_counter=boot, result=result, reason="", platform_id="", valid_until=until)


def test_verdict_counts_for_its_boot_and_time_only() -> None:
    """Trust ends with the peer's boot, with its time, and when the node says otherwise; all three at once is trust."""
    table = VerdictTable()
    table.set_boot("b", 1)
    table.replace("a", [row("b")])
    assert table.trusts("a", "b", 99)
    assert not table.trusts("b", "a", 99)
    assert not table.trusts("a", "b", 100)
    table.put("a", row("b", result="attestation-denied"))
    assert not table.trusts("a", "b", 99)
    table.put("a", row("b"))
    table.set_boot("b", 2)
    assert not table.trusts("a", "b", 99)


# --- nonces ----------------------------------------------------------------------------------------------------


class NonceServer(FrameServer):
    """Gives numbered nonces and counts how many it gave."""

    def __init__(self) -> None:
        super().__init__(self._reply)
        self.given = itertools.count()

    def _reply(self, call: Call) -> object:  # type: ignore[override]
        if call.verb == "status":
            return status()
        count = decode_as(NoncesRequest, bytes(call.body)).count
        numbers = [next(self.given).to_bytes(24, "big") for _ in range(count)]
        return NoncesReply(nonces=[NonceCommitment(number, bytes(32), bytes(32)) for number in numbers])


async def pooled(server: NonceServer) -> tuple[NodeLink, NoncePool]:
    """A link that is up and admitted, and its pool."""
    link = NodeLink("node-1", server.url, on_up=lambda link: None, on_down=lambda link: None)
    link.start()
    async with asyncio.timeout(5):
        while not link.connected:
            await asyncio.sleep(0.005)
    link.admit(server.spki)
    return link, NoncePool(link, "ed25519")


async def test_nonce_is_given_once() -> None:
    """Five hundred takers at once get five hundred different nonces."""
    async with NonceServer() as server:
        link, pool = await pooled(server)
        taken = await asyncio.gather(*(pool.take() for _ in range(400)))
        taken += [await pool.take() for _ in range(100)]
        assert len({nonce.nonce for nonce in taken}) == 500
        await link.close()


async def test_old_nonces_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the node might have forgotten is not offered."""
    async with NonceServer() as server:
        link, pool = await pooled(server)
        first = await pool.take()
        monkeypatch.setattr("kms.fleet.nonces.AGE_MAX_S", -1.0)
        pool._drop_old()
        assert not pool._ready
        monkeypatch.setattr("kms.fleet.nonces.AGE_MAX_S", 50.0)
        assert (await pool.take()).nonce > first.nonce
        await link.close()


async def test_nonces_of_another_connection_are_dropped() -> None:
    """After a reconnect nothing of the old connection is used."""
    async with NonceServer() as server:
        link, pool = await pooled(server)
        await pool.take()
        held = {nonce.nonce for _, nonce in pool._ready}
        assert held
        server.drop()
        async with asyncio.timeout(5):
            while link.generation < 2 or not link.connected:
                await asyncio.sleep(0.005)
        assert (await pool.take()).nonce not in held
        await link.close()


# --- files ---------------------------------------------------------------------------------------------------------


def test_watched_files_notice_changes(tmp_path: Path) -> None:
    """A replaced file is read again, an untouched one is no news, a missing one an error that says which."""
    path = tmp_path / "snapshot.json"
    with pytest.raises(ConfigurationError, match="snapshot"):
        WatchedFiles([path]).load()
    path.write_bytes(b"one")
    files = WatchedFiles([path])
    files.load()
    assert (files.contents, files.poll()) == ((b"one",), False)
    (tmp_path / "next").write_bytes(b"two")
    (tmp_path / "next").replace(path)
    assert files.poll()
    assert files.contents == (b"two",)


def configuration(tmp_path: Path, **changes: object) -> Path:
    """A configuration file."""
    value = {"listen": "127.0.0.1:8750", "data": "data", "roster": "roster.json"} | changes
    path = tmp_path / "gateway.json"
    path.write_text(json.dumps({name: item for name, item in value.items() if item is not ...}))
    return path


def test_configuration_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    """Defaults are filled in and names resolved beside the file."""
    config = GatewayConfig.load(configuration(tmp_path, registry="r.json", collateral=["c.json"]))
    assert (config.host, config.port, config.log_level) == ("127.0.0.1", 8750, "info")
    assert config.data == tmp_path / "data"
    assert (config.registry, config.collateral) == (tmp_path / "r.json", (tmp_path / "c.json",))


@pytest.mark.parametrize(
    "changes",
    [
        {"listen": "8750"},
        {"listen": "127.0.0.1:99999"},
        {"listen": ...},
        {"listne": "127.0.0.1:1"},
        {"log_level": "loud"},
        {"rate_limit": {"per_second": 0}},
        {"collateral": "c.json"},
    ],
)
def test_wrong_configuration_is_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    """Missing, misspelt and senseless settings end the start."""
    with pytest.raises(ConfigurationError):
        GatewayConfig.load(configuration(tmp_path, **changes))


# --- logs ------------------------------------------------------------------------------------------------------------


def logged(capsys: pytest.CaptureFixture[str]) -> str:
    """What went to the log."""
    return capsys.readouterr().err


def test_log_drops_fields_that_are_not_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever a field holds, it appears only under a listed name and cut to a sane length."""
    observe.configure("info")
    observe.logger().info("refused", code="token.expired", body="hunter2", token="hunter2", slot="x" * 1000)
    line = json.loads(logged(capsys))
    assert (line["code"], len(line["slot"])) == ("token.expired", observe.VALUE_CHARACTERS_MAX)
    assert "hunter2" not in json.dumps(line)


def test_log_of_an_exception_holds_neither_message_nor_locals(capsys: pytest.CaptureFixture[str]) -> None:
    """Type and place are enough to find a defect; frames hold shares and bodies."""
    observe.configure("info")
    try:
        password = "hunter2"
        raise ValueError(password)
    except ValueError as error:
        observe.logger().error("request-failed", exc_info=error)
    line = json.loads(logged(capsys))
    assert (line["error"], line["where"].partition(":")[0]) == (
        "ValueError",
        "test_log_of_an_exception_holds_neither_message_nor_locals",
    )
    assert "hunter2" not in json.dumps(line)


def test_other_libraries_do_not_log_their_messages(capsys: pytest.CaptureFixture[str]) -> None:
    """A library may quote a request in its message; only its name and line are kept."""
    observe.configure("info")
    logging.getLogger("aiohttp.server").error("bad request %s", "hunter2")
    text = logged(capsys)
    assert "aiohttp.server" in text
    assert "hunter2" not in text
    logging.basicConfig(level=logging.WARNING, handlers=[logging.StreamHandler(io.StringIO())], force=True)


# --- types -----------------------------------------------------------------------------------------------------------


def test_published_types_accept_what_nodes_accept() -> None:
    """Every payload kind of the node's reader has a published type that accepts it, and no other has."""
    from typing import get_args

    from enclave.payload.sign import KINDS_ALL

    bodies = {
        "evm_transaction": {
            "transaction": {
                "type": 2, "chain_id": 1, "nonce": "0", "gas": 21000, "value": "1", "to": None, "data": "0x00",
                "max_fee_per_gas": 1, "max_priority_fee_per_gas": 1,
                "access_list": [{"address": "0x" + "11" * 20, "storage_keys": []}],
            }
        },
        "eip191": {"message": "AAAA"},
        "solana_message": {"message": "AAAA"},
        "message": {"message": "AAAA", "not_after": 5},
        "digest": {"digest": "A" * 43},
        "bitcoin_sighash": {"sighash": "A" * 43},
        "bitcoin_psbt": {"psbt": "AAAA", "input": 0},
        "jws": {"claims": "AAAA", "header": {"typ": "JWT"}},
        "eip712": {"typed_data": {"types": {}, "domain": {}, "primaryType": "A", "message": {}}},
        "eip7702_authorization": {"authorization": {"chain_id": 0, "address": "0x" + "11" * 20, "nonce": 0}},
    }  # fmt: skip
    published = {kind.__struct_config__.tag for kind in get_args(SignRequest)}
    assert published == KINDS_ALL
    assert msgspec.convert({"kind": "evm_transaction", "raw": "0xc0"}, SignRequest)
    for kind, members in bodies.items():
        assert msgspec.convert({"kind": kind} | members, SignRequest)
