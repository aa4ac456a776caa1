"""Opaque secrets at the nodes: sealed uploads only, and shares for attested workloads only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag

from attestation.canonical import canonical_json
from attestation.envelope import b64url
from attestation.simulated.authority import simulated_measurement
from enclave.certificate import KeyCertificate
from enclave.errors import CallerError
from enclave.group.ed25519 import ED25519
from enclave.identity import is_signed
from enclave.key_specs import Custody
from enclave.release_nonces import PER_PRINCIPAL_MAX
from enclave.secret import Secret
from enclave.secret_upload import PLAINTEXT_BYTES_MAX, SecretUpload, share_info
from enclave.secret_wrap import unwrap, wrap
from enclave.threshold.ceremony_kem import seal
from enclave.wire.attestation import RegistryRequest
from enclave.wire.documents import CertificateRequest
from enclave.wire.reconstruct import AssembleRequest, ReleaseRequest
from enclave.wire.signing import SignRequest
from enclave.workload import release_nonce_bytes
from tests.enclave.node.codes import code_of
from tests.enclave.node.secret_world import CONTENT, SUITE, WORKLOAD, SecretWorld, releasing
from tests.enclave.node.world import message_body
from tests.enclave.threshold.support import bad_points

OTHER_CODE = simulated_measurement("another workload")
EITHER = releasing(measurements={"mrtd": [WORKLOAD.hex()]}), {
    **releasing(measurements={"measurement": [WORKLOAD.hex()]}), "name": "workload-snp",
}  # fmt: skip


@pytest.fixture
def ready(tmp_path: Path) -> Iterator[SecretWorld]:
    """Five nodes and a policy that releases to one workload, on TDX or SEV-SNP."""
    world = SecretWorld(tmp_path)
    world.ready(*EITHER)
    yield world
    world.stop()


@pytest.fixture
def key(ready: SecretWorld) -> KeyCertificate:
    """A secret at every node."""
    return ready.put_secret()


# --- uploads -----------------------------------------------------------------------------------------


def test_the_certificate_says_what_was_uploaded(ready: SecretWorld) -> None:
    """Every node signs the body that the client computes beforehand; it names the digest of the ciphertext."""
    upload = ready.upload()
    certificate = ready.put_secret(upload)
    assert certificate == upload.certificate(ready.roster.cluster_id)
    assert certificate.wrapped_digest == hashlib.sha256(upload.wrapped).digest()
    assert (certificate.custody, certificate.privacy_threshold, certificate.shares_needed) == (Custody.RELEASE, 3, 3)


@pytest.mark.parametrize("size", [1, 31, PLAINTEXT_BYTES_MAX])
def test_secrets_of_any_size_come_back(ready: SecretWorld, size: int) -> None:
    """From one byte to 64 KiB."""
    key = ready.put_secret(ready.upload(content=b"x" * size))
    assert ready.released(key) == b"x" * size


@pytest.mark.parametrize(
    "body",
    [
        b"hunter2", b"", b"\xff\xfe", b'"hunter2"', b'{"plaintext":"hunter2"}', b'{"value":"hunter2"}', b"[1]",
        b'{"wrapped":"AAAA"}', b'{"shares":[]}', b"{", b"null",
    ],
)  # fmt: skip
def test_plain_content_is_refused_with_a_hint(ready: SecretWorld, body: bytes) -> None:
    """Whatever brings no sealed shares is taken for a plaintext; the refusal repeats none of it."""
    with pytest.raises(CallerError) as caught:
        ready.put_at("node-1", ready.upload(), body=body)
    assert caught.value.code == "secret.plaintext"
    assert "kms secrets put" in (caught.value.hint or "")
    assert "hunter2" not in str(caught.value)


def changed(upload: SecretUpload, **members: Any) -> bytes:
    """An upload's body with members replaced (None takes one out)."""
    value = json.loads(upload.body()) | members
    return canonical_json({name: item for name, item in value.items() if item is not None})


