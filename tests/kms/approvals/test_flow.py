"""A request that waits for people, from 202 to its result, by the client library and by plain HTTP."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from eth_account import Account
from nacl.signing import VerifyKey

from attestation.canonical import canonical_json
from attestation.envelope import b64url, b64url_decode
from enclave.approvals.fingerprint import decision_bytes, operation_id
from kms.client import ApproverCredentials, PendingError, RequestRefusedError
from kms.client.errors import VerificationError
from kms.client.operations import read_waiting
from kms.client.signing import request_id_of
from tests.kms.approvals.office import LIMIT, Office, payment

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_payment_above_the_amount_waits_for_two(
    office: Office, ada: ApproverCredentials, bob: ApproverCredentials
) -> None:
    """Up to the amount it is signed at once; above, two people see the summary first, and the result is verified."""
    key = office.ecdsa["key"]
    assert (await office.agent.sign.evm_transaction(key, payment(LIMIT))).raw_transaction
    with pytest.raises(PendingError) as caught:
        await office.agent.sign.evm_transaction(key, payment(LIMIT + 1, nonce=1))
    operation = caught.value.operation
    seen: list[str] = []
    first = await office.client(ada).operations.approve(operation, lambda summary: not seen.append(summary))
    assert first["state"] == "waiting"
    assert "value: 0.000000000000001001 ether (1001 wei)\n" in seen[0]
    assert f"requested by: {office.fabric.agent_id}\n" in seen[0]
    assert (await office.approve(operation, bob))["state"] in ("running", "succeeded")
    signed = await office.agent.operations.result(caught.value, timeout_s=20)
    assert Account.recover_transaction(signed.raw_transaction) == office.ecdsa["addresses"]["evm"]
    shown = await office.agent.operations.get(operation)
    assert (shown["state"], shown["status"]) == ("succeeded", 200)


async def test_message_over_plain_http(office: Office, ada: ApproverCredentials, bob: ApproverCredentials) -> None:
    """202 with Location; the id follows from the token; the result is the response as it would have been."""
    fabric, key = office.fabric, office.ed25519
    body = canonical_json({"kind": "message", "message": b64url(b"hello")})
    token = fabric.token("sign", f"{key['key']}/1", body)
    status, content, headers = await fabric.send("POST", f"/v1/keys/{key['key']}/sign", token=token, body=body)
    answer = json.loads(content)
    operation = operation_id(request_id_of(token))
    assert (status, answer["operation"], answer["state"], answer["kind"]) == (202, operation, "waiting", "approval")
    assert headers["Location"] == f"/v1/operations/{operation}"
    again = await fabric.send("POST", f"/v1/keys/{key['key']}/sign", token=token, body=body)
    assert (again[0], again[1], again[2]["Location"]) == (202, content, headers["Location"])
    await office.approve(operation, ada, bob)
    status, shown = await fabric.ask(
        "GET", f"/v1/operations/{operation}", token=fabric.token("operations.get", operation, b""),
        headers={"Prefer": "wait=10"},
    )  # fmt: skip
    assert (status, shown["state"]) == (200, "succeeded")
    signature = shown["result"]["signature"]["ed25519"]
    VerifyKey(bytes.fromhex(key["public_key"])).verify(b"hello", b64url_decode(signature))
    assert shown["result"]["request_id"] == request_id_of(token).hex()


async def test_prefer_wait_answers_with_the_result(
    office: Office, ada: ApproverCredentials, bob: ApproverCredentials
) -> None:
    """Whoever waits on the request itself gets the ordinary answer if people are quick."""
    fabric, key = office.fabric, office.ed25519
    body = canonical_json({"kind": "message", "message": b64url(b"quick")})
    token = fabric.token("sign", f"{key['key']}/1", body)
    sending = asyncio.ensure_future(
        fabric.send("POST", f"/v1/keys/{key['key']}/sign", token=token, body=body, headers={"Prefer": "wait=15"})
    )
    operation = operation_id(request_id_of(token))
    async with asyncio.timeout(10):
        while not [item for item in await office.operator.operations.list() if item["operation"] == operation]:
            await asyncio.sleep(0.05)
    await office.approve(operation, ada, bob)
    status, content, headers = await sending
    assert (status, headers["Preference-Applied"]) == (200, "wait=15")
    VerifyKey(bytes.fromhex(key["public_key"])).verify(
        b"quick", b64url_decode(json.loads(content)["signature"]["ed25519"])
    )


async def test_prefer_wait_gives_up(office: Office) -> None:
    """After that time the answer is the 202."""
    fabric, key = office.fabric, office.ed25519
    body = canonical_json({"kind": "message", "message": b64url(b"slow")})
    token = fabric.token("sign", f"{key['key']}/1", body)
    started = time.monotonic()
    status, _, headers = await fabric.send(
        "POST", f"/v1/keys/{key['key']}/sign", token=token, body=body, headers={"Prefer": "wait=1"}
    )
    assert (status, headers["Preference-Applied"]) == (202, "wait=1")
    assert 0.9 < time.monotonic() - started < 10


async def test_decryption_waits_inside_the_call(
    office: Office, ada: ApproverCredentials, bob: ApproverCredentials
) -> None:
    """A client that waits for people gets its plaintext; the gateway's store never sees it."""
    key = office.reading["key"]
    ciphertext = await office.agent.decryption.encrypt(key, b"the secret plans of this test")
    client = office.client(office.agent_credentials)
    client.caller.approval_wait_s = 20
    opening = asyncio.ensure_future(client.decryption.decrypt(key, ciphertext))
    async with asyncio.timeout(15):
        while not (
            waiting := [
                o for o in await office.client(ada).operations.list(state="waiting") if o["resource"] == f"{key}/1"
            ]
        ):
            await asyncio.sleep(0.05)
    await office.approve(waiting[0]["operation"], ada, bob)
    assert await opening == b"the secret plans of this test"
    assert b"the secret plans" not in office.fabric.database


