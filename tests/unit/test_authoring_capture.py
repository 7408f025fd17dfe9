"""What a cell uses from the notebook goes with it, or is refused with its name, its line and a remedy."""

from __future__ import annotations

import inspect
import pickle
import sys
import traceback
from typing import Any

import pandas as pd
import pytest
from authoring_notebook import Book, book, call, source

from perdure.authoring.activity import Activity
from perdure.authoring.registry import Registry, registry
from perdure.errors import DefinitionError

__all__ = ["book"]


def refusal(book: Book, kind: str, text: str) -> str:
    before = set(book.names)
    with pytest.raises(DefinitionError) as caught:
        book.define(kind, text)
    assert set(book.names) == before, "a refused cell leaves nothing behind"
    return str(caught.value)


def test_imports_functions_classes_and_constants_come_along(book: Book) -> None:
    book.run(
        """
        import json as j
        import datetime as dt
        import os.path
        from collections import OrderedDict as Ordered
        from dataclasses import dataclass, field
        from decimal import Decimal

        RATE = Decimal("0.2")

        @dataclass
        class Line:
            name: str

        @dataclass
        class Order:
            id: int
            lines: list[Line] = field(default_factory=list)

        DEFAULT = Order(1, [Line("a")])

        def fee(order: Order) -> Decimal:
            return RATE * order.id
        """
    )
    defined = book.activity(
        """
        def charge(order: Order = DEFAULT, day: "dt.date | None" = None) -> str:
            return j.dumps(Ordered(fee=str(fee(order)), lines=[line.name for line in order.lines], base=os.path.basename("a/b")))
        """
    )
    assert call(defined) == '{"fee": "0.2", "lines": ["a"], "base": "b"}'
    module = sys.modules[defined.registered[0].definition.module]
    assert module.Order is not book.names["Order"]
    assert module.Order(2).__module__ == module.__name__


def test_only_what_is_used_comes_along(book: Book) -> None:
    book.run("import json, csv\nA = 1\nB = 2\ndef unused(): return B\ndef used(): return A")
    text = source(book.activity("def charge():\n    return json.dumps(used())"))
    assert "import json" in text and "csv" not in text and "B = 2" not in text and "unused" not in text


def test_the_same_text_twice_is_one_version_and_another_is_another(book: Book) -> None:
    book.run("RATE = 2\ndef fee(x):\n    return x * RATE")
    first = book.activity("def charge(x):\n    return fee(x)")
    again = book.activity('def charge(x):\n    """Doc."""\n    # a comment\n    return fee( x )')
    assert first.registered[0].definition.version == again.registered[0].definition.version
    assert first.changed and not again.changed
    book.run("RATE = 3")
    other = book.activity("def charge(x):\n    return fee(x)")
    assert other.registered[0].definition.version != first.registered[0].definition.version
    assert call(first, 2) == 4 and call(other, 2) == 6


def test_an_activitys_options_are_part_of_its_version_and_a_workflows_are_not(book: Book) -> None:
    def version(kind: str, text: str, **options: Any) -> str:
        return book.define(kind, text, **options).registered[0].definition.version

    activity, workflow = "def charge(x): return x", "async def payment(x): return x"
    assert version("activity", activity, timeout="1s") != version("activity", activity, timeout="2s")
    assert version("workflow", workflow, run_timeout="1s") == version("workflow", workflow, run_timeout="2s")


def test_changing_an_activity_makes_no_new_version_of_its_workflows(book: Book) -> None:
    workflow = "async def payment(x):\n    return await charge(x)"
    book.activity("def charge(x: int) -> int: return x", timeout="5s")
    first = book.workflow(workflow)
    book.activity("def charge(x: int) -> int: return x + 1", timeout="9s", retries=3)
    again = book.workflow(workflow)
    assert first.registered[0].definition.version == again.registered[0].definition.version
    assert "x + 1" not in source(again)


def test_an_activity_that_calls_another_one_has_its_source(book: Book) -> None:
    book.activity("def fee(x: int) -> int: return x * 2")
    defined = book.activity("def charge(x: int) -> int: return fee(x) + 1")
    assert call(defined, 3) == 7


def test_decorators_closures_comprehensions_and_bases_in_the_right_order(book: Book) -> None:
    book.run(
        """
        import functools
        STEP = 10
        def scale():
            return STEP
        def scaled(function):
            factor = scale()
            @functools.wraps(function)
            def inner(*args):
                return function(*args) * factor
            return inner
        class Base:
            def name(self):
                return late()
        def late():
            return type(Thing()).__name__
        class Thing(Base):
            pass
        @scaled
        def helper(x, step=scale()):
            return sum(y + step for y in range(x))
        """
    )
    defined = book.activity("@scaled\ndef charge(x):\n    return helper(x), Thing().name()")
    assert call(defined, 1)[:2] == (100, "Thing")


