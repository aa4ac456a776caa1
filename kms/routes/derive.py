"""POST /v1/keys/{key}/derive: the child key at a path.  Computed here from the certificate, and by clients again."""

from __future__ import annotations

from enclave.child_keys import child_of
from enclave.threshold.derive import format_path, parse_path
from enclave.tokens import Act
from kms.body import Reply, Request, read_body
from kms.endpoint import Answer, Context, Endpoint, reply
from kms.keys import addresses
from kms.routes.shapes import CertificateJson, record_of, visible_key


class DeriveRequest(Request, frozen=True):
    """`path` is `m` and up to 16 plain steps below 2^31, such as m/0/5."""

    path: str


class Derived(Reply, frozen=True):
    """A child key; keys are hex.  The certificate is the parent's: recompute the child from it before trusting it."""

    key: str
    path: str
    public_key: str
    chain_code: str
    addresses: dict[str, str]
    certificate: CertificateJson


async def derive(context: Context) -> Answer:
    """No ceremony and nothing stored: a child is its parent's certificate and a path."""
    key = await visible_key(context)
    context.gateway.admissions.require_resource(context.caller, key.key, key.resource)
    request = read_body(context.body, DeriveRequest)
    child = child_of(key.certificate, parse_path(request.path))
    return reply(
        Derived(
            key=key.key,
            path=format_path(child.path),
            public_key=child.facts.public_key.hex(),
            chain_code=child.facts.chain_code.hex(),
            addresses=addresses(child.facts),
            certificate=record_of(key, context.gateway.directory).certificate,
        )
    )


ENDPOINTS = (
    Endpoint(
        method="POST", path="/v1/keys/{key}/derive", summary="The child key at a path", handler=derive,
        act=Act.KEYS_GET, request=DeriveRequest, reply=Derived, informative=True,
    ),
)  # fmt: skip
