"""What this machine can do at most: raw library calls, the pure threshold crypto of one operation, an empty echo."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from nacl.signing import SigningKey

from enclave.group.ed25519 import ED25519
from enclave.group.secp256k1 import SECP256K1
from enclave.secret import Secret
from enclave.threshold import frost, hpke, reconstruct
from enclave.threshold.shamir import split
from enclave.threshold.vss import public_share
from tests.bench import secp256k1_ceilings

SIGNERS = (1, 2, 3)
NODES = (1, 2, 3, 4, 5)
ROUNDS = 3
SECONDS = 0.4
"""Each figure is the best of three rounds of this length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """Microseconds of one core for one call."""

    name: str
    microseconds: float


def measure(name: str, call: Callable[[], object]) -> Ceiling:
    """Best of three rounds, after a warm-up."""
    call()
    best = float("inf")
    for _ in range(ROUNDS):
        count, start = 0, time.process_time()
        while (spent := time.process_time() - start) < SECONDS:
            call()
            count += 1
        best = min(best, spent / count)
    return Ceiling(name=name, microseconds=best * 1e6)


def library_calls() -> list[Ceiling]:
    """One unshared operation of each kind through the library that a single-key service would call."""
    ed25519, message = SigningKey.generate(), os.urandom(64)
    secp, digest = SECP256K1.random_scalar(), os.urandom(32)
    x25519, peer = X25519PrivateKey.generate(), X25519PrivateKey.generate().public_key()
    return [
        measure("Ed25519 sign (PyNaCl)", lambda: ed25519.sign(message)),
        measure("secp256k1 sign, recoverable (libsecp256k1)", lambda: SECP256K1.ecdsa_sign_recoverable(secp, digest)),
        measure("X25519 exchange (OpenSSL)", lambda: x25519.exchange(peer)),
    ]


def threshold_operations() -> dict[str, Ceiling]:
    """All cryptography of one 3-of-5 operation, every party on one core, no transport, tokens or policy."""
    return {
        "ed25519": _frost(),
        "bip340": measure("BIP-340, 3 signers + aggregation", secp256k1_ceilings.bip340_signature()),
        "threshold_ecdsa": measure("threshold ECDSA, 3 signers, 4 rounds", secp256k1_ceilings.threshold_ecdsa()),
        "ecdsa": _reconstruct(),
        "decrypt": _decrypt(),
    }


def _frost() -> Ceiling:
    shares, commitments = split(ED25519, ED25519.random_scalar(), 3, NODES)
    public_key, message = commitments[0], os.urandom(64)
    public_shares = {i: public_share(ED25519, commitments, i) for i in NODES}

    def once() -> bytes:
        nonces = {i: frost.commit() for i in SIGNERS}
        listed = [(i, nonces[i][1], nonces[i][2]) for i in SIGNERS]
        signed = {
            i: frost.sign(
                share=shares[i], index=i, public_key=public_key, message=message, commitments=listed, nonce=nonces[i][0]
            )
            for i in SIGNERS
        }
        return frost.aggregate(
            public_key=public_key,
            message=message,
            commitments=listed,
            shares={i: part for i, (part, _) in signed.items()},
            public_shares=public_shares,
            group_commitment=signed[SIGNERS[0]][1],
        )

    return measure("FROST Ed25519, 3 signers + aggregation", once)


def _reconstruct() -> Ceiling:
    shares, commitments = split(SECP256K1, SECP256K1.random_scalar(), 3, NODES)
    used: dict[int, Secret] = {i: shares[i] for i in SIGNERS}
    public_shares = {i: public_share(SECP256K1, commitments, i) for i in NODES}
    digest = os.urandom(32)
    return measure(
        "ECDSA reconstruct: join 3 shares, check, sign",
        lambda: reconstruct.sign_ecdsa(
            shares=used, public_key=commitments[0], public_shares=public_shares, digest=digest
        ),
    )


def _decrypt() -> Ceiling:
    shares, commitments = split(ED25519, ED25519.random_scalar(), 3, NODES)
    public_key = hpke.public_key_x25519(commitments[0])
    sealed = hpke.seal(public_key, os.urandom(64), b"")
    enc, ciphertext = sealed[:32], sealed[32:]

    def once() -> bytes:
        partials = {i: hpke.partial(shares[i], i, SIGNERS, enc) for i in SIGNERS}
        return hpke.open(hpke.combine(partials), enc, ciphertext, public_key, b"")

    return measure("HPKE decryption, 3 partials + combination", once)


async def echo_rate(concurrency: int, seconds: float = 2.0) -> float:
    """Requests per second of an aiohttp server that answers a small JSON body, driven from the same process."""

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=b'{"ok":true}', content_type="application/json")

    application = web.Application()
    application.router.add_post("/echo", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    count, deadline = 0, time.perf_counter() + seconds
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=concurrency)) as session:

        async def worker() -> None:
            nonlocal count
            while time.perf_counter() < deadline:
                async with session.post(f"http://{host}:{port}/echo", data=b'{"n":1}') as response:
                    await response.read()
                count += 1

        start = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(concurrency)))
        elapsed = time.perf_counter() - start
    await runner.cleanup()
    return count / elapsed
