"""One function: which of its names hold secrets, and what it does to them.

A name becomes secret by annotation or by assignment from something secret; statements are followed in order and
every branch is taken.  Kinds: `secret` (the handle), `view` (its memoryview or pointer), `container` and `mapping`
(hold some; a mapping's keys are public).
"""

# ruff: noqa: D102 - the visit_ methods are named by the ast module

from __future__ import annotations

import ast

from tests.lint.rules import BUILTINS, CALLS, METHODS, MODULES, PUBLISHERS, VARIABLE_TIME, Finding
from tests.lint.signatures import SECRET, Signatures, kind_of


class FunctionLint(ast.NodeVisitor):
    """One function body, statements in order: names become secret by assignment and stay so."""

    def __init__(
        self, path: str, qualified: str, signatures: Signatures, imports: dict[str, str], allowed: set[str]
    ) -> None:
        self.path, self.qualified, self.allowed = path, qualified, allowed
        self.signatures, self.imports = signatures, imports
        self.kinds: dict[str, str] = {}
        self.findings: list[Finding] = []

    # --- what is secret ---------------------------------------------------------------------------------

    def kind(self, node: ast.expr | None) -> str | None:
        """The kind of an expression, or None."""
        match node:
            case ast.Name(id=name):
                return self.kinds.get(name)
            case ast.NamedExpr(value=value) | ast.Starred(value=value) | ast.Await(value=value):
                return self.kind(value)
            case ast.IfExp(body=body, orelse=orelse):
                return self.kind(body) or self.kind(orelse)
            case ast.Attribute(value=value, attr=attr):
                if self.kind(value) == "secret":
                    return "view" if attr in {"view", "p"} else None
                return "secret" if attr in self.signatures.attributes else None
            case ast.Subscript(value=value, slice=index):
                inner = self.kind(value)
                if inner in {"container", "mapping"}:
                    return inner if isinstance(index, ast.Slice) else "secret"
                return inner
            case ast.BinOp(left=left):
                return "view" if self.kind(left) == "view" else None  # pointer arithmetic
            case ast.Call():
                return self.call_kind(node)
            case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items):
                return "container" if any(self.kind(item) for item in items) else None
            case ast.Dict(values=values):
                return "mapping" if any(self.kind(value) for value in values) else None
            case ast.ListComp(elt=item) | ast.GeneratorExp(elt=item):
                return "container" if self.kind(item) else None
            case ast.DictComp(value=item):
                return "mapping" if self.kind(item) else None
        return None

    def call_kind(self, node: ast.Call) -> str | None:
        """What a call returns."""
        match node.func:
            case ast.Name(id=name):
                if name == SECRET:
                    return "secret"
                module = self.imports.get(name, "")
                return "secret" if name in self.signatures.functions.get(module, set()) else None
            case ast.Attribute(value=ast.Name(id=owner), attr=attr) if owner in self.imports:
                return "secret" if attr in self.signatures.functions.get(self.imports[owner], set()) else None
            case ast.Attribute(value=ast.Name(id="Secret" | "cls"), attr="random" | "zero" | "take"):
                return "secret"
            case ast.Attribute(value=value, attr="values" | "items" | "pop" | "get"):
                if self.kind(value) in {"container", "mapping"}:
                    return "container" if node.func.attr in {"values", "items"} else "secret"
            case ast.Attribute(attr=attr):
                return "secret" if attr in self.signatures.methods else None
        return None

    def bind(self, target: ast.expr, kind: str | None) -> None:
        """Assigns a kind to the names of a target."""
        match target:
            case ast.Name(id=name):
                if kind is None:
                    self.kinds.pop(name, None)
                else:
                    self.kinds[name] = kind
            case ast.Tuple(elts=items) | ast.List(elts=items):
                for item in items:
                    self.bind(item, None if kind in {"container", "mapping"} else kind)
            case ast.Starred(value=value):
                self.bind(value, kind)

    # --- what is forbidden --------------------------------------------------------------------------------

    def found(self, node: ast.AST, rule: str, detail: str) -> None:
        """Records a finding."""
        self.findings.append(Finding(path=self.path, line=getattr(node, "lineno", 0), rule=rule, detail=detail))

    def tainted(self, node: ast.expr | None) -> bool:
        """Whether the value itself, not a container of it, is secret."""
        return self.kind(node) in {"secret", "view"}

    def run(self, function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[Finding]:
        """Lints one function."""
        arguments = function.args
        named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        for argument in named:
            if (kind := kind_of(argument.annotation)) is not None:
                self.kinds[argument.arg] = kind
        if arguments.vararg is not None and kind_of(arguments.vararg.annotation) is not None:
            self.kinds[arguments.vararg.arg] = "container"
        for decorator in function.decorator_list:
            if "cache" in ast.unparse(decorator) and any(kind_of(argument.annotation) for argument in named):
                self.found(function, "cache", "a cache keeps its arguments alive and compares them")
        for statement in function.body:
            self.visit(statement)
        return self.findings

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        for target in node.targets:
            match node.value, target:
                case (ast.Tuple(elts=values), ast.Tuple(elts=names)) if len(values) == len(names):
                    for value, name in zip(values, names, strict=True):
                        self.bind(name, self.kind(value))
                case _:
                    self.bind(target, self.kind(node.value))
            if not isinstance(target, ast.Subscript):  # writing into a view is what views are for
                self.generic_visit(target)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)
        self.bind(node.target, kind_of(node.annotation) or self.kind(node.value))

    def visit_With(self, node: ast.With) -> None:
        for item in node.items:
            self.visit(item.context_expr)
            if item.optional_vars is not None:
                self.bind(item.optional_vars, self.kind(item.context_expr))
        for statement in node.body:
            self.visit(statement)

    visit_AsyncWith = visit_With  # type: ignore[assignment]

    def visit_For(self, node: ast.For) -> None:
        self.visit(node.iter)
        self.loop(node.target, node.iter, node)
        for statement in [*node.body, *node.orelse]:
            self.visit(statement)

    visit_AsyncFor = visit_For  # type: ignore[assignment]

    def loop(self, target: ast.expr, source: ast.expr, at: ast.AST) -> None:
        """Binds a loop variable."""
        if self.tainted(source):
            self.found(at, "iteration", f"iterates over {ast.unparse(source)}")
        elif self.kind(source) == "container":
            keyed = isinstance(source, ast.Call) and ast.unparse(source.func).endswith(".items")
            if keyed and isinstance(target, ast.Tuple):
                self.bind(target.elts[-1], "secret")
            else:
                self.bind(target, "secret")

    def comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> None:
        """Comprehensions bind before they are read."""
        for generator in node.generators:
            self.loop(generator.target, generator.iter, node)
            for condition in generator.ifs:
                self.branch(condition)
        self.generic_visit(node)
        if isinstance(node, ast.SetComp) and self.tainted(node.elt):
            self.found(node, "hash", "a set hashes and compares its elements")

    visit_ListComp = visit_SetComp = visit_GeneratorExp = visit_DictComp = comprehension

    def visit_Call(self, node: ast.Call) -> None:
        values = [*node.args, *(keyword.value for keyword in node.keywords)]
        secret = [value for value in values if self.tainted(value)]
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        owner = ast.unparse(node.func.value) if isinstance(node.func, ast.Attribute) else ""
        if name in PUBLISHERS and self.qualified not in self.allowed:
            self.found(node, "publish", f"{self.qualified} is not listed in {'declassifications.json'}")
        if secret:
            shown = ast.unparse(secret[0])
            if isinstance(node.func, ast.Name) and name in BUILTINS:
                self.found(node, "conversion", f"{name}({shown})")
            elif name in CALLS or (owner.split(".")[0] in MODULES and owner not in self.imports):
                if not (name == "buffer" and self.qualified in self.allowed):
                    self.found(node, "copy", f"{ast.unparse(node.func)}({shown})")
            elif name in METHODS or name.endswith("Error"):
                self.found(node, "copy", f"{ast.unparse(node.func)}({shown})")
        if isinstance(node.func, ast.Attribute) and name in METHODS and self.tainted(node.func.value):
            self.found(node, "copy", f"{ast.unparse(node.func)}()")
        if name in VARIABLE_TIME and secret:
            self.found(node, "variable time", f"{name} with a secret")
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        operands = [node.left, *node.comparators]
        for (left, operator), right in zip(zip(operands, node.ops, strict=False), operands[1:], strict=False):
            if not isinstance(operator, ast.Is | ast.IsNot) and (self.tainted(left) or self.tainted(right)):
                self.found(node, "comparison", ast.unparse(node))
        self.generic_visit(node)

    def branch(self, test: ast.expr) -> None:
        """A condition that is itself a secret."""
        if self.tainted(test):
            self.found(test, "branch", f"branches on {ast.unparse(test)}")

    def visit_If(self, node: ast.If | ast.While | ast.IfExp | ast.Assert) -> None:
        self.branch(node.test)
        self.generic_visit(node)

    visit_While = visit_IfExp = visit_Assert = visit_If

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        for value in node.values:
            self.branch(value)
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        self.branch(node.operand)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        pointer = isinstance(node.left, ast.Attribute | ast.Name) and self.kind(node.left) == "view"
        if self.tainted(node.right) or (self.tainted(node.left) and not (pointer and isinstance(node.op, ast.Add))):
            self.found(node, "arithmetic", ast.unparse(node))
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if self.tainted(node.value) and not isinstance(node.slice, ast.Slice) and isinstance(node.ctx, ast.Load):
            self.found(node, "index", ast.unparse(node))
        if self.tainted(node.slice):
            self.found(node, "hash", f"{ast.unparse(node)} uses a secret as key")
        self.generic_visit(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        for value in node.values:
            if isinstance(value, ast.FormattedValue) and self.tainted(value.value):
                self.found(node, "format", f"f-string with {ast.unparse(value.value)}")
        self.generic_visit(node)

    def visit_Dict(self, node: ast.Dict) -> None:
        if any(self.tainted(key) for key in node.keys):
            self.found(node, "hash", "a secret as dictionary key")
        self.generic_visit(node)

    def visit_Set(self, node: ast.Set) -> None:
        if any(self.tainted(item) for item in node.elts):
            self.found(node, "hash", "a set hashes and compares its elements")
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """Inner functions see the names around them."""
        self.run(node)
