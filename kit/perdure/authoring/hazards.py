"""What a workflow must not do, found in its source before it runs.

A workflow is run again from its top whenever a worker has forgotten it, and must then take the same way. Reading
a clock, drawing a random number or asking a server would make it take another one; blocking stops every other
workflow of the worker. The SDK's sandbox stops some of this while a workflow runs; here it is found when the cell is defined,
with its line and what to write instead.

What is certainly wrong is an error; what may be right is a warning. A comment `# perdure: allow` on the line silences it.
Functions that the workflow uses are followed; in methods of captured classes, which may never be called, errors are warnings.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from perdure.authoring import names
from perdure.authoring.activity import Activity
from perdure.authoring.parts import Captured, Part
from perdure.authoring.rules import Rule, rule_for

ALLOW = "# perdure: allow"
_FILE_METHODS = {
    "read_text", "read_bytes", "write_text", "write_bytes", "iterdir", "mkdir", "rmdir", "unlink", "touch", "rglob",
}  # fmt: skip
_MUTATORS = {
    "append", "extend", "insert", "add", "update", "setdefault", "pop", "popitem", "remove", "discard", "clear",
    "appendleft", "popleft", "sort", "reverse",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Hazard:
    """Something that a workflow should not do.

    Attributes:
        level: "error" refuses the definition, "warning" is only shown.
        line: the line as the author knows it: `line 4: stamp = time.time()`.
        what: the offender, as it is written or named: "time.time()".
        why: half a sentence.
        remedy: what to write instead.
    """

    level: Literal["error", "warning"]
    line: str
    what: str
    why: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what} {self.why}.\n    {self.line}\n  → {self.remedy}"


def find_hazards(captured: Captured, activities: Iterable[str] = ()) -> list[Hazard]:
    """The hazards of a captured workflow, in the order of its parts.

    Args:
        activities: names under which the module knows activities.
    """
    known = {name for part in captured.parts if part.role == "elsewhere" for name in part.names} | set(
        activities
    )
    known |= {name for name, value in captured.constants.items() if isinstance(value, Activity)}
    found: dict[tuple[str, str], Hazard] = {}
    for part in captured.parts:
        if part.role == "code" and part.text is not None:
            for hazard in _Search(captured, part, known).run():
                found.setdefault((hazard.line, hazard.what), hazard)
    return list(found.values())


class _Search(ast.NodeVisitor):
    def __init__(self, captured: Captured, part: Part, calls: set[str]) -> None:
        self._captured = captured
        self._part = part
        self._calls = calls
        self._found: list[Hazard] = []
        self._uses = {use.node: use for use in part.uses}
        self._class_depth = 0
        self._in_async = False
        self._is_workflow = captured.attribute.removesuffix("__workflow") in part.names
        self._sets: set[str] = set()

    def run(self) -> list[Hazard]:
        for statement in self._part.statements:
            self.visit(statement)
        written = names.uses(self._part.statements).global_writes
        for name, node in written:
            self._add(
                Rule("warning", "changes a variable of the module, which each run has for itself",
                     "Keep it in a local variable, or in an attribute of a @workflow.defn class."),
                node, f"global {name}",
            )  # fmt: skip
        return self._found

    # --- names and calls

    def visit_Call(self, node: ast.Call) -> None:
        full = self._meaning(node.func)
        rule = rule_for(full, node) if full else None
        if rule is not None:
            self._add(rule, node, f"{full}()")
            self._visit_arguments(node)
            return
        if isinstance(node.func, ast.Attribute):
            self._method(node, node.func)
        self.generic_visit(node)

    def _visit_arguments(self, node: ast.Call) -> None:
        """A forbidden call's arguments may hold others, but what it is merely given is part of the same mistake."""
        for item in [*node.args, *(keyword.value for keyword in node.keywords)]:
            if not isinstance(item, ast.Name | ast.Attribute):
                self.visit(item)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        full = self._meaning(node)
        rule = rule_for(full, None) if full else None
        if rule is not None:
            self._add(rule, node, full)
            return
        inner: ast.expr = node
        while isinstance(inner, ast.Attribute):
            inner = inner.value
        if not isinstance(inner, ast.Name):  # of a dotted name, only the whole counts
            self.visit(inner)

    def visit_Name(self, node: ast.Name) -> None:
        full = self._meaning(node)
        rule = rule_for(full, None) if full else None
        if rule is not None:
            self._add(rule, node, full)

    def _meaning(self, node: ast.expr) -> str:
        """What an expression names: "datetime.datetime.now"; "" when it is not known."""
        path: list[str] = []
        while isinstance(node, ast.Attribute):
            path.append(node.attr)
            node = node.value
        if isinstance(node, ast.Call) and path:  # Path("x").read_text, requests.Session().get
            made = self._meaning(node.func)
            return ".".join([f"{made}()", *reversed(path)]) if made else ""
        use = self._uses.get(node) if isinstance(node, ast.Name) else None
        if use is None:
            return ""
        own = use.imported or self._captured.meaning.get(use.name, "")
        if not own and use.name in names.BUILTINS and not self._bound(use.name):
            own = f"builtins.{use.name}"
        return ".".join([own, *reversed(path)]) if own else ""

    def _bound(self, name: str) -> bool:
        return any(name in part.names for part in self._captured.parts)

    def _method(self, node: ast.Call, func: ast.Attribute) -> None:
        name = func.value.id if isinstance(func.value, ast.Name) and func.value in self._uses else ""
        if func.attr in _FILE_METHODS:
            self._add(
                Rule("warning", "looks like work on a file", "Do it in an activity."),
                node,
                f"{ast.unparse(func)}()",
            )
        elif func.attr in _MUTATORS and self._is_container(name):
            self._mutation(node, name)

    # --- state of the module

    def _is_container(self, name: str) -> bool:
        if isinstance(self._captured.constants.get(name), dict | list | set | bytearray):
            return True
        for part in self._captured.parts:
            for statement in part.statements if name in part.names and part.role == "code" else ():
                value = statement.value if isinstance(statement, ast.Assign | ast.AnnAssign) else None
                if isinstance(
                    value, ast.Dict | ast.List | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp
                ):
                    return True
        return False

    def _mutation(self, node: ast.AST, name: str) -> None:
        self._add(
            Rule(
                "warning",
                "changes a variable of the module; each run has its own copy, and the notebook does not see it",
                "Use a local variable, or return the value.",
            ),
            node,
            name,
        )

    def _stores(self, targets: Iterable[ast.expr]) -> None:
        for target in targets:
            if isinstance(target, ast.Subscript | ast.Attribute) and isinstance(target.value, ast.Name):
                name = target.value.id
                if target.value in self._uses and (
                    isinstance(target, ast.Subscript) or self._is_container(name)
                ):
                    self._mutation(target, name)

    def visit_Assign(self, node: ast.Assign) -> None:
        self._stores(node.targets)
        self._note_set(node.targets, node.value)
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._stores([node.target])
        self.generic_visit(node)

    def visit_Delete(self, node: ast.Delete) -> None:
        self._stores(node.targets)
        self.generic_visit(node)

    # --- order of sets

    def _note_set(self, targets: Iterable[ast.expr], value: ast.expr) -> None:
        for target in targets:
            if isinstance(target, ast.Name):
                (self._sets.add if self._is_set(value) else self._sets.discard)(target.id)

    def _is_set(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Set | ast.SetComp):
            return True
        if isinstance(node, ast.Call):
            return self._meaning(node.func) in ("builtins.set", "builtins.frozenset")
        return isinstance(node, ast.Name) and (
            node.id in self._sets or isinstance(self._captured.constants.get(node.id), set | frozenset)
        )

    def _iterates(self, node: ast.expr) -> None:
        if self._is_set(node):
            self._add(
                Rule(
                    "warning", "is a set, whose order differs between processes", "Iterate over sorted(...)."
                ),
                node,
                ast.unparse(node),
            )

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self._iterates(node.iter)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        self._iterates(node.iter)
        self.generic_visit(node)

    # --- calls that nobody awaits

    def visit_Expr(self, node: ast.Expr) -> None:
        self._needs_await(node.value, "is not awaited, so it never happens")
        self.generic_visit(node)

    def visit_Return(self, node: ast.Return) -> None:
        if self._in_async and node.value is not None:  # a plain function may return what its caller awaits
            self._needs_await(node.value, "is returned without its result being awaited", "return ")
        self.generic_visit(node)

    def _needs_await(self, call: ast.expr, why: str, before: str = "") -> None:
        if not isinstance(call, ast.Call):
            return
        named = isinstance(call.func, ast.Name) and call.func.id in self._calls
        if named or self._meaning(call.func) == "asyncio.sleep":
            what = f"{ast.unparse(call.func)}(...)"
            self._add(Rule("error", why, f"Write `{before}await {ast.unparse(call)}`."), call, what)

    # --- where it stands

    def visit_With(self, node: ast.With) -> None:
        """What stands under `workflow.unsafe.sandbox_unrestricted()` was written on purpose."""
        if not any(ast.unparse(item.context_expr).endswith("sandbox_unrestricted()") for item in node.items):
            self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._class_depth += 1
        self.generic_visit(node)
        self._class_depth -= 1

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        outer, self._sets = self._sets, set(self._sets)
        around, self._in_async = self._in_async, isinstance(node, ast.AsyncFunctionDef)
        for item in [*node.decorator_list, node.args, *node.body]:  # not the annotations
            self.visit(item)
        self._sets, self._in_async = outer, around

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_arg(self, node: ast.arg) -> None:
        """An annotation does nothing."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._stores([node.target])
        if node.value is not None:
            self._note_set([node.target], node.value)
            self.visit(node.value)

    def _add(self, rule: Rule, node: ast.AST, what: str) -> None:
        text, line = self._part.text, getattr(node, "lineno", 1)
        assert text is not None
        lines = text.source.splitlines()
        end = getattr(node, "end_lineno", line) or line
        if any(ALLOW in item for item in lines[line - 1 : end]):
            return
        level = "warning" if self._class_depth and not self._is_workflow else rule.level
        shown = what.replace("builtins.", "")
        self._found.append(Hazard(level, text.quote(line), shown, rule.why, rule.remedy))
