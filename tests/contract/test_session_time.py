"""`perdure.testing.session`: days pass in milliseconds, but only while somebody waits for a result."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from worker_cells import cell

import perdure
import perdure.testing
from perdure.authoring.registry import Registry
from perdure.session import Session

REMINDER = """
    @perdure.activity(initial_interval="1h", retries=30)
    def remind(what: str) -> str:
        if activity.info().attempt < 5:
            raise ConnectionError("mail is down")
        return f"reminded of {what}"

    @perdure.workflow
    async def reminder(what: str) -> str:
        await asyncio.sleep(30 * 24 * 3600)
        return await remind(what)
"""
APPROVAL = """
    @workflow.defn(name="approval")
    class approval:
        def __init__(self) -> None:
            self.answer = ""

        @workflow.run
        async def run(self) -> str:
            try:
                await workflow.wait_condition(lambda: self.answer != "", timeout=timedelta(days=7))
            except asyncio.TimeoutError:
                return "too late"
            return self.answer

        @workflow.signal
        def give(self, answer: str) -> None:
            self.answer = answer
"""


@pytest.fixture
def here() -> Iterator[Session]:
    registry = Registry()
    with perdure.testing.session(registry=registry) as opened:
        cell(registry, "workflow", "reminder", "v1", REMINDER)
        cell(registry, "activity", "remind", "v1", REMINDER)
        cell(registry, "workflow", "approval", "v1", APPROVAL)
        yield opened


def test_a_month_and_four_back_offs_pass_at_once(here: Session) -> None:
    began = time.monotonic()
    run = perdure.start("reminder", "rent")
    assert run.result(timeout="1 minute") == "reminded of rent"
    assert time.monotonic() - began < 30
    took = perdure.runs()["took"].iloc[0]
    assert took.days == 30
    assert took.seconds // 3600 == 1 + 2 + 4 + 8


def test_time_stands_still_for_a_signal(here: Session) -> None:
    run = perdure.start("approval")
    run.signal("give", "yes")
    assert run.result() == "yes"


def test_without_a_signal_the_week_ends(here: Session) -> None:
    assert perdure.start("approval").result() == "too late"
