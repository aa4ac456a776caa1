"""Access tokens of identity providers: accepted under every algorithm, and refused for exactly one reason each."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import jwt
import pytest

from attestation.envelope import b64url, b64url_decode
from attestation.errors import DocumentError
from enclave.documents import Agent, parse_document, sign_document
from enclave.errors import TokenError
from enclave.federation import Federation, jwk_of, read_jwk, thumbprint
from enclave.roster import Roster
from enclave.signing_key import SigningKey
from enclave.tokens import Token, make_token, read_token, verify_token
from tests.enclave.oidc import AUDIENCE, ISSUER, NOW, SUBJECT, Provider
from tests.enclave.samples import ADMIN, KEYS, a_roster, an_id

AGENT = an_id("agt")
BODY = b'{"kind":"message"}'


def roster_with(*providers: Provider) -> Roster:
    """A development roster that pins these providers' keys."""
    from enclave.fields import Fields
    from enclave.roster_principals import read_oidc

    fields = Fields({"oidc": [item.roster_entry() for item in providers]}, where="", error=DocumentError)
    return a_roster(oidc=read_oidc(fields))


def agent(**changes: Any) -> Agent:
    """An agent that has no key of its own."""
    fields: dict[str, Any] = {
        "cluster": bytes(32),
        "agent": AGENT,
        "name": "shopper",
        "keys": (),
        "state": "active",
        "sequence": 1,
        "issued_at": NOW,
        "subjects": ((ISSUER, SUBJECT),),
    }
    return Agent(**(fields | changes))


class Case:
    """One provider, one agent, one key."""

    def __init__(self, provider: Provider | None = None, key: SigningKey | None = None) -> None:
        self.provider = provider or Provider()
        self.key = key or SigningKey.generate("ES256")
        self.roster = roster_with(self.provider)
        self.document: Agent | None = agent()

    @property
    def jkt(self) -> str:
        """Thumbprint of the key."""
        return thumbprint(self.key.public)

    def access(self, **changes: Any) -> str:
        """An access token for the key."""
        return self.provider.access_token(self.jkt, **changes)

    def token(self, access: str, key: SigningKey | None = None, **changes: Any) -> str:
        """A request with it."""
        fields: dict[str, Any] = {
            "issuer": AGENT,
            "cluster": self.roster.cluster_id,
            "act": "sign",
            "resource": "*",
            "body": BODY,
            "now": NOW,
            "access_token": access,
        }
        return make_token(key or self.key, **(fields | changes))

    def verify(self, token: str, *, now: int = NOW, with_federation: bool = True) -> Token:
        """As a node does."""
        federation = Federation(roster=self.roster, agent=lambda _agent: self.document)
        return verify_token(
            token,
            body=BODY,
            cluster=self.roster.cluster_id,
            now=now,
            keys=lambda _issuer, _kid: None,
            act="sign",
            federation=federation if with_federation else None,
        )

    def refused(self, token: str, **options: Any) -> str:
        """The code."""
        with pytest.raises(TokenError) as caught:
            self.verify(token, **options)
        return caught.value.code


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
@pytest.mark.parametrize("own", ["EdDSA", "ES256", "ES256K"])
def test_a_bound_request_is_the_agents(algorithm: str, own: str) -> None:
    """Every provider algorithm with every key of ours."""
    case = Case(Provider(algorithm), SigningKey.generate(own))
    verified = case.verify(case.token(case.access()))
    assert (verified.issuer, verified.kid) == (AGENT, case.key.kid)


