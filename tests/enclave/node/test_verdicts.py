"""Trust as each node sees it: own nonces, own verifier, the newest registry, and what follows when they change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from attestation.simulated.certificates import Issuer, end_entity, new_root
from attestation.simulated.tcb import LIFETIME_S, TcbClaims
from enclave.certificate import KeyCertificate
from enclave.verdicts import ASSEMBLER_EVIDENCE_S_MAX, EVIDENCE_S_MAX, NONCE_S, NONCES_MAX
from enclave.wire.attestation import CollateralRequest, EvidenceRequest, PeerVerdict, Presentation, RegistryRequest
from tests.enclave.node.codes import code_of
from tests.enclave.node.world import World, message_body

BODY = message_body(b"x")


def _leaves(issuer: Issuer, count: int) -> list[bytes]:
    """Certificates of one issuer."""
    key = issuer.key.public_key()
    return [end_entity(issuer, f"number {number}", key).public_bytes(Encoding.DER) for number in range(count)]


def row(world: World, verifier: str, peer: str) -> PeerVerdict:
    """What `verifier` thinks of `peer`."""
    rows: list[PeerVerdict] = world.call(verifier, "verdicts").verdicts
    return next(item for item in rows if item.slot == peer)


def key_in(world: World) -> KeyCertificate:
    """A FROST key usable now."""
    certificate = world.create_key()
    world.now += 1
    return certificate


def sign_code(world: World, key: KeyCertificate, slots: list[str]) -> dict[str, str]:
    """Each member's refusal to sign in this set."""
    requests = world.sign_requests(slots, world.token(key, BODY), BODY)
    return {slot: code_of(world.call, slot, "sign", request) for slot, request in requests.items()}


# --- evidence -------------------------------------------------------------------------------------------


def test_nothing_is_trusted_at_the_start(world: World) -> None:
    """A fresh node has no verdicts, and says what is missing."""
    world.start("node-1", "node-2")
    assert row(world, "node-1", "node-2").result == "attestation-unavailable"
    presentation = world.evidence("node-2", "node-1")
    assert world.call("node-1", "present", presentation).result == "attestation-unavailable"
    world.push()
    assert row(world, "node-1", "node-2").result == "trusted"
    assert row(world, "node-1", "node-2").platform_id == str(world.platform("node-2").platform_id)


def test_a_node_judges_itself_by_the_evidence_it_gives(world: World) -> None:
    """Every quote answers an own nonce too, so a node knows whether its peers can trust it."""
    world.start("node-1", "node-2")
    world.push()
    assert row(world, "node-1", "node-1").result == "attestation-unavailable"
    world.evidence("node-1", "node-2")
    assert row(world, "node-1", "node-1").result == "trusted"


def test_a_nonce_counts_once_and_for_a_minute(world: World) -> None:
    """A presentation is not judged twice, and not after its nonce expired, but neither breaks the verdict."""
    world.start("node-1", "node-2")
    world.push()
    presentation = world.evidence("node-2", "node-1")
    assert world.call("node-1", "present", presentation).result == "trusted"
    assert code_of(world.call, "node-1", "present", presentation) == "nonce.unknown"
    late = world.evidence("node-2", "node-1")
    world.now += NONCE_S + 1
    assert code_of(world.call, "node-1", "present", late) == "nonce.unknown"
    assert row(world, "node-1", "node-2").result == "trusted"


def test_a_presentation_for_another_verifier_is_not_taken(world: World) -> None:
    """Evidence over somebody else's nonce proves nothing here."""
    world.start("node-1", "node-2", "node-3")
    world.push()
    assert code_of(world.call, "node-1", "present", world.evidence("node-2", "node-3")) == "nonce.unknown"


def test_a_flood_of_challenges_displaces_only_its_own(world: World) -> None:
    """Outstanding nonces are bounded per connection, so nobody can push out another gateway's."""
    world.start("node-1", "node-2")
    world.push()
    presentation = world.evidence("node-2", "node-1")
    first = world.call("node-1", "challenge", connection=2).nonce
    for _ in range(NONCES_MAX):
        world.call("node-1", "challenge", connection=2)
    theirs = world.call("node-2", "evidence", EvidenceRequest(nonces=[first]))
    assert code_of(world.call, "node-1", "present", theirs, connection=2) == "nonce.unknown"
    assert world.call("node-1", "present", presentation).result == "trusted"


