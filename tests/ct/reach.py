"""Which production functions that touch a secret does no case of the gate run?  No valgrind needed.

A function touches a secret when its signature or its body names `Secret` or a class that carries one.  The cases run
once under a profile hook; what they do not enter must be listed, with a reason, in unreached.json
(specs/constant-time.md section 4).
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType

from tests.ct.cases import all_cases

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "enclave"
CARRIERS = frozenset({"HeldKey", "KeyShare", "NoncePair", "Polynomial", "Secret"})
"""The type, and the classes that hold one for their callers."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def touching() -> Iterator[tuple[str, tuple[str, int]]]:
    """(`module.Class.function`, (file, line)) of every function of the package that names a carrier."""
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts[1:])
        for name, function in _functions(ast.parse(path.read_text()), module):
            if not _is_abstract(function) and any(_names_secret(node) for node in ast.walk(function)):
                first = min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)])
                yield name, (str(path), first)


def reached() -> set[tuple[str, int]]:
    """(file, line) of every function of the package that some case enters."""
    seen: set[CodeType] = set()

    def enter(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call":
            seen.add(frame.f_code)

    before = sys.getprofile()
    sys.setprofile(enter)
    try:
        for _, case in all_cases():
            case().call()
    finally:
        sys.setprofile(before)
    return {(code.co_filename, code.co_firstlineno) for code in seen}


def _functions(tree: ast.AST, prefix: str, *, protocol: bool = False) -> Iterator[tuple[str, Function]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            is_protocol = any("Protocol" in ast.unparse(base) for base in node.bases)
            yield from _functions(node, f"{prefix}.{node.name}", protocol=is_protocol)
        elif isinstance(node, Function) and not protocol:
            yield f"{prefix}.{node.name}", node


def _is_abstract(function: Function) -> bool:
    return len(function.body) == 1 and isinstance(function.body[0], ast.Raise | ast.Pass)


def _names_secret(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id in CARRIERS
