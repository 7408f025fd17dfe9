"""What a workflow must not do is found when it is defined."""

from __future__ import annotations

import pytest
from authoring_notebook import Book, book

from perdure.errors import DefinitionError

__all__ = ["book"]

IMPORTS = """
import asyncio, datetime as dt, json, logging, os, random, subprocess, threading, time, urllib.request, uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from pathlib import Path
from time import sleep
import numpy as np
import pandas as pd
"""


def errors(book: Book, body: str) -> str:
    book.run(IMPORTS)
    with pytest.raises(DefinitionError) as caught:
        book.workflow("async def flow(x=None):\n    " + body.replace("\n", "\n    ") + "\n")
    return str(caught.value)


def warnings(book: Book, body: str) -> tuple[str, ...]:
    book.run(IMPORTS)
    return book.workflow("async def flow(x=None):\n    " + body.replace("\n", "\n    ") + "\n").warnings


@pytest.mark.parametrize(
    ("body", "what", "remedy"),
    [
        ("t = time.time()", "time.time()", "workflow.now()"),
        ("clock = time.perf_counter", "time.perf_counter ", "workflow.now()"),
        ("t = dt.datetime.now(dt.UTC)", "datetime.datetime.now()", "workflow.now()"),
        ("t = datetime.utcnow()", "datetime.datetime.utcnow()", "workflow.now()"),
        ("t = date.today()", "datetime.date.today()", "workflow.now()"),
        ("sleep(1)", "time.sleep()", "await asyncio.sleep"),
        ("import time as t\nt.sleep(1)", "time.sleep()", "await asyncio.sleep"),
        ("n = random.randint(1, 2)", "random.randint()", "workflow.random()"),
        ("n = random.Random().random()", "random.Random()", "workflow.random()"),
        ("n = np.random.rand()", "numpy.random.rand()", "workflow.random()"),
        ("n = uuid.uuid4()", "uuid.uuid4()", "workflow.uuid4()"),
        ("n = os.environ['HOME']", "os.environ", "Pass it as an argument"),
        ("n = os.getpid()", "os.getpid()", "Pass it as an argument"),
        ("n = os.listdir('.')", "os.listdir()", "activity"),
        ("n = os.path.exists('.')", "os.path.exists()", "activity"),
        ("n = open('x').read()", "open()", "activity"),
        ("n = Path('x').read_text()", "pathlib.Path().read_text()", "activity"),
        ("n = Path.cwd()", "pathlib.Path.cwd()", "Pass it as an argument"),
        ("n = urllib.request.urlopen('http://x')", "urllib.request.urlopen()", "activity"),
        ("n = subprocess.run(['ls'])", "subprocess.run()", "activity"),
        ("n = pd.read_csv('x')", "pandas.read_csv()", "activity"),
        ("threading.Thread(target=print).start()", "threading.Thread", "asyncio.gather"),
        (
            "with ThreadPoolExecutor() as pool: pass",
            "concurrent.futures.ThreadPoolExecutor()",
            "asyncio.gather",
        ),
        ("await asyncio.to_thread(json.dumps, 1)", "asyncio.to_thread()", "activity"),
        (
            "await asyncio.get_running_loop().run_in_executor(None, json.dumps)",
            "run_in_executor()",
            "activity",
        ),
        ("n = input()", "input()", "signal"),
        ("n = [time.time() for _ in range(2)]", "time.time()", "workflow.now()"),
        ("f = lambda: time.time()", "time.time()", "workflow.now()"),
    ],
)
def test_what_is_certainly_wrong_is_refused(book: Book, body: str, what: str, remedy: str) -> None:
    message = errors(book, body)
    line = len(body.splitlines()) + 2
    assert what in message and remedy in message and f"line {line}: {body.splitlines()[-1]}" in message


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("print(x)", "print()"),
        ("logging.info('x')", "logging.info()"),
        ("n = hash('x')", "hash()"),
        ("for y in {1, 2}: pass", "{1, 2} is a set"),
        ("names = set(x or [])\nn = [y for y in names]", "names is a set"),
        ("global SEEN\nSEEN = 1", "global SEEN"),
        ("n = x.write_text('y')", "x.write_text() looks like work on a file"),
        ("done = await asyncio.wait([])", "asyncio.wait()"),
    ],
)
def test_what_may_be_right_is_mentioned(book: Book, body: str, what: str) -> None:
    (warning,) = warnings(book, body)
    assert what in warning and "→" in warning


