"""`kms secrets release`: run inside the workload; its enclave signs for it."""

from __future__ import annotations

import asyncio
import shlex
from pathlib import Path

import click

from attestation.canonical import canonical_json, parse_json
from attestation.errors import DocumentError
from kms.cli.failure import UsageError
from kms.cli.files import write_output
from kms.cli.options import Target, run, with_target
from kms.cli.progress import working

ANSWER_BYTES_MAX = 1 << 20
"""Longest answer of a simulated platform in bytes; a quote with its certificates is below 32 KiB of hex."""

QUOTE_TIMEOUT_S = 30.0
"""Longest wait for the quote command: a nonce lives for 60 s."""


@click.command()
@click.argument("secret")
@click.option(
    "--quote-command",
    metavar="COMMAND",
    help="Run with 128 hex digits of report data as last argument; prints evidence as bytes.",
)
@click.option(
    "--simulated-tee",
    type=click.Path(path_type=Path),
    metavar="SOCKET",
    help="A simulated platform instead, for development clusters.",
)
@click.option(
    "--collateral",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="A certificate of this platform that the cluster may lack; repeat.",
)
@click.option("-o", "--out", type=click.Path(dir_okay=False, path_type=Path), help="Mode 0600. Default: stdout.")
@with_target
def release(
    secret: str,
    quote_command: str | None,
    simulated_tee: Path | None,
    collateral: tuple[Path, ...],
    out: Path | None,
    target: Target,
) -> None:
    """Get SECRET (sec_...) inside an attested workload, as its agent."""
    if (quote_command is None) == (simulated_tee is None):
        raise UsageError("how does this workload get evidence?", hint="pass --quote-command, or --simulated-tee")
    blobs = [path.read_bytes() for path in collateral]

    async def quote(report_data: bytes) -> bytes:
        if simulated_tee is not None:
            return await asyncio.wait_for(_ask_simulated(simulated_tee, report_data), QUOTE_TIMEOUT_S)
        assert quote_command is not None
        return await _run_quote(quote_command, report_data)

    async def work() -> None:
        async with target.client(target.agent()) as client:
            with working("proving this workload to the nodes"):
                content = await client.secrets.release(secret, quote, collateral=blobs)
        try:
            write_output(out, bytes(content), private=True)
        finally:
            content[:] = bytes(len(content))

    run(work())


async def _ask_simulated(path: Path, report_data: bytes) -> bytes:
    """One line out, one line in (specs/simulated-tee.md)."""
    try:
        reader, writer = await asyncio.open_unix_connection(path, limit=ANSWER_BYTES_MAX)
        writer.write(canonical_json({"op": "quote", "report_data": report_data.hex()}) + b"\n")
        answer = parse_json(await reader.readline())
        writer.close()
        return bytes.fromhex(answer["quote"])
    except (OSError, ValueError, KeyError, TypeError, DocumentError):
        raise UsageError(f"no simulated platform answers at {path}") from None


async def _run_quote(command: str, report_data: bytes) -> bytes:
    process = await asyncio.create_subprocess_exec(
        *shlex.split(command), report_data.hex(), stdout=asyncio.subprocess.PIPE
    )
    try:
        evidence, _ = await asyncio.wait_for(process.communicate(), QUOTE_TIMEOUT_S)
    except TimeoutError:
        process.kill()
        raise UsageError(f"the quote command took longer than {QUOTE_TIMEOUT_S:.0f} s") from None
    if process.returncode != 0 or not evidence:
        raise UsageError("the quote command gave no evidence")
    return evidence