POINT = ED25519.base_mult_public(7).hex()


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"extra": 1}, "secret.malformed"),
        ({"name": None}, "secret.malformed"),
        ({"name": "Bad Name"}, "name.malformed"),
        ({"secret": "key_" + "a" * 26}, "id.malformed"),
        ({"policy": "p"}, "id.malformed"),
        ({"shares_needed": 1}, "secret.malformed"),
        ({"shares_needed": 6}, "secret.malformed"),
        ({"shares_needed": 2}, "secret.malformed"),
        ({"shares_needed": True}, "secret.malformed"),
        ({"commitments": []}, "secret.malformed"),
        ({"commitments": [POINT, POINT, POINT.upper()]}, "secret.malformed"),
        ({"commitments": [POINT, POINT, POINT[2:]]}, "secret.malformed"),
        ({"commitments": [POINT, POINT, 5]}, "secret.malformed"),
        ({"commitments": [POINT, POINT, "01" + "00" * 31]}, "secret.commitments"),
        ({"commitments": [POINT, POINT, "ff" * 32]}, "secret.commitments"),
        ({"wrapped": b64url(bytes(28))}, "secret.too-large"),
        ({"wrapped": b64url(bytes(PLAINTEXT_BYTES_MAX + 29))}, "secret.too-large"),
        ({"wrapped": "!"}, "secret.malformed"),
        ({"created_at": -1}, "secret.malformed"),
        ({"shares": []}, "secret.malformed"),
        ({"shares": [{"slot": "node-1", "boot_counter": 1, "sealed": b64url(bytes(5))}]}, "secret.malformed"),
    ],
)
def test_malformed_uploads(ready: SecretWorld, members: dict[str, Any], code: str) -> None:
    """Each member has its form."""
    upload = ready.upload()
    body = changed(upload, **members)
    assert code_of(ready.put_at, "node-1", upload, body=body) == code


def test_a_slot_named_twice(ready: SecretWorld) -> None:
    """One share per node."""
    upload = ready.upload()
    twice = replace(upload, shares=(*upload.shares, upload.shares[0]))
    assert code_of(ready.put_at, "node-1", twice) == "secret.malformed"


def test_a_share_off_the_polynomial_is_refused(ready: SecretWorld) -> None:
    """Feldman's check: commitments of another scalar, and a share of another index."""
    upload, other = ready.upload(), ready.upload()
    mixed = replace(upload, commitments=other.commitments)
    resealed = ready.upload(secret=upload.secret, commitments=other.commitments, wrapped=upload.wrapped)
    assert code_of(ready.put_at, "node-1", resealed) == "secret.share"
    assert code_of(ready.put_at, "node-1", mixed) == "share.unreadable"


@pytest.mark.parametrize("place", [0, 1, 2])
def test_bad_commitments_of_an_upload(ready: SecretWorld, place: int) -> None:
    """No encoding that is no point of the group is taken for a commitment, wherever it stands."""
    for bad in bad_points(ED25519):
        commitments = [ED25519.base_mult_public(number) for number in (3, 4, 5)]
        commitments[place] = bad
        upload = ready.upload(commitments=tuple(commitments))
        expected = "secret.commitments" if len(bad) == ED25519.point_bytes else "secret.malformed"
        assert code_of(ready.put_at, "node-1", upload) == expected, bad.hex()


@pytest.mark.parametrize("value", [0, ED25519.order, ED25519.order + 1, 2**256 - 1])
def test_bad_shares_of_an_upload(ready: SecretWorld, value: int) -> None:
    """A sealed share that is no scalar is refused."""
    upload = ready.upload()
    identity = ready.nodes["node-1"].identity.public
    info = share_info(
        ready.roster.cluster_id,
        upload.transcript(ready.roster.cluster_id),
        slot="node-1",
        boot_counter=identity.boot_counter,
        identity_key=identity.identity_key,
    )
    share = Secret.take(bytearray(value.to_bytes(32, "little")))
    first = replace(upload.shares[0], sealed=seal(identity.kem_key, share, info))
    assert code_of(ready.put_at, "node-1", replace(upload, shares=(first, *upload.shares[1:]))) == "secret.share"


def test_shares_are_sealed_for_one_upload_slot_and_boot(ready: SecretWorld) -> None:
    """A share moved to another node, boot or upload does not open."""
    upload = ready.upload()
    first, second = upload.shares[0], upload.shares[1]
    swapped = replace(
        upload,
        shares=(replace(first, sealed=second.sealed), replace(second, sealed=first.sealed), *upload.shares[2:]),
    )
    assert code_of(ready.put_at, "node-1", swapped) == "share.unreadable"
    later = replace(upload, shares=(replace(first, boot_counter=2), *upload.shares[1:]))
    assert code_of(ready.put_at, "node-1", later) == "secret.boot"
    renamed = replace(upload, name="other")
    assert code_of(ready.put_at, "node-1", renamed) == "share.unreadable"
    absent = replace(upload, shares=upload.shares[1:])
    assert code_of(ready.put_at, "node-1", absent) == "secret.not-addressed"