@pytest.mark.parametrize(
    "body",
    [
        "await asyncio.sleep(1)",
        "n = random.Random(3).random()",
        "n = np.random.default_rng(3).random()",
        "t = dt.datetime(2020, 1, 1) + dt.timedelta(days=1)",
        "p = Path('a') / 'b'\nn = os.path.join('a', p.name)",
        "n = workflow.now(), workflow.random().random(), workflow.uuid4()",
        "time = 3\nn = time",
        "def random(): return 4\nn = random()",
        "for y in sorted({1, 2}): pass",
        "t = time.time()  # perdure: allow",
        "try: pass\nexcept subprocess.CalledProcessError: pass",
        "with workflow.unsafe.sandbox_unrestricted():\n    t = time.time()",
        "n = json.loads(json.dumps({'a': uuid.UUID(int=3).hex}))",
        "own = {}\nown['a'] = 1\nown.update(b=2)",
    ],
)
def test_what_is_fine_is_left_alone(book: Book, body: str) -> None:
    assert warnings(book, body) == ()


def test_helpers_are_followed_and_named(book: Book) -> None:
    book.run("import time\ndef stamp():\n    return time.time()")
    with pytest.raises(DefinitionError) as caught:
        book.workflow("async def flow(): return stamp()")
    assert "In [1], line 3: return time.time()" in str(caught.value)


def test_activities_are_not_looked_into(book: Book) -> None:
    book.run("import time")
    book.activity("def charge() -> float: return time.time()")
    assert book.workflow("async def flow(): return await charge()").warnings == ()


def test_an_activity_that_nobody_awaits_is_refused(book: Book) -> None:
    book.activity("def charge(x) -> float: return 1.0")
    with pytest.raises(DefinitionError, match="is not awaited") as caught:
        book.workflow("async def flow():\n    charge(1)\n    return 2")
    assert "Write `await charge(1)`." in str(caught.value)


@pytest.mark.parametrize("line", ["return charge(1)", "asyncio.sleep(3)"])
def test_a_result_or_a_timer_that_nobody_awaits_is_refused(book: Book, line: str) -> None:
    book.run("import asyncio")
    book.activity("def charge(x) -> float: return 1.0")
    with pytest.raises(DefinitionError, match="awaited") as caught:
        book.workflow(f"async def flow():\n    {line}")
    assert line.replace("charge", "await charge").replace("asyncio", "await asyncio") in str(caught.value)


def test_a_plain_helper_may_return_what_its_caller_awaits(book: Book) -> None:
    book.activity("def charge(x) -> float: return 1.0")
    text = "async def flow():\n    def one(x): return charge(x)\n    return await one(1)"
    assert book.workflow(text).warnings == ()


def test_methods_of_captured_classes_are_only_warned_of(book: Book) -> None:
    book.run("import time\nclass Order:\n    def age(self):\n        return time.time()\nEMPTY = 1")
    (warning,) = book.workflow("async def flow(): return Order()").warnings
    assert "time.time()" in warning


def test_methods_of_a_workflow_class_are_checked(book: Book) -> None:
    book.run("import time\nfrom temporalio import workflow")
    with pytest.raises(DefinitionError, match=r"time\.time"):
        book.workflow(
            """
            @workflow.defn
            class Flow:
                @workflow.run
                async def run(self): return time.time()
            """
        )


def test_changes_of_captured_containers_are_mentioned(book: Book) -> None:
    book.run("CACHE = {}\nNAMES = []")
    found = book.workflow("async def flow(x):\n    CACHE[x] = 1\n    NAMES.append(x)").warnings
    assert [warning.split()[0] for warning in found] == ["CACHE", "NAMES"]


def test_activities_may_do_all_of_it(book: Book) -> None:
    book.run("import time, random")
    assert book.activity("def charge(): return time.time() + random.random()").warnings == ()