def test_the_same_request_has_one_id() -> None:
    """It is the request's own, whatever access token goes along; approvers read it the same."""
    case = Case()
    text = case.token(case.access())
    assert case.verify(text).request_id == read_token(text, body=BODY, cluster=case.roster.cluster_id).request_id


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"iss": "http://127.0.0.1:10"}, "oidc.issuer"),
        ({"iss": ISSUER + "/"}, "oidc.issuer"),
        ({"iss": None}, "oidc.issuer"),
        ({"aud": "other"}, "oidc.audience"),
        ({"aud": []}, "oidc.audience"),
        ({"aud": {"a": 1}}, "oidc.audience"),
        ({"sub": "somebody"}, "oidc.subject"),
        ({"sub": None}, "oidc.subject"),
        ({"exp": NOW}, "oidc.expired"),
        ({"exp": NOW + 90_000}, "oidc.lifetime"),
        ({"iat": NOW + 60}, "oidc.from-future"),
        ({"nbf": NOW + 60}, "oidc.from-future"),
        ({"iat": None}, "oidc.malformed"),
        ({"exp": "soon"}, "oidc.malformed"),
        ({"exp": True}, "oidc.malformed"),
        ({"cnf": None}, "oidc.confirmation"),
        ({"cnf": {}}, "oidc.confirmation"),
        ({"cnf": {"jkt": 5}}, "oidc.confirmation"),
        ({"cnf": {"jkt": "A" * 43}}, "oidc.confirmation"),
    ],
)
def test_a_token_that_says_something_else_is_refused(changes: dict[str, Any], code: str) -> None:
    """One claim differs; the provider signed it all the same."""
    case = Case()
    issued = {"iat": NOW - 100} if changes == {"exp": NOW} else {}
    assert case.refused(case.token(case.access(**issued, **changes))) == code


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ({"typ": "JWT"}, "oidc.type"),
        ({"typ": "holdfast-request+jwt"}, "oidc.type"),
        ({"kid": "two"}, "oidc.unknown-key"),
        ({"crit": ["b64"], "b64": True}, "oidc.malformed"),
    ],
)
def test_a_header_that_says_something_else_is_refused(header: dict[str, Any], code: str) -> None:
    """Types keep ID tokens out; key ids are looked up, never fetched."""
    case = Case()
    assert case.refused(case.token(case.access(header=header))) == code


def forged(case: Case, header: dict[str, Any], secret: bytes = b"") -> str:
    """An access token signed by HMAC with public bytes, or not at all."""
    claims = jwt.decode(case.access(), options={"verify_signature": False})
    shown = {"typ": "at+jwt", "kid": "one"} | header
    text = b64url(json.dumps(shown).encode()) + "." + b64url(json.dumps(claims).encode())
    if not secret:
        return text + "."
    import hashlib
    import hmac

    return text + "." + b64url(hmac.digest(secret, text.encode(), hashlib.sha256))


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_algorithm_confusion_fails(algorithm: str) -> None:
    """`none`, HMAC with the public key as secret, and another asymmetric algorithm than the pinned key's."""
    case = Case(Provider(algorithm))
    public = json.dumps(case.provider.key.as_dict(private=False)).encode()
    pem = case.provider.key.as_pem(private=False)
    assert case.refused(case.token(forged(case, {"alg": "none"}))) == "oidc.algorithm"
    assert case.refused(case.token(forged(case, {"alg": "HS256"}, pem))) == "oidc.algorithm"
    assert case.refused(case.token(forged(case, {"alg": "HS256"}, public))) == "oidc.algorithm"
    assert case.refused(case.token(forged(case, {"alg": algorithm}, pem))) == "oidc.signature"
    other = Provider("PS256" if algorithm == "RS256" else "RS256")
    assert case.refused(case.token(other.access_token(case.jkt))) in ("oidc.algorithm", "oidc.signature")


def test_a_key_that_is_not_pinned_does_not_count() -> None:
    """The same key id and algorithm under another key."""
    case = Case()
    assert case.refused(case.token(Provider().access_token(case.jkt))) == "oidc.signature"


def test_a_key_in_the_token_is_not_looked_at() -> None:
    """`jwk` and `jku` of an access token name keys of whoever wrote it."""
    case = Case()
    stranger = Provider()
    header = {"jwk": stranger.key.as_dict(private=False), "jku": "http://127.0.0.1:9/keys"}
    assert case.refused(case.token(stranger.access_token(case.jkt, header=header))) == "oidc.signature"


def test_a_stolen_access_token_is_worth_nothing() -> None:
    """Without the key it is bound to, no request can be signed."""
    case = Case()
    access = case.access()
    thief = SigningKey.generate("ES256")
    assert case.refused(case.token(access, thief)) == "oidc.confirmation"


def test_a_request_goes_with_its_own_access_token_only() -> None:
    """Another one, of the same subject and key, does not fit the request's `ath`."""
    case = Case()
    proof = case.token(case.access()).partition("~")[0]
    assert case.refused(proof + "~" + case.access(jti="other")) == "oidc.binding"