@pytest.mark.parametrize(("offset", "code"), [(-601, "secret.time"), (6, "secret.time")])
def test_uploads_are_of_now(ready: SecretWorld, offset: int, code: str) -> None:
    """An old upload, and one of the future that would make today's tokens too old."""
    assert code_of(ready.put_at, "node-1", ready.upload(created_at=ready.now + offset)) == code


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"resource": "*"}, "token.resource"),
        ({"act": "keys.create"}, "token.act"),
        ({"who": "agent"}, "token.unknown-key"),
        ({"who": "auditor"}, "operator.role"),
    ],
)
def test_only_an_administrator_uploads(ready: SecretWorld, claims: dict[str, Any], code: str) -> None:
    """The token is an administrator's, for this secret and act."""
    who = {"agent": (ready.agent_id, ready.agent), "auditor": (ready.auditor_id, ready.auditor)}
    if "who" in claims:
        issuer, signer = who[claims.pop("who")]
        claims = {"issuer": issuer, "signer": signer}
    assert code_of(ready.put_at, "node-1", ready.upload(), **claims) == code


def test_a_repeated_upload_repeats_the_answer(ready: SecretWorld) -> None:
    """The same secret resealed is the same; another one under the id is refused."""
    scalar = ED25519.random_scalar()
    upload = ready.upload(scalar=scalar)
    first = ready.put_at("node-1", upload)
    ready.now += 1000
    assert ready.put_at("node-1", upload).body == first.body
    assert code_of(ready.put_at, "node-1", ready.upload(secret=upload.secret)) == "secret.exists"


def test_secrets_survive_a_restart(ready: SecretWorld, key: KeyCertificate) -> None:
    """Share and ciphertext are on disk, and the certificate is signed again by the new boot."""
    for slot in ready.slots:
        ready.stop(slot)
        ready.start(slot)
    ready.attest()
    ready.now += 2
    signatures = [ready.call(slot, "certificate", CertificateRequest(key=key.key)) for slot in ready.slots]
    assert ready.verified(signatures) == key
    assert ready.released(key) == CONTENT


def test_secrets_cannot_be_ordered(ready: SecretWorld) -> None:
    """Nodes generate no such key, so nobody can have one whose content nobody knows."""
    body = ready.order(spec="opaque-secret", usage="secret", custody="release")
    start = ready.ceremony_start(body, session=b"s" * 32)
    assert code_of(ready.call, "node-1", "ceremony-start", start) == "order.spec"


def test_a_secret_is_no_signing_key(ready: SecretWorld, key: KeyCertificate) -> None:
    """No verb that signs, opens or assembles takes it."""
    body = message_body(b"hello")
    signing = SignRequest(token=ready.token(key, body), body=body, nonce=b"", signers=[])
    assert code_of(ready.call, "node-1", "sign", signing) == "key.spec"
    token = ready.token(key, body)
    releasing_share = ReleaseRequest(token=token, body=body, signers=ready.slots[:3], assembler="node-1")
    assert code_of(ready.call, "node-2", "release", releasing_share) == "key.custody"
    assembling = AssembleRequest(token=token, body=body, signers=ready.slots[:3], shares=[])
    assert code_of(ready.call, "node-1", "assemble", assembling) == "key.custody"


def test_a_key_is_not_released(ready: SecretWorld) -> None:
    """Release is a custody of its own: no share of another key leaves this way."""
    signing = ready.create_key()
    ready.now += 1
    assert code_of(ready.challenge, signing) == "key.spec"


# --- wrapping ----------------------------------------------------------------------------------------


def test_wrapping_is_bound_to_the_secret() -> None:
    """Another scalar, id, version or cluster, and every changed byte, fail alike."""
    scalar = ED25519.random_scalar()
    wrapped = wrap(scalar, b"content", cluster=bytes(32), secret="sec_a", version=1)
    facts: dict[str, Any] = {"cluster": bytes(32), "secret": "sec_a", "version": 1}
    assert unwrap(scalar, wrapped, **facts) == b"content"
    for changes in ({"cluster": b"\1" * 32}, {"secret": "sec_b"}, {"version": 2}):
        assert code_of(lambda changes=changes: unwrap(scalar, wrapped, **(facts | changes))) == "decrypt.failed"
    assert code_of(lambda: unwrap(ED25519.random_scalar(), wrapped, **facts)) == "decrypt.failed"
    for at in range(len(wrapped)):
        damaged = bytearray(wrapped)
        damaged[at] ^= 1
        assert code_of(lambda damaged=damaged: unwrap(scalar, bytes(damaged), **facts)) == "decrypt.failed"
    for cut in (0, 27, 28, len(wrapped) - 1):
        assert code_of(lambda cut=cut: unwrap(scalar, wrapped[:cut], **facts)) == "decrypt.failed"