def test_a_nonce_belongs_to_its_connection(world: World) -> None:
    """A presentation comes back where its nonce was asked for, and not after that connection has gone."""
    world.start("node-1", "node-2")
    world.push()
    presentation = world.evidence("node-2", "node-1")
    assert code_of(world.call, "node-1", "present", presentation, connection=2) == "nonce.unknown"
    world.nodes["node-1"].disconnect(1)
    assert code_of(world.call, "node-1", "present", presentation) == "nonce.unknown"


def test_quotes_are_rate_limited(world: World) -> None:
    """A flood of evidence requests is refused, a second later there is room again."""
    world.start("node-1")
    request = EvidenceRequest(nonces=[bytes(32)])

    def ask_until_refused() -> str:
        for _ in range(100):
            world.call("node-1", "evidence", request)
        return "never"

    assert code_of(ask_until_refused) == "evidence.rate"
    world.now += 1
    assert world.call("node-1", "evidence", request).evidence


@pytest.mark.parametrize("nonces", [[], [b"short"], [bytes(32)] * 257])
def test_malformed_nonces_are_refused(world: World, nonces: list[bytes]) -> None:
    """No nonce, a short one, or too many give no quote."""
    world.start("node-1")
    assert code_of(world.call, "node-1", "evidence", EvidenceRequest(nonces=nonces)) == "evidence.nonces"


def _identity(**changes: Any) -> Callable[[Presentation], Presentation]:
    def change(presentation: Presentation) -> Presentation:
        identity = msgspec.structs.replace(presentation.identity, **changes)
        return msgspec.structs.replace(presentation, identity=identity)

    return change


def _evidence(presentation: Presentation) -> Presentation:
    quote = bytearray(presentation.evidence)
    quote[600] ^= 1
    return msgspec.structs.replace(presentation, evidence=bytes(quote))


@pytest.mark.parametrize(
    "change",
    [
        _identity(identity_key=bytes(32)),
        _identity(kem_key=bytes(1216)),
        _identity(tls_spki=b"\1" * 32),
        _identity(boot_counter=2),
        _identity(slot="node-3"),
        _identity(slot="node-9"),
        _identity(cluster=bytes(32)),
        _identity(roster_digest=bytes(32)),
        _identity(purpose="enrol"),
        _evidence,
    ],
)
def test_a_changed_presentation_is_denied(world: World, change: Callable[[Presentation], Presentation]) -> None:
    """Nothing in an identity or in evidence can be changed on the way, and a denial displaces no good verdict."""
    world.start("node-1", "node-2")
    world.push()
    assert world.call("node-1", "present", world.evidence("node-2", "node-1")).result == "trusted"
    changed = change(world.evidence("node-2", "node-1"))
    assert world.call("node-1", "present", changed).result == "attestation-denied"
    assert row(world, "node-1", "node-2").result == "trusted"


def test_another_image_is_denied(world: World) -> None:
    """A node whose measurement the roster does not allow is not trusted, whatever it says."""
    world.start("node-1")
    world.start("node-2", tee=world.tee("node-2", mrtd=b"\7" * 48))
    world.push()
    verdict = world.call("node-1", "present", world.evidence("node-2", "node-1"))
    assert verdict.result == "attestation-denied"
    assert "mrtd" in verdict.reason


def test_another_machine_is_denied(world: World) -> None:
    """The right image on a machine the roster does not name for that slot is not trusted."""
    world.start("node-1")
    world.start("node-2", tee=world.tee("node-3"))
    world.push()
    assert world.call("node-1", "present", world.evidence("node-2", "node-1")).result == "attestation-denied"


def test_an_older_run_of_a_node_is_denied(world: World) -> None:
    """Once a newer boot was seen, an older one (a rolled-back disk, a paused copy) is refused for good."""
    world.start("node-1", "node-2")
    world.push()
    old_node = world.nodes["node-2"]
    world.call("node-1", "present", world.evidence("node-2", "node-1"))
    nonce = world.call("node-1", "challenge").nonce
    old = old_node.handle(1, "evidence", EvidenceRequest(nonces=[nonce]), world.now)
    world.stop("node-2")
    world.start("node-2")
    world.push("node-2")
    assert world.call("node-1", "present", world.evidence("node-2", "node-1")).boot_counter == 2
    assert isinstance(old, Presentation)
    verdict = world.call("node-1", "present", old)
    assert (verdict.result, verdict.boot_counter) == ("attestation-denied", 1)
    assert row(world, "node-1", "node-2").boot_counter == 2


