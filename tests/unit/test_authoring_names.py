"""Which names a piece of source takes from its surroundings."""

from __future__ import annotations

import ast
import random
import symtable
import sys
import sysconfig
from pathlib import Path
from textwrap import dedent

import pytest

from perdure.authoring.names import MODULE_ATTRIBUTES, Use, bound, uses


def found(source: str, deferred: bool = False) -> list[Use]:
    return uses(ast.parse(dedent(source)).body, deferred_annotations=deferred).uses


def eager(source: str) -> set[str]:
    return {use.name for use in found(source) if use.eager}


def lazy(source: str) -> set[str]:
    return {use.name for use in found(source) if not use.eager}


def test_a_body_is_lazy_and_what_surrounds_it_is_eager() -> None:
    source = """
        @retry(TIMES)
        def charge(order: Order, fee=FEE) -> Receipt:
            return pay(order, fee, RATE)
    """
    assert eager(source) == {"retry", "TIMES", "Order", "FEE", "Receipt"}
    assert lazy(source) == {"pay", "RATE"}


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("def f(a, *b, c=1, **d):\n    e = a\n    return b, c, d, e", set()),
        ("def f():\n    for a, (b, *c) in d: print(a, b, c)", {"d", "print"}),
        ("def f():\n    with a as b: return b", {"a"}),
        ("def f():\n    try: a()\n    except b as c: raise c", {"a", "b"}),
        ("def f():\n    return [a for a in b if a > c]", {"b", "c"}),
        ("def f():\n    return [a for b in c for a in b]", {"c"}),
        ("def f():\n    if (a := b) > 1: return a", {"b"}),
        ("def f():\n    [(last := a) for a in b]\n    return last", {"b"}),
        ("def f():\n    def g(): return a\n    a = b\n    return g", {"b"}),
        ("def f():\n    a = 1\n    def g():\n        nonlocal a\n        a = b\n    return g", {"b"}),
        ("def f():\n    global a\n    a = 1\n    return a", {"a"}),
        ("def f():\n    a: b = c\n    return a", {"c"}),
        (
            "def f(x):\n    match x:\n        case A(y=[b, *c], z={'k': d, **e}) | B() as g: return b, c, d, e, g",
            {"A", "B"},
        ),
        ("f = lambda a, b=c: a + b + d", {"c", "d"}),
        ("def f():\n    del a\n    return a", set()),
        ("async def f():\n    async with a() as b:\n        async for c in b: yield c", {"a"}),
        ("def f():\n    class A(B):\n        x = y\n    return A", {"B", "y"}),
        ("class A:\n    x = 1\n    def f(self): return x", {"x"}),
        ("class A:\n    x = 1\n    y = x + z", {"z"}),
        ("class A:\n    def f(self): return super().f() + __class__.n", {"super"}),
        ("x = f'{a!r:{b}}'", {"a", "b"}),
    ],
)
def test_scoping(source: str, names: set[str]) -> None:
    assert {use.name for use in found(source)} == names


def test_annotations_in_strings_are_read() -> None:
    source = (
        "def f(a: 'list[Order] | None', b: Literal['x'], c: Annotated['D', 'not code']) -> 'Receipt': ..."
    )
    names = {use.name for use in found(source)}
    assert names == {"list", "Order", "Literal", "Annotated", "D", "Receipt"}
    assert {use.name for use in found(source) if use.tolerant} == {"list", "Order", "D", "Receipt"}


def test_deferred_annotations_may_name_what_is_not_there() -> None:
    assert [use.tolerant for use in found("def f(a: Order): ...", deferred=True)] == [True]
    assert [use.tolerant for use in found("def f(a: Order): ...")] == [False]


def test_a_class_body_may_take_the_modules_name_before_its_own() -> None:
    (use,) = [use for use in found("class A:\n    date: date = None") if use.name == "date"]
    assert use.tolerant and use.eager


def test_what_is_taken_from_a_name() -> None:
    assert [use.attributes for use in found("x = np.linalg.norm(a.b)")] == [("linalg", "norm"), ("b",)]


def test_an_import_in_a_function_says_what_it_imported() -> None:
    source = "def f():\n    import time as t\n    from random import choice\n    return t.sleep(1), choice"
    assert {use.name: use.imported for use in found(source)} == {"t": "time", "choice": "random.choice"}


def test_a_name_that_is_imported_and_assigned_is_not_known() -> None:
    assert found("def f():\n    import time\n    time = 3\n    return time") == []


def test_functions_that_assign_globals() -> None:
    names = uses(ast.parse("def f():\n    global a, b\n    a = b").body)
    assert [name for name, _ in names.global_writes] == ["a"]


def test_what_statements_bind() -> None:
    source = "import a.b, c as d\nfrom e import f as g\nx, [y, *z] = 1, [2]\nfor i in x: j = i\nwith x as k: pass\nclass L: m = 1\nx[0] = n"
    names = {name for name, _ in bound(ast.parse(source).body)}
    assert names == {"a", "d", "g", "x", "y", "z", "i", "j", "k", "L"}


@pytest.mark.skipif(sys.version_info < (3, 12), reason="type parameters are Python 3.12's")
def test_type_parameters_are_bound() -> None:
    source = "def f[T: Bound](a: T) -> T: ...\nclass A[U](Base[U]): ...\ntype P[V] = list[V] | Q"
    assert {use.name for use in found(source)} == {"Bound", "Base", "list", "Q"}


@pytest.mark.skipif(
    sys.version_info >= (3, 12), reason="3.12's table mixes comprehensions into their surroundings"
)
def test_agrees_with_pythons_own_symbol_table() -> None:
    """On a sample of the standard library: the compiler's view of which names are global is ours."""
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    local_annotations_only = {"poplib.py"}  # the symbol table counts annotations that are never evaluated
    for file in random.Random(7).sample(
        [file for file in files if file.name not in local_annotations_only], 25
    ):
        text = file.read_text()
        own = uses(ast.parse(text).body).uses
        expected = _globals(symtable.symtable(text, file.name, "exec"))
        assert expected - MODULE_ATTRIBUTES <= {use.name for use in own if not use.imported}, file
        assert {use.name for use in own if not use.imported and not use.tolerant} <= expected, file


def _globals(table: symtable.SymbolTable) -> set[str]:
    names = {
        symbol.get_name()
        for symbol in table.get_symbols()
        if symbol.is_referenced() and (table.get_type() == "module" or symbol.is_global())
    }
    return names.union(*map(_globals, table.get_children()))
