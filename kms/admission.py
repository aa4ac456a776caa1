"""Taking a request on: who sends it, may it be served, has it been served already, and what is written down.

A token is checked here only to refuse early; every node checks it again over the same bytes.  A request
that changes or uses something is admitted with its audit intent in one durable transaction before any node
hears of it, and settled with its result before it is answered.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from attestation.errors import CodedError
from enclave.federation import SEPARATOR
from enclave.roster import Role
from enclave.tokens import Act, Token, verify_token
from enclave.wire.message import tagged
from kms.directory import Directory
from kms.errors import CredentialError, ForbiddenError, RequestError
from kms.observe import logger
from kms.ratelimit import RateLimiter
from kms.store.protocol import Admission, Replay, Settlement, Store

KEEP_TOKEN_S = 600
"""How long the response to one token is kept, in seconds: the token itself dies after 60."""

KEEP_IDEMPOTENCY_S = 86400
"""How long the response under an Idempotency-Key is kept, in seconds."""

_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,128}")
_UNSET = frozenset({"null", "undefined", "none", "nan", "true", "false", "[object object]"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A response: status and body, and what the audit log should say of it."""

    status: int
    body: bytes
    facts: dict[str, object] = field(default_factory=dict)
    """Members added to the audit result: ids, slots, counts and codes only."""
    is_secret: bool = False
    """Whether the body holds a plaintext: then only its digest is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One HTTP request after authentication."""

    token_text: str
    token: Token
    method: str
    path: str
    body: bytes
    idempotency_key: str | None
    item: int | None = None
    """Number in the batch that token and body are of; `token` is then the item's own."""

    @property
    def principal(self) -> str:
        """`agt_...` or `opr_...`."""
        return self.token.issuer

    @property
    def record_key(self) -> str:
        """Every request is idempotent: by the key the client chose, else by its request id."""
        if self.idempotency_key is not None:
            return "key:" + self.idempotency_key
        return "request:" + self.token.request_id.hex()

    @property
    def reference(self) -> str:
        """The record key, unique among all principals."""
        return f"{self.principal}/{self.record_key}"


