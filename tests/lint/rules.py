"""The forbidden operations, by name, each with the harm it does."""

from __future__ import annotations

from dataclasses import dataclass

BUILTINS = frozenset(
    {
        "int",
        "bytes",
        "bytearray",
        "str",
        "repr",
        "ascii",
        "hash",
        "bool",
        "float",
        "complex",
        "list",
        "tuple",
        "set",
        "frozenset",
        "dict",
        "sorted",
        "sum",
        "any",
        "all",
        "min",
        "max",
        "iter",
        "enumerate",
        "map",
        "filter",
        "reversed",
        "format",
        "print",
        "ord",
        "chr",
        "hex",
        "oct",
        "bin",
        "pow",
        "divmod",
        "abs",
        "round",
        "vars",
    }
)
"""Each copies, converts, compares or shows its argument.  `len` is left out: sizes are public."""

METHODS = frozenset(
    {
        "hex",
        "tobytes",
        "tolist",
        "decode",
        "encode",
        "join",
        "index",
        "count",
        "find",
        "startswith",
        "strip",
        "split",
        "format",
        "cast",
    }
)
"""Methods of buffers and bytes that leave the arena."""

MODULES = frozenset(
    {
        "binascii",
        "base64",
        "struct",
        "json",
        "pickle",
        "copy",
        "marshal",
        "logging",
        "log",
        "logger",
        "structlog",
        "msgspec",
        "hashlib",
        "hmac",
        "os",
        "sys",
    }
)
"""Anything handed to these leaves the arena."""

CALLS = frozenset(
    {
        "from_bytes",
        "string",
        "unpack",
        "buffer",
        "encode",
        "exchange",
        "derive_private_key",
        "getrandbits",
    }
)
"""Attribute calls that make immutable copies, whatever they are called on."""

PUBLISHERS = frozenset({"declassify", "scalar_to_public_bytes"})

BANNED_IMPORTS = frozenset({"random", "pickle", "multiprocessing", "marshal", "shelve", "shamir_mnemonic"})
IMPORT_EXCEPTIONS = {"shamir_mnemonic": "backup/mnemonics.py"}
"""Where a banned import may stand: custodians' mnemonics are recombined once, in a process that does nothing else."""

BANNED_NAMES = frozenset({"derive_private_key", "private_numbers", "from_int", "to_int", "to_hex"})
VARIABLE_TIME = frozenset({"secp256k1_ec_pubkey_tweak_mul", "secp256k1_ec_pubkey_tweak_add"})
HIGH_LEVEL = frozenset({"PrivateKey", "PublicKey", "PublicKeyXOnly"})
"""coincurve's classes convert scalars through Python integers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One forbidden operation."""

    path: str
    line: int
    rule: str
    detail: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.detail}"
