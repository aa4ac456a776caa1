"""Forbidden operations on secrets, found in the sources: `python -m tests.lint.secret_lint enclave`.

Follows what is annotated or assigned as `Secret`, its `view` and its pointer `p` through each function, and
refuses everything Python would do to them by copying, converting, comparing, branching or printing; the runtime
type refuses the same for what the lint cannot see (specs/secret-memory.md).  Publishing a secret is allowed only in
the functions that declassifications.json lists with a reason.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.lint.function_lint import FunctionLint
from tests.lint.rules import BANNED_IMPORTS, BANNED_NAMES, HIGH_LEVEL, IMPORT_EXCEPTIONS, VARIABLE_TIME, Finding
from tests.lint.signatures import read_signatures

DECLASSIFICATIONS = Path(__file__).with_name("declassifications.json")


def lint(sources: Iterable[tuple[str, str]], allowed: set[str]) -> list[Finding]:
    """Findings in (path, text) of all files of a package; `allowed` are `module.function`s that may publish."""
    trees = [(path, ast.parse(text, filename=path)) for path, text in sources]
    signatures = read_signatures((module_name(path), tree) for path, tree in trees)
    findings: list[Finding] = []
    for path, tree in trees:
        findings.extend(lint_module(path, tree))
        imports = read_imports(tree)
        for qualified, function in functions(module_name(path), tree):
            names = dict(imports)
            names |= {name: module_name(path) for name in signatures.functions.get(module_name(path), ())}
            findings.extend(FunctionLint(path, qualified, signatures, names, allowed).run(function))
    return findings


def module_name(path: str) -> str:
    """The last part of a module's name."""
    parts = Path(path).with_suffix("").parts
    return parts[-2] if parts[-1] == "__init__" else parts[-1]


def read_imports(tree: ast.Module) -> dict[str, str]:
    """Local name -> module: `from a.b import c` gives {c: b} for functions; an imported module names itself."""
    imports: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                local = alias.asname or alias.name
                # `from enclave.threshold import shamir` imports a module, `from .shamir import split` a function.
                is_module = node.module.count(".") < 2 and alias.name.islower() and node.module.startswith("enclave")
                imports[local] = alias.name if is_module and _is_package(node.module) else node.module.split(".")[-1]
    return imports


def _is_package(module: str) -> bool:
    return module in {"enclave", "enclave.threshold", "enclave.group", "enclave.threshold.ecdsa"}


def functions(module: str, tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Every top-level function and method as (`module.[Class.]name`, node); inner functions are visited by them."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{module}.{node.name}", node
        elif isinstance(node, ast.ClassDef):
            for item in node.body:
                if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield f"{module}.{node.name}.{item.name}", item


def lint_module(path: str, tree: ast.Module) -> Iterator[Finding]:
    """Imports and names that have no business near secrets, whatever they are applied to."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            if "coincurve" in names:
                yield Finding(path=path, line=node.lineno, rule="import", detail="coincurve's classes go through int")
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
            if node.module == "coincurve" and HIGH_LEVEL & {alias.name for alias in node.names}:
                yield Finding(path=path, line=node.lineno, rule="import", detail="coincurve's classes go through int")
        if any(_is_banned(name.split(".")[0], path) for name in names):
            yield Finding(path=path, line=node.lineno, rule="import", detail=ast.unparse(node))
        if isinstance(node, ast.Attribute) and node.attr in BANNED_NAMES:
            yield Finding(path=path, line=node.lineno, rule="conversion", detail=ast.unparse(node))
        if isinstance(node, ast.FunctionDef) and "public" not in node.name:
            for inner in ast.walk(node):
                if isinstance(inner, ast.Attribute) and inner.attr in VARIABLE_TIME:
                    detail = f"{inner.attr} outside a function for public scalars"
                    yield Finding(path=path, line=inner.lineno, rule="variable time", detail=detail)


def _is_banned(name: str, path: str) -> bool:
    exception = IMPORT_EXCEPTIONS.get(name)
    return name in BANNED_IMPORTS and (exception is None or not path.endswith(exception))


def read_tree(root: Path) -> Iterator[tuple[str, str]]:
    """(path, text) of every Python file below `root`."""
    for path in sorted(root.rglob("*.py")):
        yield str(path), path.read_text()


def read_declassifications() -> dict[str, str]:
    """`module.function` -> why what it publishes is public."""
    return {str(name): str(reason) for name, reason in json.loads(DECLASSIFICATIONS.read_text()).items()}


def main() -> int:
    """Exit status 1 if anything is found."""
    roots = [Path(argument) for argument in sys.argv[1:]] or [Path("enclave")]
    sources = [source for root in roots for source in read_tree(root)]
    findings = lint(sources, set(read_declassifications()))
    for finding in findings:
        print(finding)
    print(f"secret lint: {len(findings)} findings in {len(sources)} files")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
