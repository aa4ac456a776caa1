"""`python -m tests.ct`: the constant-time gate; last line `ct: ok, N functions, M controls caught`."""

from __future__ import annotations

import sys

from tests.ct.gate import run
from tests.ct.shim import APT_LINE, missing


def main() -> int:
    """Exit status: 0 when everything holds or the tools are absent, 1 otherwise."""
    reason = missing()
    if reason is not None:
        print(f"to run the gate: {APT_LINE}")
        print(f"ct: skipped, {reason}")
        return 0
    verdict = run(lambda line: print(line, flush=True))
    for problem in verdict.problems:
        print(f"problem: {problem}")
    print(verdict.summary)
    return 1 if verdict.problems else 0


if __name__ == "__main__":
    sys.exit(main())
