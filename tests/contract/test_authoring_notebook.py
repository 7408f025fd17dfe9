"""Cells of a real IPython shell, run by a real engine and worker, and by processes that never saw the notebook."""

from __future__ import annotations

import asyncio
import builtins
import pickle
import subprocess
import sys
from collections.abc import Iterator
from textwrap import dedent
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer
from traitlets.config import Config

import perdure
from perdure.authoring.cells import Defined, define_cell
from perdure.authoring.registry import Registry, registry
from perdure.errors import RunError
from perdure.session import Session
from perdure.testing import session as project


class Notebook:
    def __init__(self, shell: InteractiveShell) -> None:
        self.shell = shell
        self.names: dict[str, Any] = shell.user_ns

    def run(self, source: str) -> None:
        self.shell.run_cell(dedent(source), store_history=True).raise_error()

    def define(self, kind: str, source: str, **options: Any) -> Defined:
        """What the magic does; IPython keeps the cell's text as it would."""
        text = dedent(source)
        done: list[Defined] = []

        def magic(line: str, cell: str) -> None:
            done.append(define_cell(kind, cell, self.names, options, "In", first_line=2))

        self.shell.register_magic_function(magic, "cell", kind)
        self.run(f"%%{kind}\n{text}")
        return done[0]

    def activity(self, source: str, **options: Any) -> Defined:
        return self.define("activity", source, **options)

    def workflow(self, source: str, **options: Any) -> Defined:
        return self.define("workflow", source, **options)


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Notebook]:
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    for name in ("displayhook", "excepthook"):
        monkeypatch.setattr(sys, name, getattr(sys, name))
    known = dict(registry._all), dict(registry._current)
    before = set(vars(builtins))
    shell = InteractiveShell(
        config=Config({"HistoryManager": {"enabled": False}, "InteractiveShell": {"colors": "nocolor"}})
    )
    yield Notebook(shell)
    shell.reset(new_session=False)
    registry._all, registry._current = dict(known[0]), dict(known[1])
    for name in set(vars(builtins)) - before:
        delattr(builtins, name)


@pytest.fixture
def here(notebook: Notebook) -> Iterator[Session]:
    with project() as opened:
        yield opened


SHOP = """
    import enum, json, time
    from dataclasses import dataclass, field
    from decimal import Decimal
    import pandas as pd

    class Status(enum.StrEnum):
        NEW = "new"
        PAID = "paid"

    @dataclass
    class Order:
        id: int
        amount: float = 1.0
        status: Status = Status.NEW

    RATE = Decimal("0.25")
    TRIES = []

    def fee(order: Order) -> float:
        return float(RATE) * order.amount
"""


def history_of(here: Session, id: str) -> WorkflowHistory:
    return here.wait(here.client.get_workflow_handle(id).fetch_history())


def test_a_notebook_runs(notebook: Notebook, here: Session) -> None:
    notebook.run(SHOP)
    notebook.activity(
        """
        def charge(order: Order, note: str = "") -> Order:
            assert isinstance(order, Order) and order.status is Status.NEW
            return Order(order.id, order.amount + fee(order), Status.PAID)
        """,
        timeout="30s",
        retries=5,
    )
    notebook.activity(
        "async def send(order: Order, how: str = 'mail', loud: bool = False) -> str:\n    return f'{how} {order.id} {loud}'"
    )
    notebook.workflow("async def double(n: int) -> int:\n    await asyncio.sleep(3600)\n    return n * 2")
    notebook.workflow(
        """
        async def payment(order: Order) -> dict:
            paid = await charge(order)
            assert paid == Order(order.id, paid.amount, Status.PAID) and paid.status is Status.PAID
            sent = await asyncio.gather(*(send(paid, loud=bool(n)) for n in range(2)))
            handle = charge.options(timeout="5s", name=None).start(note="again", order=order)
            child = await double.start_child(4, id="kid")
            return {"amount": (await handle).amount, "sent": sent, "children": [await double(3), await child]}
        """
    )
    notebook.run("run = payment.start(Order(7, 2.0), id='payment-7')")
    assert notebook.names["run"].result(timeout=30) == {
        "amount": 2.5, "sent": ["mail 7 False", "mail 7 True"], "children": [6, 8],
    }  # fmt: skip
    scheduled = [
        event.activity_task_scheduled_event_attributes
        for event in history_of(here, "payment-7").events
        if event.HasField("activity_task_scheduled_event_attributes")
    ]
    assert [item.start_to_close_timeout.seconds for item in scheduled] == [30, 600, 600, 5]
    assert scheduled[0].retry_policy.maximum_attempts == scheduled[3].retry_policy.maximum_attempts == 6


