"""How is a private key that exists somewhere else read, so that it can be split among the nodes?

One module per source, each giving `KeyMaterial`: hexadecimal, pem, bip39, slip39, keystore, solana_file.
"""

from kms.client.importing.bip39 import from_bip39
from kms.client.importing.hexadecimal import from_hex
from kms.client.importing.keystore import from_keystore
from kms.client.importing.material import Curve, KeyMaterial, MaterialError
from kms.client.importing.pem import from_pem
from kms.client.importing.slip39 import from_slip39
from kms.client.importing.solana_file import from_solana_file

__all__ = [
    "Curve",
    "KeyMaterial",
    "MaterialError",
    "from_bip39",
    "from_hex",
    "from_keystore",
    "from_pem",
    "from_slip39",
    "from_solana_file",
]
