"""Nodes on machines of two vendors: one cluster, both verification paths, and what nodes may have in common."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from attestation.collateral import Collateral
from attestation.simulated.amd_certificates import FirmwareLevels
from attestation.simulated.snp import SnpPlatform
from enclave.diversity import Dimension, DiversityTerms
from enclave.wire.attestation import CollateralRequest, PeerVerdict, RegistryRequest
from tests.enclave.node.codes import code_of
from tests.enclave.node.test_verdicts import key_in, row, sign_code
from tests.enclave.node.world import ONE_OF_ALL, World

SNP = ("node-4", "node-5")
ORDER_SESSION = b"d" * 32


def make_world(directory: Path, diversity: DiversityTerms = ONE_OF_ALL) -> Iterator[World]:
    """Three TDX and two SEV-SNP machines."""
    made = World(directory, snp=SNP, diversity=diversity)
    yield made
    made.stop()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A mixed cluster that is not started yet."""
    yield from make_world(tmp_path)


def leaf(platform: SnpPlatform) -> bytes:
    """The machine's VCEK certificate."""
    return platform.certificate


def judged_with(world: World, *leaves: bytes) -> PeerVerdict:
    """What node-1 makes of node-4's evidence when these are the only VCEKs it has."""
    every = {path.read_bytes() for path in (world.directory / "authority/amd/platforms").glob("*/leaf.der")}
    rest = [blob for blob in world.authority.collateral(world.now) if blob not in every]
    world.start("node-1", "node-4")
    world.call("node-1", "collateral", CollateralRequest(blobs=[*rest, *leaves]))
    world.call("node-1", "registry", RegistryRequest(snapshot=world.snapshot()))
    verdict: PeerVerdict = world.call("node-1", "present", world.evidence("node-4", "node-1"))
    return verdict


# --- both paths ------------------------------------------------------------------------------------------


def test_a_mixed_cluster_signs_with_nodes_of_both_vendors(world: World) -> None:
    """Signer sets of TDX and SEV-SNP nodes sign, also after the SEV-SNP node unsealed its share again."""
    world.ready()
    key = key_in(world)
    for slots in (["node-1", "node-4", "node-5"], ["node-2", "node-3", "node-4"]):
        Ed25519PublicKey.from_public_bytes(key.public_key).verify(world.sign(key, b"mixed", slots), b"mixed")
    world.stop("node-4")
    world.start("node-4")
    world.attest()
    world.now += 1
    Ed25519PublicKey.from_public_bytes(key.public_key).verify(world.sign(key, b"again", ["node-1", *SNP]), b"again")
    assert row(world, "node-1", "node-4").platform_id.startswith("amd:chipid:")


def test_a_revoked_chip_is_denied(world: World) -> None:
    """A revocation of an SEV-SNP machine's chip id stops every set it is in, and no other."""
    world.ready()
    key = key_in(world)
    world.registry.revoke(world.platform("node-5").platform_id, "stolen", world.now)
    world.push()
    assert row(world, "node-1", "node-5").result == "attestation-denied"
    assert "proof-of-cloud.revoked" in row(world, "node-1", "node-5").reason
    refused = sign_code(world, key, ["node-1", "node-4", "node-5"])
    assert refused["node-1"] == refused["node-4"] == "attestation-denied"
    assert world.sign(key, b"x", ["node-1", "node-2", "node-4"])


def test_other_code_on_the_machine_is_denied(world: World) -> None:
    """A MEASUREMENT the roster does not allow for the slot is refused."""
    world.start("node-1")
    tee = world.tee("node-4", mrtd=b"\x12" * 48)
    world.start("node-4", tee=tee)
    world.push()
    verdict = world.call("node-1", "present", world.evidence("node-4", "node-1"))
    assert (verdict.result, "presentation.measurement" in verdict.reason) == ("attestation-denied", True)


def test_a_machine_launched_for_another_cluster_is_denied(world: World) -> None:
    """HOST_DATA has to be this cluster's id."""
    world.start("node-1")
    tee = world.tee("node-4")
    tee.service.launch = type(tee.service.launch)(mrtd=tee.service.launch.mrtd, mrconfigid=b"\x01" * 48)
    world.start("node-4", tee=tee)
    world.push()
    verdict = world.call("node-1", "present", world.evidence("node-4", "node-1"))
    assert (verdict.result, "presentation.configuration" in verdict.reason) == ("attestation-denied", True)


# --- the key that signs reports ----------------------------------------------------------------------------


def test_the_right_certificate_is_enough(world: World) -> None:
    """The machine's own VCEK verifies its evidence, whatever others lie beside it."""
    own, other = world.platform("node-4"), world.platform("node-5")
    assert judged_with(world, leaf(own), leaf(other)).result == "trusted"


def test_another_chips_certificate_is_denied(world: World) -> None:
    """A report is not believed under a VCEK of another chip."""
    verdict = judged_with(world, leaf(world.platform("node-5")))
    assert (verdict.result, "snp.chip-id" in verdict.reason) == ("attestation-denied", True)


