"""Which names a piece of source takes from its surroundings, and where.

`uses(statements)` walks the tree with Python's scoping rules: locals, closures, comprehensions, class bodies, `global` and `nonlocal`,
annotations (those in strings, too), type parameters. Each use says whether it happens when the statement is executed
(a decorator, a default, a base class) or only when a function in it is called; what it defines must come first
in a module in the one case, and may come later in the other.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

MODULE_ATTRIBUTES = frozenset(
    {
        "__name__",
        "__file__",
        "__doc__",
        "__builtins__",
        "__spec__",
        "__package__",
        "__loader__",
        "__debug__",
        "__class__",
    }
)
BUILTINS = frozenset(dir(builtins))
_Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclass(frozen=True, slots=True)
class Use:
    """A name that is looked up outside the source.

    Attributes:
        eager: looked up while the statement is executed.
        tolerant: the code works when the name is missing: an annotation that nothing evaluates, or a class body's own name.
        attributes: what is taken from it: ("linalg", "norm") in `np.linalg.norm`.
        imported: what it names if a function's own import bound it, "time.sleep"; "" when it comes from outside.
    """

    name: str
    node: ast.Name
    eager: bool
    tolerant: bool
    attributes: tuple[str, ...] = ()
    imported: str = ""

    @property
    def line(self) -> int:
        return self.node.lineno


@dataclass(slots=True)
class Names:
    """What `uses` found: the uses in the order of the text, and the module-level names that functions assign."""

    uses: list[Use] = field(default_factory=list)
    global_writes: list[tuple[str, ast.Global]] = field(default_factory=list)


def uses(statements: Iterable[ast.stmt], *, deferred_annotations: bool = False) -> Names:
    """The names that statements at the top level of a module look up in it.

    Args:
        deferred_annotations: the source has `from __future__ import annotations`.
    """
    walk = _Walk(deferred_annotations)
    walk.visit_all(statements)
    walk.found.uses.sort(key=lambda use: (use.node.lineno, use.node.col_offset))
    return walk.found


def bound(statements: Iterable[ast.AST]) -> Iterator[tuple[str, ast.AST]]:
    """The names that statements bind in their own scope, with the node that binds each."""
    for statement in statements:
        yield from _bound(statement)


def imports(statement: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, str]]:
    """The names that an import binds, each with what it names: ("sleep", "time.sleep"). `import a.b` binds a, as "a"."""
    for alias in statement.names:
        if isinstance(statement, ast.ImportFrom):
            yield alias.asname or alias.name, f"{'.' * statement.level}{statement.module or ''}.{alias.name}"
        elif alias.asname:
            yield alias.asname, alias.name
        else:
            top = alias.name.partition(".")[0]
            yield top, top


def _bound(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield node.name, node
            yield from bound([*node.decorator_list, *_outer_parts(node)])
        case ast.Lambda():
            yield from bound(_defaults(node.args))
        case ast.Import() | ast.ImportFrom():
            for name, _ in imports(node):
                yield name, node
        case ast.Name(ctx=ast.Store() | ast.Del()):
            yield node.id, node
        case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
            for child in ast.walk(node):  # a comprehension's own names stay inside it, but := reaches out
                if isinstance(child, ast.NamedExpr) and isinstance(child.target, ast.Name):
                    yield child.target.id, child
        case ast.ExceptHandler() | ast.MatchAs() | ast.MatchStar() if node.name:
            yield node.name, node
            yield from bound(ast.iter_child_nodes(node))
        case ast.MatchMapping() if node.rest:
            yield node.rest, node
            yield from bound(ast.iter_child_nodes(node))
        case _:
            yield from bound(ast.iter_child_nodes(node))


def _outer_parts(node: _Function | ast.ClassDef) -> list[ast.expr]:
    if isinstance(node, ast.ClassDef):
        return [*node.bases, *(keyword.value for keyword in node.keywords)]
    return _defaults(node.args)


def _defaults(args: ast.arguments) -> list[ast.expr]:
    return [*args.defaults, *(default for default in args.kw_defaults if default is not None)]


def _all_args(args: ast.arguments) -> list[ast.arg]:
    rest = [arg for arg in (args.vararg, args.kwarg) if arg is not None]
    return [*args.posonlyargs, *args.args, *args.kwonlyargs, *rest]


@dataclass(slots=True)
class _Scope:
    kind: str  # module, class, function
    eager: bool
    names: set[str] = field(default_factory=set)
    globals: set[str] = field(default_factory=set)
    first: dict[str, int] = field(default_factory=dict)  # of a class: the line where it first binds a name
    imported: dict[str, str] = field(default_factory=dict)


class _Walk(ast.NodeVisitor):
    def __init__(self, deferred_annotations: bool) -> None:
        self.found = Names()
        self._scopes = [_Scope("module", eager=True)]
        self._deferred = deferred_annotations
        self._in_annotation = False
        self._chains: dict[ast.Name, tuple[str, ...]] = {}

    def visit_all(self, nodes: Iterable[ast.AST | None]) -> None:
        for node in nodes:
            if node is not None:
                self.visit(node)

    # --- names

    def visit_Name(self, node: ast.Name) -> None:
        if not isinstance(node.ctx, ast.Load) or node.id in MODULE_ATTRIBUTES:
            return
        scope = self._scopes[-1]
        tolerant = self._in_annotation
        imported = ""
        if scope.kind == "class" and node.id in scope.names:
            if scope.first[node.id] < node.lineno:
                return
            tolerant = True  # a class body sees the module's name until it has bound its own
        else:
            owner = self._owner(node.id)
            if owner is not None:
                imported = owner.imported.get(node.id, "")
                if not imported:
                    return
        chain = self._chains.pop(node, ())
        self.found.uses.append(Use(node.id, node, scope.eager, tolerant, chain, imported))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        chain: list[str] = [node.attr]
        inner: ast.expr = node.value
        while isinstance(inner, ast.Attribute):
            chain.append(inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name) and inner not in self._chains:
            self._chains[inner] = tuple(reversed(chain))
        self.visit(node.value)

    def _owner(self, name: str) -> _Scope | None:
        """The function scope that binds `name`; None when it comes from the module."""
        current = self._scopes[-1]
        for scope in reversed(self._scopes[1:]):
            if scope.kind == "class" and scope is not current:
                continue
            if name in scope.globals:
                return None
            if scope.kind == "function" and name in scope.names:
                return scope
        return None

    # --- scopes

    def visit_FunctionDef(self, node: _Function) -> None:
        self.visit_all(node.decorator_list)
        self.visit_all(_defaults(node.args))
        with_parameters = self._type_parameters(node)
        for arg in _all_args(node.args):
            self._annotation(arg.annotation)
        self._annotation(node.returns)
        self._function(node.args, node.body)
        self._leave(with_parameters)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.visit_all(_defaults(node.args))
        self._function(node.args, [node.body])

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.visit_all(node.decorator_list)
        with_parameters = self._type_parameters(node)
        self.visit_all(_outer_parts(node))
        scope = _Scope("class", self._scopes[-1].eager)
        for name, child in bound(node.body):
            scope.names.add(name)
            scope.first.setdefault(name, getattr(child, "lineno", node.lineno))
        self._declarations(scope, node.body)
        self._scopes.append(scope)
        self.visit_all(node.body)
        self._scopes.pop()
        self._leave(with_parameters)

    def _function(self, args: ast.arguments, body: Sequence[ast.AST]) -> None:
        scope = _Scope("function", eager=False)
        scope.names = {arg.arg for arg in _all_args(args)}
        others: set[str] = set(scope.names)
        for name, node in bound(body):
            scope.names.add(name)
            if isinstance(node, ast.Import | ast.ImportFrom):
                scope.imported.update({own: full for own, full in imports(node) if own == name})
            else:
                others.add(name)
        for name in others:  # bound by more than an import: what it names is not known
            scope.imported.pop(name, None)
        self._declarations(scope, body)
        self._scopes.append(scope)
        self.visit_all(body)
        self._scopes.pop()

    def _declarations(self, scope: _Scope, body: Sequence[ast.AST]) -> None:
        assigned = set(scope.names)
        for node in _same_scope(body):
            if isinstance(node, ast.Global):
                scope.globals.update(node.names)
                scope.names.difference_update(node.names)
                self.found.global_writes.extend((name, node) for name in node.names if name in assigned)
            elif isinstance(node, ast.Nonlocal):
                scope.names.difference_update(node.names)

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> None:
        self.visit(node.generators[0].iter)
        scope = _Scope("function", self._scopes[-1].eager)
        scope.names = {name for part in node.generators for name, _ in bound([part.target])}
        self._scopes.append(scope)
        for index, part in enumerate(node.generators):
            self.visit_all([part.target, *([part.iter] if index else []), *part.ifs])
        self.visit_all([node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt])
        self._scopes.pop()

    visit_ListComp = _comprehension
    visit_SetComp = _comprehension
    visit_DictComp = _comprehension
    visit_GeneratorExp = _comprehension

    # --- annotations and type parameters

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if self._scopes[-1].kind != "function":  # Python never evaluates those of local variables
            self._annotation(node.annotation)
        self.visit_all([node.target, node.value])

    def _annotation(self, node: ast.expr | None) -> None:
        if node is None:
            return
        outer, self._in_annotation = self._in_annotation, self._in_annotation or self._deferred
        self._type_expression(node)
        self._in_annotation = outer

    def _type_expression(self, node: ast.expr) -> None:
        """Visits an annotation, reading strings in it as source; not those of Literal, and of Annotated the first part only."""
        if isinstance(node, ast.Subscript):
            self.visit(node.value)
            owner = ast.unparse(node.value).rpartition(".")[2]
            inner = node.slice
            if owner == "Annotated" and isinstance(inner, ast.Tuple) and inner.elts:
                self._type_expression(inner.elts[0])
                self.visit_all(inner.elts[1:])
            elif owner == "Literal":
                self.visit(inner)
            else:
                self._type_expression(inner)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            try:
                inner = ast.parse(node.value.strip(), mode="eval").body
            except SyntaxError:
                return
            for child in ast.walk(inner):
                ast.copy_location(child, node)
            outer, self._in_annotation = self._in_annotation, True
            self._type_expression(inner)
            self._in_annotation = outer
        elif isinstance(node, ast.Tuple | ast.List | ast.BinOp):
            for part in ast.iter_child_nodes(node):
                if isinstance(part, ast.expr):
                    self._type_expression(part)
        else:
            self.visit(node)

    def _type_parameters(self, node: ast.AST) -> bool:
        parameters = getattr(node, "type_params", None)
        if not parameters:
            return False
        self._scopes.append(_Scope("function", self._scopes[-1].eager, {item.name for item in parameters}))
        self.visit_all(getattr(item, "bound", None) for item in parameters)
        return True

    def _leave(self, entered: bool) -> None:
        if entered:
            self._scopes.pop()

    def visit_TypeAlias(self, node: ast.AST) -> None:
        entered = self._type_parameters(node)
        self.visit(node.value)  # type: ignore[attr-defined]
        self._leave(entered)


def _same_scope(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """The nodes of a body without those of functions and classes in it."""
    for node in nodes:
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            yield from _same_scope(ast.iter_child_nodes(node))
