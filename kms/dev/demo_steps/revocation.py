"""Proof of cloud: a machine is revoked in the registry, and every peer refuses to work with it."""

from __future__ import annotations

import time

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from attestation.canonical import canonical_json
from attestation.envelope import b64url
from kms.client import Client
from kms.dev.cluster import DevCluster
from kms.dev.demo_steps.direct import ask_node
from kms.dev.demo_steps.signing import DemoKeys
from kms.dev.demo_steps.stage import Stage

DENIED = "attestation-denied"


async def revoke(stage: Stage, cluster: DevCluster, agent: Client, operator: Client, keys: DemoKeys) -> None:
    """Revoke the last node's machine; the others stop working with it, and clients see why."""
    slot = cluster.slots[-1]
    stage.act(f"The machine of {slot} is revoked: seen outside its data centre")
    started = time.monotonic()
    await cluster.revoke_platform(slot, "seen outside its data centre")
    await cluster.wait_verdict(slot, DENIED)
    stage.fact(
        "peers' verdicts", f"{DENIED} at all {len(cluster.slots) - 1} peers, {time.monotonic() - started:.1f} s after"
    )

    check = (await operator.look()).nodes[slot]
    stage.require(check.error is not None and check.error.code == "proof-of-cloud.revoked", f"client saw {check.error}")
    assert check.error is not None
    stage.fact("this client's verdict", f"{check.error.detail} [{check.error.code}]")

    signed = await agent.sign.message(keys.solana.key, b"without the revoked node")
    stage.require(slot not in signed.signers, f"{slot} still took part")
    stage.fact("signing goes on", f"with {', '.join(signed.signers)}")

    # Decryption needs no nonces, so a request that names the revoked node in its set is easily made by hand.
    recipient = X25519PrivateKey.generate().public_key().public_bytes_raw()
    sealed = await agent.decryption.encrypt(keys.vault.key, b"never opened")
    request = {"ciphertext": b64url(sealed), "context": {}, "recipient": b64url(recipient)}
    body = canonical_json(request)
    token = agent.caller.token("POST", "/", act="decrypt", resource=keys.vault.resource, body=body)
    signers = [cluster.slots[0], cluster.slots[1], slot]
    refusal = await ask_node(cluster, cluster.slots[0], "partial", {"token": token, "body": body, "signers": signers})
    stage.require(refusal is not None and refusal.code == DENIED, f"{signers[0]} answered {refusal}")
    assert refusal is not None
    stage.fact("asked to work with it", f"{signers[0]}: {refusal.detail} [{refusal.code}]")
