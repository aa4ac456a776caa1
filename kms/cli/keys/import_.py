"""`kms keys import`: split an existing key on this machine among verified nodes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kms.cli.failure import UsageError
from kms.cli.files import parse_context
from kms.cli.keys.show import emit_key
from kms.cli.keys.sources import ask_password, confirm, read_password, read_source
from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_json, say
from kms.cli.progress import working

if TYPE_CHECKING:
    from kms.client.importing import Curve, KeyMaterial

SOURCES = ("hex", "pem", "bip39", "slip39", "keystore", "solana-file")
TYPED = {"hex": "private key (hex)", "bip39": "mnemonic", "slip39": "first share"}
"""What can be typed at a prompt; the others are files."""

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("import")
@click.argument("name")
@click.argument("file", required=False)
@click.option("--from", "source", type=click.Choice(SOURCES), required=True, help="What FILE is.")
@click.option(
    "--usage",
    type=click.Choice(["evm", "solana", "bitcoin", "generic", "decrypt"]),
    required=True,
    help="What it is for; fixed.",
)
@click.option("--spec", help="ed25519, secp256k1-ecdsa, secp256k1-schnorr, p256-ecdsa, hpke-x25519. [of the usage]")
@click.option("--custody", type=click.Choice(["threshold", "reconstruct"]), help="As for `kms keys create`.")
@click.option("--policy", help="Policy that says who may use it (pol_...).")
@click.option("--shares-needed", type=click.IntRange(2, 16), help="T. [3; for threshold ECDSA 2: three nodes sign]")
@click.option("--node", "nodes", multiple=True, metavar="SLOT", help="A node that holds a share; repeat; default all.")
@click.option("--assembler", "assemblers", multiple=True, metavar="SLOT", help="For custody reconstruct; repeat.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="A label; repeat.")
@click.option("--path", help="Derivation path for mnemonics. [where wallets keep the usage's first account]")
@click.option("--scalar", is_flag=True, help="The hex digits are a bare Ed25519 scalar, not a seed.")
@click.option("--password-file", type=_FILE, help="Of an encrypted PEM file or keystore; asked for otherwise.")
@click.option("--passphrase-file", type=_FILE, help="Of a mnemonic (the 25th word); none unless given.")
@click.option("--exportable", is_flag=True, help="Let a policy allow the key to leave again; never changes.")
@click.option("--yes", is_flag=True, help="Do not ask after showing the address.")
@with_target
def import_(
    name: str,
    file: str | None,
    source: str,
    usage: str,
    spec: str | None,
    custody: str | None,
    policy: str | None,
    shares_needed: int | None,
    nodes: tuple[str, ...],
    assemblers: tuple[str, ...],
    labels: tuple[str, ...],
    path: str | None,
    scalar: bool,
    password_file: Path | None,
    passphrase_file: Path | None,
    exportable: bool,
    yes: bool,
    target: Target,
) -> None:
    """Split the private key in FILE among verified nodes, as the key NAME.

    FILE is a file or - for standard input; without it hex digits and mnemonics are typed unseen.  The address is shown
    before anything is sent.  Whoever has the key elsewhere still has it: the record says `origin: imported`.
    """
    from kms.client.importing.material import CURVE_OF_SPEC
    from kms.client.keys import SPEC_OF_USAGE

    policy = policy or target.file().default_policy
    if policy is None:
        raise UsageError("which policy may use the key?", hint="pass --policy pol_...; `kms policy put` makes one")
    spec = spec or SPEC_OF_USAGE[usage]
    if spec not in CURVE_OF_SPEC:
        raise UsageError(f"expected a spec of {', '.join(CURVE_OF_SPEC)}")
    if file is None and source not in TYPED:
        raise UsageError(f"which {source} file?", hint="name it, or - for standard input")
    material = _read(
        source,
        read_source(file, prompt=TYPED.get(source, ""), lines=source == "slip39"),
        curve=CURVE_OF_SPEC[spec],
        path=path or _default_path(usage),
        scalar=scalar,
        password_file=password_file,
        passphrase_file=passphrase_file,
    )
    with material:
        say(f"source      {material.source}")
        say(f"public key  {material.public_key.hex()}")
        for chain, address in material.addresses(usage, spec).items():
            say(f"{chain} address  {address}")
        if not yes:
            confirm("Is this the key, and may the nodes have it?")

        async def work() -> None:
            async with target.client(target.operator()) as client:
                with working("verifying the nodes and sealing the shares"):
                    imported = await client.keys.import_key(
                        name,
                        material,
                        usage=usage,
                        spec=spec,
                        custody=custody,
                        policy=policy,
                        shares_needed=shares_needed,
                        nodes=list(nodes) or None,
                        assemblers=list(assemblers) or None,
                        labels=parse_context(labels),
                        exportable=exportable,
                    )
            if imported.missing:
                say(f"accepted but not begun at {', '.join(imported.missing)}: repair them")
            if target.json:
                emit_json(imported.to_json())
            else:
                emit_key(imported.certified, as_json=False)

        run(work())


def _default_path(usage: str) -> str:
    from kms.client.importing.bip32 import DEFAULT_PATHS

    return DEFAULT_PATHS.get(usage, "m")


def _read(
    source: str,
    data: bytearray,
    *,
    curve: Curve,
    path: str,
    scalar: bool,
    password_file: Path | None,
    passphrase_file: Path | None,
) -> KeyMaterial:
    """The key; what was read is overwritten."""
    from kms.client import importing

    secrets = [data]

    def password(text: str) -> bytearray:
        secrets.append(read_password(password_file, lambda: ask_password(text)))
        return secrets[-1]

    def passphrase() -> bytearray:
        secrets.append(bytearray() if passphrase_file is None else read_password(passphrase_file, str))
        return secrets[-1]

    try:
        match source:
            case "hex":
                return importing.from_hex(data, curve, scalar=scalar)
            case "pem":
                is_asked = b"ENCRYPTED" in data or password_file is not None
                return importing.from_pem(data, password("password of the PEM file") if is_asked else None)
            case "bip39":
                return importing.from_bip39(data, path, curve, passphrase=passphrase().decode())
            case "slip39":
                return importing.from_slip39(data, path, curve, passphrase=bytes(passphrase()))
            case "keystore":
                return importing.from_keystore(data, password("password of the keystore"))
            case _:
                return importing.from_solana_file(data)
    except UnicodeDecodeError:
        raise UsageError("expected the passphrase as UTF-8 text") from None
    finally:
        for secret in secrets:
            secret[:] = bytes(len(secret))
