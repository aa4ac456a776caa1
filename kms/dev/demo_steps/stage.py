"""How the demonstration prints: headings, facts with check marks, notes; plain text when not on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Awaitable
from typing import Any

from rich.console import Console
from rich.markup import escape

from attestation.errors import CodedError

NAME_WIDTH = 22


class SurpriseError(Exception):
    """A step did not come out as it must."""


class Stage:
    """Prints acts and facts on stdout."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._number = 0

    def act(self, title: str) -> None:
        """A heading."""
        self._number += 1
        self._console.print(f"\n[bold]{self._number}. {escape(title)}[/bold]")

    def fact(self, name: str, value: object) -> None:
        """Something that was checked."""
        self._console.print(f"   [green]ok[/green] {escape(name):<{NAME_WIDTH}} {escape(str(value))}")

    def note(self, text: str) -> None:
        """Something to know."""
        self._console.print(f"      [dim]{escape(text)}[/dim]")

    def failed(self, text: str) -> None:
        """The last word of a demonstration that went wrong."""
        print(f"demo: failed: {text}", file=sys.stderr)

    def require(self, holds: bool, what: str) -> None:
        """Raises SurpriseError unless `holds`."""
        if not holds:
            raise SurpriseError(what)

    async def refused(self, work: Awaitable[Any], *codes: str) -> CodedError:
        """The error `work` must end with, one of `codes`; raises SurpriseError otherwise."""
        try:
            await work
        except CodedError as error:
            if error.code in codes:
                return error
            raise SurpriseError(f"expected {' or '.join(codes)}, found {error.code}: {error.detail}") from error
        raise SurpriseError(f"expected {' or '.join(codes)}, but the request was carried out")