def test_the_request_itself_is_checked_as_ever() -> None:
    """Another body, cluster, time or key id: the codes of plain tokens."""
    case = Case()
    access = case.access()
    assert case.refused(case.token(access, body=b"{}")) == "token.body"
    assert case.refused(case.token(access, cluster=bytes(32))) == "token.audience"
    assert case.refused(case.token(access), now=NOW + 61) == "token.expired"
    spoilt = case.token(access).split(".")
    spoilt[2] = ("A" if spoilt[2][0] != "A" else "B") + spoilt[2][1:]
    assert case.refused(".".join(spoilt)) == "token.signature"


def with_header(token: str, key: SigningKey, change: Callable[[dict[str, Any]], None]) -> str:
    """The request signed again over a changed header."""
    proof, _, access = token.partition("~")
    head, claims, _ = proof.split(".")
    header = json.loads(b64url_decode(head))
    change(header)
    text = b64url(json.dumps(header).encode()) + "." + claims
    return f"{text}.{b64url(key.sign(text.encode()))}~{access}"


def test_the_key_in_the_request_is_one_key() -> None:
    """Key id, key and thumbprint agree; private members, other curves and missing keys are refused."""
    case = Case()
    token = case.token(case.access())
    case.verify(with_header(token, case.key, lambda _header: None))
    changes: list[Callable[[dict[str, Any]], None]] = [
        lambda header: header.update(kid=SigningKey.generate("ES256").kid),
        lambda header: header["jwk"].update(d="AAAA"),
        lambda header: header["jwk"].update(crv="P-384"),
        lambda header: header["jwk"].update(x=header["jwk"]["y"]),
        lambda header: header.update(jwk=None),
    ]
    for change in changes:
        assert case.refused(with_header(token, case.key, change)) == "oidc.confirmation"


def test_without_a_federation_such_tokens_are_refused() -> None:
    """Operators' verbs take registered keys only."""
    case = Case()
    assert case.refused(case.token(case.access()), with_federation=False) == "oidc.refused"


def test_an_agent_without_that_subject_is_not_spoken_for() -> None:
    """A provider cannot make agents, nor speak for one that nobody gave it."""
    case = Case()
    token = case.token(case.access())
    for document in (None, agent(subjects=()), agent(subjects=((ISSUER, "other"),)), agent(subjects=(("x", SUBJECT),))):
        case.document = document
        assert case.refused(token) == "oidc.subject"


@pytest.mark.parametrize("access", ["x", "a.b", "a.b.c.d", "." * 2, "é.b.c", "A" * 9000, "e30.e30.e30", "W10.W10.AAAA"])
def test_garbage_is_refused(access: str) -> None:
    """Whatever is no token at all."""
    case = Case()
    assert case.refused(case.token(access)) in ("oidc.malformed", "oidc.type")


def test_thumbprints_are_those_of_rfc7638() -> None:
    """Our JWK of a key reads back, and other libraries compute the same thumbprint."""
    from joserfc import jwk

    for algorithm in ("EdDSA", "ES256", "ES256K"):
        key = SigningKey.generate(algorithm).public
        assert read_jwk(jwk_of(key), algorithm) == key
        assert jwk.import_key(jwk_of(key)).thumbprint() == thumbprint(key)


def test_subjects_are_part_of_the_signed_document() -> None:
    """An agent may have subjects and no keys; never neither, and no subject twice."""
    roster = a_roster()
    document = agent(cluster=roster.cluster_id)
    assert parse_document(sign_document(document, KEYS[ADMIN]), roster).payload() == document.payload()
    assert document.payload()["oidc"] == [{"issuer": ISSUER, "subject": SUBJECT}]
    for wrong in ({"subjects": ()}, {"subjects": ((ISSUER, SUBJECT),) * 2}):
        with pytest.raises(DocumentError):
            parse_document(sign_document(agent(cluster=roster.cluster_id, **wrong), KEYS[ADMIN]), roster)


def test_the_audience_may_be_one_of_several() -> None:
    """Providers write `aud` as text or as list."""
    case = Case()
    case.verify(case.token(case.access(aud=["other", AUDIENCE])))
