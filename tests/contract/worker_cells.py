"""Definitions as cells make them, for tests of sessions and workers: a source, a name, a version; and two to work with."""

from __future__ import annotations

import inspect
import textwrap
import threading

from perdure.authoring.registry import Registered, Registry
from perdure.engine.records import Definition

IMPORTS = (
    "import asyncio, perdure\nfrom datetime import timedelta\nfrom temporalio import activity, workflow\n"
)

PAYMENT = """
    @perdure.activity(initial_interval="1ms", retries=2)
    def charge(amount: int) -> str:
        print(f"charging {amount}, attempt {activity.info().attempt}")
        activity.logger.info("asked the bank")
        if amount < 0:
            raise ValueError("amount is negative")
        if activity.info().attempt < amount:
            raise ConnectionError("no route")
        return f"charged {amount}"

    @perdure.workflow
    async def payment(amount: int) -> dict:
        print("the workflow begins")
        result = {"charge": await charge(amount)}
        print("the workflow ends")
        return result
"""
INBOX = """
    @workflow.defn(name="inbox")
    class inbox:
        def __init__(self) -> None:
            self.letters: list[str] = []

        @workflow.run
        async def run(self, wanted: int) -> list[str]:
            await workflow.wait_condition(lambda: len(self.letters) >= wanted)
            return self.letters

        @workflow.signal
        def post(self, letter: str) -> None:
            self.letters.append(letter)

        @workflow.query
        def count(self) -> int:
            return len(self.letters)

        @workflow.update
        def put(self, letter: str) -> int:
            self.letters.append(letter)
            return len(self.letters)
"""


def cell(registry: Registry, kind: str, name: str, version: str, source: str) -> Registered:
    """Defines `source` as the current version of a workflow or an activity."""
    registered = registry.load(definition(kind, name, version, source))
    registry.add(registered)
    return registered


def definition(kind: str, name: str, version: str, source: str) -> Definition:
    text = IMPORTS + inspect.cleandoc(textwrap.dedent(source)) + "\n"
    return Definition(kind, name, version, f"perdure_cells.{name}_{version}", name, text, origin="cell [1]")


class Gates:
    """Activities of this process stop at a gate until the test opens it; by name, reachable from a cell's
    source."""

    def __init__(self) -> None:
        self._events: dict[str, threading.Event] = {}
        self.reached: dict[str, threading.Event] = {}
        self._lock = threading.Lock()

    def _event(self, events: dict[str, threading.Event], name: str) -> threading.Event:
        with self._lock:
            return events.setdefault(name, threading.Event())

    def stop(self, name: str) -> None:
        """In an activity: says that it is here, and waits."""
        self._event(self.reached, name).set()
        if not self._event(self._events, name).wait(30):
            raise TimeoutError(f"nobody opened gate {name}")

    def wait(self, name: str) -> None:
        """In the test: returns when an activity is at the gate."""
        if not self._event(self.reached, name).wait(30):
            raise TimeoutError(f"nobody came to gate {name}")

    def open(self, name: str) -> None:
        self._event(self._events, name).set()


gates = Gates()
