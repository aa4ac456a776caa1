"""Every place that takes a name or an id, against everything that programs send when they mean something else.

One table of confusing values (tests.enclave.test_names), one table of places: no place takes any of them, none fails
otherwise than with a coded refusal, and over HTTP none finds anything, by index or otherwise.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from yarl import URL

from attestation.envelope import b64url
from attestation.errors import CodedError
from enclave.approvals.approver import Approver
from enclave.batches import items_of
from enclave.documents import parse_document
from enclave.imports.upload import KeyUpload
from enclave.key_order import KeyOrder
from enclave.payload.decrypt import parse_decrypt_body
from enclave.restrictions import Freeze, Scope
from enclave.secret_upload import SecretUpload
from enclave.signing_key import SigningKey
from enclave.tokens import Act, parse_key_resource
from kms.client import Client, OperatorCredentials
from kms.endpoint import Endpoint
from kms.routes import ENDPOINTS
from tests.enclave.samples import ADMIN, KEY, NOW, POLICY, a_roster, an_id, seeded_key
from tests.enclave.test_documents import a_policy, a_state, an_agent, signed
from tests.enclave.test_names import CONFUSIONS
from tests.kms.fabric import Fabric

ROSTER = a_roster()
JSON = [value for value in CONFUSIONS if not isinstance(value, bytes)]
TEXTS = [value for value in CONFUSIONS if isinstance(value, str)]
IN_DOCUMENTS = [value for value in JSON if not isinstance(value, float)]
"""Signed documents are canonical JSON, which cannot be written with a fraction at all."""

ORDER = {"name": "treasury", "spec": "ed25519", "usage": "generic", "shares_needed": 3, "policy": POLICY}
SECRET = {"secret": an_id("sec"), "name": "token", "policy": POLICY, "wrapped": "", "shares": [], "commitments": []}
IMPORT = {"key": KEY, "order": ORDER, "commitments": [], "shares": []}
ITEM = {"ref": "a", "verb": "sign", "key": f"{KEY}/1", "body": {}}
BASE_POINT = b64url(bytes([9]) + bytes(31))
DECRYPT = {"ciphertext": b64url(bytes([9]) + bytes(79)), "recipient": BASE_POINT}
REWRAP = {"ciphertext": b64url(bytes([9]) + bytes(79)), "opened_in_enclave": "node-1", "to": KEY}
RULE = {"name": "messages", "effect": "allow", "kinds": ["message"], "approvals": {"group": "treasurers", "minimum": 1}}
OF_AGENTS = {name: RULE[name] for name in ("name", "effect", "kinds")} | {"agents": [""]}
OF_KEYS = {name: RULE[name] for name in ("name", "effect", "kinds")} | {"keys": [""]}
APPROVER = Approver(
    cluster=ROSTER.cluster_id,
    approver=an_id("apr"),
    name="ann",
    groups=("treasurers",),
    keys=(seeded_key("ann").public,),
    state="active",
    sequence=1,
    issued_at=NOW,
)
FREEZE = Freeze(cluster=ROSTER.cluster_id, scope=Scope.KEY, target=KEY, state="frozen", sequence=1, issued_at=NOW)


def changed(value: Any, path: tuple[str | int, ...], new: Any) -> Any:
    """A copy with one member replaced."""
    made = inner = copy.deepcopy(value)
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = new
    return made


def in_body(read: Callable[[bytes], Any], body: dict[str, Any], *path: str | int) -> Callable[[Any], Any]:
    """A member of a request body."""
    return lambda value: read(json.dumps(changed(body, path, value)).encode())


def in_document(kind: str, payload: dict[str, Any], *path: str | int) -> Callable[[Any], Any]:
    """A member of a signed document."""
    return lambda value: parse_document(signed(kind, changed(payload, path, value)), ROSTER)


def order(body: bytes) -> KeyOrder:
    """Read a key order."""
    return KeyOrder.parse(body, ROSTER)


def imported(body: bytes) -> KeyUpload:
    """Read an import."""
    return KeyUpload.parse(body, ROSTER)


Place = Callable[[Any], Any]

BODIES: dict[str, tuple[Place, Any]] = {
    "order name": (in_body(order, ORDER, "name"), "treasury"),
    "order policy": (in_body(order, ORDER, "policy"), POLICY),
    "order node": (in_body(order, ORDER | {"nodes": ["node-1"]}, "nodes", 0), "node-1"),
    "order label": (lambda value: order(json.dumps(ORDER | {"labels": {value: "x"}}).encode()), "team"),
    "secret name": (in_body(SecretUpload.parse, SECRET, "name"), "token"),
    "secret id": (in_body(SecretUpload.parse, SECRET, "secret"), an_id("sec")),
    "secret policy": (in_body(SecretUpload.parse, SECRET, "policy"), POLICY),
    "import key": (in_body(imported, IMPORT, "key"), KEY),
    "import name": (in_body(imported, IMPORT, "order", "name"), "treasury"),
    "rewrap to": (in_body(parse_decrypt_body, REWRAP, "to"), KEY),
    "decrypt opener": (in_body(parse_decrypt_body, DECRYPT, "opened_in_enclave"), "node-1"),
    "decrypt without": (in_body(parse_decrypt_body, DECRYPT | {"without": [""]}, "without", 0), "node-1"),
    "batch key": (in_body(items_of, {"items": [ITEM]}, "items", 0, "key"), f"{KEY}/1"),
    "batch verb": (in_body(items_of, {"items": [ITEM]}, "items", 0, "verb"), "sign"),
}
"""Place -> how it reads a value, and a good value."""

AGENT, PAYLOAD = an_agent().payload(), a_policy().payload()

DOCUMENTS: dict[str, tuple[Place, Any]] = {
    "agent name": (in_document("agent", AGENT, "name"), "trader"),
    "agent id": (in_document("agent", AGENT, "agent"), an_id("agt")),
    "policy name": (in_document("policy", PAYLOAD, "name"), "daily"),
    "policy id": (in_document("policy", PAYLOAD, "policy"), POLICY),
    "rule name": (in_document("policy", PAYLOAD, "rules", 0, "name"), "small"),
    "rule agent": (in_document("policy", PAYLOAD | {"rules": [OF_AGENTS]}, "rules", 0, "agents", 0), an_id("agt")),
    "rule key": (in_document("policy", PAYLOAD | {"rules": [OF_KEYS]}, "rules", 0, "keys", 0), KEY),
    "rule group": (in_document("policy", PAYLOAD | {"rules": [RULE]}, "rules", 0, "approvals", "group"), "people"),
    "approver name": (in_document("approver", APPROVER.payload(), "name"), "ann"),
    "approver id": (in_document("approver", APPROVER.payload(), "approver"), an_id("apr")),
    "approver group": (in_document("approver", APPROVER.payload(), "groups", 0), "people"),
    "key state": (in_document("key-state", a_state().payload(), "key"), KEY),
    "frozen": (in_document("freeze", FREEZE.payload(), "id"), KEY),
}


def outcome(place: Place, value: Any) -> tuple[str, str] | None:
    """Code and words of the refusal, or None; anything but one of our refusals fails the test."""
    try:
        place(value)
    except CodedError as error:
        return error.code, error.detail
    return None


def taken(place: Place, values: list[Any], good: Any) -> list[Any]:
    """The values that a place does not refuse, or refuses in the words it has for a good one."""
    fine = outcome(place, good)
    return [value for value in values if outcome(place, value) in (None, fine)]


@pytest.mark.parametrize("place", sorted(BODIES))
def test_bodies(place: str) -> None:
    """No member of a request body that names something takes a confusion."""
    read, good = BODIES[place]
    assert taken(read, TEXTS if place == "order label" else JSON, good) == []


@pytest.mark.parametrize("place", sorted(DOCUMENTS))
def test_documents(place: str) -> None:
    """No member of a signed document that names something takes a confusion, whoever signed it."""
    read, good = DOCUMENTS[place]
    assert taken(read, IN_DOCUMENTS, good) == []


def test_what_labels_say_is_free() -> None:
    """Only the name of a label is one."""
    order(json.dumps(ORDER | {"labels": {"team": "Größe 42"}}).encode())


def test_resources_of_tokens() -> None:
    """A token names a key by id and version; an index, a name or a version of any other form is none."""
    assert taken(parse_key_resource, TEXTS, f"{KEY}/1") == []
    for version in ("", "0", "01", "-1", "+1", "1.0", "1e3", "\u0661", "null", "1/1", "a", " 1"):
        assert taken(parse_key_resource, [f"{KEY}/{version}"], f"{KEY}/1") == []


async def test_the_client_library_sends_none_of_them() -> None:
    """Every verb that takes a name or an id refuses before it connects anywhere."""
    credentials = OperatorCredentials(issuer=ADMIN, key=SigningKey.generate())
    cluster = ROSTER.cluster_id.hex()
    async with Client.connect(url="http://127.0.0.1:9", cluster_id=cluster, credentials=credentials) as client:
        verbs: dict[str, Callable[[Any], Any]] = {
            "key name": lambda value: client.keys.create(value, usage="evm", policy=POLICY),
            "key policy": lambda value: client.keys.create("a", usage="evm", policy=value),
            "key": lambda value: client.keys.certified(value),
            "agent name": lambda value: client.agents.create(value, agent=an_id("agt"), keys=[]),
            "agent": lambda value: client.agents.create("a", agent=value, keys=[]),
            "policy": lambda value: client.policies.get(value, roster=ROSTER),
            "budgets": lambda value: client.policies.budgets(value),
            "approver name": lambda value: client.approvers.create(
                value, approver=an_id("apr"), groups=["g"], keys=[credentials.public]
            ),
            "operation": lambda value: client.operations.get(value),
        }
        wrong = []
        for name, verb in verbs.items():
            for value in CONFUSIONS:
                if name == "policy" and value is None:
                    continue
                try:
                    await verb(value)
                except CodedError as error:
                    if error.code in ("name.malformed", "id.malformed"):
                        continue
                    wrong.append((name, value, error.code))
                else:
                    wrong.append((name, value, "taken"))
    assert wrong == []


WITH_PARAMETERS = [endpoint for endpoint in ENDPOINTS if "{" in endpoint.path]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("endpoint", WITH_PARAMETERS, ids=lambda one: f"{one.method} {one.path}")
async def test_paths(fabric: Fabric, endpoint: Endpoint) -> None:
    """No confusion in a path finds anything, whoever asks; none is a defect."""
    known = {"{key}": KEY, "{agent}": fabric.agent_id, "{policy}": fabric.policy_id}
    parts = [part for part in endpoint.path.split("/") if part.startswith("{")]
    body = b"{}" if endpoint.request is not None else b""
    wrong = []
    for place in parts:
        for value in TEXTS:
            path = endpoint.path.replace(place, quote(value, safe="").replace(".", "%2E"))
            for other in parts:
                path = path.replace(other, known.get(other, "x"))
            token = None
            if endpoint.act is not None:
                of_agent = endpoint.act in (Act.SIGN, Act.DECRYPT, Act.ENCRYPT, Act.VERIFY)
                token = (fabric.token if of_agent else fabric.operator_token)(endpoint.act, "*", body)
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            url = URL(fabric.url + path, encoded=True)
            async with fabric._session.request(endpoint.method, url, data=body or None, headers=headers) as answer:
                if not 400 <= answer.status < 500:
                    wrong.append((place, value, answer.status))
    assert wrong == []


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "DPoP", "Basic", ""])
async def test_bearer_values(fabric: Fabric, scheme: str) -> None:
    """What a program sends for a credential it does not have is a 401 that says so, and never anybody's identity."""
    for value in TEXTS:
        if not value.isascii() or not value.isprintable():
            continue  # no client library sends such a header
        headers = {"Authorization": f"{scheme} {value}".strip()}
        status, content, answered = await fabric.send("GET", "/v1/keys", headers=headers)
        problem = json.loads(content)
        assert (status, problem["code"] in ("token.missing", "token.malformed")) == (401, True), value
        assert answered["WWW-Authenticate"].startswith("Bearer")
        if scheme == "Bearer" and value.lower() in ("null", "undefined", "none", "nan", "true", "false"):
            assert "variable" in problem["hint"]


@pytest.mark.asyncio(loop_scope="module")
async def test_issuers(fabric: Fabric) -> None:
    """A truly signed token in a confusing name is nobody's."""
    for value in TEXTS:
        token = fabric.token("keys.list", "*", b"", issuer=value)
        status, problem = await fabric.ask("GET", "/v1/keys", token=token)
        assert (status, problem["code"]) == (401, "token.unknown-key"), value
