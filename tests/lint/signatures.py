"""What the tree's annotations say about secrets: which functions return them, which attributes hold them.

Names only, no inference: a function counts when it is annotated `-> Secret`, a method or attribute when every
one of that name in the tree is.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field

SECRET = "Secret"


@dataclass(slots=True)
class Signatures:
    """Of the whole tree."""

    functions: dict[str, set[str]] = field(default_factory=dict)
    """Module (last part) -> its module-level functions that return a secret."""
    methods: set[str] = field(default_factory=set)
    """Method names that always return a secret."""
    attributes: set[str] = field(default_factory=set)
    """Attribute names that always hold a secret."""


def kind_of(annotation: ast.expr | None) -> str | None:
    """`secret` for `Secret` or `Secret | None`, `mapping` or `container` where Secret is inside, else None."""
    if annotation is None:
        return None
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        annotation = ast.parse(annotation.value, mode="eval").body
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        kinds = {kind_of(annotation.left), kind_of(annotation.right)} - {None}
        # `Secret | bytes` is for parts that may be either: treat as secret.
        return "secret" if "secret" in kinds else next(iter(kinds), None)
    if isinstance(annotation, ast.Name):
        return "secret" if annotation.id == SECRET else None
    if isinstance(annotation, ast.Subscript):
        name = annotation.value.id if isinstance(annotation.value, ast.Name) else ""
        inner = {node.id for node in ast.walk(annotation.slice) if isinstance(node, ast.Name)}
        if SECRET not in inner or name in {"type", "Callable"}:
            return None
        return {"Optional": "secret", "dict": "mapping", "Mapping": "mapping"}.get(name, "container")
    return None


def read_signatures(trees: Iterable[tuple[str, ast.Module]]) -> Signatures:
    """From (module name, tree) of every file."""
    signatures = Signatures()
    methods: dict[str, list[bool]] = {}
    attributes: dict[str, list[bool]] = {}
    for module, tree in trees:
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and kind_of(node.returns) == "secret":
                signatures.functions.setdefault(module, set()).add(node.name)
        for node in ast.walk(tree):
            if not isinstance(node, ast.ClassDef):
                continue
            for item in node.body:
                if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef):
                    methods.setdefault(item.name, []).append(kind_of(item.returns) == "secret")
                elif isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                    attributes.setdefault(item.target.id, []).append(kind_of(item.annotation) == "secret")
    signatures.methods = {name for name, answers in methods.items() if all(answers)}
    signatures.attributes = {name for name, answers in attributes.items() if all(answers)}
    return signatures
