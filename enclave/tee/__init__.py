"""What a node asks of the trusted execution environment it runs in.

Rules kept: the environment signs what the node gives it and nothing is believed from it but that
signature; a sealing key arrives in the arena and never as `bytes`; adapters raise TeeError only.
"""

from __future__ import annotations

from typing import NoReturn, Protocol

from enclave.errors import EnclaveError
from enclave.secret import Secret

REPORT_DATA_BYTES = 64
"""Bytes of caller data that TDX, SGX and SEV-SNP put into evidence."""

SEALING_KEY_BYTES = 32
"""Bytes of a sealing key: AES-256 and HMAC-SHA-256 take it as it is."""


class TeeError(EnclaveError):
    """The environment did not answer, or not in its stated form."""

    code = "tee.unavailable"


class Tee(Protocol):
    """Adapter to one platform; both calls may block for as long as the platform takes."""

    can_seal: bool
    """Whether the platform gives sealing keys: without them a node keeps nothing over a restart."""

    def quote(self, report_data: bytes) -> bytes:
        """Evidence over `report_data` (64 bytes), made now; raises TeeError."""

    def sealing_key(self, label: str) -> Secret:
        """32 bytes that only this measurement on this platform can ask for, one per label; raises TeeError.

        Where `can_seal` is false: always TeeError (`tee.no-sealing-key`).
        """


def no_sealing_key(_label: str) -> NoReturn:
    """What `sealing_key` does on a platform that has none."""
    raise TeeError("this platform gives no sealing keys", code="tee.no-sealing-key")
