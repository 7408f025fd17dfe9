"""Activities and workflows as objects: called, bound, registered."""

from __future__ import annotations

import asyncio
import importlib
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any

import pytest
import temporalio.activity
import temporalio.workflow
from authoring_notebook import Book, book

import perdure
from perdure.authoring import modules
from perdure.authoring.declaring import registered
from perdure.authoring.registry import Registered, Registry, registry, target_of
from perdure.authoring.signatures import by_position, received
from perdure.engine.records import Definition
from perdure.errors import CallError, DefinitionError, PerdureError

__all__ = ["book"]

SHOP = """
    from __future__ import annotations
    from dataclasses import dataclass
    from datetime import timedelta
    from temporalio import activity, workflow
    import perdure

    @dataclass
    class Order:
        id: int

    @perdure.activity(timeout="5s", retries=2)
    def charge(order: Order, fee: float = 0.5) -> str:
        return f"{order.id} {fee}"

    @perdure.activity
    async def send(order: Order) -> str:
        return "sent"

    @perdure.workflow(run_timeout="1h")
    async def payment(order: Order, note: str = "") -> str:
        return await charge(order)

    @activity.defn
    async def pack(n: int) -> int:
        return n

    @workflow.defn
    class Ship:
        @workflow.run
        async def run(self, n: int) -> int:
            return await workflow.execute_activity(pack, n, start_to_close_timeout=timedelta(seconds=5))
"""


