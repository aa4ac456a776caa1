"""The attempts ledger: three executions per request, bounded memory, nothing forgotten early."""

from __future__ import annotations

import pytest

from enclave.errors import RefusedError, TokenError
from enclave.ledger import ATTEMPTS_MAX, Ledger

REQUEST = b"r" * 32


def test_the_fourth_attempt_is_refused() -> None:
    """A request id is executed three times and not once more."""
    ledger = Ledger()
    assert [ledger.take(b"sign", REQUEST, expires_at=60, now=0) for _ in range(ATTEMPTS_MAX)] == [1, 2, 3]
    with pytest.raises(TokenError) as caught:
        ledger.take(b"sign", REQUEST, expires_at=60, now=60)
    assert caught.value.code == "token.replayed"


def test_requests_and_purposes_are_counted_apart() -> None:
    """Another request, or another verb of the same one, has its own count."""
    ledger = Ledger()
    for _ in range(3):
        ledger.take(b"release", REQUEST, expires_at=60, now=0)
    assert ledger.take(b"assemble", REQUEST, expires_at=60, now=0) == 1
    assert ledger.take(b"release", b"q" * 32, expires_at=60, now=0) == 1


def test_an_entry_outlives_its_token() -> None:
    """A count is dropped only when the token cannot verify any more."""
    ledger = Ledger()
    ledger.take(b"sign", REQUEST, expires_at=60, now=0)
    ledger.take(b"sign", b"other" * 6, expires_at=90, now=60)
    assert len(ledger) == 2
    ledger.take(b"sign", b"other" * 6, expires_at=90, now=61)
    assert len(ledger) == 1


def test_a_full_ledger_refuses_instead_of_forgetting() -> None:
    """When memory is used up new requests wait; known ones keep their count."""
    ledger = Ledger(entries_max=2)
    ledger.take(b"sign", b"a", expires_at=60, now=0)
    ledger.take(b"sign", b"b", expires_at=61, now=0)
    with pytest.raises(RefusedError) as caught:
        ledger.take(b"sign", b"c", expires_at=60, now=0)
    assert caught.value.code == "ledger.full"
    assert ledger.take(b"sign", b"a", expires_at=60, now=0) == 2
    assert ledger.take(b"sign", b"c", expires_at=120, now=61) == 1
