"""Reads a page as a browser would: elements, attributes and text, with every element closed in order."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = frozenset({"meta", "br", "hr", "line", "rect"})


@dataclass(slots=True)
class Element:
    """One element with everything inside it."""

    name: str
    attributes: dict[str, str]
    children: list[Element] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All text inside, in order."""
        return " ".join(self.texts)

    def all(self, name: str, class_: str | None = None) -> list[Element]:
        """Every element of this name (and class) inside, in order."""
        found = []
        for child in self.children:
            classes = child.attributes.get("class", "").split()
            if child.name == name and (class_ is None or class_ in classes):
                found.append(child)
            found += child.all(name, class_)
        return found

    def elements(self) -> list[Element]:
        """Every element inside."""
        return [element for child in self.children for element in (child, *child.elements())]


class Reader(HTMLParser):
    """Builds the tree and refuses what a strict reader would."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("document", {})
        self._open = [self.root]
        self.feed(page)
        self.close()
        assert [element.name for element in self._open] == ["document"], "every element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open an element."""
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"an attribute of {tag} appears twice"
        element = Element(tag, {name: value or "" for name, value in attrs})
        self._open[-1].children.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element without content."""
        self._open[-1].children.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        """Close the element opened last."""
        assert self._open[-1].name == tag, f"{tag} closes {self._open[-1].name}"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        """Text belongs to every element around it."""
        if data.strip():
            for element in self._open:
                element.texts.append(data.strip())


def read(page: str) -> Element:
    """The tree of a page."""
    return Reader(page).root
