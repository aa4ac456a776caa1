"""A peer's presentation: accepted once whole, and each single lie refused with its own code."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attestation.collateral import Collateral
from attestation.errors import AttestationError, CodedError
from attestation.evidence import Tee
from attestation.proof_of_cloud.registry import Registry
from attestation.proof_of_cloud.snapshot import RegistrySnapshot
from attestation.simulated.authority import Authority
from attestation.simulated.platform import Platform
from enclave.errors import WireError
from enclave.evidence_binding import nonce_root, report_data
from enclave.presentation import PeerStanding, _check_configuration, check_presentation, verifier_for
from enclave.roster import ProofOfCloudTerms, Roster
from enclave.wire.attestation import Identity, Presentation
from tests.enclave.samples import ADMIN, KEYS, NOW, a_roster, a_slot, seeded_key

MRTD = b"\x11" * 48
OWN = b"\x01" * 32
OTHERS = [bytes([number]) * 32 for number in (7, 8)]
NONCES = [OTHERS[0], OWN, OTHERS[1]]


@dataclass
class World:
    """One simulated machine in slot node-1, its registry and roster."""

    platform: Platform
    second: Platform
    registry: Registry
    roster: Roster
    collateral: Collateral

    def identity(self, **changes: Any) -> Identity:
        """The identity of the node's current boot."""
        values: dict[str, Any] = {
            "cluster": self.roster.cluster_id,
            "slot": "node-1",
            "boot_counter": 3,
            "identity_key": seeded_key("boot").public.key,
            "kem_key": b"\x05" * 1216,
            "tls_spki": b"\x06" * 32,
            "roster_digest": self.roster.digest,
            "purpose": "node",
        }
        return Identity(**values | changes)

    def present(
        self,
        identity: Identity | None = None,
        *,
        platform: Platform | None = None,
        bound: bytes | None = None,
        **quote: Any,
    ) -> Presentation:
        """Genuine evidence for an identity; `quote` changes what the simulated machine measures."""
        identity = identity or self.identity()
        values = {"mrtd": MRTD, "mrconfigid": self.roster.configuration} | quote
        data = report_data(identity, nonce_root(NONCES))
        evidence = (platform or self.platform).quote(data, now=NOW, **values)
        return Presentation(identity=identity, nonces=NONCES, evidence=evidence)

    def check(self, presentation: Presentation, **changes: Any) -> PeerStanding:
        """Decide as a node does."""
        values: dict[str, Any] = {
            "roster": self.roster,
            "own_nonce": OWN,
            "verifier": verifier_for(self.roster),
            "collateral": self.collateral,
            "snapshot": self.snapshot(),
            "now": NOW,
        }
        return check_presentation(presentation, **values | changes)

    def snapshot(self) -> RegistrySnapshot:
        """The registry as it is now, unverified."""
        return RegistrySnapshot.parse(self.registry.snapshot().encode())


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A fresh machine, authority and registry."""
    return make_world(tmp_path)


def make_world(directory: Path) -> World:
    """Build one."""
    authority = Authority.create(directory / "authority")
    platform, second = authority.platform("one"), authority.platform("two")
    registry = Registry.development(directory / "registry", now=NOW - 100)
    for machine in (platform, second):
        assert registry.add_platform(machine.platform_id, provider="example", region="eu-1", now=NOW - 90)
    config = registry.config
    slots = (
        a_slot(1, platform=platform.platform_id.commitment, measurements={"mrtd": frozenset({MRTD.hex()})}),
        a_slot(2),
    )
    roster = a_roster(
        slots=slots,
        appraisal={"allowed_roots": ["simulated"]},
        simulated_roots=tuple(authority.roots()),
        proof_of_cloud=ProofOfCloudTerms(
            members=config.members,
            threshold=config.threshold,
            freshness_key=config.freshness_key,
            level=1,
            max_age_s=3600,
        ),
    )
    return World(
        platform=platform,
        second=second,
        registry=registry,
        roster=Roster.parse(roster.sign(KEYS[ADMIN])),
        collateral=Collateral.of(*authority.collateral(NOW)),
    )


def code_of(call: Callable[[], object]) -> str:
    """The code of the error a call raises."""
    with pytest.raises(CodedError) as caught:
        call()
    return caught.value.code


def test_a_genuine_peer_is_accepted(world: World) -> None:
    """Fresh evidence of the right machine, code and configuration yields a standing that expires in time."""
    found = world.check(world.present())
    assert found.slot == "node-1"
    assert found.identity == world.identity()
    assert found.platform_id == world.platform.platform_id
    assert found.claims.root == "simulated"
    assert NOW < found.valid_until <= NOW - 90 + 3600


def test_it_is_accepted_again_with_a_verified_snapshot(world: World) -> None:
    """A snapshot that was verified on arrival is used as it is, and its age is still judged."""
    snapshot = world.registry.verified_snapshot(NOW, 3600)
    assert world.check(world.present(), snapshot=snapshot)
    late = code_of(lambda: world.check(world.present(), snapshot=snapshot, now=NOW + 3601))
    assert late == "proof-of-cloud.stale"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"cluster": bytes(32)}, "presentation.cluster"),
        ({"slot": "node-9"}, "presentation.slot"),
        ({"roster_digest": bytes(32)}, "presentation.roster"),
    ],
)
def test_an_identity_outside_this_roster_is_refused(world: World, changes: dict[str, Any], code: str) -> None:
    """Properly bound evidence for another cluster, slot or roster does not count here."""
    assert code_of(lambda: world.check(world.present(world.identity(**changes)))) == code


def test_evidence_for_others_nonces_is_refused(world: World) -> None:
    """Evidence that answers everybody but this verifier is a replay."""
    assert code_of(lambda: world.check(world.present(), own_nonce=b"\x09" * 32)) == "presentation.nonce"


@pytest.mark.parametrize(
    "changes",
    [
        {"boot_counter": 4},
        {"identity_key": seeded_key("thief").public.key},
        {"kem_key": b"\x07" * 1216},
        {"tls_spki": bytes(32)},
        {"purpose": "enrol"},
    ],
)
def test_evidence_of_another_identity_is_refused(world: World, changes: dict[str, Any]) -> None:
    """Each identity field is bound: changing one after the quote breaks the binding."""
    genuine = world.present()
    forged = msgspec.structs.replace(genuine, identity=world.identity(**changes))
    assert code_of(lambda: world.check(forged)) == "presentation.report-data"


def test_nonces_added_afterwards_are_refused(world: World) -> None:
    """Slipping this verifier's nonce into the list after the quote was made breaks the binding."""
    genuine = world.present()
    late = b"\x09" * 32
    forged = msgspec.structs.replace(genuine, nonces=[*NONCES, late])
    assert code_of(lambda: world.check(forged, own_nonce=late)) == "presentation.report-data"


