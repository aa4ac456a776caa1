"""The scanner finds what it is meant to find: a search that finds nothing says something only after this."""

from __future__ import annotations

import base64
import os
import subprocess
import sys

import pytest

from tests.kms.canary.scan import CHUNK_BYTES, Scanner

LEAKS = {
    "raw": "bytes(secret.view)",
    "reversed": "bytes(secret.view)[::-1]",
    "inside other bytes": "b'x' * 13 + bytes(secret.view) + b'y' * 7",
    "hex": "bytes(secret.view).hex()",
    "upper hex": "bytes(secret.view).hex().upper()",
    "int, big-endian": "int.from_bytes(secret.view, 'big')",
    "int, little-endian": "int.from_bytes(secret.view, 'little')",
    "base64": "base64.b64encode(bytes(secret.view))",
    "base64url in text": "'token.' + base64.urlsafe_b64encode(b'ab' + bytes(secret.view)).decode()",
    "bytearray": "bytearray(secret.view)",
    "freed": "len(bytes(secret.view) + bytes(100_000))",
}
"""What a careless line could do to a secret."""

CHILD = """
import base64, os, sys
from enclave.secret import Secret
secret = Secret.random()
kept = {leak}
os.write(1, secret.view)
sys.stdin.read(1)
"""


def child(leak: str) -> tuple[subprocess.Popen[bytes], bytes]:
    """A process that holds a secret and does `leak`, and the secret."""
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD.format(leak=leak)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    secret = process.stdout.read(32)
    assert len(secret) == 32
    return process, secret


@pytest.mark.parametrize("leak", LEAKS.values(), ids=LEAKS)
def test_a_leak_of_each_form_is_found_in_memory(leak: str) -> None:
    """A copy outside the arena is found in the memory of another process."""
    process, secret = child(leak)
    try:
        assert Scanner([secret]).find_in_process(process.pid)
    finally:
        process.communicate(b"x")


def test_the_arena_alone_is_no_leak() -> None:
    """A secret that is only where it belongs is not found, and others neither."""
    process, secret = child("None")
    try:
        assert Scanner([secret, os.urandom(32)]).find_in_process(process.pid) == {}
    finally:
        process.communicate(b"x")


@pytest.mark.parametrize("at", [0, 1, 7, CHUNK_BYTES - 20, CHUNK_BYTES, CHUNK_BYTES + 5])
def test_a_secret_is_found_anywhere_in_a_file(tmp_path: object, at: int) -> None:
    """At any alignment and across the edges of what is read at once."""
    from pathlib import Path

    secret, path = os.urandom(32), Path(str(tmp_path)) / "file"
    path.write_bytes(bytes(at) + base64.b64encode(secret) + bytes(999))
    assert Scanner([secret]).find_in_file(path)
    assert not Scanner([os.urandom(32)]).find_in_file(path)