async def test_one_rejection_ends_it(office: Office, ada: ApproverCredentials, bob: ApproverCredentials) -> None:
    """The requester learns who rejected, and later approvals come too late."""
    error = await office.pending(office.ed25519)
    await office.approve(error.operation, ada)
    assert (await office.client(bob).operations.reject(error.operation))["state"] == "rejected"
    with pytest.raises(RequestRefusedError) as caught:
        await office.agent.operations.result(error, timeout_s=5)
    assert caught.value.code == "approval.rejected"
    assert bob.issuer in caught.value.detail
    with pytest.raises(RequestRefusedError) as late:
        await office.approve(error.operation, office.approvers["cleo"])
    assert late.value.code == "operation.state"
    assert all(_ended(office, slot, error) == "rejected" for slot in office.fabric.slots)


async def test_requester_and_operator_cancel(office: Office, ada: ApproverCredentials) -> None:
    """Both end it at the nodes as well; an approver does not cancel."""
    for canceller in (office.agent, office.operator):
        error = await office.pending(office.ed25519)
        with pytest.raises(RequestRefusedError) as caught:
            await office.client(ada).operations.cancel(error.operation)
        assert caught.value.code in ("operator.role", "role.missing", "token.unknown-key")
        assert (await canceller.operations.cancel(error.operation))["state"] == "cancelled"
        assert all(_ended(office, slot, error) == "cancelled" for slot in office.fabric.slots)


async def test_who_sees_what(office: Office, ada: ApproverCredentials) -> None:
    """Approvers of the group, operators and the requester see an operation; to others it does not exist."""
    error = await office.pending(office.ed25519)
    for client in (office.agent, office.operator, office.client(ada)):
        assert error.operation in {item["operation"] for item in await client.operations.list(state="waiting")}
        assert (await client.operations.get(error.operation))["approval"]["group"] == "treasury"
    zoe = office.client(office.approvers["zoe"])
    assert await zoe.operations.list() == []
    codes = set()
    for attempt in (zoe.operations.get, zoe.operations.reject, zoe.operations.cancel):
        with pytest.raises(RequestRefusedError) as caught:
            await attempt(error.operation)
        codes.add(caught.value.code)
    assert codes == {"not-found"}