def test_a_twin_is_denied(world: World) -> None:
    """Two copies of one node with the same boot counter: the second to show up is refused."""
    import shutil

    world.start("node-1")
    world.start("node-2")
    world.stop("node-2")
    copy = world.directory / "copy"
    shutil.copytree(world.store_path("node-2").parent, copy)
    world.start("node-2")
    world.push()
    assert world.call("node-1", "present", world.evidence("node-2", "node-1")).result == "trusted"
    world.stop("node-2")
    shutil.rmtree(world.store_path("node-2").parent)
    copy.rename(world.store_path("node-2").parent)
    world.start("node-2")
    twin = world.call("node-1", "present", world.evidence("node-2", "node-1"))
    assert (twin.result, twin.boot_counter) == ("attestation-denied", 2)


# --- use -----------------------------------------------------------------------------------------------


def test_every_member_needs_a_verdict_in_the_signers_own_table(ready: World) -> None:
    """A node that has not judged a member itself refuses the set, whatever the others think."""
    key = key_in(ready)
    ready.stop("node-3")
    ready.now += 1
    ready.start("node-3")
    ready.push("node-3")
    for peer in ("node-1", "node-4", "node-5"):  # as many as it needs to be at work at all
        ready.call("node-3", "present", ready.evidence(peer, "node-3"))
        ready.call(peer, "present", ready.evidence("node-3", peer))
    token = ready.token(key, BODY)
    requests = ready.sign_requests(["node-1", "node-2", "node-3"], token, BODY)
    assert code_of(ready.call, "node-3", "sign", requests["node-3"]) == "attestation-unavailable"
    assert ready.call("node-1", "sign", requests["node-1"]).share
    ready.call("node-3", "present", ready.evidence("node-2", "node-3"))
    ready.call("node-2", "present", ready.evidence("node-3", "node-2"))
    requests = ready.sign_requests(["node-1", "node-2", "node-3"], token, BODY)
    assert ready.call("node-3", "sign", requests["node-3"]).share
    assert ready.sign(key, b"x", ["node-1", "node-2", "node-4"])


def test_a_revoked_machine_stops_every_set_it_is_in(ready: World) -> None:
    """With a newer registry all peers, and the machine itself, refuse with attestation-denied."""
    key = key_in(ready)
    ready.registry.revoke(ready.platform("node-3").platform_id, "sold", ready.now)
    ready.push()
    codes = sign_code(ready, key, ["node-1", "node-2", "node-3"])
    assert set(codes.values()) == {"attestation-denied"}
    assert "revoked" in row(ready, "node-1", "node-3").reason
    assert ready.sign(key, b"x", ["node-1", "node-2", "node-4"])


def test_a_reinstated_machine_works_again(ready: World) -> None:
    """Members can lift a revocation; the evidence already judged is judged again."""
    key = key_in(ready)
    platform = ready.platform("node-3").platform_id
    ready.registry.revoke(platform, "mistake", ready.now)
    ready.push()
    assert row(ready, "node-1", "node-3").result == "attestation-denied"
    ready.registry.reinstate("checked", ready.now, platform=platform)
    ready.push()
    assert ready.sign(key, b"x", ["node-1", "node-2", "node-3"])


@pytest.mark.parametrize("whole", [True, False])
def test_a_freeze_stops_what_it_covers(ready: World, whole: bool) -> None:
    """A frozen machine, or a frozen registry, is nothing to work with."""
    key = key_in(ready)
    platform = None if whole else ready.platform("node-3").platform_id
    ready.registry.freeze("incident", ready.now, platform=platform)
    ready.push()
    assert set(sign_code(ready, key, ["node-1", "node-2", "node-3"]).values()) == {"attestation-denied"}
    expected = "attestation-denied" if whole else "trusted"
    assert row(ready, "node-1", "node-2").result == expected


def test_an_older_snapshot_is_refused(ready: World) -> None:
    """A gateway cannot take a revocation back by offering what was before, not even after a restart."""
    before = RegistryRequest(snapshot=ready.snapshot())
    ready.registry.revoke(ready.platform("node-3").platform_id, "sold", ready.now)
    ready.push()
    assert code_of(ready.call, "node-1", "registry", before) == "proof-of-cloud.rollback"
    ready.stop("node-1")
    ready.start("node-1")
    assert code_of(ready.call, "node-1", "registry", before) == "proof-of-cloud.rollback"


