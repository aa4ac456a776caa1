"""GET /problems/{code}: what the `type` of a problem means, for people who follow it."""

from __future__ import annotations

import html
import re

from kms.endpoint import Answer, Context, Endpoint
from kms.errors import NotFoundError
from kms.problem_catalogue import FAMILIES, Family, family_of
from kms.problems import status_of_code

_CODE = re.compile(r"[a-z0-9][a-z0-9.-]{1,63}")

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:3rem auto;padding:0 1rem;color:#1b1f24}"
    "code{background:#f0f2f4;padding:.1em .3em;border-radius:.2em}dt{font-weight:600;margin-top:1em}dd{margin:0}"
    "a{color:#0b5cad}@media(prefers-color-scheme:dark){body{background:#14171a;color:#dfe3e6}code{background:#262b30}"
    "a{color:#7ab8f5}}"
)
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "Cache-Control": "public, max-age=3600",
    "X-Content-Type-Options": "nosniff",
}


async def page(context: Context) -> Answer:
    """One code."""
    code = context.params["code"]
    family = family_of(code) if _CODE.fullmatch(code) else None
    if family is None:
        raise NotFoundError("no problem code begins like that", hint="GET /problems lists all families")
    status = status_of_code(code)
    rows = [("Meaning", family.meaning), ("What to do", family.remedy)]
    body = "".join(f"<dt>{name}</dt><dd>{html.escape(text)}</dd>" for name, text in rows)
    return _page(
        f"{html.escape(family.title)}: <code>{html.escape(code)}</code>",
        f"<p>HTTP status {status}. The problem's <code>detail</code> says what was expected and found.</p>"
        f"<dl>{body}</dl>"
        '<p><a href="/problems">All families of problems</a></p>',
    )


async def catalogue(context: Context) -> Answer:
    """All families."""
    assert context.method == "GET"
    rows = "".join(_row(family) for family in FAMILIES)
    return _page("Problems", f"<dl>{rows}</dl>")


def _row(family: Family) -> str:
    shown = html.escape(family.prefix + ("*" if family.prefix[-1] in ".-" else ""))
    return f"<dt><code>{shown}</code> {html.escape(family.title)}</dt><dd>{html.escape(family.meaning)}</dd>"


def _page(title: str, body: str) -> Answer:
    plain = re.sub(r"<[^>]*>", "", title)
    text = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{plain} - Holdfast</title><style>{_STYLE}</style><h1>{title}</h1>{body}</html>\n"
    )
    return Answer(body=text.encode(), headers=_HEADERS, content_type="text/html")


ENDPOINTS = (
    Endpoint(
        method="GET", path="/problems", summary="Families of problem codes", handler=catalogue, act=None, tag="health",
        media="text/html",
    ),
    Endpoint(
        method="GET", path="/problems/{code}", summary="What a problem code means", handler=page, act=None,
        tag="health", media="text/html",
    ),
)  # fmt: skip