# --- release -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("snp", [False, True])
def test_an_attested_workload_gets_the_secret(ready: SecretWorld, key: KeyCertificate, snp: bool) -> None:
    """Shares of any three nodes, sealed to the workload's key, combine to the content; on TDX and on SEV-SNP."""
    assert ready.released(key, snp=snp) == CONTENT
    assert ready.released(key, snp=snp, slots=["node-2", "node-4", "node-5"]) == CONTENT


def test_nonces_are_signed_for_the_secret(ready: SecretWorld, key: KeyCertificate) -> None:
    """The workload can tell a node's nonce from a relay's."""
    asked = ready.challenge(key, ["node-2"])
    answer, identity = asked.nonces["node-2"], ready.nodes["node-2"].identity.public
    statement = release_nonce_bytes(
        cluster=ready.roster.cluster_id, secret=key.key, version=1, slot="node-2",
        boot_counter=answer.boot_counter, nonce=answer.nonce, expires_at=answer.expires_at,
    )  # fmt: skip
    assert is_signed(identity.identity_key, answer.signature, statement)


def test_replayed_evidence_of_a_stopped_workload_fails(ready: SecretWorld, key: KeyCertificate) -> None:
    """The very same bytes are worth nothing a second time, nor with a fresh token; nor at a node asked later."""
    asked = ready.challenge(key)
    body = ready.release_body(asked, ready.quote(ready.report_data(key, asked)))
    ready.release_at("node-1", key, body)
    assert code_of(ready.release_at, "node-1", key, body) == "release.nonce"
    ready.now += 61
    assert code_of(ready.release_at, "node-2", key, body) == "release.nonce"


def test_old_evidence_does_not_answer_new_nonces(ready: SecretWorld, key: KeyCertificate) -> None:
    """Evidence kept from a workload that has stopped cannot be shown for nonces it never saw."""
    old = ready.challenge(key)
    evidence = ready.quote(ready.report_data(key, old))
    fresh = ready.challenge(key)
    fresh.recipient = old.recipient
    body = ready.release_body(fresh, evidence)
    assert code_of(ready.release_at, "node-1", key, body) == "release.report-data"


def test_evidence_binds_the_recipient(ready: SecretWorld, key: KeyCertificate) -> None:
    """A relay cannot put its own key in the place of the workload's."""
    asked = ready.challenge(key)
    evidence = ready.quote(ready.report_data(key, asked))
    thief = ready.challenge(key)
    asked.recipient = thief.recipient
    body = ready.release_body(asked, evidence)
    assert code_of(ready.release_at, "node-1", key, body) == "release.report-data"


@pytest.mark.parametrize(
    "changes", [{"cluster": bytes(32)}, {"secret": "sec_" + "a" * 26}, {"version": 2}, {"recipient": bytes([9] * 32)}]
)
def test_evidence_binds_every_fact(ready: SecretWorld, key: KeyCertificate, changes: dict[str, Any]) -> None:
    """Cluster, secret, version and recipient are all in the report data."""
    asked = ready.challenge(key)
    body = ready.release_body(asked, ready.quote(ready.report_data(key, asked, **changes)))
    assert code_of(ready.release_at, "node-1", key, body) == "release.report-data"


def test_nonces_are_of_one_secret(ready: SecretWorld, key: KeyCertificate) -> None:
    """A nonce given for one secret does not release another."""
    other = ready.put_secret()
    asked = ready.challenge(other)
    body = ready.release_body(asked, ready.quote(ready.report_data(key, asked)))
    assert code_of(ready.release_at, "node-1", key, body) == "release.nonce"


def test_nonces_are_of_one_principal(ready: SecretWorld, key: KeyCertificate) -> None:
    """What another principal was given is not spent and not accepted."""
    asked = ready.challenge(key)
    body = ready.release_body(asked, ready.quote(ready.report_data(key, asked)))
    claims = {"issuer": ready.operator_id, "signer": ready.operator}
    assert code_of(ready.release_at, "node-1", key, body, **claims) == "release.nonce"
    ready.release_at("node-1", key, body)


