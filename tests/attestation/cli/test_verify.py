"""`attest verify` and `attest inspect` as transcripts: what is typed, what comes out, and the exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from attestation.cli import VERBS, main
from attestation.policy import AppraisalPolicy
from tests.attestation import shared_vectors as shared
from tests.attestation.intel.kit import DAY, NOW, Kit, put, stamp, top_status

AT = ["--at", "2026-11-15T00:00:00Z"]


@pytest.fixture(scope="module")
def kit() -> Kit:
    """One simulated vendor with one machine."""
    return Kit.create()


@pytest.fixture
def files(kit: Kit, tmp_path: Path) -> Path:
    """Quote, bundle and root as files."""
    (tmp_path / "quote.bin").write_bytes(kit.quote())
    (tmp_path / "bundle.json").write_bytes(kit.bundle())
    (tmp_path / "root.pem").write_bytes(kit.root.pem)
    (tmp_path / "root.der").write_bytes(kit.root.der)
    return tmp_path


def attest(*arguments: str | Path, stdin: bytes | None = None) -> Result:
    """Run the command line."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments], input=stdin)


def verify(files: Path, *more: str | Path, root: str = "root.pem") -> Result:
    """`attest verify` of the kit's quote under its root."""
    return attest(
        "verify", files / "quote.bin", "--collateral", files / "bundle.json", "--root", files / root, *AT, *more
    )


def as_json(result: Result) -> dict[str, Any]:
    """The verdict on standard output."""
    value: dict[str, Any] = json.loads(result.stdout)
    return value


@pytest.mark.parametrize("root", ["root.pem", "root.der"])
def test_trusted(files: Path, root: str) -> None:
    """Genuine, current and expected: a table, the word, and exit code 0."""
    result = verify(files, "--expect-report-data", bytes(range(64)).hex(), root=root)
    assert result.exit_code == 0, result.output
    assert "TRUSTED as of 2026-11-15T00:00:00Z" in result.stdout
    assert "evidence answers this request" in result.stdout
    assert "UpToDate" in result.stdout
    assert result.stderr == "warning: trusting a simulated root: no hardware vendor vouches for this result\n"


def test_trusted_but_unbound(files: Path) -> None:
    """Without expected report data the result stands and a hint says what it lacks."""
    result = verify(files)
    assert result.exit_code == 0
    assert "hint: nothing ties this evidence to your request" in result.stderr


def test_json_verdict(files: Path, kit: Kit) -> None:
    """One line of JSON with every documented member, and nothing else on standard output."""
    result = verify(files, "--json")
    assert result.stdout.count("\n") == 1
    value = as_json(result)
    assert value["result"] == "trusted"
    assert (value["tee"], value["root"], value["tcb_status"]) == ("tdx", "simulated", "UpToDate")
    assert value["advisories"] == []
    assert value["platform_id"] == f"intel:ppid:{kit.facts.ppid.hex()}"
    assert value["report_data"] == bytes(range(64)).hex()
    assert value["measurements"]["mrtd"] == "ab" * 48
    assert len(value["evidence_id"]) == 64
    assert {step["result"] for step in value["steps"]} <= {"pass", "skipped"}
    assert all(set(step) >= {"step", "name", "result", "reason"} for step in value["steps"])
    assert [step["step"] for step in value["steps"]][:6] == ["1.1", "2.1", "2.2", "3.1", "3.2", "3.3"]


def test_same_verdict_every_time(files: Path) -> None:
    """The same question gets the same bytes."""
    assert verify(files, "--json").stdout == verify(files, "--json").stdout


def test_binding_failure(files: Path) -> None:
    """Other report data than expected: not trusted, with the step that failed."""
    result = verify(files, "--json", "--expect-report-data", "00" * 64)
    assert result.exit_code == 1
    assert as_json(result)["reasons"] == ["binding.report-data"]


def test_vendor_roots_only_by_default(files: Path) -> None:
    """Without --root the simulated chain is refused, and the hint names the option."""
    result = attest("verify", files / "quote.bin", "--collateral", files / "bundle.json", *AT)
    assert result.exit_code == 1
    assert "[certificate.root]" in result.stdout
    assert "--root" in result.stderr


