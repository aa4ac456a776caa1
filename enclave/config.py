"""The node's configuration file: where it lives, listens and finds its platform.

Nothing in it is trusted: the roster is checked against its signatures, and what must hold for the whole
cluster is in the measured configuration.  Paths are relative to the file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from attestation.canonical import parse_json
from attestation.errors import CodedError, DocumentError
from enclave.errors import CallerError
from enclave.fields import Fields
from enclave.logs import LEVELS
from enclave.tee.dstack import SOCKET as DSTACK_SOCKET

CONFIG_BYTES_MAX = 64 << 10

TEE_KINDS = ("simulated", "tdx", "sev-snp", "nitro", "dstack")

_LISTEN = re.compile(r"(\[[0-9a-fA-F:.]+\]|[0-9a-z.-]+):([0-9]{1,5})")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """One node's settings."""

    slot: str
    data: Path
    """Directory of the sealed store."""
    roster: Path
    host: str
    port: int
    """0 takes any free port."""
    tee_kind: str
    """`simulated`, `tdx`, `sev-snp`, `nitro` or `dstack`."""
    tee_socket: Path | None
    """Of the simulated platform or the dstack guest agent."""
    tee_sealing: bool = True
    """False lets a simulated platform stand for one without sealing keys."""
    log_level: str = "info"
    boots_after: int = 0
    """On a new disk boots are counted on from here, so that no two boots of the slot share a number."""

    @classmethod
    def load(cls, path: Path) -> NodeConfig:
        """Read a file; raises CallerError (`config.missing`, `config.malformed`)."""
        try:
            data = path.read_bytes()
        except OSError as error:
            raise CallerError(f"cannot read {path}: {error.strerror}", code="config.missing") from None
        try:
            value = parse_json(data, bytes_max=CONFIG_BYTES_MAX)
        except DocumentError as error:
            raise _malformed(error.detail) from None
        fields = Fields(value, where="", error=_malformed)
        base = path.parent
        host, port = _listen(fields)
        tee = fields.fields("tee")
        kind = tee.choice("kind", TEE_KINDS)
        config = cls(
            slot=fields.label("slot"),
            data=base / fields.text("data", characters_max=4096),
            roster=base / fields.text("roster", characters_max=4096),
            host=host,
            port=port,
            tee_kind=kind,
            tee_socket=_socket(tee, kind, base),
            tee_sealing=tee.boolean("sealing", default=True) if kind == "simulated" else True,
            log_level=fields.choice("log_level", LEVELS, default="info"),
            boots_after=fields.integer("boots_after", default=0),
        )
        tee.done()
        fields.done()
        return config


def _socket(tee: Fields, kind: str, base: Path) -> Path | None:
    """Required for the simulated platform, optional for the guest agent, unknown elsewhere."""
    if kind == "simulated":
        return base / tee.text("socket", characters_max=4096)
    if kind == "dstack":
        return Path(tee.text("socket", characters_max=4096)) if "socket" in tee else DSTACK_SOCKET
    return None


def _listen(fields: Fields) -> tuple[str, int]:
    match = _LISTEN.fullmatch(fields.text("listen"))
    if match is None or int(match[2]) > 65535:
        _refuse(fields)
    return match[1].strip("[]"), int(match[2])


def _refuse(fields: Fields) -> NoReturn:
    fields.refuse("expected host:port", "listen")


def _malformed(detail: str) -> CodedError:
    return CallerError(detail, code="config.malformed", hint="see kms-node serve --help for the file's form")