def test_every_node_wants_its_own_nonce(ready: SecretWorld, key: KeyCertificate) -> None:
    """A node that was not asked, or whose nonce is left out or exchanged, gives nothing."""
    asked = ready.challenge(key, ["node-1", "node-2"])
    body = ready.release_body(asked, ready.quote(ready.report_data(key, asked)))
    assert code_of(ready.release_at, "node-3", key, body) == "release.nonce"
    swapped = ready.challenge(key, ["node-1", "node-2"])
    swapped.nonces = {"node-1": swapped.nonces["node-2"], "node-2": swapped.nonces["node-1"]}
    body = ready.release_body(swapped, ready.quote(ready.report_data(key, swapped)))
    assert code_of(ready.release_at, "node-1", key, body) == "release.nonce"


def test_nonces_of_one_principal_are_bounded(ready: SecretWorld, key: KeyCertificate) -> None:
    """The oldest goes first; the newest ones work."""
    first = ready.challenge(key, ["node-1"])
    for _ in range(PER_PRINCIPAL_MAX):
        last = ready.challenge(key, ["node-1"])
    for asked, expected in ((first, "release.nonce"), (last, None)):
        body = ready.release_body(asked, ready.quote(ready.report_data(key, asked)))
        if expected is None:
            ready.release_at("node-1", key, body)
        else:
            assert code_of(ready.release_at, "node-1", key, body) == expected


@pytest.mark.parametrize(
    ("overrides", "code"),
    [
        ({"mrtd": OTHER_CODE}, "policy.denied"),
        ({"attributes": 0x1000_0001}, "tcb.debug"),
    ],
)
def test_other_code_and_debug_enclaves_get_nothing(
    ready: SecretWorld, key: KeyCertificate, overrides: dict[str, Any], code: str
) -> None:
    """The measurement set is the policy's, the rest the roster's appraisal."""
    if "attributes" in overrides:
        overrides = {"attributes": (0x1000_0001).to_bytes(8, "little")}
    asked = ready.challenge(key)
    body = ready.release_body(asked, ready.quote(ready.report_data(key, asked), **overrides))
    found = code_of(ready.release_at, "node-1", key, body)
    assert found == code or (code == "tcb.debug" and "debug" in found), found


def test_snp_policy_does_not_take_a_tdx_register(ready: SecretWorld, key: KeyCertificate) -> None:
    """Registers are per kind of enclave: the same value elsewhere counts for nothing."""
    ready.put(ready.policy_document(EITHER[1], version=2))
    asked = ready.challenge(key)
    body = ready.release_body(asked, ready.quote(ready.report_data(key, asked)))
    assert code_of(ready.release_at, "node-1", key, body) == "policy.denied"


@pytest.mark.parametrize("snp", [False, True])
def test_a_revoked_machine_gets_nothing(ready: SecretWorld, key: KeyCertificate, snp: bool) -> None:
    """Proof of cloud is asked for each release."""
    machine = ready.snp_machine if snp else ready.tdx_machine
    assert machine.platform_id is not None
    asked = ready.challenge(key)
    body = ready.release_body(asked, ready.quote(ready.report_data(key, asked), snp=snp))
    ready.registry.revoke(machine.platform_id, "stolen", ready.now)
    ready.call("node-1", "registry", RegistryRequest(snapshot=ready.snapshot()))
    assert code_of(ready.release_at, "node-1", key, body) == "proof-of-cloud.revoked"


def test_an_unlisted_machine_gets_nothing(ready: SecretWorld, key: KeyCertificate) -> None:
    """A genuine enclave on somebody's desk is no cloud machine."""
    desk = ready.authority.platform("desk")
    asked = ready.challenge(key)
    evidence = bytes(desk.quote(ready.report_data(key, asked), mrtd=WORKLOAD, now=ready.now))
    body = ready.release_body(asked, evidence)
    assert code_of(ready.release_at, "node-1", key, body) == "proof-of-cloud.not-listed"


