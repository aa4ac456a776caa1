"""The private channels between signers: what a node's attested sessions do for the protocol."""

from __future__ import annotations

from typing import Protocol

from enclave.secret import Secret


class PrivateChannels(Protocol):
    """Sealing to and opening from the other signers, by share index."""

    def seal(self, receiver: int, secret: Secret, associated: bytes) -> bytes:
        """`secret` sealed to `receiver`, bound to `associated`."""

    def open(self, sender: int, sealed: bytes, associated: bytes) -> Secret:
        """What `sender` sealed; raises an EnclaveError when it does not open."""
