"""Timers, and the commands that only leave a mark: markers, search attributes, memo. TEMPORAL.md, section 9."""

from __future__ import annotations

from golden.commands import (
    SUMMARY,
    cancel_timer,
    complete,
    failure,
    marker,
    payload,
    payloads,
    start_timer,
    upsert_attributes,
    upsert_memo,
)
from golden.stage import Stage, script


@script
async def timer_fires(s: Stage) -> None:
    f = await s.start()
    await f.work(start_timer("t", 0.2, user_metadata=SUMMARY))
    await f.work(complete())


@script
async def timers_fire_in_order_of_time(s: Stage) -> None:
    f = await s.start()
    await f.work(start_timer("late", 2.5), start_timer("early", 0.2))
    await f.work()
    await f.work(complete())


@script
async def timers_fire_while_a_task_is_started(s: Stage) -> None:
    f = await s.start()
    await f.work(start_timer("late", 1.2), start_timer("early", 0.6))
    await f.signal()
    task = await f.poll()
    await s.pause(3)
    await f.complete(task)
    await f.work(complete())


@script
async def timer_canceled(s: Stage) -> None:
    f = await s.start()
    await f.work(start_timer())
    await f.signal()
    await f.work(cancel_timer())
    await f.signal()
    await f.work(complete())


@script
async def timer_started_and_canceled_at_once(s: Stage) -> None:
    f = await s.start()
    await f.work(start_timer(), cancel_timer(), start_timer("t", 0.1))
    await f.work(complete())


@script
async def timer_canceled_when_it_waits_in_the_buffer(s: Stage) -> None:
    """The cancel takes the fired timer back; no task follows."""
    f = await s.start()
    await f.work(start_timer("t", 0.5))
    await f.signal()
    task = await f.poll()
    await s.pause(2)
    await f.complete(task, cancel_timer())
    await f.signal()
    await f.work(complete())


@script
async def timer_canceled_in_the_buffer_lets_the_run_close(s: Stage) -> None:
    f = await s.start()
    await f.work(start_timer("t", 0.5))
    await f.signal()
    task = await f.poll()
    await s.pause(2)
    await f.complete(task, cancel_timer(), complete())


@script
async def timer_id_is_free_again(s: Stage) -> None:
    f = await s.start()
    await f.work(start_timer("t", 0.1))
    await f.work(start_timer("t", 0.1))
    await f.work(complete())


@script
async def timer_of_no_time(s: Stage) -> None:
    f = await s.start()
    await f.work(start_timer("t", 0))
    await f.work(complete())


@script
async def markers(s: Stage) -> None:
    f = await s.start()
    await f.work(
        marker(
            "core_local_activity",
            details={"data": payloads({"seq": 1}), "result": payloads("done")},
            header={"fields": {"h": payload("x")}},
            user_metadata=SUMMARY,
        ),
        marker("failed", failure=failure()),
        complete(),
    )


@script
async def memo_is_changed(s: Stage) -> None:
    f = await s.start(memo={"fields": {"a": payload(1), "b": payload(2)}})
    await f.work(upsert_memo(b=payload(3), c=payload(4)), start_timer("t", 0.1))
    await f.work(upsert_memo(a=payload(None)), start_timer("t", 0.1))
    await f.work(complete())


@script
async def search_attributes_are_changed(s: Stage) -> None:
    f = await s.start()
    await f.work(upsert_attributes(BuildIds=payload(["x", "y"])), complete())
