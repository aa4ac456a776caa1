"""Verbs of opaque secrets: secret-put, secret-challenge, secret-release (specs/opaque-secrets.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from enclave import freezing
from enclave.authorise import Authorised, authorise_use, check_release_policy, take_attempt
from enclave.certificate import KeyCertificate
from enclave.errors import CallerError, PeerError, RefusedError
from enclave.group.ed25519 import ED25519
from enclave.key_specs import OPAQUE_SECRET
from enclave.keys import certify
from enclave.receipts.asked import Asked
from enclave.roster import Role
from enclave.secret import Secret
from enclave.secret_upload import SealedFor, SecretUpload, share_info
from enclave.threshold import vss
from enclave.threshold.hpke import seal_secret
from enclave.tokens import Act, Token, verify_token
from enclave.wire.documents import CertificateSignature
from enclave.wire.secrets import ReleasedShare, SecretChallenge, SecretNonce, SecretPut, SecretRelease
from enclave.workload import ReleaseBody, check_workload, release_nonce_bytes, released_share_info

if TYPE_CHECKING:
    from enclave.state import NodeState

PURPOSE = b"secret-release"

UPLOAD_AGE_S_MAX = 600
"""How old an upload may be when a node first sees it: one that was away for a moment still takes it."""

CLOCK_SKEW_S_MAX = 5
"""As for tokens: an upload dated later would make tokens issued now older than the secret."""

WRAPPED = "wrapped"


def put(node: NodeState, _connection: int, request: SecretPut, now: int) -> CertificateSignature:
    """Check the own share against the dealer's commitments, keep it with the ciphertext, sign what it is part of."""
    upload = SecretUpload.parse(request.body)
    _authorise_upload(node, request, upload, now)
    certificate = upload.certificate(node.roster.cluster_id)
    if node.keys.knows(upload.secret):
        held = node.keys.newest(upload.secret)
        # A refresh has another transcript; what the secret is stays.
        if _what(held.certificate) != _what(certificate):
            raise RefusedError("another secret has this id", code="secret.exists", hint="choose a fresh id")
        return certify(node.identity, held.body)
    found = upload.share_for(node.slot)
    if found is None:
        raise CallerError("the upload has no share for this node", code="secret.not-addressed")
    if not now - UPLOAD_AGE_S_MAX <= upload.created_at <= now + CLOCK_SKEW_S_MAX:
        raise CallerError("the upload's time is not now", code="secret.time", hint="check the clock, seal it again")
    index, sealed = found
    share = _open_share(node, upload, index, sealed)
    body = certificate.body()
    node.store.put(WRAPPED, upload.secret, upload.wrapped)
    node.keys.adopt(certificate.transcript, body, share)
    return certify(node.identity, body)


def challenge(node: NodeState, _connection: int, request: SecretChallenge, now: int) -> SecretNonce:
    """A signed nonce for one secret and the principal that asks."""
    authorised = _authorised(node, request.token, request.body, now)
    key, own = authorised.key.certificate, node.identity.public
    nonce, expires_at = node.release_nonces.give(authorised.token.issuer, key.key, key.version, now)
    statement = release_nonce_bytes(
        cluster=own.cluster,
        secret=key.key,
        version=key.version,
        slot=own.slot,
        boot_counter=own.boot_counter,
        nonce=nonce,
        expires_at=expires_at,
    )
    return SecretNonce(
        nonce=nonce, boot_counter=own.boot_counter, expires_at=expires_at, signature=node.identity.sign(statement)
    )


def release(node: NodeState, _connection: int, request: SecretRelease, now: int) -> ReleasedShare:
    """The share, sealed to the key that only the attested workload has."""
    authorised = _authorised(node, request.token, request.body, now)
    key = authorised.key.certificate
    body = ReleaseBody.parse(authorised.body)
    nonces = [item.nonce for item in body.nonces if item.slot == node.slot]
    if not node.release_nonces.take(authorised.token.issuer, key.key, key.version, nonces, now):
        raise RefusedError(
            "none of the nonces is a live one of this node for this secret",
            code="release.nonce",
            hint="a nonce works once within a minute: ask for fresh ones and quote again",
        )
    facts = check_workload(
        body,
        secret=key.key,
        version=key.version,
        roster=node.roster,
        verifier=node.verdicts.verifier,
        collateral=node.verdicts.collateral,
        snapshot=node.verdicts.snapshot,
        now=now,
    )
    check_release_policy(node, authorised, facts, now)
    take_attempt(node, authorised, PURPOSE, now)
    info = released_share_info(authorised.token.request_id, key.key, key.version, node.slot)
    return ReleasedShare(
        sealed=seal_secret(body.recipient, authorised.key.share, info),
        wrapped=node.store.get(WRAPPED, key.key) if request.wrapped else None,
    )


def _what(certificate: KeyCertificate) -> tuple[object, ...]:
    """What makes a secret the same one, whatever its shares."""
    facts = (certificate.name, certificate.policy, certificate.public_key, certificate.wrapped_digest)
    return (*facts, certificate.activated_at)


def _authorised(node: NodeState, token: str, body: bytes, now: int) -> Authorised:
    authorised = authorise_use(node, token, body, Act.SECRETS_RELEASE, now)
    if authorised.key.certificate.spec != OPAQUE_SECRET:
        raise CallerError(f"a {authorised.key.certificate.spec} key is not released", code="key.spec")
    return authorised


def _authorise_upload(node: NodeState, request: SecretPut, upload: SecretUpload, now: int) -> Token:
    verified = verify_token(
        request.token,
        body=request.body,
        cluster=node.roster.cluster_id,
        now=now,
        keys=node.roster.operator_key,
        act=Act.SECRETS_PUT,
        resource=upload.secret,
        not_before=node.started_at,
    )
    node.receipts.asked = Asked(token=verified)
    operator = node.roster.operator(verified.kid)
    if operator is None or Role.ADMIN not in operator.roles:
        raise RefusedError("uploading secrets needs the role admin", code="operator.role")
    freezing.check_cluster(node.directory)
    return verified


def _open_share(node: NodeState, upload: SecretUpload, index: int, sealed: SealedFor) -> Secret:
    """The share, canonical and on the committed polynomial."""
    own = node.identity.public
    if sealed.boot_counter != own.boot_counter:
        raise CallerError(
            "the share is sealed to another boot of this node",
            code="secret.boot",
            hint="verify the nodes again and seal to the boots they run now",
        )
    info = share_info(
        own.cluster,
        upload.transcript(own.cluster),
        slot=own.slot,
        boot_counter=own.boot_counter,
        identity_key=own.identity_key,
    )
    share = node.identity.open(sealed.sealed, info)
    try:
        ED25519.scalar_check_secret(share)
        vss.verify_share(ED25519, share, index, upload.commitments)
    except (CallerError, PeerError):
        share.wipe()
        raise CallerError("the share does not belong to the commitments", code="secret.share") from None
    return share