def test_functions_that_call_each_other(book: Book) -> None:
    book.run(
        """
        def even(n): return True if n == 0 else odd(n - 1)
        def odd(n): return False if n == 0 else even(n - 1)
        """
    )
    assert call(book.activity("def check(n): return even(n)"), 7) is False


def test_type_aliases_enums_named_tuples_partials_and_lambdas(book: Book) -> None:
    book.run(
        """
        import enum, functools, typing
        from typing import NamedTuple, Optional, TypeVar
        from collections import namedtuple
        T = TypeVar("T")
        class Colour(enum.Enum):
            RED = 1
        Alias = Optional[Colour]
        Listed = list[Colour]
        Point = namedtuple("Point", "x y")
        class Named(NamedTuple):
            x: int
        ORIGIN = Point(0, 0)
        PICK = {Colour.RED: Named(3)}
        double = lambda x: x * 2
        def add(a, b): return a + b
        plus = functools.partial(add, 1)
        other = add
        """
    )
    defined = book.activity(
        """
        def charge(c: Alias, t: Optional[T] = None, l: Listed = ()) -> list:
            return [ORIGIN.x, PICK[Colour.RED].x, double(2), plus(3), other(1, 1), typing.cast(int, 5)]
        """
    )
    assert call(defined, None) == [0, 3, 4, 4, 2, 5]


def test_a_cells_own_helpers_imports_and_constants(book: Book) -> None:
    defined = book.activity(
        """
        import json
        try:
            import nothing_like_this as fast
        except ImportError:
            import string as fast
        LIMIT, NAME = 3, "n"

        def _fee(x):
            return x * LIMIT

        def charge(x):
            return json.dumps([_fee(x), NAME, fast.digits])
        """
    )
    assert call(defined, 2) == '[6, "n", "0123456789"]'
    assert isinstance(book.names["charge"], Activity)
    assert book.names["_fee"](2) == 6 and book.names["json"] and book.names["LIMIT"] == 3


def test_every_public_function_of_an_activity_cell_is_an_activity(book: Book) -> None:
    defined = book.activity(
        """
        import contextlib
        @contextlib.contextmanager
        def step(): yield 1
        def numbers(): yield 1
        def _helper(): return 2
        def one(): return _helper()
        async def two(): return 2
        """
    )
    assert [item.definition.name for item in defined.registered] == ["one", "two"]


def test_every_public_coroutine_of_a_workflow_cell_is_a_workflow(book: Book) -> None:
    defined = book.workflow(
        "def plain(): return 1\nasync def _helper(): return plain()\nasync def flow(): return await _helper()"
    )
    assert [item.definition.name for item in defined.registered] == ["flow"]


def test_decorated_definitions_are_the_cells_only_ones(book: Book) -> None:
    defined = book.workflow(
        """
        import perdure
        from temporalio import activity, workflow

        @perdure.activity(timeout="3s", name="Charge")
        def charge(x: int) -> int: return x

        @activity.defn(name="Send")
        def send(x: int) -> int: return x

        @workflow.defn
        class Pay:
            @workflow.run
            async def run(self, x: int) -> int: return await charge(x)

        async def helper(): ...
        """
    )
    found = {(item.definition.kind, item.definition.name) for item in defined.registered}
    assert found == {("activity", "Charge"), ("activity", "Send"), ("workflow", "Pay")}
    charge = next(item for item in defined.registered if item.definition.name == "Charge")
    assert charge.definition.options == '{"name": "Charge", "timeout": "3s"}'


def test_a_workflow_class_defined_in_another_cell_comes_as_its_signature(book: Book) -> None:
    cell = """
        from temporalio import workflow
        @workflow.defn
        class Child:
            def __init__(self): self.n = {}
            @workflow.run
            async def run(self, x: int) -> int: return x + self.n
            @workflow.signal
            def add(self, n: int) -> None: self.n += n
            def helper(self): return 1
    """
    parent = "async def parent() -> int: return await workflow.execute_child_workflow(Child.run, 1)"
    book.workflow(cell.format(1))
    first = book.workflow(parent)
    book.workflow(cell.format(2))
    again = book.workflow(parent)
    assert first.registered[0].definition.version == again.registered[0].definition.version
    assert "def add(self, n: int)" in source(again) and "helper" not in source(again)


def test_asyncio_and_temporals_modules_are_there_without_an_import(book: Book) -> None:
    text = source(book.workflow("async def flow():\n    await asyncio.sleep(1)\n    return workflow.now()"))
    assert "import asyncio" in text and "from temporalio import workflow" in text


