"""A Solana keypair file: a JSON array of 64 numbers, the Ed25519 seed and its public key."""

from __future__ import annotations

from attestation.canonical import parse_json
from attestation.errors import DocumentError
from kms.client.importing.hexadecimal import with_public_key
from kms.client.importing.material import KeyMaterial, MaterialError

FILE_BYTES_MAX = 4096
NUMBERS = 64


def from_solana_file(data: bytes | bytearray) -> KeyMaterial:
    """Read what `solana-keygen` writes; raises MaterialError (`client.import-form`, `client.import-public-key`)."""
    try:
        numbers = parse_json(bytes(data), bytes_max=FILE_BYTES_MAX, depth_max=2)
    except DocumentError:
        numbers = None
    if (
        not isinstance(numbers, list)
        or len(numbers) != NUMBERS
        or not all(type(number) is int and 0 <= number <= 255 for number in numbers)
    ):
        raise MaterialError(f"expected a JSON array of {NUMBERS} numbers from 0 to 255", code="client.import-form")
    return with_public_key(bytearray(numbers), "Solana keypair file")
