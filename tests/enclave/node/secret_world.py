"""Uploading, challenging and releasing opaque secrets without sockets, step by step, so that tests can change each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from attestation.canonical import canonical_json
from attestation.envelope import b64url
from attestation.simulated.authority import simulated_measurement
from enclave.certificate import KeyCertificate
from enclave.group.ed25519 import ED25519
from enclave.ids import new_id
from enclave.roster import Roster
from enclave.secret import Secret
from enclave.secret_upload import SealedFor, SecretUpload, share_info
from enclave.secret_wrap import unwrap, wrap
from enclave.threshold import reconstruct, shamir
from enclave.threshold.ceremony_kem import SEALED_BYTES, seal
from enclave.tokens import make_token
from enclave.wire.secrets import ReleasedShare, SecretChallenge, SecretNonce, SecretPut, SecretRelease
from enclave.workload import release_report_data, released_share_info
from tests.enclave.node.world import World

SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
WORKLOAD = simulated_measurement("workload")
CONTENT = b"the database password"


def releasing(**workload: Any) -> dict[str, Any]:
    """A rule that releases to a workload, the TDX one unless told."""
    measurements = workload.pop("measurements", {"mrtd": [WORKLOAD.hex()]})
    leaf = {"measurements": measurements} | workload
    return {"name": "workload", "effect": "allow", "kinds": ["release"], "workload": leaf}


@dataclass
class Asked:
    """One challenge answered by some nodes, and the workload's key."""

    recipient: X25519PrivateKey
    nonces: dict[str, SecretNonce]

    @property
    def public(self) -> bytes:
        """The recipient's public key."""
        return self.recipient.public_key().public_bytes_raw()


