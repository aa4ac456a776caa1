"""Ceremonies from the operator's side against the real cluster: the key stays the key the client knew."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from enclave.ceremonies.facts import Kind
from enclave.ceremonies.orders import read_order
from kms.client import RequestRefusedError, VerificationError
from kms.client.ceremonies import cosigned
from tests.kms.cluster_fixture import RunningCluster

pytestmark = pytest.mark.cluster


async def test_a_client_follows_a_refresh_and_a_rotation(cluster: RunningCluster) -> None:
    """A higher epoch with the same public key is accepted, a higher version as what it is, and nothing goes back."""
    done: list[tuple[int, int]] = []
    async with cluster.as_operator() as operator, cluster.as_agent() as agent:
        key = await operator.keys.create("renewed", usage="generic", policy=cluster.policy)
        made = await operator.ceremonies.refresh(key.key, progress=lambda count, total: done.append((count, total)))
        assert (made.failed, [item["epoch"] for item in made.keys], done) == ({}, [2], [(1, 1)])
        after = await operator.keys.get(key.key)
        assert (after.certificate.epoch, after.public_key) == (2, key.public_key)
        signed = await agent.sign.message(key.key, b"after")
        assert signed.ed25519 is not None
        Ed25519PublicKey.from_public_bytes(key.public_key).verify(signed.ed25519, b"after")
        with pytest.raises(VerificationError) as caught:
            operator.keys._keep(key)
        assert caught.value.code == "verify.epoch"
        await operator.ceremonies.rotate(key.key)
        rotated = await operator.keys.get(key.key)
        assert (rotated.certificate.version, rotated.public_key != key.public_key) == (2, True)


async def test_orders_can_be_signed_by_several_and_are_used_once(cluster: RunningCluster) -> None:
    """An order in a file gets another signature; handed in twice it begins nothing anew."""
    async with cluster.as_operator() as operator:
        key = await operator.keys.create("ordered", usage="generic", policy=cluster.policy)
        order = operator.ceremonies.order(Kind.REFRESH, [await operator.ceremonies.ref(key.key)])
        envelope = operator.ceremonies.sign(order)
        credentials = operator.caller.credentials
        again = cosigned(envelope, credentials)  # type: ignore[arg-type]
        assert read_order(again)[0] == order
        first = await operator.ceremonies.send(envelope)
        assert (await operator.ceremonies.send(envelope)).keys == first.keys
        stale = operator.ceremonies.order(Kind.REFRESH, order.keys)
        with pytest.raises(RequestRefusedError) as caught:
            await operator.ceremonies.send(operator.ceremonies.sign(stale))
        assert caught.value.code == "key.epoch"
