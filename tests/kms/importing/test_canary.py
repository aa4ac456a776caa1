"""What an import leaves in memory: the key's bytes nowhere once it is wiped.

Its text, and what the PEM parser of `cryptography` decrypts, are not promised (specs/import-export.md section 8).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import eth_keyfile
import pytest

ROOT = Path(__file__).parents[3]
MASK = 0x5A

PROGRAM = """
import gc, re, sys
from kms.client import importing
from kms.client.importing import Curve

def found(masked):
    # The needle exists only masked: a search of the memory must not find the search.
    hits = 0
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
        for line in maps:
            area = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
            if area is None or "[v" in line:
                continue
            low, high = int(area[1], 16), int(area[2], 16)
            try:
                memory.seek(low)
                data = bytearray(memory.read(high - low))
            except OSError:
                continue
            start = bytes(byte ^ 0x5A for byte in masked[:4])
            at = data.find(start)
            while at >= 0:
                hits += at + 32 <= len(data) and all(data[at + i] == masked[i] ^ 0x5A for i in range(32))
                at = data.find(start, at + 1)
            data[:] = bytes(len(data))
    return hits

masked = bytes.fromhex(sys.argv[2])
data = bytearray(sys.stdin.buffer.read())
source = sys.argv[1]
if source == "hex":
    material = importing.from_hex(data, Curve.SECP256K1)
else:
    material = importing.from_keystore(data, b"a password")
gc.collect()
during = found(masked)
material.wipe()
gc.collect()
print(during, found(masked))
"""


def source(name: str, key: bytes) -> bytes:
    """The key as a file of that kind."""
    if name == "hex":
        return key.hex().encode()
    return json.dumps(eth_keyfile.create_keyfile_json(key, b"a password", kdf="scrypt", iterations=2)).encode()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/mem")
@pytest.mark.parametrize("name", ["hex", "keystore"])
def test_a_wiped_key_is_gone(name: str) -> None:
    """While the material lives its bytes are found, in the arena; after it is wiped they are found nowhere."""
    key = os.urandom(32)
    masked = bytes(byte ^ MASK for byte in key).hex()
    command = [sys.executable, "-c", PROGRAM, name, masked]
    done = subprocess.run(command, input=source(name, key), capture_output=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    during, after = map(int, done.stdout.split())
    assert (during >= 1, after) == (True, 0)