def test_another_measurement_is_refused(world: World) -> None:
    """Code the roster does not allow for the slot is refused, on the right machine."""
    assert code_of(lambda: world.check(world.present(mrtd=b"\x12" * 48))) == "presentation.measurement"


def test_an_unset_register_the_roster_names_is_refused(world: World) -> None:
    """A register named by the roster but absent from the evidence never matches."""
    slot = replace(world.roster.slot("node-1"), measurements={"pcr0": frozenset({MRTD.hex()})})
    world.roster = replace(world.roster, slots=(slot, world.roster.slots[1]))
    assert code_of(lambda: world.check(world.present())) == "presentation.measurement"


@pytest.mark.parametrize("configuration", [bytes(48), b"\x01" * 48], ids=["none", "another"])
def test_another_measured_configuration_is_refused(world: World, configuration: bytes) -> None:
    """A machine launched for no cluster, or for another one, is refused."""
    assert code_of(lambda: world.check(world.present(mrconfigid=configuration))) == "presentation.configuration"


def test_the_padding_of_the_configuration_counts(world: World) -> None:
    """The sixteen bytes after the cluster id have to be zero."""
    value = world.roster.cluster_id + b"\x01" * 16
    assert code_of(lambda: world.check(world.present(mrconfigid=value))) == "presentation.configuration"


def test_another_listed_machine_is_refused(world: World) -> None:
    """A genuine, registered machine that is not the one of this slot is refused."""
    assert code_of(lambda: world.check(world.present(platform=world.second))) == "presentation.platform"


def test_a_machine_in_two_slots_is_refused(world: World) -> None:
    """Row 105: a machine that the roster commits to twice is refused wherever it presents itself."""
    first, second = world.roster.slots
    world.roster = replace(world.roster, slots=(first, replace(second, platform=first.platform)))
    assert code_of(lambda: world.check(world.present())) == "proof-of-cloud.duplicate"


def test_a_machine_without_an_identifier_is_refused(world: World, tmp_path: Path) -> None:
    """Evidence whose hardware id is masked out names no machine."""
    authority = Authority.load(tmp_path / "authority")
    masked = authority.platform("masked", ppid=bytes(16))
    world.collateral = Collateral.of(*authority.collateral(NOW))
    assert code_of(lambda: world.check(world.present(platform=masked))) == "proof-of-cloud.absent"


def test_platforms_without_a_measured_configuration_are_refused(world: World) -> None:
    """Only platforms whose register for the cluster id is defined can be nodes."""
    claims = world.check(world.present()).claims
    assert code_of(lambda: _check_configuration(replace(claims, tee=Tee.NITRO), world.roster)) == (
        "presentation.configuration"
    )
    measured = {"host_data": world.roster.cluster_id.hex()}
    _check_configuration(replace(claims, tee=Tee.SEV_SNP, measurements=measured), world.roster)


def test_a_debug_machine_is_refused_by_the_appraisal(world: World) -> None:
    """Debug attributes fail the roster's appraisal policy with that policy's own code."""
    found = code_of(lambda: world.check(world.present(attributes=bytes.fromhex("0100001000000000"))))
    assert not found.startswith("presentation.")
    assert "debug" in found