def test_third_party_imports_pass_through_the_sandbox_and_standard_ones_do_not(book: Book) -> None:
    book.run("import pandas as pd\nimport json")
    text = source(book.workflow("async def flow(): return json.dumps(list(pd.Index([1])))"))
    through = text.partition("with _sandbox.imports_passed_through():")
    assert "import json" in through[0] and "    import pandas as pd\n" in through[2]


@pytest.mark.parametrize(
    ("setup", "body", "what", "line", "remedy"),
    [
        ("import pandas as pd\ndf = pd.DataFrame()", "return df.sum()", "df, which is a pandas DataFrame in memory",
         "line 3: return df.sum()", "Load it in an activity"),
        ("f = open('/dev/null')\nf.close()", "f.write('x')", "f, which is an open file (/dev/null)", "line 3: f.write('x')",
         "Open it inside an activity"),
        ("import sqlite3\ndb = sqlite3.connect(':memory:')\ndb.close()", "db.execute('x')",
         "db, which is an open connection (Connection)", "line 3:", "Open it inside the activity"),
        ("import threading\nlock = threading.Lock()", "with lock: pass", "lock, which is a lock of this process", "line 3:", ""),
        ("rows = (x for x in [1])", "return list(rows)", "rows, which is a generator", "line 3:", "Make it a list"),
        ("class Thing: pass\nthing = Thing()", "return thing", "thing, which is an instance of Thing", "line 3:",
         "make the class a dataclass"),
        ("def maker(n):\n    def made(): return n\n    return made\nmade = maker(1)", "return made()",
         "made, which is a function made inside another one (maker.<locals>.made)", "line 3:", "at the top level"),
        ("pick = eval('lambda: 1')", "return pick()", "pick, which is a lambda whose source is not known", "line 3:", "with def"),
        ("big = 'x' * 100_000", "return big", "big, which is too big", "line 3:", "Write it to a file"),
        ("class Thing:\n    def go(self): pass\ngo = Thing().go", "return go()", "go, which is a method of Thing object",
         "line 3:", "Create the object inside"),
        ("", "return nowhere + 1", "nowhere, which is not defined in the notebook", "line 3: return nowhere + 1",
         "Run the cell that defines nowhere first."),
        ("", "return math.pi", "math, which is not defined", "line 3:", "or write `import math`"),
        ("import types\nmade = types.ModuleType('made')", "return made.x", "made, which is a module that was not imported",
         "line 3:", ".py file"),
    ],
)  # fmt: skip
def test_what_cannot_last_is_refused(
    book: Book, setup: str, body: str, what: str, line: str, remedy: str
) -> None:
    book.run(setup)
    message = refusal(book, "activity", f"def charge():\n    {body}\n")
    assert "activity charge uses " + what in message and line in message and remedy in message


def test_a_refusal_in_a_helper_names_the_helper_and_its_cell(book: Book) -> None:
    book.run("import pandas as pd\ndf = pd.DataFrame()")
    book.run("\ndef total():\n    return df.sum()")
    message = refusal(book, "activity", "def charge(): return total()")
    assert (
        "df, which is a pandas DataFrame in memory (in total)" in message
        and "In [2], line 3: return df.sum()" in message
    )


def test_statements_that_do_something_are_refused(book: Book) -> None:
    message = refusal(book, "activity", "def charge(): ...\ncharge()")
    assert "line 3: charge()" in message and "cell of its own" in message


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("workflow", "def flow(): ...", "Write `async def flow`."),
        ("workflow", "x = 1", "defines no workflow"),
        ("activity", "def _helper(): ...", "defines no activity"),
        ("activity", "def rows():\n    yield 1", "activity rows is a generator"),
        ("activity", "def charge(*, fee): ...", "Remove the * before it"),
        ("activity", "def charge(**fees): ...", "Take a dict or a dataclass"),
        ("activity", "def charge(x: Missing): ...", "Missing, which is not defined"),
        ("activity", "x = 1 / 0\ndef charge(): return x", "ZeroDivisionError"),
    ],
)
def test_cells_that_define_nothing_useful_are_refused(book: Book, kind: str, text: str, message: str) -> None:
    assert message in refusal(book, kind, text)


def test_an_instance_of_an_older_class_is_refused(book: Book) -> None:
    declare = "from dataclasses import dataclass\n@dataclass\nclass Order:\n    id: int\n"
    book.run(declare + "order = Order(1)")
    book.run(declare)
    assert "an earlier definition of Order" in refusal(book, "activity", "def charge(): return order")


def test_a_secret_that_is_captured_is_mentioned(book: Book) -> None:
    book.run("API_TOKEN = 'abc'")
    (warning,) = book.activity("def charge(): return API_TOKEN").warnings
    assert "API_TOKEN" in warning and "os.environ" in warning


