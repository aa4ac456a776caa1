"""HTML built from elements, so that text can only ever become text.

Rules: a plain string is escaped wherever it stands; characters that do not print (control,
direction marks) are shown as U+FFFD, because part of what a report quotes was written by an adversary.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Union

Node = Union["Markup", str, Iterable["Node"], None]
"""What may stand inside an element; None is nothing."""

_VOID = frozenset({"meta", "br", "hr", "line", "rect", "circle", "path"})


class Markup:
    """Finished HTML; only `element` and `join` make it from parts."""

    __slots__ = ("html",)

    def __init__(self, html: str) -> None:
        self.html = html

    def __str__(self) -> str:
        return self.html


def element(name: str, /, *children: Node, **attributes: str | int | float | None) -> Markup:
    """One element; `class_` is written `class`, `aria_label` `aria-label`; attributes that are None are left out."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(visible(str(value)), quote=True)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID and not children:
        return Markup(f"<{name}{written}/>" if name in ("line", "rect", "circle", "path") else f"<{name}{written}>")
    return Markup(f"<{name}{written}>{join(*children)}</{name}>")


def join(*nodes: Node) -> Markup:
    """Nodes one after the other."""
    return Markup("".join(_html(node) for node in nodes))


def visible(text: str) -> str:
    """`text` with every character that does not print replaced."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _html(node: Node) -> str:
    if node is None:
        return ""
    if isinstance(node, Markup):
        return node.html
    if isinstance(node, str):
        return escape(visible(node), quote=True)
    return "".join(_html(child) for child in node)
