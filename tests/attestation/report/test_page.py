"""The HTML report: complete, self-contained, readable without sight or colour, and deaf to hostile text."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

import pytest

from attestation.evidence import Tee
from attestation.policy import AppraisalPolicy
from attestation.report.contents import Place, Report, Subject, Table, Validity
from attestation.report.markup import element, join, visible
from attestation.report.page import render_page
from attestation.report.validity import validities
from attestation.verdict import Outcome, Result, Step, Verdict
from tests.attestation.report.reading import Element, read
from tests.attestation.world import NOW, World

HOSTILE = "</style></title><script>alert(1)</script><img src=x onerror=alert(1)>\"'&amp;\x00\x1b[2J\u202eevil"


def verdict(world: World, evidence: bytes) -> Verdict:
    """The verdict on simulated evidence."""
    policy = AppraisalPolicy.development()
    return world.verifier.examine(evidence, collateral=world.collateral(), now=NOW, policy=policy)


def page_of(*subjects: Subject, **options: object) -> Element:
    """The parsed page of these subjects."""
    return read(render_page(Report(title="T", at=NOW, subjects=subjects, **options)))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def mixed(world: World) -> list[Subject]:
    """A trusted, an untrusted and an unclear subject, the first two placed."""
    place = Place(provider="example-cloud", region="eu-1", level=1, label="independent")
    debug = world.intel.quote(bytes(64), mrtd=bytes([1]) * 48, attributes=bytes.fromhex("0100001000000000"))
    unclear = world.verifier.examine(world.tdx(), now=NOW, policy=AppraisalPolicy.development())
    return [
        Subject(name="one", verdict=verdict(world, world.tdx()), place=place),
        Subject(name="two", verdict=verdict(world, debug), place=place),
        Subject(name="three", verdict=unclear),
    ]


def test_every_step_is_there_with_its_result_in_words(world: World) -> None:
    """One row per step: number, result as a word beside the sign, name, reason and code."""
    debug = world.intel.quote(bytes(64), mrtd=bytes([1]) * 48, attributes=bytes.fromhex("0100001000000000"))
    found = verdict(world, debug)
    page = page_of(Subject(name="node", verdict=found))
    rows = [row for row in page.all("table", "steps")[0].all("tr") if row.all("td")]
    assert len(rows) == len(found.steps)
    for row, step in zip(rows, found.steps, strict=True):
        cells = [cell.text for cell in row.all("td")]
        assert cells[0] == step.step
        assert cells[1].endswith(step.result.value)
        assert cells[2] == step.name
        assert (step.reason or "") in cells[3]
        assert (step.code or "") in cells[3]


def test_the_overall_result_is_the_worst(mixed: list[Subject]) -> None:
    """One refusal refuses all; else one doubt is a doubt; nothing at all proves nothing."""
    results = {
        "NOT TRUSTED": mixed,
        "CANNOT TELL": [mixed[0], mixed[2]],
        "TRUSTED": mixed[:1],
    }
    for word, subjects in results.items():
        page = page_of(*subjects)
        assert page.all("div", "word")[0].text.endswith(word)
        assert page.all("title")[0].text == f"{word}: T"
    assert Report(title="", at=NOW, subjects=()).result is Result.INDETERMINATE


def test_every_kind_of_evidence(world: World) -> None:
    """TDX, SGX, SEV-SNP and Nitro each fill their section, measurements and all."""
    kinds = {"tdx": world.tdx(), "sgx": world.sgx(), "sev-snp": world.snp(), "nitro": world.nitro()}
    page = page_of(*(Subject(name=name, verdict=verdict(world, data)) for name, data in kinds.items()))
    sections = page.all("section")
    assert [section.all("h2")[0].text for section in sections] == list(kinds)
    for section, name in zip(sections, kinds, strict=True):
        facts = section.all("table", "facts")
        assert name in facts[0].text
        assert re.search(r"\b[0-9a-f]{64,128}\b", facts[-1].text)


def test_nothing_is_loaded_and_nothing_runs(mixed: list[Subject]) -> None:
    """No script, no style but its own, no address but anchors of the page itself."""
    page = page_of(*mixed, domains=True)
    names = {element.name for element in page.elements()}
    assert not names & {"script", "link", "img", "iframe", "object", "form", "base", "use", "image", "foreignobject"}
    for found in page.elements():
        assert not any(name.startswith("on") or name in ("src", "style", "srcset") for name in found.attributes)
        target = found.attributes.get("href")
        assert target is None or re.fullmatch(r"#subject-\d+", target)
    anchors = {found.attributes["id"] for found in page.elements() if "id" in found.attributes}
    assert {a.attributes["href"][1:] for a in page.all("a")} <= anchors
    assert "url(" not in page.all("style")[0].text
    assert "@import" not in page.all("style")[0].text


def test_the_content_policy_names_the_style_sheet(mixed: list[Subject]) -> None:
    """A browser that honours the policy applies exactly this sheet, and would refuse any other."""
    html = render_page(Report(title="T", at=NOW, subjects=mixed))
    style = html[html.index("<style>") + 7 : html.index("</style>")]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = next(m for m in read(html).all("meta") if m.attributes.get("http-equiv") == "Content-Security-Policy")
    assert policy.attributes["content"].startswith(f"default-src 'none'; style-src 'sha256-{digest}'")


def test_light_dark_and_paper(mixed: list[Subject]) -> None:
    """The sheet has a dark set and a print set of every colour."""
    style = page_of(*mixed).all("style")[0].text
    variables = set(re.findall(r"(--[a-z-]+):", style[: style.index("@media")]))
    dark = style[style.index("prefers-color-scheme: dark") : style.index("* { box-sizing")]
    paper = style[style.index("@media print") :]
    assert variables == set(re.findall(r"(--[a-z-]+):", dark)) == set(re.findall(r"(--[a-z-]+):", paper))


def test_readable_without_sight(mixed: list[Subject]) -> None:
    """Language, one main heading, header cells with a scope, a text for each drawing, signs hidden from readers."""
    subject = Subject(name="a", verdict=mixed[0].verdict, validities=[Validity(name="CRL", ends=NOW + 1)])
    page = page_of(subject, *mixed[1:], domains=True)
    assert page.all("html")[0].attributes["lang"] == "en"
    assert len(page.all("h1")) == 1
    assert all(cell.attributes.get("scope") in ("row", "col", "colgroup") for cell in page.all("th"))
    (drawing,) = page.all("svg")
    assert drawing.attributes["role"] == "img"
    assert "CRL until" in drawing.attributes["aria-label"]
    for badge in page.all("span", "badge"):
        assert badge.children[0].attributes["aria-hidden"] == "true"
        assert len(badge.texts) == 2


def test_hostile_text_stays_text(world: World) -> None:
    """Markup, quotes, control and direction characters in names, reasons and facts become visible text."""
    step = Step(step="1", name=HOSTILE, result=Outcome.FAIL, reason=HOSTILE, code=HOSTILE)
    bad = Verdict(result=Result.UNTRUSTED, steps=(step,), tee=Tee.TDX, reasons=(HOSTILE,), verified_at=NOW)
    place = Place(provider=HOSTILE, region=HOSTILE, level=1, label=HOSTILE)
    subject = Subject(
        name=HOSTILE,
        verdict=bad,
        place=place,
        validities=[Validity(name=HOSTILE, ends=NOW + 5)],
        facts=[(HOSTILE, HOSTILE)],
    )
    plain = Subject(name="plain", verdict=verdict(world, world.tdx()))
    table = Table(title=HOSTILE, note=HOSTILE, columns=(HOSTILE,), rows=((HOSTILE,),))
    report = Report(
        title=HOSTILE,
        at=NOW,
        subjects=[subject, plain],
        facts=[(HOSTILE, HOSTILE)],
        warnings=[HOSTILE],
        tables=[table],
        domains=True,
    )
    html = render_page(report)
    page = read(html)
    assert not page.all("script")
    assert not page.all("img")
    assert len(page.all("style")) == 1
    assert page.all("h1")[0].text == visible(HOSTILE)
    assert page.all("section")[0].all("h2")[0].text == visible(HOSTILE)
    assert not set("\x00\x1b\u202e") & set(html)
    assert html.count(HOSTILE[:17]) == 0


def test_text_and_attributes_are_escaped() -> None:
    """The two places text can stand in."""
    assert str(element("p", "<b>&\"'")) == "<p>&lt;b&gt;&amp;&quot;&#x27;</p>"
    assert str(element("p", title="\"><b>'")) == '<p title="&quot;&gt;&lt;b&gt;&#x27;"></p>'
    assert str(join("a", None, ["b", element("i", "c")])) == "ab<i>c</i>"


def test_timeline(world: World) -> None:
    """One bar per document, the soonest first and marked, longer for later ends, whatever order they came in."""
    ends = [Validity(name=f"d{n}", ends=NOW + 10**n) for n in (8, 4, 6, 3)] + [Validity(name="past", ends=NOW - 1)]
    (drawing,) = page_of(Subject(name="a", verdict=verdict(world, world.tdx()), validities=ends)).all("svg")
    bars = drawing.all("rect")
    assert [bar.attributes["class"] for bar in bars] == ["bar over", "bar", "bar", "bar", "bar"]
    widths = [float(bar.attributes["width"]) for bar in bars]
    assert widths == sorted(widths)
    assert all(float(bar.attributes["x"]) + width <= 1000 for bar, width in zip(bars, widths, strict=True))
    labels = [text.text for text in drawing.all("text") if "class" not in text.attributes]
    assert labels == ["past", "d3", "d4", "d6", "d8"]


def test_failure_domains(mixed: list[Subject]) -> None:
    """Providers hold regions, regions hold machines; who has no accepted place stands apart, and is said so."""
    elsewhere = Place(provider="another-cloud", region="", level=2, label="self-attested")
    subjects = [*mixed, Subject(name="four", verdict=mixed[0].verdict, place=elsewhere)]
    page = page_of(*subjects, domains=True)
    boxes = {box.all("span", "label")[0].text: box for box in page.all("li", "provider")}
    assert list(boxes) == ["another-cloud", "example-cloud", "no known place"]
    assert [chip.texts[0] for chip in boxes["example-cloud"].all("li", "node")] == ["one", "two"]
    assert boxes["another-cloud"].all("li", "region")[0].texts[0] == "region not stated"
    assert "not trusted" in boxes["example-cloud"].all("li", "node")[1].text
    caption = page.all("figcaption")[0].text
    assert caption.startswith("3 of 4 machines placed, in 2 providers and 2 regions")


def test_no_diagram_without_facts(mixed: list[Subject]) -> None:
    """Without proof of cloud no diagram pretends that places are known."""
    assert not page_of(*mixed).all("ul", "domains")


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("tdx", {"TCB info tdx", "enclave identity TD_QE", "CRL of", "certificate Intel SGX PCK Certificate"}),
        ("sgx", {"TCB info sgx", "enclave identity QE", "CRL of", "certificate Intel SGX PCK Platform CA"}),
        ("snp", {"certificate SEV-VCEK", "certificate SEV-Milan", "CRL of ARK-Milan"}),
        ("nitro", {"certificate simulated regional", "certificate simulated enclave"}),
    ],
)
def test_validities_of_each_platform(world: World, kind: str, names: set[str]) -> None:
    """What a verdict rests on, soonest first, and never earlier than its own `valid_until`."""
    evidence = getattr(world, kind)()
    collateral = world.collateral()
    claims = world.verifier.verify(evidence, collateral=collateral, now=NOW)
    found = validities(evidence, claims, collateral, NOW)
    assert [item.ends for item in found] == sorted(item.ends for item in found)
    assert found[0].ends == claims.valid_until
    for name in names:
        assert any(item.name.startswith(name) for item in found), name


def test_the_same_report_twice(mixed: list[Subject], tmp_path: Path) -> None:
    """Nothing in the page depends on when or where it was made."""
    report = Report(title="T", at=NOW, subjects=mixed, domains=True)
    assert render_page(report) == render_page(report)