def test_a_stale_certificate_is_denied(world: World) -> None:
    """A VCEK of this chip for a firmware level before the reported one is refused."""
    own = world.platform("node-4")
    old = FirmwareLevels(microcode=own.levels.microcode - 1)
    stale = world.authority.amd.platform("node-4-before", chip_id=own.chip_id, levels=old)
    verdict = judged_with(world, leaf(stale))
    assert (verdict.result, "snp.tcb" in verdict.reason) == ("attestation-denied", True)


def test_stale_certificates_of_several_chips_never_make_trust(world: World) -> None:
    """Where none of several VCEKs fits, the right one may still arrive: no verdict, and no trust."""
    own = world.platform("node-4")
    old = FirmwareLevels(microcode=own.levels.microcode - 1)
    stale = world.authority.amd.platform("node-4-before", chip_id=own.chip_id, levels=old)
    assert judged_with(world, leaf(stale), leaf(world.platform("node-5"))).result == "attestation-unavailable"


def test_a_certificate_of_another_key_is_denied(world: World) -> None:
    """A VCEK that states this chip and level, over another key, did not sign the report."""
    own = world.platform("node-4")
    twin = world.authority.amd.platform("node-4-twin", chip_id=own.chip_id, levels=own.levels)
    verdict = judged_with(world, leaf(twin))
    assert (verdict.result, "snp.signature" in verdict.reason) == ("attestation-denied", True)


def test_another_vendors_root_does_not_count(world: World, tmp_path: Path) -> None:
    """A genuine-looking machine under an AMD-shaped root the roster does not name is refused."""
    from attestation.simulated.authority import Authority

    own = world.platform("node-4")
    other = Authority.create(tmp_path / "other").amd.platform("node-4", chip_id=own.chip_id, levels=own.levels)
    world.start("node-1")
    tee = world.tee("node-4")
    tee.service.platform = other
    world.start("node-4", tee=tee)
    world.push()
    verdict = world.call("node-1", "present", world.evidence("node-4", "node-1"))
    assert verdict.result == "attestation-denied"


# --- what a key's nodes have in common ---------------------------------------------------------------------


def order_codes(world: World, **order: object) -> set[str]:
    """The code with which each node of an order refuses to start."""
    start = world.ceremony_start(world.order(**order), session=ORDER_SESSION)
    return {code_of(world.call, slot, "ceremony-start", start) for slot in start.participants}


def started(directory: Path, diversity: DiversityTerms) -> Iterator[World]:
    """A running mixed cluster under these terms."""
    for world in make_world(directory, diversity):
        world.ready()
        yield world


@pytest.mark.parametrize(
    ("terms", "code"),
    [
        (DiversityTerms(), "diversity.operator"),
        (DiversityTerms(accept_common=frozenset({Dimension.OPERATOR})), "diversity.provider"),
        (DiversityTerms(limits={Dimension.VENDOR: 2}, accept_common=ONE_OF_ALL.accept_common), "diversity.vendor"),
        (DiversityTerms(limits={Dimension.REGION: 4}, accept_common=ONE_OF_ALL.accept_common), "diversity.region"),
    ],
)
def test_every_node_refuses_an_order_beyond_the_rosters_terms(tmp_path: Path, terms: DiversityTerms, code: str) -> None:
    """Nodes that share an operator, provider, vendor or region beyond the terms start no key, each by its own check."""
    for world in started(tmp_path, terms):
        assert order_codes(world) == {code}


def test_an_order_within_the_terms_is_carried_out(tmp_path: Path) -> None:
    """With at most two nodes of one vendor, a key lives on two of each and not on three of one."""
    terms = DiversityTerms(limits={Dimension.VENDOR: 2}, accept_common=ONE_OF_ALL.accept_common)
    for world in started(tmp_path, terms):
        assert order_codes(world, nodes=["node-1", "node-2", "node-3"]) == {"diversity.vendor"}
        assert world.create_key(nodes=["node-1", "node-2", *SNP])


def test_providers_are_counted_by_verified_statements(tmp_path: Path) -> None:
    """The registry's word decides, as it is now; a key that exists goes on signing when it changes for the worse."""
    terms = DiversityTerms(accept_common=frozenset({Dimension.OPERATOR}))
    for world in started(tmp_path, terms):

        def state(*providers: str, world: World = world) -> None:
            world.now += 1
            for slot, provider in zip(world.slots, providers, strict=True):
                world.registry.add_platform(world.platform(slot).platform_id, provider=provider, now=world.now)
            world.push()

        state("a", "a", "b", "b", "b")
        assert order_codes(world) == {"diversity.provider"}
        state("a", "a", "b", "b", "c")
        key = key_in(world)
        state("a", "a", "a", "b", "c")
        assert order_codes(world) == {"diversity.provider"}
        assert world.sign(key, b"goes on")


def test_a_forged_list_of_the_other_vendor_stops_nobody(world: World, tmp_path: Path) -> None:
    """A newer AMD revocation list under another key is not taken while verdicts rest on the genuine one."""
    from attestation.simulated.authority import Authority

    other = Authority.create(tmp_path / "other").amd
    other.platform("machine")
    forged = [blob for blob in other.collateral(world.now - 1) if Collateral.of(blob).crls]
    world.start()
    world.attest()
    assert code_of(world.call, "node-1", "collateral", CollateralRequest(blobs=forged)) == "collateral.signer"
    assert {row(world, "node-1", slot).result for slot in SNP} == {"trusted"}