class SecretWorld(World):
    """A world with two machines for workloads: one TDX, one SEV-SNP."""

    def _roster(self) -> Roster:
        self.snp_machine = self.authority.amd.platform("workload")
        self.tdx_machine = self.authority.platform("workload")
        for platform in (self.snp_machine, self.tdx_machine):
            assert platform.platform_id is not None
            self.registry.add_platform(platform.platform_id, provider="cloud", now=self.now)
        return super()._roster()

    # --- upload ------------------------------------------------------------------------------------

    def upload(self, *, scalar: Secret | None = None, content: bytes = CONTENT, **changes: Any) -> SecretUpload:
        """What an honest client uploads for all nodes."""
        if scalar is None:
            scalar = ED25519.random_scalar()
        needed = changes.get("shares_needed", 3)
        shares, commitments = shamir.split(ED25519, scalar, needed, range(1, len(self.slots) + 1))
        secret = changes.pop("secret", new_id("sec"))
        cluster = self.roster.cluster_id
        draft = SecretUpload(
            secret=secret,
            name=changes.pop("name", "database"),
            policy=self.policy_id,
            shares_needed=changes.pop("shares_needed", 3),
            commitments=changes.pop("commitments", commitments),
            wrapped=changes.pop("wrapped", wrap(scalar, content, cluster=cluster, secret=secret, version=1)),
            created_at=changes.pop("created_at", self.now),
            shares=tuple(SealedFor(slot=slot, boot_counter=1, sealed=bytes(SEALED_BYTES)) for slot in self.slots),
        )
        transcript = changes.pop("transcript", draft.transcript(cluster))
        sealed = []
        for index, slot in enumerate(self.slots, start=1):
            identity = self.nodes[slot].identity.public
            info = share_info(
                cluster, transcript, slot=slot, boot_counter=identity.boot_counter, identity_key=identity.identity_key
            )
            sealed.append(
                SealedFor(
                    slot=slot,
                    boot_counter=identity.boot_counter,
                    sealed=seal(identity.kem_key, shares[index], info),
                )
            )
        assert not changes, changes
        return replace(draft, shares=tuple(sealed))

    def upload_token(self, secret: str, body: bytes, **changes: Any) -> str:
        """The operator's signature over an upload."""
        claims: dict[str, Any] = {
            "issuer": self.operator_id, "act": "secrets.put", "resource": secret, "signer": self.operator,
        } | changes  # fmt: skip
        return make_token(claims.pop("signer"), cluster=self.roster.cluster_id, body=body, now=self.now, **claims)

    def put_at(self, slot: str, upload: SecretUpload, *, body: bytes | None = None, **claims: Any) -> Any:
        """One node's answer to an upload."""
        body = upload.body() if body is None else body
        token = self.upload_token(upload.secret, body, **claims)
        return self.call(slot, "secret-put", SecretPut(token=token, body=body))

    def put_secret(self, upload: SecretUpload | None = None) -> KeyCertificate:
        """A secret at every node, its certificate verified as a client would."""
        upload = upload or self.upload()
        certificate = self.verified([self.put_at(slot, upload) for slot in self.slots])
        self.now += 1
        return certificate

    # --- release -----------------------------------------------------------------------------------

    def challenge(self, key: KeyCertificate, slots: list[str] | None = None, **claims: Any) -> Asked:
        """Nonces of some nodes (all unless told) for a fresh recipient."""
        token = self.token(key, b"{}", act="secrets.release", **claims)
        request = SecretChallenge(token=token, body=b"{}")
        nonces = {slot: self.call(slot, "secret-challenge", request) for slot in slots or self.slots}
        return Asked(recipient=X25519PrivateKey.generate(), nonces=nonces)

    def report_data(self, key: KeyCertificate, asked: Asked, **changes: Any) -> bytes:
        """What the workload has signed."""
        fields: dict[str, Any] = {
            "cluster": self.roster.cluster_id, "secret": key.key, "version": key.version, "recipient": asked.public,
            "nonces": [answer.nonce for answer in asked.nonces.values()],
        }  # fmt: skip
        return release_report_data(**(fields | changes))

    def quote(self, report_data: bytes, *, snp: bool = False, **overrides: Any) -> bytes:
        """The workload's evidence."""
        machine = self.snp_machine if snp else self.tdx_machine
        fields: dict[str, Any] = {"mrtd": WORKLOAD, "now": self.now}
        return bytes(machine.quote(report_data, **(fields | overrides)))

    def release_body(self, asked: Asked, quoted: bytes, **members: Any) -> bytes:
        """The body of a release."""
        value = {
            "evidence": b64url(quoted),
            "recipient": b64url(asked.public),
            "nonces": [{"slot": slot, "nonce": b64url(answer.nonce)} for slot, answer in asked.nonces.items()],
        }
        return canonical_json(value | members)

    def release_at(self, slot: str, key: KeyCertificate, body: bytes, **claims: Any) -> ReleasedShare:
        """One node's answer to a release."""
        token = claims.pop("token", None) or self.token(key, body, act="secrets.release", **claims)
        reply: ReleasedShare = self.call(slot, "secret-release", SecretRelease(token=token, body=body, wrapped=True))
        return reply

    def released(self, key: KeyCertificate, *, snp: bool = False, slots: list[str] | None = None) -> bytes:
        """The whole way of an honest workload."""
        slots = slots or self.slots[:3]
        asked = self.challenge(key, slots)
        body = self.release_body(asked, self.quote(self.report_data(key, asked), snp=snp))
        token = self.token(key, body, act="secrets.release")
        request_id = self.request_id(token, body)
        shares, wrapped = {}, b""
        for slot in slots:
            reply = self.release_at(slot, key, body, token=token)
            node = key.node(slot)
            assert node is not None
            info = released_share_info(request_id, key.key, key.version, slot)
            shares[node.index] = Secret.take(bytearray(SUITE.decrypt(reply.sealed, asked.recipient, info=info)))
            wrapped = reply.wrapped or b""
        return self.opened(key, shares, wrapped)

    def opened(self, key: KeyCertificate, shares: dict[int, Secret], wrapped: bytes) -> bytes:
        """Shares combined and the secret unwrapped."""
        public_shares = {node.index: node.public_share for node in key.nodes}
        with reconstruct.joined(
            ED25519, shares=shares, public_key=key.public_key, public_shares=public_shares
        ) as scalar:
            return bytes(unwrap(scalar, wrapped, cluster=self.roster.cluster_id, secret=key.key, version=key.version))