def test_a_roster_without_the_simulated_root_refuses_it(world: World) -> None:
    """The same evidence is worthless where only vendors' roots count, in verifier and policy alike."""
    presentation = world.present()
    real = replace(world.roster, simulated_roots=(), appraisal={})
    with pytest.raises(AttestationError):
        world.check(presentation, verifier=verifier_for(real))
    strict = replace(world.roster, appraisal={})
    identity = world.identity(cluster=strict.cluster_id, roster_digest=strict.digest)
    asked = world.present(identity, mrconfigid=strict.configuration)
    found = code_of(lambda: world.check(asked, roster=strict, verifier=verifier_for(world.roster)))
    assert "root" in found


def test_proof_of_cloud_decides_last(world: World) -> None:
    """Revocation, a frozen registry and an unlisted machine are refused with the registry's codes."""
    presentation = world.present()
    assert world.check(presentation)
    world.registry.revoke(world.platform.platform_id, "sold", NOW - 50)
    assert code_of(lambda: world.check(presentation)) == "proof-of-cloud.revoked"
    world.registry.reinstate("found", NOW - 40, platform=world.platform.platform_id)
    assert world.check(presentation)
    world.registry.freeze("incident", NOW - 30)
    assert code_of(lambda: world.check(presentation)) == "proof-of-cloud.frozen"


def test_an_unlisted_machine_is_refused(world: World, tmp_path: Path) -> None:
    """A registry that never heard of the machine does not vouch for it."""
    empty = Registry.development(tmp_path / "empty", now=NOW - 100)
    terms = replace(world.roster.proof_of_cloud, members=empty.config.members, freshness_key=empty.config.freshness_key)
    world.roster = replace(world.roster, proof_of_cloud=terms)
    world.registry = empty
    assert code_of(lambda: world.check(world.present())) == "proof-of-cloud.not-listed"


def test_a_foreign_or_old_registry_is_refused(world: World, tmp_path: Path) -> None:
    """A snapshot of other members, or one past its age, is refused before it is asked."""
    foreign = Registry.development(tmp_path / "foreign", now=NOW - 100)
    foreign.add_platform(world.platform.platform_id, provider="example", region="eu-1", now=NOW - 90)
    snapshot = RegistrySnapshot.parse(foreign.snapshot().encode())
    assert code_of(lambda: world.check(world.present(), snapshot=snapshot)) == "proof-of-cloud.signatures"
    assert code_of(lambda: world.check(world.present(), now=NOW + 3600)) == "proof-of-cloud.stale"


@pytest.mark.parametrize("domain", [{"provider": "other"}, {"provider": "example", "region": "us-1"}])
def test_the_registry_has_to_confirm_the_failure_domain(world: World, domain: dict[str, str]) -> None:
    """A provider or region the roster claims but the registry does not confirm is refused."""
    slot = replace(world.roster.slot("node-1"), failure_domain=domain)
    world.roster = replace(world.roster, slots=(slot, world.roster.slots[1]))
    assert code_of(lambda: world.check(world.present())) == "proof-of-cloud.not-listed"


def test_a_standing_ends_after_a_day(world: World) -> None:
    """However long collateral and registry last."""
    world.roster = replace(world.roster, proof_of_cloud=replace(world.roster.proof_of_cloud, max_age_s=10 * 86_400))
    assert world.check(world.present()).valid_until == NOW + 86_400


def test_the_registry_has_to_reach_the_rosters_level(world: World) -> None:
    """A machine listed by one party is not enough for a roster that asks for a second one."""
    world.roster = replace(world.roster, proof_of_cloud=replace(world.roster.proof_of_cloud, level=2))
    assert code_of(lambda: world.check(world.present())) == "proof-of-cloud.level"


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_hostile_evidence_only_raises_our_errors(shared_world: World, position: int, change: int) -> None:
    """Evidence with any byte changed is refused, or is the same statement; nothing else escapes."""
    genuine = shared_world.present()
    data = bytearray(genuine.evidence)
    data[position % len(data)] ^= change
    with contextlib.suppress(CodedError):
        shared_world.check(msgspec.structs.replace(genuine, evidence=bytes(data)))


@pytest.fixture(scope="module")
def shared_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world no test changes."""
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.mark.parametrize("nonces", [[], [b""], [b"\x00" * 31], [bytes(32)] * 257])
def test_nonces_have_a_size_and_a_number(nonces: list[bytes]) -> None:
    """No nonces, short ones and too many are refused."""
    with pytest.raises(WireError) as caught:
        nonce_root(nonces)
    assert caught.value.code == "evidence.nonces"


@pytest.mark.parametrize(
    "changes",
    [
        {"cluster": b""},
        {"identity_key": b"\x00"},
        {"boot_counter": -1},
        {"boot_counter": 1 << 64},
        {"tls_spki": bytes(31)},
    ],
)
def test_an_identity_of_wrong_sizes_has_no_report_data(shared_world: World, changes: dict[str, Any]) -> None:
    """Fields that do not have their size are refused instead of hashed."""
    with pytest.raises(WireError) as caught:
        report_data(shared_world.identity(**changes), bytes(32))
    assert caught.value.code == "evidence.identity"