def test_cannot_tell_without_collateral(files: Path) -> None:
    """Missing collateral is exit code 3, with every unreached step listed as skipped."""
    result = attest("verify", files / "quote.bin", "--root", files / "root.pem", *AT, "--json")
    assert result.exit_code == 3
    value = as_json(result)
    assert (value["result"], value["reasons"], value["root"]) == ("indeterminate", ["collateral.missing"], "simulated")
    outcomes = {step["step"]: step["result"] for step in value["steps"]}
    assert outcomes["3.3"] == "pass"
    assert outcomes["4.1"] == "fail"
    assert outcomes["5.4"] == outcomes["7"] == outcomes["8"] == "skipped"


def test_cannot_tell_with_expired_collateral(files: Path) -> None:
    """Collateral that is out of date at that time is exit code 3."""
    late = stamp(NOW + 60 * DAY)
    arguments = ("--collateral", files / "bundle.json", "--root", files / "root.pem", "--at", late, "--json")
    result = attest("verify", files / "quote.bin", *arguments)
    assert (result.exit_code, as_json(result)["reasons"]) == (3, ["collateral.expired"])


def test_forged_is_not_trusted_even_without_collateral(files: Path, kit: Kit) -> None:
    """A forgery is exit code 1 whatever collateral is there."""
    (files / "quote.bin").write_bytes(kit.quote(quote_signer=kit.pck_key))
    result = attest("verify", files / "quote.bin", "--root", files / "root.pem", *AT, "--json")
    assert (result.exit_code, as_json(result)["reasons"]) == (1, ["evidence.signature"])


def test_malformed_collateral(files: Path) -> None:
    """A file given as collateral that is none: not trusted, saying which file."""
    (files / "bundle.json").write_text('{"tcb_info": 1}')
    result = verify(files, "--json")
    assert result.exit_code == 1
    assert "bundle.json" in as_json(result)["steps"][0]["reason"]


def test_policy_refusal_and_policy_file(files: Path, kit: Kit) -> None:
    """The default policy refuses ConfigurationNeeded; a policy file can accept it."""
    (files / "bundle.json").write_bytes(kit.bundle(info=top_status("ConfigurationNeeded", "INTEL-SA-1")))
    refused = verify(files, "--json")
    assert (refused.exit_code, as_json(refused)["reasons"]) == (1, ["policy.tcb-status"])
    assert "--policy" in refused.stderr
    policy = files / "policy.json"
    policy.write_text(json.dumps({"accepted_tcb": ["UpToDate", "ConfigurationNeeded"]}))
    assert verify(files, "--policy", policy).exit_code == 0
    policy.write_text(json.dumps({"accepted_tcb": ["UpToDate", "ConfigurationNeeded"], "allowed_roots": ["intel"]}))
    assert as_json(verify(files, "--policy", policy, "--json"))["reasons"] == ["policy.root"]


