"""One subject's section: verdict, facts, steps, measurements, expiry."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attestation.evidence import Claims
from attestation.instant import format_instant
from attestation.report.contents import Subject
from attestation.report.marks import outcome_badge, result_badge
from attestation.report.markup import Markup, Node, element, join
from attestation.report.timeline import timeline
from attestation.verdict import Outcome, Step

_GROUPS = {
    "1": "Format",
    "2": "Endorsement",
    "3": "Signatures",
    "4": "Collateral",
    "5": "Platform state",
    "7": "Binding",
    "8": "Policy",
    "9": "Statements",
}
"""First number of a step to its heading, where steps are numbered with a dot (Intel, policy, statements)."""


def section(subject: Subject, number: int, now: int) -> Markup:
    """The whole section of one subject."""
    verdict = subject.verdict
    heading = element("h2", subject.name, id=f"subject-{number}")
    parts: list[Node] = [
        element("div", heading, result_badge(verdict.result), class_="heading"),
        element("div", _facts(subject), class_="card"),
    ]
    if subject.validities:
        shown = sorted(subject.validities, key=lambda item: (item.ends, item.name))
        parts.append(element("h3", "Expiry"))
        parts.append(element("div", timeline(shown, now), class_="card"))
    parts.append(element("h3", "Steps"))
    parts.append(element("div", steps_table(verdict.steps), class_="card"))
    if verdict.claims is not None:
        parts.append(element("h3", "Measurements"))
        parts.append(element("div", facts_table(verdict.claims.measurements.items(), code=True), class_="card"))
    return element("section", parts, aria_labelledby=f"subject-{number}")


def facts_table(rows: Iterable[tuple[str, str]], *, code: bool = False) -> Markup:
    """Name and value, one per row."""
    return element(
        "table",
        element(
            "tbody",
            [
                element(
                    "tr",
                    element("th", name, scope="row"),
                    element("td", element("code", value) if code or _is_hex(value) else value),
                )
                for name, value in rows
            ],
        ),
        class_="facts",
    )


def steps_table(steps: Sequence[Step]) -> Markup:
    """Every step in order, with a heading where the kind of check changes."""
    rows: list[Markup] = []
    group = ""
    for step in steps:
        first, dotted, _ = step.step.partition(".")
        named = _GROUPS.get(first, "") if dotted or first in ("7", "8", "9") else "Verification"
        if named != group:
            group = named
            rows.append(element("tr", element("th", group, scope="colgroup", colspan=4), class_="group"))
        rows.append(_step(step))
    head = element("tr", [element("th", name, scope="col") for name in ("Step", "Result", "What", "Why")])
    return element("table", element("thead", head), element("tbody", rows), class_="steps")


def _is_hex(value: str) -> bool:
    return len(value) >= 32 and set(value) <= set("0123456789abcdef")


def _step(step: Step) -> Markup:
    why = step.reason or ""
    return element(
        "tr",
        element("td", step.step, class_="number"),
        element("td", outcome_badge(step.result), class_="outcome"),
        element("td", step.name),
        element("td", why, join(" ", element("code", step.code)) if step.code else None),
        class_=step.result.value if step.result is not Outcome.PASS else None,
    )


def _facts(subject: Subject) -> Markup:
    claims = subject.verdict.claims
    rows: list[tuple[str, str]] = list(subject.facts)
    if claims is None:
        tee = subject.verdict.tee
        rows.append(("Looks like", tee.value if tee is not None else "nothing known"))
        rows.append(("Established", "nothing: the evidence did not verify"))
        return facts_table(rows)
    rows += _claim_rows(claims)
    if subject.place is not None:
        place = subject.place
        where = " / ".join(part for part in (place.provider, place.region) if part) or "not stated"
        rows.append(("Stands at", f"{where} (level {place.level}, {place.label})"))
    return facts_table(rows)


def _claim_rows(claims: Claims) -> list[tuple[str, str]]:
    set_flags = ", ".join(name for name, value in claims.flags.items() if value)
    rows = [
        ("Platform", claims.tee.value),
        ("Root of trust", claims.root),
        ("Platform id", str(claims.platform_id) if claims.platform_id is not None else "none in this evidence"),
        ("TCB status", claims.tcb_status.value if claims.tcb_status is not None else "not rated by this vendor"),
    ]
    if claims.advisories:
        rows.append(("Open advisories", ", ".join(claims.advisories)))
    rows += [
        ("Flags set", set_flags or "none"),
        ("Evidence id", claims.evidence_id),
        ("Report data", claims.report_data.hex() or "empty"),
        ("Valid until", format_instant(claims.valid_until)),
    ]
    return rows
