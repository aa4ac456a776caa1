"""Python's side of shim.c: builds it, poisons and counts, and stands in for the raw libraries while measuring."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import load_der_private_key

from enclave import secret as arena
from enclave.secret import Secret

SOURCE = Path(__file__).with_name("shim.c")
APT_LINE = "apt-get install -y valgrind gcc libc6-dev"

RETURN_CODES = (
    "secp256k1_ec_seckey_verify",
    "secp256k1_ec_seckey_negate",
    "secp256k1_ec_seckey_tweak_add",
    "secp256k1_ec_seckey_tweak_mul",
    "secp256k1_ec_pubkey_create",
    "secp256k1_ecdh",
    "secp256k1_ecdsa_sign_recoverable",
    "secp256k1_context_randomize",
    "secp256k1_keypair_create",
    "secp256k1_schnorrsig_sign32",
    "crypto_core_ed25519_add",
    "crypto_core_ed25519_scalar_invert",
    "crypto_scalarmult_ed25519_noclamp",
    "crypto_scalarmult_ed25519_base_noclamp",
    "crypto_sign_ed25519_pk_to_curve25519",
    "sodium_memcmp",
)
"""Functions whose return code is derived from a secret and public by protocol: it says valid, zero or equal, and
every "no" ends the operation.  Nothing else about them is declassified."""


def missing() -> str | None:
    """Why the gate cannot run here, or None."""
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        return "the shim is for Linux on x86-64"
    absent = [tool for tool in ("valgrind", "gcc") if shutil.which(tool) is None]
    if absent:
        return f"missing {' and '.join(absent)}"
    if not Path("/usr/include/valgrind/memcheck.h").exists():
        return "missing valgrind's headers"
    return None


def build(directory: Path) -> Path:
    """Compiles the shim into `directory`."""
    library = directory / "libct.so"
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-Wall", "-Werror", "-o", library, SOURCE], check=True)
    return library


class Shim:
    """The compiled shim, loaded."""

    def __init__(self, library: Path) -> None:
        self.library = ctypes.CDLL(str(library))
        self.library.ct_poison.argtypes = self.library.ct_declassify.argtypes = [ctypes.c_size_t, ctypes.c_size_t]
        self.library.ct_errors.restype = ctypes.c_uint
        self.library.ct_call.argtypes = [ctypes.c_size_t, ctypes.c_void_p]
        self.library.ct_dump.argtypes = [ctypes.c_char_p]
        self.library.ct_count.argtypes = [ctypes.c_size_t, ctypes.c_void_p, ctypes.c_char_p]
        if not self.library.ct_running():
            raise SystemExit("this program measures nothing outside valgrind")

    def poison(self, secret: Secret) -> None:
        """From here on memcheck takes the secret's bytes for undefined."""
        self.library.ct_poison(secret.address, secret.size)

    def poison_bytes(self, value: bytes) -> None:
        """The same for a `bytes` object, for controls: its content starts behind its header."""
        self.library.ct_poison(id(value) + bytes.__basicsize__ - 1, len(value))

    def declassify(self, secret: Secret) -> None:
        """The bytes are public from here on."""
        self.library.ct_declassify(secret.address, secret.size)

    def declassify_buffer(self, buffer: Any) -> None:
        """The same for a ciphertext in a `bytes` object or a writable buffer."""
        if isinstance(buffer, bytes):
            self.library.ct_declassify(id(buffer) + bytes.__basicsize__ - 1, len(buffer))
        else:
            target = (ctypes.c_char * len(buffer)).from_buffer(buffer)
            self.library.ct_declassify(ctypes.addressof(target), len(buffer))

    def errors(self) -> int:
        """Errors memcheck has counted so far."""
        return int(self.library.ct_errors())

    def arguments(self, ffi: Any, values: tuple[Any, ...]) -> tuple[Any, list[Any]]:
        """Eight machine words for `ct_call`, and what must stay alive meanwhile."""
        words, alive = [], []
        for value in values:
            if isinstance(value, int):
                words.append(value)
                continue
            pointer = ffi.from_buffer(value) if isinstance(value, bytes) else value
            alive.append(pointer)
            words.append(int(ffi.cast("uintptr_t", pointer)))
        return (ctypes.c_size_t * 8)(*words), alive

    def install(self) -> None:
        """Puts stand-ins into every loaded module of `enclave`, and poisons all secrets the code itself draws."""
        import coincurve._libsecp256k1
        import nacl._sodium

        stand_ins = {
            id(package.lib): _Library(self, package.ffi, package.lib)
            for package in (nacl._sodium, coincurve._libsecp256k1)
        }
        original_declassify = arena.declassify

        def declassify(secret: Secret) -> bytes:
            self.declassify(secret)
            return original_declassify(secret)

        for name, module in list(sys.modules.items()):
            if name == "enclave" or name.startswith("enclave."):
                if id(getattr(module, "lib", None)) in stand_ins:
                    module.lib = stand_ins[id(module.lib)]  # type: ignore[attr-defined]
                if getattr(module, "declassify", None) is original_declassify:
                    module.declassify = declassify  # type: ignore[attr-defined]
                if getattr(module, "AESGCM", None) is AESGCM:
                    module.AESGCM = lambda key: _Aead(self, key)  # type: ignore[attr-defined]
                if getattr(module, "load_der_private_key", None) is load_der_private_key:
                    module.load_der_private_key = self._load_der_private_key  # type: ignore[attr-defined]
                if isinstance(getattr(module, "_SUITE", None), hpke.Suite):
                    module._SUITE = _Suite(self, module._SUITE)  # type: ignore[attr-defined]
        original_random = Secret.random.__func__  # type: ignore[attr-defined]

        def random(cls: type[Secret], size: int = arena.SLOT_BYTES) -> Secret:
            secret: Secret = original_random(cls, size)
            self.poison(secret)
            return secret

        Secret.random = classmethod(random)  # type: ignore[assignment,method-assign]

    def _load_der_private_key(self, document: Any, password: None) -> Any:
        """OpenSSL takes over: the document is public while it reads it, and secret again afterwards."""
        self.declassify_buffer(document)
        try:
            return load_der_private_key(document, password)
        finally:
            place = (ctypes.c_char * len(document)).from_buffer(document)
            self.library.ct_poison(ctypes.addressof(place), len(document))