def test_a_foreign_snapshot_is_refused(ready: World) -> None:
    """A registry signed by others changes nothing."""
    from attestation.proof_of_cloud.registry import Registry

    other = Registry.development(ready.directory / "other", now=ready.now + 1)
    request = RegistryRequest(snapshot=other.snapshot().encode())
    assert code_of(ready.call, "node-1", "registry", request).startswith("proof-of-cloud.")
    assert row(ready, "node-1", "node-2").result == "trusted"


def test_a_snapshot_grows_stale(ready: World) -> None:
    """Without a restated registry everything stops, with a fresh one it goes on."""
    key = key_in(ready)
    ready.now += ready.roster.proof_of_cloud.max_age_s - 60
    ready.attest()
    ready.now += 120
    assert set(sign_code(ready, key, ready.slots[:3]).values()) == {"attestation-stale"}
    ready.registry.restate(ready.now)
    ready.attest()
    assert ready.sign(key, b"x")


def test_evidence_grows_stale(ready: World) -> None:
    """A day-old verdict is none, although collateral and registry are fresh."""
    key = key_in(ready)
    ready.now += EVIDENCE_S_MAX + 1
    ready.registry.restate(ready.now)
    ready.push()
    assert set(sign_code(ready, key, ready.slots[:3]).values()) == {"attestation-stale"}
    ready.attest()
    assert ready.sign(key, b"x")


def test_trust_ends_with_the_collateral_it_rests_on(world: World) -> None:
    """Vendor documents that expire within the day end the verdict at that moment, without anything new arriving."""
    world.start()
    soon = world.authority.collateral(world.now - LIFETIME_S + 3600)
    world.call("node-1", "collateral", CollateralRequest(blobs=soon))
    world.call("node-1", "registry", RegistryRequest(snapshot=world.snapshot()))
    assert world.call("node-1", "present", world.evidence("node-2", "node-1")).result == "trusted"
    world.now += 3600
    assert row(world, "node-1", "node-2").result == "attestation-stale"


def test_evidence_for_another_purpose_is_denied(world: World) -> None:
    """Genuine evidence of a node that does not serve is no reason to work with it."""
    world.start()
    world.push("node-1")
    peer = world.nodes["node-2"].identity
    peer.public = msgspec.structs.replace(peer.public, purpose="enrol")
    verdict = world.call("node-1", "present", world.evidence("node-2", "node-1"))
    assert (verdict.result, "purpose" in verdict.reason) == ("attestation-denied", True)
    peer.public = msgspec.structs.replace(peer.public, purpose="serve")
    assert world.call("node-1", "present", world.evidence("node-2", "node-1")).result == "trusted"


def test_an_assemblers_evidence_counts_for_an_hour(ready: World) -> None:
    """Who would see a whole key must have shown fresh evidence; as a signer it still counts."""
    table = ready.nodes["node-1"].verdicts
    ready.now += ASSEMBLER_EVIDENCE_S_MAX + 1
    ready.relay()
    table.require(["node-2"], ready.now)
    assert code_of(table.require, ["node-2"], ready.now, evidence_s_max=ASSEMBLER_EVIDENCE_S_MAX) == "attestation-stale"


def test_a_clock_behind_the_registry_stops_the_node(ready: World) -> None:
    """A verified checkpoint from the future means that this node's own clock is wrong."""
    key = key_in(ready)
    ready.registry.restate(ready.now + 30)
    ready.push("node-1")
    requests = ready.sign_requests(ready.slots[:3], ready.token(key, BODY), BODY)
    assert code_of(ready.call, "node-1", "sign", requests["node-1"]) == "clock-skew"
    assert ready.call("node-2", "sign", requests["node-2"]).share


def test_a_node_does_not_start_with_a_clock_behind_what_it_has_seen(ready: World) -> None:
    """The registry snapshot it kept shows a node at start that its clock was set back."""
    from enclave.seal import SealedStore

    ready.stop("node-1")
    ready.now -= 60
    store = SealedStore.open(
        ready.store_path("node-1"), cluster=ready.roster.cluster_id, slot="node-1", tee=ready.tee("node-1")
    )
    assert code_of(ready.boot, "node-1", store) == "clock-skew"
    store.close()


# --- collateral ------------------------------------------------------------------------------------------


