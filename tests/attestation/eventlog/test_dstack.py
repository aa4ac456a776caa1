"""dstack event logs: genuine ones replay to their quotes, and rows 91 to 100 are refused one by one."""

from __future__ import annotations

import contextlib
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attestation.errors import AttestationError, EvidenceError
from attestation.eventlog.bindings import check_app_id, check_compose, check_host_data, check_mr_config, mr_config_v3
from attestation.eventlog.dstack import RUNTIME_EVENT, DstackLog, runtime_digest, runtime_preimage_v2
from attestation.eventlog.replay import replay
from attestation.evidence import Claims, Tee
from tests.attestation import shared_vectors as shared

COMPOSE = b'{"manifest_version":2}'
BOOT = [
    ("system-preparing", b""),
    ("app-id", hashlib.sha256(COMPOSE).digest()[:20]),
    ("compose-hash", hashlib.sha256(COMPOSE).digest()),
    ("instance-id", b""),
    ("boot-mr-done", b""),
    ("system-ready", b""),
]


def runtime(name: str, payload: bytes, **extra: Any) -> dict[str, Any]:
    """One runtime event entry as the guest agent writes it."""
    digest = runtime_digest(name, payload).hex()
    entry = {"imr": 3, "event_type": RUNTIME_EVENT, "digest": digest, "event": name, "event_payload": payload.hex()}
    return {**entry, **extra}


def boot_event(register: int = 0, digest: str = "ab" * 48) -> dict[str, Any]:
    """One firmware event entry."""
    return {"imr": register, "event_type": 1, "digest": digest, "event": "", "event_payload": "00"}


def log(*entries: dict[str, Any]) -> list[dict[str, Any]]:
    """A full log: two firmware events, the boot events, then `entries`."""
    return [boot_event(0), boot_event(1), *(runtime(name, payload) for name, payload in BOOT), *entries]


def parse(entries: list[Any]) -> DstackLog:
    """Parse a log given as Python values."""
    return DstackLog.parse(json.dumps(entries).encode())


def claims_for(parsed: DstackLog, **measurements: str) -> Claims:
    """Claims of a TD whose registers hold exactly this log."""
    registers = {f"rtmr{index}": value.hex() for index, value in enumerate(replay(parsed.events))}
    return Claims(
        tee=Tee.TDX,
        root="intel",
        evidence_id="",
        report_data=b"",
        measurements={**registers, **measurements},
        valid_until=0,
    )


def code_of(entries: list[Any]) -> str:
    """The code a log is refused with."""
    with pytest.raises(EvidenceError) as caught:
        parse(entries)
    return caught.value.code


def test_own_log_replays_and_binds() -> None:
    """A well-formed log replays, and compose file and app id are bound by it."""
    parsed = parse(log(runtime("app-event", b"x")))
    parsed.check(claims_for(parsed))
    check_compose(parsed, COMPOSE)
    check_app_id(parsed)
    assert parsed.application == {"app-event": b"x"}


def test_row_91_forged_payload_with_kept_digest() -> None:
    """Row 91: the stated digest of a runtime event is ignored, so a forged payload no longer replays."""
    genuine = parse(log())
    entries = log()
    entries[4]["event_payload"] = "00" * 32
    with pytest.raises(EvidenceError) as caught:
        parse(entries).check(claims_for(genuine))
    assert caught.value.code == "eventlog.rtmr-mismatch"


@pytest.mark.parametrize("change", ["drop", "swap", "repeat"])
def test_row_92_dropped_reordered_repeated_firmware_event(change: str) -> None:
    """Row 92: any change of the sequence changes a register."""
    entries = [boot_event(0, "aa" * 48), boot_event(0, "bb" * 48), *log()]
    genuine = claims_for(parse(entries))
    changed = {"drop": entries[1:], "swap": [entries[1], entries[0], *entries[2:]], "repeat": [entries[0], *entries]}
    with pytest.raises(EvidenceError) as caught:
        parse(changed[change]).check(genuine)
    assert caught.value.code == "eventlog.rtmr-mismatch"


def test_row_92_registers_outside_their_range() -> None:
    """Row 92: a runtime event in another register, and registers 4 and -1, are refused."""
    assert code_of([*log(), runtime("x", b"", imr=2)]) == "eventlog.register"
    assert code_of([boot_event(4), *log()]) == "eventlog.register"
    assert code_of([boot_event(-1), *log()]) == "eventlog.register"
    assert code_of([{**boot_event(), "imr": True}, *log()]) == "eventlog.register"


def test_row_93_second_compose_hash_after_the_boundary() -> None:
    """Row 93: after system-ready nothing may use or repeat a boot name, even though it would replay."""
    assert code_of(log(runtime("compose-hash", b"\x01" * 32))) == "eventlog.duplicate"
    assert code_of(log(runtime("os-image-hash", b"\x01" * 32))) == "eventlog.boundary"
    assert code_of(log(runtime("mine", b"1"), runtime("mine", b"2"))) == "eventlog.duplicate"


def test_row_94_name_that_shifts_the_separator() -> None:
    """Row 94: "app-id" + ":xx" hashes like another split, so such names are refused."""
    assert runtime_digest("a:b", b"c") == runtime_digest("a", b"b:c")
    for name in ("app-id:xx", "", "ä", "a b", "a" * 65):
        assert code_of(log(runtime("ok", b"", event=name))) == "eventlog.name"