class Admissions:
    """The gate every authorised request passes."""

    def __init__(
        self,
        *,
        store: Store,
        directory: Directory,
        limiter: RateLimiter,
        clock: Callable[[], int],
        monotonic: Callable[[], float],
    ) -> None:
        self._store = store
        self._directory = directory
        self.limiter = limiter
        self._clock = clock
        self._monotonic = monotonic

    def authenticate(
        self,
        *,
        authorization: str | None,
        idempotency_key: str | None,
        method: str,
        path: str,
        body: bytes,
        act: Act,
        proof: str | None = None,
    ) -> Call:
        """Check the token and the sender's rate; raises TokenError, CredentialError, RateLimitError, RequestError."""
        text = joined(authorization, proof)
        if idempotency_key is not None and not _IDEMPOTENCY_KEY.fullmatch(idempotency_key):
            raise RequestError("expected 1 to 128 visible ASCII characters", code="idempotency.key")
        token = verify_token(
            text,
            body=body,
            cluster=self._directory.roster.cluster_id,
            now=self._clock(),
            keys=self._directory.credential,
            act=act,
            federation=self._directory.federation,
        )
        if (token.method and token.method != method) or (token.url and token.url != path):
            raise CredentialError(
                f"token was signed for {token.method[:8]} {token.url[:80]}",
                code="token.request",
                hint="sign a token for this method and path",
            )
        self.limiter.take(token.issuer, self._monotonic())
        return Call(token_text=text, token=token, method=method, path=path, body=body, idempotency_key=idempotency_key)

    def count(self, call: Call, more: int) -> None:
        """Let a call that was taken count as `more` requests than one."""
        self.limiter.charge(call.principal, more)

    def require_resource(self, call: Call, *allowed: str) -> None:
        """Raise CredentialError (`token.resource`) unless the token names one of `allowed`."""
        if call.token.resource not in allowed:
            raise CredentialError(
                f"expected a token for {allowed[0]}, found one for {call.token.resource}",
                code="token.resource",
                hint="sign a token for this resource",
            )

    def require_role(self, call: Call, *roles: Role) -> None:
        """Raise ForbiddenError (`role.missing`) unless the principal holds one of `roles`."""
        if not self._directory.roles(call.principal) & set(roles):
            raise ForbiddenError(f"expected the role {' or '.join(roles)}")

    async def execute(self, call: Call, work: Callable[[], Awaitable[Outcome]]) -> tuple[Outcome, bool]:
        """Admit, run `work` once, settle; returns the outcome and whether it is a stored one.

        Raises ConflictError for a repeat in flight or another request under the same key, and whatever
        `work` raises, after settling.
        """
        now = self._clock()
        key = call.record_key
        facts = _facts(call)
        admitted = await self._store.admit(
            Admission(
                principal=call.principal,
                idempotency_key=key,
                fingerprint=_fingerprint(call),
                intent={"kind": "intent", "time": now, **facts, "body": hashlib.sha256(call.body).hexdigest()},
                now=now,
                expires_at=now + (KEEP_TOKEN_S if call.idempotency_key is None else KEEP_IDEMPOTENCY_S),
            )
        )
        if isinstance(admitted, Replay):
            return Outcome(status=admitted.status, body=admitted.body), True
        try:
            outcome = await work()
        except BaseException as error:
            code = error.code if isinstance(error, CodedError) else "internal"
            refusal = {"code": code, **_blame(error)}
            await self._settle(call, key, facts, Outcome(status=0, body=b"", facts=refusal), keep=False)
            raise
        await self._settle(call, key, facts, outcome, keep=True)
        return outcome, False

    async def _settle(self, call: Call, key: str, facts: dict[str, object], outcome: Outcome, *, keep: bool) -> None:
        digest = hashlib.sha256(outcome.body).digest()
        result: dict[str, object] = {"kind": "result", "time": self._clock(), **facts, **outcome.facts}
        if keep:
            result |= {"status": outcome.status, "response": digest.hex()}
        await self._store.settle(
            Settlement(
                principal=call.principal,
                idempotency_key=key,
                status=outcome.status,
                body=None if outcome.is_secret else outcome.body,
                digest=digest,
                keep=keep,
                result=result,
            )
        )


def joined(authorization: str | None, proof: str | None) -> str:
    """The request token, with the access token behind it where the two came as RFC 9449 has them.

    `Authorization: DPoP <access token>` and `DPoP: <request token>`, or `Authorization: Bearer <request token>`.
    Raises CredentialError (`token.missing`).
    """
    if authorization is None or authorization[:5].lower() != "dpop ":
        return bearer(authorization)
    if not proof:
        raise CredentialError("expected a header DPoP with the request token beside the access token")
    return proof.strip() + SEPARATOR + authorization[5:].strip()


def bearer(authorization: str | None) -> str:
    """The token of an Authorization header; raises CredentialError (`token.missing`)."""
    if not authorization:
        raise CredentialError("expected a request token", hint="send Authorization: Bearer <token>")
    scheme, _, text = authorization.partition(" ")
    text = text.strip()
    if scheme.lower() != "bearer":
        raise CredentialError("expected the scheme Bearer", hint="send Authorization: Bearer <token>")
    if not text or text.lower() in _UNSET:
        raise CredentialError(
            f"expected a request token, found {text[:20] or 'nothing'}",
            hint="the variable that holds the token is not set in the program that sent this",
        )
    return text


def _fingerprint(call: Call) -> bytes:
    return hashlib.sha256(tagged("http-request", call.method.encode(), call.path.encode(), call.body)).digest()


def _facts(call: Call) -> dict[str, object]:
    token = call.token
    return {
        "request": token.request_id.hex(),
        "principal": token.issuer,
        "act": str(token.act),
        "resource": token.resource,
        "path": call.path,
    }


def _blame(error: BaseException) -> dict[str, object]:
    if not isinstance(error, CodedError):
        logger().error("request-failed", exc_info=error)
    culprits = [str(slot) for slot in getattr(error, "culprits", ())]
    return {"culprits": culprits} if culprits else {}
