"""The whole page: no script, no external resource, nothing a browser would have to fetch or run."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

from attestation import __version__
from attestation.instant import format_instant
from attestation.report.contents import Report, Table
from attestation.report.domains import domains
from attestation.report.marks import WORDS, kind_of, result_badge, sign_of
from attestation.report.markup import Markup, Node, element, join
from attestation.report.style import CSS
from attestation.report.subject import facts_table, section


def render_page(report: Report) -> str:
    """The report as one HTML document."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_content_policy()),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", f"{WORDS[report.result]}: {report.title}"),
        Markup(f"<style>{CSS}</style>"),
    )
    body: list[Node] = [_banner(report)]
    body += [element("p", text, class_="warning", role="note") for text in report.warnings]
    if report.facts:
        body.append(element("div", facts_table(report.facts), class_="card"))
    if len(report.subjects) > 1:
        body += [element("h2", "Summary"), element("div", _summary(report), class_="card")]
    if report.domains:
        body += [element("h2", "Failure domains"), element("div", domains(report.subjects), class_="card")]
    body += [_table(table) for table in report.tables]
    body += [section(subject, number, report.at) for number, subject in enumerate(report.subjects, start=1)]
    body.append(_footer(report))
    return f"<!doctype html>\n{element('html', head, element('body', element('main', body)), lang='en')}\n"


def _content_policy() -> str:
    """Nothing may load; only this very style sheet may apply."""
    digest = base64.b64encode(hashlib.sha256(CSS.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def _banner(report: Report) -> Markup:
    word = element(
        "div", element("span", f"{sign_of(report.result)} ", aria_hidden="true"), WORDS[report.result], class_="word"
    )
    count = len(report.subjects)
    told = f"{count} piece{'s' if count != 1 else ''} of evidence, as of {format_instant(report.at)}"
    return join(
        element("h1", report.title),
        element(
            "div",
            element("div", word, element("div", told, class_="muted")),
            class_=f"card banner {kind_of(report.result)}",
        ),
    )


def _summary(report: Report) -> Markup:
    columns = ("Evidence", "Result", "Platform", "TCB status", "Valid until", "Reasons")
    rows = []
    for number, subject in enumerate(report.subjects, start=1):
        claims, verdict = subject.verdict.claims, subject.verdict
        status = claims.tcb_status.value if claims is not None and claims.tcb_status is not None else "-"
        rows.append(
            element(
                "tr",
                element("th", element("a", subject.name, href=f"#subject-{number}"), scope="row"),
                element("td", result_badge(verdict.result)),
                element("td", verdict.tee.value if verdict.tee is not None else "-"),
                element("td", status),
                element("td", format_instant(claims.valid_until) if claims is not None else "-"),
                element("td", [element("code", f"{code} ") for code in verdict.reasons]),
            )
        )
    return _plain_table(columns, rows)


def _table(table: Table) -> Markup:
    rows = [
        element("tr", [element("td" if i else "th", cell, scope=None if i else "row") for i, cell in enumerate(row)])
        for row in table.rows
    ]
    return join(
        element("h2", table.title),
        element(
            "div",
            element("p", table.note, class_="muted") if table.note else None,
            _plain_table(table.columns, rows, "data"),
            class_="card",
        ),
    )


def _plain_table(columns: Sequence[str], rows: list[Markup], class_: str | None = None) -> Markup:
    head = element("tr", [element("th", name, scope="col") for name in columns])
    return element("table", element("thead", head), element("tbody", rows), class_=class_)


def _footer(report: Report) -> Markup:
    return element(
        "footer",
        element(
            "p",
            f"Made by attest {__version__} from the evidence and documents named above, without asking anybody; "
            f"`attest verify --at {report.at}` repeats it. A verdict that is not TRUSTED means only: do not trust. "
            "Attestation shows what runs on which processor, proof of cloud where that stood when it was enrolled; "
            "neither stops somebody who takes a machine apart.",
        ),
    )
