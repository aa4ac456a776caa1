"""Verb `export`: this node's share of an exportable key leaves for good, sealed to who asked (specs/import-export.md).

In this order: token, issuer and key state as for every use (node.md section 4); the key was made exportable; the
policy has a rule for it; attempts and limits.  Each node decides for itself; T of them make the key whole elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from enclave.authorise import authorise_use, check_export_policy, take_attempt
from enclave.errors import RefusedError
from enclave.imports.pending import WRAPPED
from enclave.payload.export import ExportBody, exported_share_info
from enclave.threshold.hpke import seal_secret
from enclave.tokens import Act
from enclave.wire.imports import ExportedShare, ExportRequest

if TYPE_CHECKING:
    from enclave.state import NodeState

PURPOSE = b"export"


def export(node: NodeState, _connection: int, request: ExportRequest, now: int) -> ExportedShare:
    """The share, sealed to the recipient that the token covers."""
    authorised = authorise_use(node, request.token, request.body, Act.KEYS_EXPORT, now)
    key = authorised.key.certificate
    if not key.exportable:
        raise RefusedError(
            "this key was not made exportable, and that never changes",
            code="export.not-exportable",
            hint="move what it controls to a key that is",
        )
    body = ExportBody.parse(authorised.body)
    check_export_policy(node, authorised, body, now)
    take_attempt(node, authorised, PURPOSE, now)
    info = exported_share_info(authorised.token.request_id, key.key, key.version, key.epoch, node.slot)
    return ExportedShare(
        sealed=seal_secret(body.recipient, authorised.key.share, info),
        wrapped=node.store.get(WRAPPED, key.key) or b"" if key.wrapped_digest else b"",
    )
