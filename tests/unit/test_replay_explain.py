"""Where a replay leaves its history, in words."""

from __future__ import annotations

from temporalio.api.common.v1 import ActivityType
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import (
    ActivityTaskScheduledEventAttributes,
    HistoryEvent,
    TimerStartedEventAttributes,
)

from perdure.replay.check import explain
from perdure.replay.trace import Command, Trace


def scheduled(event_id: int, name: str) -> HistoryEvent:
    return HistoryEvent(
        event_id=event_id,
        event_type=EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED,
        activity_task_scheduled_event_attributes=ActivityTaskScheduledEventAttributes(
            activity_type=ActivityType(name=name)
        ),
    )


TIMER = HistoryEvent(
    event_id=11,
    event_type=EventType.EVENT_TYPE_TIMER_STARTED,
    timer_started_event_attributes=TimerStartedEventAttributes(timer_id="1"),
)


def trace(*commands: Command, failure: str = "", last_line: int = 0) -> Trace:
    return Trace("", list(commands), failure, last_line)


def test_another_activity() -> None:
    found = explain(
        [scheduled(5, "charge")], trace(Command("schedule_activity", "refund", 3)), "version b", ""
    )
    assert (found.fits, found.event_id, found.line) == (False, 5, 3)
    assert (
        found.reason
        == "event 5 is ActivityTaskScheduled charge, but version b schedules activity refund there"
    )


def test_another_kind_of_command_after_one_that_fits() -> None:
    done = trace(Command("schedule_activity", "charge", 3), Command("complete_workflow_execution", "", 4))
    found = explain([scheduled(5, "charge"), TIMER], done, "version b", "")
    assert found.reason == "event 11 is TimerStarted, but version b completes the workflow there"


def test_a_step_that_is_gone() -> None:
    found = explain(
        [scheduled(5, "charge"), TIMER], trace(Command("schedule_activity", "charge", 3)), "version b", ""
    )
    assert (found.event_id, found.reason) == (
        11,
        "event 11 is TimerStarted, but version b does nothing there",
    )


def test_code_that_fails() -> None:
    found = explain([TIMER], trace(failure="NameError: x", last_line=7), "version b", "")
    assert (found.line, found.reason) == (7, "version b fails: NameError: x")


def test_otherwise_the_replayers_own_words() -> None:
    found = explain([], trace(), "version b", "no match for HistoryEvent(id: 9, Marker)")
    assert (found.event_id, "no match" in found.reason) == (9, True)