def test_histories_replay_in_the_official_replayer(notebook: Notebook, here: Session) -> None:
    notebook.run(SHOP)
    notebook.activity("def charge(order: Order) -> Order: return order")
    defined = notebook.workflow(
        """
        async def payment(order: Order) -> str:
            paid = await charge(order)
            await asyncio.sleep(60)
            return f"{workflow.uuid4()} {workflow.now()} {workflow.random().random()} {paid.amount}"
        """
    )
    result = notebook.names["payment"].start(notebook.names["Order"](1), id="p").result(timeout=30)
    assert result.endswith(" 1.0")
    target: Any = defined.registered[0].target
    asyncio.run(Replayer(workflows=[target]).replay_workflow(history_of(here, "p")))


def test_a_package_that_imports_its_parts_late_works_in_a_workflow(notebook: Notebook, here: Session) -> None:
    notebook.run("import pandas as pd")
    notebook.workflow("async def count() -> int:\n    return int(pd.DataFrame({'a': [1, 2]}).a.sum())")
    assert notebook.names["count"].start(id="p").result(timeout=30) == 3


def test_a_process_without_the_notebook_replays_from_the_source_alone(
    notebook: Notebook, here: Session
) -> None:
    notebook.run(SHOP)
    activity = notebook.activity("def charge(order: Order) -> float: return fee(order)", timeout="9s")
    workflow = notebook.workflow(
        "async def payment(order: Order) -> float:\n    return await charge(order) + float(RATE)"
    )
    assert notebook.names["payment"].start(notebook.names["Order"](1), id="p").result(timeout=30) == 0.5
    code = """
        import asyncio, pickle, sys, traceback
        from temporalio.client import WorkflowHistory
        from temporalio.worker import Replayer
        from perdure.authoring.registry import Registry

        activity, workflow, history = pickle.load(sys.stdin.buffer)
        registry = Registry()
        charge = registry.load(activity).target
        module = sys.modules[charge.__module__]
        print(charge(module.Order(3, 4.0)))
        try:
            charge(None)
        except AttributeError:
            print(next(line.strip() for line in traceback.format_exc().splitlines() if "float(RATE)" in line))
        flow = registry.load(workflow).target
        asyncio.run(Replayer(workflows=[flow]).replay_workflow(WorkflowHistory.from_json("p", history)))
        print("replayed")
    """
    given = (
        activity.registered[0].definition,
        workflow.registered[0].definition,
        history_of(here, "p").to_json(),
    )
    done = subprocess.run(
        [sys.executable, "-c", dedent(code)], input=pickle.dumps(given), capture_output=True, check=False
    )
    lines = done.stdout.decode().splitlines()
    assert lines == ["1.0", "return float(RATE) * order.amount", "replayed"], done.stderr.decode()


def test_temporals_own_classes_work_as_they_are(notebook: Notebook, here: Session) -> None:
    notebook.activity(
        """
        from temporalio import activity

        @activity.defn(name="Pack")
        async def pack(n: int) -> int:
            activity.heartbeat(n)
            return n + 1
        """
    )
    notebook.workflow(
        """
        from datetime import timedelta
        from temporalio import workflow

        @workflow.defn(name="Counter")
        class Count:
            def __init__(self) -> None:
                self.n, self.done = 0, False

            @workflow.run
            async def run(self, start: int) -> int:
                self.n += start
                await workflow.wait_condition(lambda: self.done)
                return await workflow.execute_activity(pack, self.n, start_to_close_timeout=timedelta(seconds=5))

            @workflow.signal
            def finish(self) -> None:
                self.done = True

            @workflow.query
            def value(self) -> int:
                return self.n

            @workflow.update
            async def add(self, k: int) -> int:
                self.n += k
                return self.n

            @add.validator
            def check(self, k: int) -> None:
                assert k > 0
        """
    )
    run = perdure.start(notebook.names["Count"], 5, id="c")
    assert run.query("value") == 5 and run.update("add", 3) == 8 and run.query("value") == 8
    run.signal("finish")
    assert run.result(timeout=30) == 9
    notebook.workflow(
        """
        async def parent() -> int:
            child = await workflow.start_child_workflow(Count.run, 1, id="kid")
            await child.signal(Count.finish)
            return await child
        """
    )
    assert notebook.names["parent"].start(id="parent").result(timeout=30) == 2