def test_newer_collateral_can_take_trust_away(ready: World) -> None:
    """A revoked quoting certificate in a newer CRL denies the machine whose verdict was good."""
    ready.authority.revoke_pck(ready.platform("node-3"))
    ready.now += 3600
    ready.call("node-1", "collateral", CollateralRequest(blobs=ready.authority.collateral(ready.now)))
    assert row(ready, "node-1", "node-3").result == "attestation-denied"
    assert row(ready, "node-1", "node-2").result == "trusted"


def test_older_collateral_does_not_bring_trust_back(ready: World) -> None:
    """Newest wins whatever the order of delivery, also after a restart."""
    before = CollateralRequest(blobs=ready.authority.collateral(ready.now))
    ready.authority.revoke_pck(ready.platform("node-3"))
    ready.now += 3600
    ready.call("node-1", "collateral", CollateralRequest(blobs=ready.authority.collateral(ready.now)))
    ready.call("node-1", "collateral", before)
    assert row(ready, "node-1", "node-3").result == "attestation-denied"
    ready.stop("node-1")
    ready.start("node-1")
    ready.call("node-1", "collateral", before)
    assert ready.call("node-1", "present", ready.evidence("node-3", "node-1")).result == "attestation-denied"


def test_collateral_that_an_unknown_authority_signed_breaks_nothing(ready: World, tmp_path: Any) -> None:
    """Newer but forged collateral is refused whole while good verdicts rest on the old."""
    from attestation.simulated.authority import Authority

    other = Authority.create(tmp_path / "other")
    forged = CollateralRequest(blobs=other.collateral(ready.now + 3600))
    ready.now += 7200
    assert code_of(ready.call, "node-1", "collateral", forged).startswith("collateral.")
    assert row(ready, "node-1", "node-2").result == "trusted"


def test_genuine_collateral_that_breaks_a_verdict_is_refused(ready: World) -> None:
    """What the vendor signed for a later time would end trust now, and says nothing against the machine."""
    later = CollateralRequest(blobs=ready.authority.collateral(ready.now + 30 * 86_400))
    assert code_of(ready.call, "node-1", "collateral", later) == "collateral.not-yet-valid"
    assert row(ready, "node-1", "node-2").result == "trusted"


def test_forged_collateral_does_not_keep_out_the_genuine(world: World, tmp_path: Any) -> None:
    """Offered first and dated far ahead, it is neither taken nor stored, so it keeps nothing out."""
    from attestation.simulated.authority import Authority

    world.start()
    forged = CollateralRequest(blobs=Authority.create(tmp_path / "other").collateral(world.now + 600_000_000))
    assert code_of(world.call, "node-1", "collateral", forged) == "collateral.signer"
    mixed = CollateralRequest(blobs=[*forged.blobs, *world.authority.collateral(world.now)])
    world.call("node-1", "collateral", mixed)
    world.push()
    assert world.call("node-1", "present", world.evidence("node-2", "node-1")).result == "trusted"
    world.stop("node-1")
    world.start("node-1")
    assert world.call("node-1", "present", world.evidence("node-2", "node-1")).result == "trusted"


def test_collateral_is_bounded(ready: World) -> None:
    """One offer is bounded before its signatures are looked at, and so is what the vendor signed over many offers."""
    many = CollateralRequest(blobs=_leaves(new_root(), 513))
    assert code_of(ready.call, "node-1", "collateral", many) == "collateral.too-large"
    ready.call("node-1", "collateral", CollateralRequest(blobs=_leaves(ready.authority.root, 256)))
    more = CollateralRequest(blobs=_leaves(ready.authority.root, 256))
    assert code_of(ready.call, "node-1", "collateral", more) == "collateral.too-large"
    assert row(ready, "node-1", "node-2").result == "trusted"


def test_an_out_of_date_platform_is_denied_by_newer_collateral(ready: World) -> None:
    """A TCB recovery reaches verdicts that were given before it."""
    ready.now += 3600
    blobs = ready.authority.collateral(ready.now, claims=TcbClaims(status="OutOfDate"))
    ready.call("node-1", "collateral", CollateralRequest(blobs=blobs))
    assert row(ready, "node-1", "node-2").result == "attestation-denied"


def test_malformed_collateral_is_refused(ready: World) -> None:
    """Garbage is named as such."""
    assert code_of(ready.call, "node-1", "collateral", CollateralRequest(blobs=[b"{}"])).startswith("collateral.")