def test_tracebacks_getsource_and_pickle_work_on_the_captured_module(book: Book) -> None:
    book.run("class Thing:\n    def twice(self, x): return x * 2")
    defined = book.activity("def charge(x):\n    thing = Thing()  # here\n    return thing.twice(1) / x")
    target: Any = defined.registered[0].target
    try:
        target(0)
    except ZeroDivisionError as error:
        lines = traceback.format_exception(error)
    assert any("return thing.twice(1) / x" in line and "<perdure charge " in line for line in lines)
    assert "# here" in inspect.getsource(target)
    module = sys.modules[target.__module__]
    assert inspect.getsource(module.Thing).startswith("class Thing")
    assert inspect.getsourcefile(target) == inspect.getsourcefile(module.Thing) == module.__file__
    assert pickle.loads(pickle.dumps(target)) is target
    assert isinstance(pickle.loads(pickle.dumps(module.Thing())), module.Thing)


def test_outside_a_workflow_the_notebooks_own_function_runs(book: Book) -> None:
    book.run("RATE = 2\nclass Order: pass")
    book.activity("def charge(order): return isinstance(order, Order), RATE")
    book.run("RATE = 3")
    assert book.names["charge"](book.names["Order"]()) == (True, 3)


def test_a_helpers_new_text_reaches_the_activities_that_use_it(book: Book) -> None:
    from perdure.authoring.cells import recapture

    book.run("def fee(x): return x")
    book.activity("def charge(x): return fee(x)", timeout="3s")
    book.activity("def other(x): return x")
    assert recapture(book.names).changed == ()
    book.run("def fee(x): return x * 10")
    (changed,) = recapture(book.names).changed
    assert changed.definition.name == "charge" and changed.definition.options == '{"timeout": "3s"}'
    assert registry.current("activity", "charge") is changed
    target: Any = changed.target
    assert target(2) == 20
    assert recapture(book.names).changed == ()
    book.names["fee"] = pd.DataFrame()
    broken = recapture(book.names)
    assert broken.changed == () and "stays as it was defined" in broken.warnings[0]
    assert recapture(book.names).warnings == ()


def test_a_definition_loads_from_its_source_alone(book: Book) -> None:
    book.run("RATE = 2")
    definition = book.activity("def charge(x): return x * RATE").registered[0].definition
    target: Any = Registry().load(definition).target
    assert target(4) == 8


def test_an_odd_name_makes_a_module(book: Book) -> None:
    defined = book.activity("def charge(): return 1", name="pay/charge now")
    assert defined.registered[0].definition.module.startswith("perdure_cells.pay_charge_now_")
    assert call(defined) == 1


def test_registered_implementations_of_a_generic_function(book: Book) -> None:
    book.run(
        """
        from functools import singledispatch
        @singledispatch
        def show(x): return "any"
        @show.register
        def _(x: int): return "int"
        @show.register
        def _(x: str): return "str"
        """
    )
    assert call(book.activity("def charge(): return [show(x) for x in (1, 'a', 2.0)]")) == [
        "int",
        "str",
        "any",
    ]


def test_a_table_of_functions_comes_as_its_text(book: Book) -> None:
    book.run("def double(x): return x * 2\nTABLE = {'double': double, 'same': lambda x: x}")
    assert call(book.activity("def charge(x): return TABLE['double'](x) + TABLE['same'](x)"), 2) == 6
    book.run("TABLE = {'made': (lambda n: lambda x: x + n)(3)}")
    assert "lambda whose source is not known" in refusal(book, "activity", "def charge(x): return TABLE")


def test_modules_that_need_no_import_are_bound_in_the_notebook_as_well(book: Book) -> None:
    book.activity("async def nap():\n    await asyncio.sleep(0)\n    return activity.in_activity()")
    assert book.names["asyncio"].run(book.names["nap"]()) is False


def test_module_variables_that_a_function_sets(book: Book) -> None:
    defined = book.activity("def charge():\n    global COUNT\n    COUNT = 4\n    return COUNT")
    assert call(defined) == 4


def test_a_missing_package_is_named(book: Book) -> None:
    message = refusal(
        book, "activity", "import no_such_package_here\ndef charge(): return no_such_package_here.x"
    )
    assert "%pip install no_such_package_here" in message


def test_overloads_and_conditional_definitions_stay_together(book: Book) -> None:
    book.run("try:\n    import no_such_package_here as js\nexcept ImportError:\n    import json as js")
    defined = book.activity(
        "if js:\n    def _dump(x): return js.dumps(x)\nelse:\n    def _dump(x): return None\ndef charge(x): return _dump(x)"
    )
    assert call(defined, [1]) == "[1]"