@pytest.mark.parametrize("digest", ["ab" * 32, "ab" * 96, "AB" * 48, "zz" * 48, ""])
def test_row_95_malformed_digests(digest: str) -> None:
    """Row 95: a firmware event needs its exact digest; a runtime event's is recomputed whatever it says."""
    assert code_of([boot_event(0, digest), *log()]) == "eventlog.malformed"
    parsed = parse(log(runtime("x", b"y", digest=digest)))
    assert parsed.events[-1][1] == runtime_digest("x", b"y")


def test_row_96_version_2_events() -> None:
    """Row 96: version 2 needs the canonical preimage; other versions and preimages are refused."""
    preimage = runtime_preimage_v2("x", b"y").decode()
    parsed = parse(log(runtime("x", b"y", version="V2", preimage=preimage)))
    assert parsed.events[-1][1] == hashlib.sha384(preimage.encode()).digest()
    for extra in (
        {"version": "V2"},
        {"version": "V2", "preimage": preimage.replace(",", ", ")},
        {"version": "V3", "preimage": preimage},
        {"version": "V1", "preimage": preimage},
    ):
        assert code_of(log(runtime("x", b"y", **extra))) == "eventlog.version"


@pytest.mark.parametrize("compose", [COMPOSE + b"\n", b'{ "manifest_version":2}', b""])
def test_row_97_compose_file_that_is_not_the_measured_bytes(compose: bytes) -> None:
    """Row 97: one byte more or another order is another compose file."""
    with pytest.raises(EvidenceError) as caught:
        check_compose(parse(log()), compose)
    assert caught.value.code == "binding.compose-hash"


def test_row_98_configuration_documents() -> None:
    """Row 98: MRCONFIGID and HOST_DATA commit to one document; unknown versions are refused."""
    document = b"config"
    parsed = parse(log())
    claims = claims_for(parsed, mrconfigid=mr_config_v3(document).hex())
    check_mr_config(claims, document=document)
    with pytest.raises(EvidenceError, match="does not commit"):
        check_mr_config(claims, document=b"other")
    with pytest.raises(EvidenceError) as caught:
        check_mr_config(claims_for(parsed, mrconfigid="04" + "00" * 47), document=document)
    assert caught.value.code == "binding.mr-config-version"
    with pytest.raises(EvidenceError):
        check_host_data(claims, document)


def test_row_100_oversized_logs() -> None:
    """Row 100: a million events or a huge payload are refused by size before anything is replayed."""
    assert code_of([boot_event()] * 4097) == "eventlog.malformed"
    assert code_of(log(runtime("x", b"", event_payload="00" * 70_000))) == "eventlog.malformed"
    with pytest.raises(EvidenceError) as caught:
        DstackLog.parse(b"[" + b" " * (5 << 20))
    assert caught.value.code == "eventlog.malformed"


def test_log_without_boundary() -> None:
    """A log that never reaches system-ready proves nothing about the application."""
    entries = log()[:-1]
    parsed = parse(entries)
    with pytest.raises(EvidenceError) as caught:
        parsed.check(claims_for(parsed))
    assert caught.value.code == "eventlog.no-boundary"


@given(
    st.binary(max_size=200)
    | st.lists(st.dictionaries(st.text(max_size=6), st.integers() | st.text())).map(
        lambda value: json.dumps(value).encode()
    )
)
def test_hostile_logs_raise_only_our_errors(data: bytes) -> None:
    """Any bytes are a log or a typed error."""
    with contextlib.suppress(AttestationError):
        DstackLog.parse(data)


@shared.NEEDED
@pytest.mark.parametrize("entry", shared.entries("dstack-tcb-info+event-log"), ids=lambda entry: entry["id"])
def test_genuine_log_replays_to_its_registers(entry: dict[str, Any]) -> None:
    """A genuine log replays to the four registers, and the compose hash is checked as the manifest says."""
    document = json.loads(shared.read(entry["file"]))
    events = document["event_log"]
    parsed = DstackLog.parse((events if isinstance(events, str) else json.dumps(events)).encode())
    for index, register in enumerate(replay(parsed.events)):
        assert register.hex() == document[f"rtmr{index}"]
    assert [*parsed.boot, *parsed.application] == entry["runtime_events"]
    if "checked: True" in entry["verify"]:
        check_compose(parsed, document["app_compose"].encode())
    else:
        with pytest.raises(EvidenceError):
            check_compose(parsed, document["app_compose"].encode())


@shared.NEEDED
@pytest.mark.parametrize("entry", shared.entries("dstack-getquote"), ids=lambda entry: entry["id"])
def test_genuine_guest_agent_answer_replays_to_its_quote(entry: dict[str, Any]) -> None:
    """The log of a guest agent's answer, digests stripped or not, replays to the quote beside it."""
    document = json.loads(shared.read(entry["file"]))
    quote = bytes.fromhex(document["quote"])
    parsed = DstackLog.parse(document["event_log"].encode())
    for index, register in enumerate(replay(parsed.events)):
        start = 48 + 328 + 48 * index
        assert quote[start : start + 48] == register
