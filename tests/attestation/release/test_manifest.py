"""Release manifests: signed by k of m, in force, of one image whole, or not at all."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from attestation.canonical import canonical_json
from attestation.envelope import Envelope
from attestation.errors import DocumentError
from attestation.policy import AppraisalPolicy
from attestation.release.manifest import PAYLOAD_TYPE, ReleaseCheck, ReleaseManifest
from attestation.verdict import Outcome, Result
from tests.attestation.world import IMAGE, NOW, World

MAKERS = [Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in (1, 2, 3)]
KEYS = [maker.public_key().public_bytes_raw() for maker in MAKERS]
DIGEST = "e9ce3823262e730b6fba0f7f91c8eb7b7c136ab55fde4b66f3fd612fa1e52261"
"""Of the envelope below, computed without this package: pins payload type, member names and canonical form."""

PAYLOAD: dict[str, Any] = {
    "type": "holdfast/release/v1",
    "name": "holdfast-node",
    "version": "1.4.0",
    "source": "5e" * 32,
    "issued_at": NOW - 86_400,
    "expires_at": NOW + 86_400,
    "images": [
        {"tee": "tdx", "name": "tdx, 4 vCPU", "registers": {"mrtd": IMAGE.hex(), "rtmr0": "00" * 48}},
        {"tee": "tdx", "name": "tdx, 8 vCPU", "registers": {"mrtd": "0a" * 48, "rtmr0": "0b" * 48}},
        {"tee": "sev-snp", "name": "snp", "registers": {"measurement": IMAGE.hex()}},
        {"tee": "nitro", "name": "nitro", "registers": {"pcr0": IMAGE.hex(), "pcr1": IMAGE.hex()}},
    ],
}


def signed(payload: dict[str, Any], *makers: Ed25519PrivateKey, kind: str = PAYLOAD_TYPE) -> bytes:
    """The envelope of a payload under these keys."""
    envelope = Envelope.of(kind, payload)
    for maker in makers:
        envelope = envelope.signed(maker)
    return canonical_json(envelope.to_json())


def opened(data: bytes, *, threshold: int = 2, now: int = NOW) -> ReleaseManifest:
    """Opened under the three makers."""
    return ReleaseManifest.open(data, keys=KEYS, threshold=threshold, now=now)


def refusal(data: bytes, *, threshold: int = 2, now: int = NOW) -> str:
    """The code it is refused with."""
    with pytest.raises(DocumentError) as caught:
        opened(data, threshold=threshold, now=now)
    return caught.value.code


def altered(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """The payload after a change in place."""
    value = copy.deepcopy(PAYLOAD)
    change(value)
    return value


def test_two_of_three() -> None:
    """Enough makers: the manifest reads back to what was signed."""
    manifest = opened(signed(PAYLOAD, *MAKERS[:2]))
    assert manifest.payload() == PAYLOAD
    assert manifest.title == "holdfast-node 1.4.0"


def test_golden_bytes() -> None:
    """The signed bytes do not change between versions of this package."""
    assert Envelope.parse(signed(PAYLOAD)).digest.hex() == DIGEST


@pytest.mark.parametrize(
    "makers",
    [(), MAKERS[:1], (MAKERS[0], MAKERS[0]), (MAKERS[0], Ed25519PrivateKey.from_private_bytes(b"\x09" * 32))],
    ids=["nobody", "one", "one-twice", "one-and-a-stranger"],
)
def test_too_few_makers(makers: tuple[Ed25519PrivateKey, ...]) -> None:
    """Fewer than k known, distinct keys: refused."""
    assert refusal(signed(PAYLOAD, *makers)) == "release.signatures"


def test_a_signature_over_something_else() -> None:
    """A signature for another kind of document, or over other bytes, does not count."""
    other = Envelope.parse(signed(PAYLOAD, *MAKERS, kind="application/vnd.holdfast.roster+json"))
    moved = Envelope(payload_type=PAYLOAD_TYPE, payload=other.payload, signatures=other.signatures)
    assert refusal(canonical_json(moved.to_json())) == "release.signatures"
    changed = Envelope.parse(signed(PAYLOAD, *MAKERS))
    newer = canonical_json(altered(lambda value: value.update(version="1.4.1")))
    moved = Envelope(payload_type=PAYLOAD_TYPE, payload=newer, signatures=changed.signatures)
    assert refusal(canonical_json(moved.to_json())) == "release.signatures"


def test_another_kind_of_document() -> None:
    """Only the type of a release manifest is opened as one."""
    assert refusal(signed(PAYLOAD, *MAKERS, kind="application/vnd.holdfast.roster+json")) == "envelope.type"


def test_a_threshold_of_none_is_refused() -> None:
    """k = 0 would accept anything."""
    assert refusal(signed(PAYLOAD, *MAKERS), threshold=0) == "release.signatures"


@pytest.mark.parametrize(("now", "code"), [(NOW - 86_401, "release.not-yet-valid"), (NOW + 86_401, "release.expired")])
def test_outside_its_dates(now: int, code: str) -> None:
    """Before its issue and after its expiry a manifest counts for nothing."""
    data = signed(PAYLOAD, *MAKERS)
    assert refusal(data, now=now) == code
    assert opened(data, now=NOW - 86_400).version == opened(data, now=NOW + 86_400).version


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.pop("source"),
        lambda value: value.update(extra=1),
        lambda value: value.update(type="holdfast/release/v2"),
        lambda value: value.update(version="latest"),
        lambda value: value.update(version="1.4"),
        lambda value: value.update(name=""),
        lambda value: value.update(name="a\x1b[2J"),
        lambda value: value.update(source="5E" * 32),
        lambda value: value.update(source="5e" * 31),
        lambda value: value.update(issued_at=True),
        lambda value: value.update(expires_at=NOW - 86_400),
        lambda value: value.update(images=[]),
        lambda value: value.update(images={}),
        lambda value: value["images"].append(value["images"][0]),
        lambda value: value["images"].append("x"),
        lambda value: value["images"][0].update(tee="tpm"),
        lambda value: value["images"][0].update(note=""),
        lambda value: value["images"][0].update(registers=[]),
        lambda value: value["images"][0].update(registers={"rtmr0": "00" * 48}),
        lambda value: value["images"][0]["registers"].update(MRTD="00" * 48),
        lambda value: value["images"][0]["registers"].update(mrtd="AB" * 48),
        lambda value: value["images"][0]["registers"].update(mrtd="abc"),
        lambda value: value["images"][0]["registers"].update(mrtd=""),
        lambda value: value["images"][0]["registers"].update({f"r{n}": "00" for n in range(40)}),
    ],
)
def test_malformed(change: Callable[[dict[str, Any]], object]) -> None:
    """Anything but the stated form is refused, however well it is signed."""
    assert refusal(signed(altered(change), *MAKERS)) == "release.malformed"


def check(world: World, payload: dict[str, Any], evidence: bytes) -> tuple[Result, str | None, str | None]:
    """Result, and code and reason of the release step."""
    manifest = opened(signed(payload, *MAKERS))
    verdict = world.verifier.examine(
        evidence,
        collateral=world.collateral(),
        now=NOW,
        policy=AppraisalPolicy.development(),
        statements=[ReleaseCheck(manifest=manifest)],
    )
    step = next(step for step in verdict.steps if step.step == "9.1")
    assert step.name == "code is release holdfast-node 1.4.0"
    assert (step.result is Outcome.FAIL) is (verdict.result is Result.UNTRUSTED)
    return verdict.result, step.code, step.reason


def test_evidence_of_the_release(world: World) -> None:
    """Each platform's evidence matches its own image."""
    for evidence in (world.tdx(), world.snp(), world.nitro()):
        assert check(world, PAYLOAD, evidence) == (Result.TRUSTED, None, None)


def test_registers_of_two_images_never_combine(world: World) -> None:
    """MRTD of one image with RTMR0 of the other is neither; the reason names the register."""
    quote = world.intel.quote(bytes(64), mrtd=IMAGE, rtmrs=(b"\x0b" * 48, *(bytes(48),) * 3))
    result, code, reason = check(world, PAYLOAD, quote)
    assert (result, code) == (Result.UNTRUSTED, "release.measurement")
    assert reason is not None
    assert reason.endswith("nearest is 'tdx, 4 vCPU', not rtmr0")


def test_a_platform_without_an_image(world: World) -> None:
    """A release that was not built for a platform has no evidence there."""
    assert check(world, PAYLOAD, world.sgx())[1] == "release.platform"


def test_an_absent_register_is_not_equal_to_anything(world: World) -> None:
    """A register the platform does not have never matches."""
    payload = altered(lambda value: value["images"][0]["registers"].update(rtmr9="00" * 48))
    assert check(world, payload, world.tdx())[1] == "release.measurement"