@pytest.fixture
def shop(book: Book, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """An ordinary module with definitions, imported for the first time."""
    (tmp_path / "authoring_shop.py").write_text(dedent(SHOP))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("authoring_shop")
    del sys.modules["authoring_shop"]


def test_outside_a_workflow_an_activity_just_runs(shop: Any) -> None:
    assert shop.charge(shop.Order(3)) == "3 0.5"
    assert shop.charge(order=shop.Order(3), fee=1) == "3 1"
    assert asyncio.run(shop.send(shop.Order(3))) == "sent"
    assert shop.charge.__name__ == "charge" and shop.charge.__doc__ is None
    assert repr(shop.charge).startswith("<activity charge(order: ")


def test_start_of_an_activity_is_for_workflows(shop: Any) -> None:
    with pytest.raises(CallError, match=r"only a workflow can do.\n  → To try it out here, call charge"):
        shop.charge.start(shop.Order(1))


def test_outside_a_workflow_a_workflow_says_how_to_start_it(shop: Any) -> None:
    with pytest.raises(PerdureError) as caught:
        shop.payment(shop.Order(1))
    assert "payment.start(...)" in caught.value.remedy


def test_decorated_functions_of_modules_are_registered_without_a_version(shop: Any) -> None:
    charge, payment = registry.current("activity", "charge"), registry.current("workflow", "payment")
    assert charge is not None and payment is not None
    assert (charge.definition.module, charge.definition.version, charge.definition.source) == (
        "authoring_shop",
        "",
        "",
    )
    assert charge.definition.options == '{"retries": 2, "timeout": "5s"}'
    assert target_of(shop.payment) is payment.target is shop.payment__workflow
    assert Registry().load(payment.definition).target is payment.target
    assert Registry().load(charge.definition).target is charge.target


def test_temporals_own_definitions_are_registered_with_their_module(shop: Any) -> None:
    found = registered(shop.Ship)
    assert (found.definition.kind, found.definition.name, found.target) == ("workflow", "Ship", shop.Ship)
    assert registry.current("activity", "pack") is not None
    assert perdure.workflow(shop.Ship) is shop.Ship
    assert registry.current("workflow", "Ship") is not None


def test_options_of_a_call_and_of_a_redefinition(shop: Any) -> None:
    quick = shop.charge.options(timeout="1s")
    assert quick.current_options().to_json() == '{"retries": 2, "timeout": "1s"}'
    shop.charge.declared, before = shop.charge.declared.override({"timeout": "9s"}), shop.charge.declared
    assert shop.charge.current_options() == before, "the registry's options count, not those of an old object"
    with pytest.raises(DefinitionError, match="no option 'tiemout'"):
        shop.charge.options(tiemout=3)


def test_the_class_of_a_workflow_has_the_functions_signature(shop: Any) -> None:
    definition = temporalio.workflow._Definition.must_from_class(shop.payment.target)
    assert definition.name == "payment"
    assert definition.arg_types == [shop.Order, str] and definition.ret_type is str


def test_arguments_by_name_are_put_into_place(shop: Any) -> None:
    def function(a: int, b: int = 2, *rest: int, c: int = 3) -> None: ...

    assert by_position(function, (1,), {}) == [1]
    assert by_position(function, (), {"a": 1, "b": 5}) == [1, 5]
    assert by_position(function, (1, 2, 3, 4), {}) == [1, 2, 3, 4]
    assert by_position(shop.charge.function, (), {"fee": 1.0, "order": 2}) == [2, 1.0]
    with pytest.raises(
        CallError, match=r"missing a required argument: 'order'.\n  → It is charge\(order"
    ) as caught:
        by_position(shop.charge.function, (), {"fee": 1})
    assert isinstance(caught.value, TypeError), "as Python would raise"


def test_arguments_that_leave_out_defaults_keep_their_types(shop: Any) -> None:
    assert shop.charge.target({"id": 4}) == "4 0.5"
    assert received(shop.charge.function, [{"id": 4}, 1.5]) == [{"id": 4}, 1.5], "the SDK has converted these"

    def many(*orders: Any) -> None: ...

    many.__annotations__["orders"] = shop.Order
    assert received(many, [{"id": 1}, {"id": 2}]) == [shop.Order(1), shop.Order(2)]


def test_start_goes_through_the_session_with_arguments_in_place(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(
        perdure, "start", lambda *args, **options: calls.append((args, options)), raising=False
    )
    shop.payment.start(shop.Order(1), note="x", id="p", run_timeout="2h")
    shop.payment.options(task_queue="q").start(shop.Order(1))
    assert calls[0] == ((shop.payment, shop.Order(1), "x"), {"id": "p", "run_timeout": "2h"})
    assert calls[1][1] == {"task_queue": "q"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("@perdure.workflow\ndef flow(): ...", "Write `async def flow`."),
        ("@perdure.workflow\nasync def flow(): yield 1", "is a generator"),
        ("@perdure.activity\ndef step(): yield 1", "Return a list"),
        ("@perdure.activity\ndef step(*, x): ...", "Remove the \\* before it"),
        ("class A:\n    @perdure.activity\n    def step(self): ...", "is a method"),
        ("perdure.activity(print)", "not a function"),
        ("@perdure.workflow\nclass Flow: ...", "without @workflow.defn"),
        ("def f():\n    @perdure.workflow\n    async def flow(): ...\nf()", "inside another function"),
        ("@perdure.activity\ndef step(x: 'Nothing'): ...", "annotations cannot be resolved: NameError"),
        ("@perdure.activity(timeout='soon')\ndef step(): ...", "'soon' is not a duration"),
    ],
)
def test_functions_that_cannot_be_definitions_are_refused(text: str, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        exec(text, {"perdure": perdure, "__name__": __name__})


def test_the_registry_tells_of_what_becomes_current() -> None:
    own, told = Registry(), list[Registered]()
    stop = own.on_change(told.append)
    first, second = (
        Registered(Definition("activity", "charge", version, "m", "charge", ""), print)
        for version in ("a", "b")
    )
    own.add(first)
    own.add(second)
    stop()
    own.add(first)
    stop()
    assert told == [first, second]
    assert own.current("activity", "charge") is first and own.find("activity", "charge", "b") is second
    assert own.all() == [first, second] and own.current("workflow", "charge") is None


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        (Definition("activity", "a", "", "no_such_module_here", "a", ""), "Install it, or add its folder"),
        (Definition("activity", "a", "", "json", "nothing", ""), "it has no 'nothing'"),
        (Definition("activity", "a", "1", "perdure_cells.a_1", "a", ""), "has no source"),
        (
            Definition("activity", "a", "1", "perdure_cells.a_2", "a", "import not_installed_here"),
            "Install not_installed_here",
        ),
        (Definition("activity", "a", "1", "perdure_cells.a_3", "a", "1 / 0"), "ZeroDivisionError"),
    ],
)
def test_a_definition_that_cannot_be_loaded_says_what_is_missing(
    definition: Definition, message: str
) -> None:
    with pytest.raises(DefinitionError) as caught:
        Registry().load(definition)
    assert message in str(caught.value)


def test_cell_modules_are_found_by_every_import() -> None:
    modules.register("perdure_cells.shelf_1", "class A:\n    x = 1\n")
    first = importlib.import_module("perdure_cells.shelf_1")
    modules.register("perdure_cells.shelf_1", "class A:\n    x = 1\n")
    assert importlib.import_module("perdure_cells.shelf_1") is first
    assert pickle.loads(pickle.dumps(first.A)) is first.A
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("perdure_cells.nothing_2")


def test_importing_perdure_imports_no_temporal() -> None:
    code = "import sys, perdure; assert 'temporalio' not in sys.modules; perdure.activity; assert 'temporalio' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_script_is_registered_under_its_files_name(tmp_path: Path) -> None:
    script = tmp_path / "my_script.py"
    script.write_text(
        "import perdure\nfrom perdure.authoring.registry import registry\n"
        "@perdure.workflow\nasync def flow() -> int: return 1\n"
        "print(registry.current('workflow', 'flow').definition.module)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "my_script"


def test_a_function_with_temporals_definition_keeps_it() -> None:
    @temporalio.activity.defn(name="Named")
    def step() -> int:
        return 1

    assert perdure.activity(step).name == "Named"
