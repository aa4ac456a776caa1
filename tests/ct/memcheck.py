"""Runs inside valgrind's memcheck: `python -m tests.ct.memcheck LIBRARY`; prints one JSON line per measurement."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from tests.ct.cases import all_cases
from tests.ct.controls import all_controls, arena_controls, read_carelessly
from tests.ct.shim import Shim


def main() -> None:
    """Measure controls, then cases."""
    shim = Shim(Path(sys.argv[1]))
    only = sys.argv[2:]
    for name, control in all_controls():
        control(os.urandom(32).replace(b"\0", b"\1"))
        secret = os.urandom(32)
        shim.poison_bytes(secret)

        def attempt(control: Callable[[bytes], object] = control, secret: bytes = secret) -> None:
            with contextlib.suppress(ValueError):
                control(secret)

        report("control", name, count(shim, attempt))
        shim.library.ct_declassify(id(secret), sys.getsizeof(secret))
    shim.install()
    for name, produce in arena_controls():
        result = produce()
        report("control", name, count(shim, lambda result=result: read_carelessly(result)))
    for name, case in all_cases():
        if only and not any(part in name for part in only):
            continue
        case().call()
        prepared = case()
        for secret_input in prepared.secrets:
            shim.poison(secret_input)
        report("case", name, count(shim, prepared.call))


def count(shim: Shim, call: Callable[[], object]) -> int:
    """Errors that one call adds; collection of garbage is kept out of the window."""
    gc.collect()
    gc.disable()
    before = shim.errors()
    call()
    added = shim.errors() - before
    gc.enable()
    return added


def report(kind: str, name: str, errors: int) -> None:
    """One JSON line on standard output, at once, so that progress shows."""
    print(json.dumps({"kind": kind, "name": name, "errors": errors}), flush=True)


if __name__ == "__main__":
    main()