def test_a_nonce_is_spent_by_bad_evidence(ready: SecretWorld, key: KeyCertificate) -> None:
    """Guessing costs nonces: what fails cannot be tried again with better evidence."""
    asked = ready.challenge(key)
    bad = ready.release_body(asked, ready.quote(ready.report_data(key, asked), mrtd=OTHER_CODE))
    assert code_of(ready.release_at, "node-1", key, bad) == "policy.denied"
    good = ready.release_body(asked, ready.quote(ready.report_data(key, asked)))
    assert code_of(ready.release_at, "node-1", key, good) == "release.nonce"


def test_shares_are_sealed_for_one_request(ready: SecretWorld, key: KeyCertificate) -> None:
    """The sealed share opens with this request's info only."""
    asked = ready.challenge(key)
    body = ready.release_body(asked, ready.quote(ready.report_data(key, asked)))
    reply = ready.release_at("node-1", key, body)
    with pytest.raises(InvalidTag):
        SUITE.decrypt(reply.sealed, asked.recipient, info=b"")


def test_agents_need_a_rule(ready: SecretWorld, key: KeyCertificate) -> None:
    """Evidence alone is not enough: the token's agent is named by the policy, and a rule without a workload is void."""
    ready.put(ready.policy_document(releasing() | {"agents": [ready.agent_id.replace("agt", "agt")]}, version=2))
    assert ready.released(key) == CONTENT
    nobody = "agt_" + "a" * 26
    ready.put(ready.policy_document(releasing() | {"agents": [nobody]}, version=3))
    assert code_of(ready.released, key) == "policy.denied"
    ready.put(ready.policy_document({"name": "any", "effect": "allow", "kinds": ["release"]}, version=4))
    assert code_of(ready.released, key) == "policy.denied"


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"evidence": b64url(bytes((64 << 10) + 1))}, "release.malformed"),
        ({"evidence": "!"}, "release.malformed"),
        ({"recipient": b64url(bytes(31))}, "release.malformed"),
        ({"recipient": b64url(bytes(32))}, "payload.recipient"),
        ({"nonces": []}, "release.malformed"),
        ({"nonces": [{"slot": "node-1", "nonce": b64url(bytes(31))}]}, "release.malformed"),
        ({"nonces": [{"slot": "node-1", "nonce": b64url(bytes(32))}] * 2}, "release.malformed"),
        ({"nonces": [{"slot": "node-1", "nonce": b64url(bytes(32)), "x": 1}]}, "release.malformed"),
        ({"nonces": [{"slot": "node-1", "nonce": b64url(bytes(32))}]}, "release.nonce"),
        ({"collateral": ["!"]}, "release.malformed"),
        ({"collateral": [b64url(b"x")] * 17}, "release.malformed"),
        ({"collateral": [b64url(bytes(200 << 10))] * 2}, "release.malformed"),
        ({"extra": 1}, "release.malformed"),
    ],
)
def test_malformed_releases(ready: SecretWorld, key: KeyCertificate, members: dict[str, Any], code: str) -> None:
    """Each member of the body has its form."""
    asked = ready.challenge(key)
    body = ready.release_body(asked, ready.quote(ready.report_data(key, asked)), **members)
    assert code_of(ready.release_at, "node-1", key, body) == code


@pytest.mark.parametrize("evidence", [b"", b"x", bytes(5000), b"\x04\x00\x02\x00"])
def test_hostile_evidence_raises_only_typed_errors(ready: SecretWorld, key: KeyCertificate, evidence: bytes) -> None:
    """What is no evidence is refused by the verifier."""
    asked = ready.challenge(key)
    assert "." in code_of(ready.release_at, "node-1", key, ready.release_body(asked, evidence))


def test_tampered_evidence_is_refused(ready: SecretWorld, key: KeyCertificate) -> None:
    """A changed byte of the signed part."""
    asked = ready.challenge(key)
    evidence = bytearray(ready.quote(ready.report_data(key, asked)))
    evidence[200] ^= 1
    body = ready.release_body(asked, bytes(evidence))
    assert code_of(ready.release_at, "node-1", key, body).startswith(("quote.", "evidence.", "intel."))


def test_fewer_shares_than_needed_say_nothing(ready: SecretWorld, key: KeyCertificate) -> None:
    """Two of three shares do not open the secret."""
    assert code_of(lambda: ready.released(key, slots=["node-1", "node-2"])) == "protocol.abort"


def test_disabled_secrets_are_not_released(ready: SecretWorld, key: KeyCertificate) -> None:
    """The switch of keys works for secrets."""
    ready.put(ready.key_state(key.key, "disabled"))
    assert code_of(ready.challenge, key) == "key.disabled"