async def test_approvers_see_no_results(office: Office, ada: ApproverCredentials, bob: ApproverCredentials) -> None:
    """They learn that it was done, not the signature."""
    error = await office.pending(office.ed25519)
    await office.approve(error.operation, ada, bob)
    assert (await office.agent.operations.wait(error.operation, timeout_s=20))["result"]
    shown = await office.client(ada).operations.get(error.operation)
    assert shown["state"] == "succeeded"
    assert "result" not in shown


async def test_approver_who_says_no_signs_nothing(office: Office, ada: ApproverCredentials) -> None:
    """Without confirmation nothing leaves the approver's machine."""
    error = await office.pending(office.ed25519)
    with pytest.raises(Exception, match="not confirmed"):
        await office.client(ada).operations.approve(error.operation, lambda _summary: False)
    assert (await office.agent.operations.get(error.operation))["approval"]["approvals"] == []


async def test_same_approver_twice_is_one(office: Office, ada: ApproverCredentials) -> None:
    """Approving again changes nothing."""
    error = await office.pending(office.ed25519)
    for _ in range(2):
        shown = await office.approve(error.operation, ada)
    assert shown["state"] == "waiting"
    assert [given["approver"] for given in shown["approval"]["approvals"]] == [ada.issuer]


async def test_gateway_refuses_decisions_early(office: Office, ada: ApproverCredentials) -> None:
    """A signature over something else, another's name, and an unknown credential do not reach the nodes."""
    error = await office.pending(office.ed25519)
    fingerprint = bytes.fromhex((await office.operator.operations.get(error.operation))["approval"]["fingerprint"])
    statement = {"cluster": office.fabric.roster.cluster_id, "approver": ada.issuer}
    good = ada.key.sign(decision_bytes(fingerprint=fingerprint, decision="approve", **statement))
    wrong = ada.key.sign(decision_bytes(fingerprint=bytes(32), decision="approve", **statement))
    value = {"approver": ada.issuer, "credential": ada.key.kid, "signature": b64url(good)}
    for change, code in (
        ({"signature": b64url(wrong)}, "approval.signature"),
        ({"approver": office.approvers["bob"].issuer}, "approval.approver"),
        ({"credential": "A" * 43}, "approval.approver"),
        ({"signature": "*"}, "request.malformed"),
    ):
        body = canonical_json(value | change)
        token = office.fabric.token("operations.decide", error.operation, body, issuer=ada.issuer, signer=ada.key)
        path = f"/v1/operations/{error.operation}/approve"
        status, answer = await office.fabric.ask("POST", path, token=token, body=body)
        assert (status // 100, answer["code"]) == (4, code)


async def test_approver_revoked_after_approving(office: Office, ada: ApproverCredentials) -> None:
    """The gateway tries with two, the nodes count one."""
    dan = ApproverCredentials.create()
    await office.operator.approvers.create("dan", approver=dan.issuer, groups=["treasury"], keys=[dan.public])
    error = await office.pending(office.ed25519)
    await office.approve(error.operation, dan)
    await office.operator.approvers.revoke(dan.issuer, roster=office.fabric.roster)
    assert (await office.approve(error.operation, ada))["state"] == "waiting"
    with pytest.raises(RequestRefusedError) as caught:
        await office.approve(error.operation, dan)
    assert caught.value.code == "token.unknown-key"


async def test_malicious_gateway_skips_the_people(office: Office, ada: ApproverCredentials) -> None:
    """A gateway that executes with one approval is told by nodes that one is missing."""
    error = await office.pending(office.ed25519)
    await office.approve(error.operation, ada)
    desk = office.fabric.gateway.approvals
    operation, details = await desk._waiting(error.operation)
    assert operation.state == "waiting"
    with pytest.raises(Exception, match="expected 2 approvals"):
        await desk._execute(details)


# --- a lying gateway and an approver's client -------------------------------------------------------------


async def told(office: Office) -> tuple[str, dict[str, Any]]:
    """A waiting request as the gateway shows it."""
    error = await office.pending(office.ed25519, b"honest words")
    return error.operation, await office.operator.operations.get(error.operation)


def _another_body(shown: dict[str, Any]) -> None:
    shown["approval"]["body"] = b64url(canonical_json({"kind": "message", "message": b64url(b"harmless words")}))


def _another_policy_version(shown: dict[str, Any]) -> None:
    shown["approval"]["policy_version"] += 1


def _another_policy(shown: dict[str, Any]) -> None:
    shown["approval"]["policy"] = "pol_" + "z" * 26


def _later(shown: dict[str, Any]) -> None:
    shown["expires_at"] += 1


def _another_fingerprint(shown: dict[str, Any]) -> None:
    shown["approval"]["fingerprint"] = "00" * 32


def _another_operation(shown: dict[str, Any]) -> None:
    shown["operation"] = "op_" + "a" * 26


def _no_token(shown: dict[str, Any]) -> None:
    shown["approval"]["token"] = "a.b.c"


@pytest.mark.parametrize(
    "lie",
    [
        _another_body,
        _another_policy_version,
        _another_policy,
        _later,
        _another_fingerprint,
        _another_operation,
        _no_token,
    ],
)
async def test_whatever_the_gateway_lies_about_is_noticed(office: Office, lie: Any) -> None:
    """The approver's client renders and hashes the bytes itself and signs nothing else."""
    operation, shown = await told(office)
    cluster = office.fabric.roster.cluster_id
    assert "message as text: honest words\n" in read_waiting(shown, operation=operation, cluster=cluster).summary
    lie(shown)
    with pytest.raises(VerificationError) as caught:
        read_waiting(shown, operation=shown["operation"], cluster=cluster)
    assert caught.value.code in ("verify.operation", "verify.fingerprint")


async def test_another_cluster_is_noticed(office: Office) -> None:
    """A request of another cluster is not approved here."""
    operation, shown = await told(office)
    with pytest.raises(VerificationError):
        read_waiting(shown, operation=operation, cluster=bytes(32))


async def test_waiting_requests_survive_the_gateway(
    office: Office, ada: ApproverCredentials, bob: ApproverCredentials
) -> None:
    """A restarted gateway still has the request and its approvals, and executes it."""
    error = await office.pending(office.ed25519)
    await office.approve(error.operation, ada)
    await office.fabric.stop_gateway()
    await office.fabric.start_gateway()
    await office.fabric.trusted(*office.fabric.slots)
    office.agent, office.operator = office.client(office.agent_credentials), office.client(office.operator_credentials)
    await office.approve(error.operation, bob)
    assert (await office.agent.operations.wait(error.operation, timeout_s=20))["state"] == "succeeded"


def _ended(office: Office, slot: str, error: PendingError) -> str:
    rows = office.fabric.nodes[slot].approvals._ended
    return next((row.how for name, row in rows.items() if operation_id(name) == error.operation), "")


@pytest.mark.parametrize(
    "order",
    [
        {"spec": "secp256k1-schnorr", "usage": "generic", "name": "schnorr"},
        {"spec": "secp256k1-ecdsa", "usage": "generic", "custody": "reconstruct", "name": "joined"},
        {"spec": "p256-ecdsa", "usage": "generic", "custody": "reconstruct", "name": "p256"},
    ],
    ids=lambda order: str(order["name"]),
)
async def test_every_scheme(
    office: Office, ada: ApproverCredentials, bob: ApproverCredentials, order: dict[str, Any]
) -> None:
    """The client verifies the signature under the certified key, whatever made it."""
    key = await office.fabric.create_key(**order)
    await asyncio.sleep(1.1 - time.time() % 1)
    error = await office.pending(key)
    await office.approve(error.operation, ada, bob)
    signed = await office.agent.operations.result(error, timeout_s=20)
    assert signed.bip340 or signed.ecdsa or signed.p256
