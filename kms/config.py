"""The gateway's configuration file: JSON, strict, paths relative to the file itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from attestation.canonical import parse_json
from attestation.errors import DocumentError
from kms.errors import ConfigurationError

LOG_LEVELS = ("debug", "info", "warning", "error")


class RateLimit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Token bucket of each principal."""

    per_second: int = 1000
    burst: int = 2000


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    listen: str
    data: str
    roster: str
    collateral: list[str] = []
    registry: str | None = None
    log_level: str = "info"
    rate_limit: RateLimit = RateLimit()
    log_retention_days: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayConfig:
    """A checked configuration."""

    host: str
    port: int
    data: Path
    roster: Path
    collateral: tuple[Path, ...]
    registry: Path | None
    log_level: str
    rate_limit: RateLimit
    log_retention_days: int | None = None
    """Days for which nodes' log entries are kept; None keeps them for good."""

    @classmethod
    def load(cls, path: Path) -> GatewayConfig:
        """Read a file; raises ConfigurationError."""
        try:
            value = parse_json(path.read_bytes())
            file = msgspec.convert(value, _File)
        except OSError as error:
            raise ConfigurationError(f"cannot read {path}: {error.strerror}") from None
        except DocumentError as error:
            raise ConfigurationError(f"{path}: {error.detail}") from None
        except msgspec.ValidationError as error:
            raise ConfigurationError(f"{path}: {error}") from None
        if file.log_level not in LOG_LEVELS:
            raise ConfigurationError(f"{path}: expected log_level of {', '.join(LOG_LEVELS)}")
        if file.rate_limit.per_second < 1 or file.rate_limit.burst < 1:
            raise ConfigurationError(f"{path}: expected a rate limit of at least 1")
        if file.log_retention_days is not None and file.log_retention_days < 1:
            raise ConfigurationError(f"{path}: expected log_retention_days of at least 1")
        host, port = _address(file.listen, path)
        base = path.resolve().parent
        return cls(
            host=host,
            port=port,
            data=base / file.data,
            roster=base / file.roster,
            collateral=tuple(base / name for name in file.collateral),
            registry=base / file.registry if file.registry is not None else None,
            log_level=file.log_level,
            rate_limit=file.rate_limit,
            log_retention_days=file.log_retention_days,
        )


def _address(listen: str, path: Path) -> tuple[str, int]:
    host, colon, port = listen.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdecimal() or int(port) > 65535:
        raise ConfigurationError(f"{path}: expected listen of the form host:port, found {listen[:80]!r}")
    return host.strip("[]"), int(port)