@pytest.mark.parametrize(
    "text", ['{"acepted_tcb": []}', '{"accepted_tcb": ["Revoked"]}', '{"allow_debug": 1}', "[]", "nonsense"]
)
def test_policy_file_mistakes_are_usage_errors(files: Path, text: str) -> None:
    """A misspelt or impossible policy never becomes a verdict."""
    policy = files / "policy.json"
    policy.write_text(text)
    result = verify(files, "--policy", policy)
    assert result.exit_code == 2
    assert result.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["verify"],
        ["verify", "no-such-file"],
        ["verify", "quote.bin", "--at", "yesterday"],
        ["verify", "quote.bin", "--at", "-5"],
        ["verify", "quote.bin", "--expect-report-data", "xyz"],
        ["verify", "quote.bin", "--collateral", "no-such-file"],
        ["verify", "quote.bin", "--root", "quote.bin"],
        ["verify", "quote.bin", "--no-such-option"],
        ["no-such-verb"],
    ],
)
def test_usage_errors(files: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    """Mistakes on the command line are exit code 2 with the reason on standard error."""
    monkeypatch.chdir(files)
    result = attest(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr


def test_time_as_unix_seconds(files: Path) -> None:
    """Both spellings of one instant give the same verdict."""
    first = verify(files, "--json")
    arguments = ("--collateral", files / "bundle.json", "--root", files / "root.pem", "--at", str(NOW), "--json")
    assert attest("verify", files / "quote.bin", *arguments).stdout == first.stdout


def test_collateral_from_a_directory_of_single_files(files: Path, kit: Kit) -> None:
    """A directory of vendor documents, PEM and DER, works like the bundle; other files in it are passed over."""
    value = json.loads(kit.bundle())
    store = files / "store"
    (store / "deeper").mkdir(parents=True)
    wrap = '{{"{}":{},"signature":"{}"}}'.format
    (store / "tcb.json").write_text(wrap("tcbInfo", value["tcb_info"], value["tcb_info_signature"]))
    (store / "deeper" / "qe.json").write_text(
        wrap("enclaveIdentity", value["qe_identity"], value["qe_identity_signature"])
    )
    (store / "root.crl").write_bytes(bytes.fromhex(value["root_ca_crl"]))
    (store / "pck.der").write_bytes(bytes.fromhex(value["pck_crl"]))
    (store / "signer.pem").write_bytes(kit.tcb_signer.pem)
    (store / "notes.json").write_text('{"unrelated": true}')
    (store / "README").write_text("not collateral")
    result = attest("verify", files / "quote.bin", "--collateral", store, "--root", files / "root.pem", *AT)
    assert result.exit_code == 0, result.output


def test_several_collateral_options(files: Path, kit: Kit) -> None:
    """The option repeats: what is newer counts, wherever it stands."""
    (files / "newer.json").write_bytes(
        kit.bundle(info=lambda value: (top_status("OutOfDate")(value), put(issueDate=stamp(NOW))(value))[0])
    )
    for order in (("bundle.json", "newer.json"), ("newer.json", "bundle.json")):
        options = [part for name in order for part in ("--collateral", files / name)]
        result = attest("verify", files / "quote.bin", *options, "--root", files / "root.pem", *AT, "--json")
        assert as_json(result)["tcb_status"] == "OutOfDate"


def test_evidence_as_hex_and_from_standard_input(files: Path, kit: Kit) -> None:
    """Hex text is evidence too, and `-` reads standard input."""
    options = ("--collateral", files / "bundle.json", "--root", files / "root.pem", *AT)
    assert attest("verify", "-", *options, stdin=kit.quote()).exit_code == 0
    assert attest("verify", "-", *options, stdin=b"0x" + kit.quote().hex().encode() + b"\n").exit_code == 0


def test_another_root_is_marked(files: Path) -> None:
    """Any root but a vendor's is labelled in JSON and warned about, also when nothing verifies."""
    other = Kit.create()
    (files / "root.pem").write_bytes(other.root.pem)
    result = verify(files, "--json")
    assert (result.exit_code, as_json(result)["root"]) == (1, "simulated")
    assert "warning: trusting a simulated root" in result.stderr


def test_inspect(files: Path) -> None:
    """`inspect` shows the fields and says that nothing is verified."""
    result = attest("inspect", files / "quote.bin")
    assert result.exit_code == 0
    assert "body.mrtd" in result.stdout
    assert "warning: nothing here is verified" in result.stderr
    value = json.loads(attest("inspect", files / "quote.bin", "--json").stdout)
    assert value["verified"] is False
    assert value["platform"]["ppid"] == bytes(range(1, 17)).hex()


def test_inspect_of_something_else(files: Path) -> None:
    """What does not parse is exit code 1, on standard error."""
    result = attest("inspect", files / "root.pem")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "[evidence.unknown-format]" in result.stderr


def test_help_lists_every_verb() -> None:
    """Every registered verb loads and documents itself."""
    assert attest("--help").exit_code == 0
    for verb in VERBS:
        assert verb in attest("--help").stdout
        assert attest(verb, "--help").exit_code == 0


@shared.NEEDED
def test_genuine_quote_is_trusted() -> None:
    """A genuine quote, bundle and time: exit code 0 under the vendor's root, no warning."""
    result = attest(
        "verify",
        shared.ROOT / "intel/quotes/tdx4-near-b9e238b2.bin",
        "--collateral",
        shared.ROOT / "intel/bundles/tdx4-near-b9e238b2.2026-08-28.json",
        "--at",
        "2026-08-28T05:21:24Z",
        "--json",
    )
    value = as_json(result)
    assert (result.exit_code, value["root"], value["tcb_status"]) == (0, "intel", "UpToDate")
    assert "warning" not in result.stderr


@shared.NEEDED
@pytest.mark.parametrize("kind", ["snp-report", "nitro-document", "dcap-quote"])
def test_inspect_reads_every_platform(kind: str) -> None:
    """One genuine piece of evidence of each kind can be inspected, as table and as JSON."""
    entry = next(entry for entry in shared.entries(kind) if entry["expected_verdict"] != "parse-only")
    for options in ([], ["--json"]):
        assert attest("inspect", shared.ROOT / entry["file"], *options).exit_code == 0


def test_the_default_policy_is_production() -> None:
    """What the command line judges by is what nodes judge by."""
    assert AppraisalPolicy.from_json({}) == AppraisalPolicy.production()
