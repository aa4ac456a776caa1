"""`kms cluster init`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kms.cli.cluster.roster.propose import operator_entry, read_object
from kms.cli.failure import UsageError
from kms.cli.files import read_limited, write_output
from kms.cli.options import run
from kms.cli.output import emit_json, emit_table, say
from kms.cli.progress import working

if TYPE_CHECKING:
    from kms.client.founding import Machine

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("nodes", nargs=-1, required=True, metavar="tls://HOST:PORT[=OPERATOR]...")
@click.option("--operator", "operators", multiple=True, required=True, metavar="NAME:ROLES:KEY",
              help="An operator; KEY is base64url Ed25519 or a key file.")  # fmt: skip
@click.option("--registry", type=_FILE, required=True, help="JSON: members, threshold, freshness_key of the registry.")
@click.option("--collateral", type=_FILE, multiple=True, help="What the machines' evidence is verified with.")
@click.option("--quorum", type=click.IntRange(1), help="Signatures that change the roster.")
@click.option("--development", is_flag=True, help="A cluster for development: simulated machines, loopback.")
@click.option("--simulated-root", type=_FILE, multiple=True, help="Root certificates of simulated machines.")
@click.option("--edit", "patch", type=_FILE, help="JSON merge patch (RFC 7396): any further member of the roster.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="Where the draft goes.")
@click.option("--json", "as_json", is_flag=True, envvar="HOLDFAST_JSON", help="Print JSON.")
def init(nodes: tuple[str, ...], out: Path, as_json: bool, **given: Any) -> None:
    """Verify the machines that wait at NODES and draft the first roster from what they prove.

    \b
    kms-node enrol --config node.json                          on each machine
    kms cluster init tls://a:8801 tls://b:8801 ... --out roster.json --operator alice:admin:alice.pub ...
    kms cluster roster sign roster.json --operator-key alice.pem     each operator

    The cluster id is the digest of that roster: put it into every machine's measured configuration (MRCONFIGID,
    HOST_DATA), hand the signed file to nodes, gateway and clients, and start `kms-node serve`.
    """
    from attestation.canonical import canonical_json
    from attestation.envelope import Envelope
    from enclave.roster import PAYLOAD_TYPE, Roster

    urls = [node.partition("=")[0] for node in nodes]
    with working("verifying the machines' evidence"):
        machines = run(_inspect(urls, given))
    payload = _payload(machines, [node.partition("=")[2] for node in nodes], given)
    roster = Roster.from_payload(payload)
    write_output(out, canonical_json(Envelope.of(PAYLOAD_TYPE, roster.payload()).to_json()) + b"\n")
    if as_json:
        emit_json({"cluster": roster.cluster_id.hex(), "configuration": roster.configuration.hex(),
                   "roster": roster.payload()})  # fmt: skip
        return
    emit_table(
        ("slot", "url", "tee", "tcb", "platform", "code"),
        [
            (
                machine.slot,
                machine.url,
                machine.claims.tee,
                machine.claims.tcb_status or "-",
                machine.platform.hex()[:16],
                " ".join(f"{name}={values[0][:12]}" for name, values in machine.measurements.items()),
            )
            for machine in machines
        ],
        empty="",
    )
    click.echo(f"\ncluster        {roster.cluster_id.hex()}\nconfiguration  {roster.configuration.hex()}")
    say(f"drafted {out}; next: kms cluster roster sign {out}, by {roster.quorum_for('roster')} administrators")


async def _inspect(urls: list[str], given: dict[str, Any]) -> list[Machine]:
    from attestation.collateral import Collateral
    from attestation.policy import AppraisalPolicy
    from attestation.verifier import Verifier
    from kms.client.founding import inspect

    roots = [path.read_bytes() for path in given["simulated_root"]]
    if roots and not given["development"]:
        raise UsageError("simulated machines need --development")
    verifier = Verifier.with_root(*roots) if roots else Verifier.production()
    policy = AppraisalPolicy.development() if roots else AppraisalPolicy.production()
    collateral = Collateral.load(given["collateral"])
    return list(
        await asyncio.gather(*(inspect(url, verifier=verifier, collateral=collateral, policy=policy) for url in urls))
    )


def _payload(machines: list[Machine], names: list[str], given: dict[str, Any]) -> dict[str, Any]:
    import time

    from attestation.envelope import b64url
    from kms.client.founding import slots_of
    from kms.client.roster_draft import merge

    operators = [operator_entry(text) for text in given["operators"]]
    known = {entry["name"]: entry["operator"] for entry in operators}
    for name in filter(None, names):
        if name not in known:
            raise UsageError(f"no --operator is named {name!r}")
    # Without names the machines are dealt to the operators in turn.
    ids = list(known.values())
    holders = [known.get(name) or ids[number % len(ids)] for number, name in enumerate(names)]
    development = given["development"]
    payload: dict[str, Any] = {
        "type": "holdfast/roster/v1",
        "version": 1,
        "environment": "development" if development else "production",
        "created_at": int(time.time()),
        "slots": slots_of(machines, holders, {}),
        "operators": operators,
        "quorum": {"roster": given["quorum"] or (1 if development else 2)},
        "appraisal": {"allowed_roots": ["simulated"]} if given["simulated_root"] else {},
        "proof_of_cloud": {"registry": read_object(given["registry"]), "level": 1, "max_age_s": 86_400},
        "diversity": [{"dimension": "platform", "max": 1}],
        "accept_common": [],
        "simulated_roots": [b64url(_der(path)) for path in given["simulated_root"]],
        "limits": {},
    }
    if given["patch"] is not None:
        merge(read_object(given["patch"]))(payload)
    return payload


def _der(path: Path) -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    with path.open("rb") as file:
        data = read_limited(file)
    if not data.startswith(b"-----"):
        return data
    return x509.load_pem_x509_certificate(data).public_bytes(Encoding.DER)
