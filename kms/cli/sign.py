"""`kms sign`: an agent's signature request from the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

import click

from kms.cli.failure import UsageError
from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_facts, emit_json
from kms.cli.progress import working

if TYPE_CHECKING:
    from kms.client.certified import CertifiedKey

KINDS = {
    "evm_transaction": "transaction fields as JSON",
    "eip712": "typed data as wallets exchange it, JSON",
    "eip7702_authorization": "chain_id, address and nonce of a delegation, JSON",
    "eip191": "an Ethereum personal message",
    "solana_message": "a serialized Solana message",
    "message": "plain bytes",
    "bitcoin_psbt": "one input of a PSBT",
    "jws": "a token: its claims as JSON",
    "bitcoin_sighash": "the hash of a Taproot spend, signed blindly",
    "digest": "32 bytes, signed blindly",
}

DIGESTS = {"digest": "digest", "bitcoin_sighash": "sighash"}
"""Kinds that are 32 bytes, and the member they are in."""

OBJECTS = {"eip712": "typed_data", "eip7702_authorization": "authorization"}
"""Kinds that are a JSON object, and the member it is."""

_FLAGS = ("chain_id", "nonce", "to", "value", "gas", "max_fee_per_gas", "max_priority_fee_per_gas", "data")


@click.command()
@click.argument("key")
@click.option("--kind", type=click.Choice(list(KINDS)), help="Default: what the key's usage means.")
@click.option("--file", type=click.File("rb"), help="Message, or transaction fields as JSON; `-` for stdin.")
@click.option("--message", help="The message as text.")
@click.option("--digest", help="32 bytes as hex, for kinds digest and bitcoin_sighash.")
@click.option("--input", "number", type=click.IntRange(0), default=0, help="Input of the PSBT to sign.  [0]")
@click.option("--type", "typ", help="`typ` of the token's header.")
@click.option("--chain-id", type=int, help="EVM chain id.")
@click.option("--nonce", type=int, help="EVM account nonce.")
@click.option("--to", help="EVM recipient.")
@click.option("--value", help="Wei, decimal.")
@click.option("--gas", default=None, help="Gas limit. [21000]")
@click.option("--max-fee-per-gas", help="Wei, decimal.")
@click.option("--max-priority-fee-per-gas", help="Wei, decimal.")
@click.option("--data", help="EVM call data, 0x...")
@click.option("--path", help="Sign with the child key at this path, such as m/0/5.")
@click.option("--not-after", type=int, help="Unix seconds after which nodes refuse the request.")
@with_target
def sign(
    key: str,
    kind: str | None,
    file: BinaryIO | None,
    message: str | None,
    digest: str | None,
    number: int,
    typ: str | None,
    path: str | None,
    not_after: int | None,
    target: Target,
    **fields: Any,
) -> None:
    """Sign with KEY (key_...) as an agent; the signature is checked here before it is printed.

    \b
    kms sign key_... --chain-id 1 --nonce 0 --to 0x... --value 1000 --max-fee-per-gas 30000000000
    kms sign key_... --file transaction.json
    kms sign key_... --message "hello"
    kms sign key_... --digest 64-hex-digits
    kms sign key_... --file payment.psbt --input 0
    kms sign key_... --kind jws --type at+jwt --message '{"iss":"agent"}'
    """

    async def work() -> None:
        async with target.client(target.agent()) as client:
            with working("verifying the nodes and signing"):
                certified = await client.keys.certified(key)
                wanted = kind or _default_kind(certified, is_message=message is not None, is_digest=digest is not None)
                body = _payload(wanted, file=file, message=message, digest=digest, fields=fields)
                if wanted == "bitcoin_psbt":
                    body["input"] = number
                if wanted == "jws" and typ is not None:
                    body["header"] = {"typ": typ}
                signed = await client.sign.payload(key, body, not_after, path)
        value = signed.to_json()
        if target.json:
            emit_json(value)
        else:
            emit_facts({name: value[name] for name in value if name not in ("r", "s", "y_parity", "der")})

    run(work())


def _default_kind(certified: CertifiedKey, *, is_message: bool, is_digest: bool) -> str:
    if is_digest:
        return "bitcoin_sighash" if str(certified.certificate.usage) == "bitcoin" else "digest"
    match str(certified.certificate.usage):
        case "evm":
            return "eip191" if is_message else "evm_transaction"
        case "solana":
            return "message" if is_message else "solana_message"
        case "bitcoin":
            return "message" if is_message else "bitcoin_psbt"
    return "message"


def _payload(
    kind: str, *, file: BinaryIO | None, message: str | None, digest: str | None, fields: dict[str, Any]
) -> dict[str, Any]:
    """The request's JSON body; raises UsageError."""
    from attestation.envelope import b64url

    given = {name: fields[name] for name in _FLAGS if fields.get(name) is not None}
    if kind == "evm_transaction":
        return {"kind": kind, "transaction": _transaction(file, given)}
    if given:
        raise UsageError(f"transaction fields do not go with --kind {kind}")
    if kind in DIGESTS:
        return {"kind": kind, DIGESTS[kind]: b64url(_digest(file, digest))}
    if digest is not None:
        raise UsageError(f"--digest does not go with --kind {kind}")
    if (file is None) == (message is None):
        raise UsageError("expected --message TEXT or --file FILE")
    data = message.encode() if message is not None else _read(file)
    if kind in OBJECTS:
        return {"kind": kind, OBJECTS[kind]: _object(data, kind)}
    if kind == "bitcoin_psbt":
        return {"kind": kind, "psbt": b64url(_psbt(data))}
    return {"kind": kind, "claims" if kind == "jws" else "message": b64url(data)}


def _psbt(data: bytes) -> bytes:
    """A PSBT file is binary or base64 text."""
    import base64
    import binascii

    if data.startswith(b"psbt\xff"):
        return data
    try:
        return base64.b64decode(data.strip(), validate=True)
    except binascii.Error:
        raise UsageError("expected a PSBT, binary or in base64") from None


def _digest(file: BinaryIO | None, digest: str | None) -> bytes:
    if (file is None) == (digest is None):
        raise UsageError("expected --digest HEX or --file FILE")
    if digest is None:
        return _read(file)
    try:
        return bytes.fromhex(digest.removeprefix("0x"))
    except ValueError:
        raise UsageError("--digest: expected hex digits") from None


def _transaction(file: BinaryIO | None, given: dict[str, Any]) -> dict[str, Any]:
    if file is None and not given:
        raise UsageError("expected transaction fields as flags or --file FILE")
    if file is None:
        return {"type": 2, "gas": "21000", "max_priority_fee_per_gas": "0", "value": "0", "data": "0x"} | given
    return _object(_read(file), "transaction") | given


def _object(data: bytes, what: str) -> dict[str, Any]:
    from attestation.canonical import parse_json
    from attestation.errors import DocumentError

    try:
        value = parse_json(data)
    except DocumentError as error:
        raise UsageError(f"{what}: {error.detail}", hint=error.hint) from None
    if not isinstance(value, dict):
        raise UsageError(f"{what}: expected a JSON object")
    return value


def _read(file: BinaryIO | None) -> bytes:
    from kms.cli.files import read_limited

    assert file is not None
    return read_limited(file)