class _Library:
    """A raw library whose secret-dependent return codes, and only those, come back as public values."""

    def __init__(self, shim: Shim, ffi: Any, lib: Any) -> None:
        self._lib = lib
        for name in RETURN_CODES:
            if hasattr(lib, name):
                setattr(self, name, self._wrap(shim, ffi, name))

    def _wrap(self, shim: Shim, ffi: Any, name: str) -> Callable[..., int]:
        address = int(ffi.cast("uintptr_t", ffi.addressof(self._lib, name)))

        def call(*values: Any) -> int:
            words, alive = shim.arguments(ffi, values)
            result = int(shim.library.ct_call(address, words))
            del alive
            return result

        return call

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lib, name)


class _Aead:
    """AES-GCM whose ciphertexts are public: that is what encryption is for."""

    def __init__(self, shim: Shim, key: Any) -> None:
        self._shim = shim
        self._aead = AESGCM(key)

    def encrypt_into(self, nonce: Any, data: Any, associated: Any, buffer: Any) -> int:
        size = self._aead.encrypt_into(nonce, data, associated, buffer)
        self._shim.declassify_buffer(buffer)
        return size

    def encrypt(self, nonce: Any, data: Any, associated: Any) -> bytes:
        sealed = self._aead.encrypt(nonce, data, associated)
        self._shim.declassify_buffer(sealed)
        return sealed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._aead, name)


class _Suite:
    """HPKE whose ciphertexts are public and whose plaintexts are poisoned anew: they are keys."""

    def __init__(self, shim: Shim, suite: hpke.Suite) -> None:
        self._shim = shim
        self._suite = suite

    def encrypt(self, *args: Any, **kwargs: Any) -> bytes:
        sealed = self._suite.encrypt(*args, **kwargs)
        self._shim.declassify_buffer(sealed)
        return sealed

    def decrypt(self, *args: Any, **kwargs: Any) -> bytes:
        opened = self._suite.decrypt(*args, **kwargs)
        self._shim.poison_bytes(opened)
        return opened