def test_decorated_functions_in_ordinary_cells(notebook: Notebook, here: Session) -> None:
    notebook.run("import perdure\nSTEP = 2")
    notebook.run(
        """
        def helper(x): return x + STEP

        @perdure.activity(timeout="3s")
        def plain(x: int) -> int: return helper(x)

        @perdure.workflow
        async def flow(x: int) -> int: return await plain(x)
        """
    )
    found = registry.current("workflow", "flow")
    assert found is not None and found.definition.version and found.definition.origin == "In [2]"
    assert notebook.names["flow"].start(4).result(timeout=30) == 6


def test_temporals_decorators_in_ordinary_cells(notebook: Notebook, here: Session) -> None:
    notebook.run(
        """
        import datetime
        from temporalio import activity, workflow

        @activity.defn
        def inc(n: int) -> int: return n + 1

        @workflow.defn
        class Plain:
            @workflow.run
            async def run(self, n: int) -> int:
                return await workflow.execute_activity(inc, n, start_to_close_timeout=datetime.timedelta(seconds=5))
        """
    )
    for count in range(2):
        assert (
            perdure.start(notebook.names["Plain"], count, id=f"plain-{count}").result(timeout=30) == count + 1
        )


def test_functions_of_other_magics_cells_are_captured(notebook: Notebook) -> None:
    notebook.run("%%time\nimport json\ndef fee(x):\n    return json.dumps(x)")
    target: Any = notebook.activity("def charge(x): return fee(x)").registered[0].target
    assert target([1]) == "[1]"


def test_ipythons_own_names(notebook: Notebook) -> None:
    target: Any = (
        notebook.activity("def read(path):\n    with open(path) as file: return file.read()")
        .registered[0]
        .target
    )
    assert target("/dev/null") == ""
    with pytest.raises(perdure.DefinitionError, match="uses get_ipython"):
        notebook.activity("def step(): return get_ipython().user_ns")


def test_a_failure_shows_the_cells_line(notebook: Notebook, here: Session) -> None:
    notebook.activity("def charge(x: int) -> float:\n    y = x\n    return y / 0", retries=0)
    notebook.workflow("async def payment(x: int) -> float:\n    return await charge(x)")
    with pytest.raises(RunError):
        notebook.names["payment"].start(3, id="p").result(timeout=30)
    failure = history_of(here, "p").events[-1].workflow_execution_failed_event_attributes.failure
    assert "return y / 0" in failure.cause.stack_trace


def test_a_mistake_in_an_activity_is_mended_between_attempts(notebook: Notebook, here: Session) -> None:
    notebook.activity(
        "def charge(x: int) -> int:\n    raise ValueError(x)", initial_interval="200ms", backoff=1
    )
    notebook.workflow("async def payment(x: int) -> int:\n    return await charge(x)")
    run = notebook.names["payment"].start(3, id="p")
    notebook.activity("def charge(x: int) -> int:\n    return x * 2", initial_interval="200ms", backoff=1)
    assert run.result(timeout=30) == 6


def test_an_adopting_registry_has_both_versions(notebook: Notebook) -> None:
    first = notebook.workflow("async def flow() -> int: return 1").registered[0].definition
    second = notebook.workflow("async def flow() -> int: return 2").registered[0].definition
    other = Registry()
    loaded = [other.load(item) for item in (first, second)]
    assert first.version != second.version and other.current("workflow", "flow") is None
    assert loaded[0].target is not loaded[1].target


def test_temporals_own_calls_take_perdures_definitions(notebook: Notebook, here: Session) -> None:
    notebook.activity("def charge(x: int, more: int = 1) -> int: return x + more")
    notebook.workflow(
        """
        from datetime import timedelta
        async def payment(x: int) -> int:
            five = timedelta(seconds=5)
            one = await workflow.execute_activity(charge, x, start_to_close_timeout=five)
            return await workflow.execute_local_activity(charge, args=[one, 10], start_to_close_timeout=five)
        """
    )
    assert notebook.names["payment"].start(2, id="first").result(timeout=30) == 13
    start = here.client.execute_workflow(notebook.names["payment"].run, 3, id="p", task_queue="perdure")
    assert here.wait(start) == 14


def test_a_result_is_of_the_notebooks_own_class(notebook: Notebook, here: Session) -> None:
    notebook.run("from dataclasses import dataclass\n@dataclass\nclass Order:\n    id: int")
    notebook.workflow("async def order(id: int) -> Order:\n    return Order(id)")
    notebook.run("made = order.start(3).result()\nsame = made == Order(3) and type(made) is Order")
    assert notebook.names["same"], notebook.names["made"]
