"""The failure domains: provider, region, machines, as nested boxes that are lists to a screen reader."""

from __future__ import annotations

from collections.abc import Sequence

from attestation.report.contents import Place, Subject
from attestation.report.marks import WORDS, kind_of
from attestation.report.markup import Markup, element


def domains(subjects: Sequence[Subject]) -> Markup:
    """One box per provider, one inside per region, one chip per machine; machines of no known place apart."""
    providers: dict[str, dict[str, list[Subject]]] = {}
    unplaced: list[Subject] = []
    for subject in subjects:
        if subject.place is None:
            unplaced.append(subject)
            continue
        regions = providers.setdefault(subject.place.provider or "provider not stated", {})
        regions.setdefault(subject.place.region or "region not stated", []).append(subject)
    boxes = [_provider(name, regions) for name, regions in sorted(providers.items())]
    if unplaced:
        chips = element("ul", [_chip(subject) for subject in unplaced], class_="nodes")
        boxes.append(element("li", element("span", "no known place", class_="label"), chips, class_="provider none"))
    caption = (
        f"{len(subjects) - len(unplaced)} of {len(subjects)} machines placed, in {_count(len(providers), 'provider')}"
        f" and {_count(sum(map(len, providers.values())), 'region')}, by the statements accepted."
        " Machines in one box can fail, or be seized, together."
    )
    return element("figure", element("figcaption", caption), element("ul", boxes, class_="domains"))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _provider(name: str, regions: dict[str, list[Subject]]) -> Markup:
    inside = [_region(region, subjects) for region, subjects in sorted(regions.items())]
    return element("li", element("span", name, class_="label"), element("ul", inside), class_="provider")


def _region(name: str, subjects: list[Subject]) -> Markup:
    chips = element("ul", [_chip(subject) for subject in subjects], class_="nodes")
    return element("li", element("span", name, class_="label"), chips, class_="region")


def _chip(subject: Subject) -> Markup:
    result = subject.verdict.result
    told = f", {_level(subject.place)}" if subject.place is not None else ""
    return element(
        "li",
        subject.name,
        element("span", f": {WORDS[result].lower()}{told}", class_="hidden"),
        class_=f"node {kind_of(result)}",
        title=f"{WORDS[result].lower()}{told}",
    )


def _level(place: Place) -> str:
    return f"level {place.level}, {place.label}"
