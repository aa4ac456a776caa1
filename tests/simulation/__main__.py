"""Campaigns: `python -m tests.simulation --timelines N --seed S [--jobs J]`; one timeline again: `--replay SEED`."""

from __future__ import annotations

import os
import sys

if os.environ.get("PYTHONHASHSEED") != "0":
    # The order of sets of strings is part of what a seed has to fix.
    os.execve(
        sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]], {**os.environ, "PYTHONHASHSEED": "0"}
    )

from tests.simulation.campaign import main

raise SystemExit(main(sys.argv[1:]))
