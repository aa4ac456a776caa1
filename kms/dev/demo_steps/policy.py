"""A request the policy does not allow: refused by the gateway's nodes, and by a node asked directly."""

from __future__ import annotations

from attestation.canonical import canonical_json
from kms.client import Client
from kms.client.errors import RequestRefusedError
from kms.dev.cluster import DevCluster
from kms.dev.demo_steps.direct import ask_node
from kms.dev.demo_steps.signing import DemoKeys, transaction
from kms.dev.demo_steps.stage import Stage

WEI_OVER_THE_CAP = 2 * 10**18


async def over_the_cap(stage: Stage, cluster: DevCluster, client: Client, keys: DemoKeys) -> None:
    """Two ether where the policy's cap is one."""
    stage.act("Policy: two ether where the cap is one")
    wanted = transaction(nonce=1, value=WEI_OVER_THE_CAP)
    error = await stage.refused(client.sign.evm_transaction(keys.ethereum.key, wanted), "policy.denied")
    stage.fact("refused by the nodes", f"{error.detail} [{error.code}]")
    if isinstance(error, RequestRefusedError) and error.hint:
        stage.note(error.hint)

    body = canonical_json({"kind": "evm_transaction", "transaction": wanted})
    token = client.caller.token("POST", "/", act="sign", resource=keys.ethereum.resource, body=body)
    slot = cluster.slots[0]
    certificate = keys.ethereum.certificate
    signers = sorted(certificate.slots)[: certificate.signing_quorum]
    request = {"token": token, "body": body, "signers": signers, "attempt": 1}
    refusal = await ask_node(cluster, slot, "ecdsa-start", request)
    stage.require(refusal is not None and refusal.code == "policy.denied", f"{slot} asked directly answered {refusal}")
    assert refusal is not None
    stage.fact("gateway bypassed", f"{slot}, asked directly: {refusal.detail} [{refusal.code}]")
