"""How do nodes change the shares of keys together, so that a key is never lost and an old share never stays?

One state machine (`engine`) for key generation, refresh, reshare, rotate and repair; what differs between them is what
their rounds compute (`generate`, `refresh`, `reshare`, `repair`).  specs/ceremonies.md.
"""

from __future__ import annotations

from enclave.ceremonies.engine import Ceremonies
from enclave.ceremonies.generate import key_id_of

__all__ = ["Ceremonies", "key_id_of"]
