"""The jumping clock: it jumps only when all is idle, to the earliest due time, and never backwards."""

from __future__ import annotations

import asyncio

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from perdure.engine.records import AttemptEnded, AttemptStarted, EventAppended, ExecutionStarted, Record
from perdure.testing.clock import JumpingClock
from perdure.testing.flights import Flights

DAY = 86_400_000_000_000
RUN = ExecutionStarted("default", "w", "r", "r", "T", "q", 0, 0)


def event(event_id: int, kind: EventType.ValueType) -> EventAppended:
    return EventAppended("r", HistoryEvent(event_id=event_id, event_type=kind))


def test_an_idle_clock_jumps_to_the_due_time() -> None:
    clock = JumpingClock(0)
    asyncio.run(clock.sleep_until(30 * DAY, asyncio.Event()))
    assert (clock.now(), clock.jumps) == (30 * DAY, 1)


def test_the_earliest_of_two_sleepers_is_served_first() -> None:
    clock = JumpingClock(0)
    woke: list[int] = []

    async def sleep(when: int) -> None:
        await clock.sleep_until(when, asyncio.Event())
        woke.append(clock.now())

    async def both() -> None:
        await asyncio.gather(sleep(2 * DAY), sleep(DAY))

    asyncio.run(both())
    assert woke == [DAY, 2 * DAY]


def test_waking_ends_the_sleep_without_a_jump() -> None:
    clock = JumpingClock(0)

    async def wake_early() -> None:
        wake = asyncio.Event()
        wake.set()
        await clock.sleep_until(DAY, wake)

    asyncio.run(wake_early())
    assert clock.now() == 0


def test_a_held_clock_waits_for_its_release() -> None:
    clock = JumpingClock(0)

    async def hold_then_release() -> int:
        with clock.held():
            sleeper = asyncio.create_task(clock.sleep_until(DAY, asyncio.Event()))
            for _ in range(200):
                await asyncio.sleep(0)
            held = clock.now()
        await sleeper
        return held

    assert asyncio.run(hold_then_release()) == 0
    assert clock.now() == DAY


def test_an_attempt_in_flight_keeps_the_clock_and_its_back_off_does_not() -> None:
    flights = Flights()
    records: list[Record] = [RUN, event(5, EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED)]
    flights.observe(records)
    assert flights.count(0) == 1
    flights.observe([AttemptStarted("r", 5, 1, 0, 0, "w", "")])
    assert flights.count(0) == 1
    flights.observe([AttemptEnded("r", 5, 1, 0, "failed", None, next_attempt_time=DAY)])
    assert flights.count(DAY - 1) == 0
    assert flights.count(DAY) == 1


def test_a_workflow_task_is_in_flight_until_it_completes() -> None:
    flights = Flights()
    flights.observe([RUN, event(2, EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED)])
    assert flights.count(0) == 1
    flights.observe([event(4, EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED)])
    assert flights.count(0) == 0


def test_time_that_is_made_to_pass_stops_at_each_due_time_though_something_is_in_flight() -> None:
    flights = Flights()
    clock = JumpingClock(0, flights=flights)
    clock.hold()
    flights.observe([RUN, event(1, EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED)])
    woke: list[int] = []

    async def sleep(when: int) -> None:
        await clock.sleep_until(when, asyncio.Event())
        woke.append(clock.now())

    async def both() -> None:
        sleeper = asyncio.create_task(sleep(DAY))
        await asyncio.sleep(0)
        await clock.pass_time(3 * DAY)
        await sleeper

    asyncio.run(both())
    assert (woke, clock.now()) == ([DAY], 3 * DAY)


def test_what_begins_while_time_is_made_to_pass_is_waited_for() -> None:
    flights = Flights()
    clock = JumpingClock(0, flights=flights)
    scheduled: list[Record] = [RUN, event(1, EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED)]
    flights.observe(scheduled)
    flights.observe([AttemptStarted("r", 1, 1, 0, 0, "worker", "")])
    flights.observe([AttemptEnded("r", 1, 1, 0, "failed", None, DAY)])  # the next attempt: in a day
    seen: list[int] = []

    async def work() -> None:
        await clock.sleep_until(DAY, asyncio.Event())
        flights.observe([AttemptStarted("r", 1, 2, DAY, DAY, "worker", "")])
        await asyncio.sleep(0.05)
        seen.append(clock.now())
        closing = HistoryEvent(event_id=2, event_type=EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED)
        closing.activity_task_completed_event_attributes.scheduled_event_id = 1
        flights.observe([EventAppended("r", closing)])

    async def both() -> None:
        worker = asyncio.create_task(work())
        await asyncio.sleep(0)
        clock.hold()
        await clock.pass_time(2 * DAY)
        await worker

    asyncio.run(both())
    assert (seen, clock.now()) == ([DAY], 2 * DAY)
