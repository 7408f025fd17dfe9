"""With very many pending things only what a turn touched is looked at for the next deadline: early perhaps, late never."""

from __future__ import annotations

import asyncio

from engine_driver import Driver, cancel_timer, in_engine, schedule_activity, start_timer
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.engine import deadlines
from perdure.engine.protos import SECOND

ACTIVITIES = [schedule_activity(f"a{number}", start_to_close=100 + number) for number in range(40)]
TIMERS = [start_timer(f"t{number}", 1000 + number) for number in range(40)]


def alarm_is_not_late(d: Driver) -> None:
    run = d.run()
    due = deadlines.next_deadline(run.ex)
    assert due is None or (run.armed is not None and run.armed <= due)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(["take", "finish", "fail", "tick", "signal", "task"]), max_size=40))
def test_the_alarm_is_never_late(steps: list[str]) -> None:
    async def main() -> None:
        d = Driver()
        await d.engine.start()
        with d.clock.held():
            await d.start()
            await d.step(*ACTIVITIES, *TIMERS)
            taken = []
            for step in steps:
                if step == "take" and len(taken) < 40:
                    taken.append(await d.activity_task())
                elif step == "finish" and taken:
                    await d.complete_activity(taken.pop())
                elif step == "fail" and taken:
                    await d.fail_activity(taken.pop(0))
                elif step == "tick":
                    d.clock.advance(SECOND // 10)
                    await asyncio.sleep(0)
                elif step == "signal":
                    await d.signal()
                elif step == "task" and (d.run().ex.task is not None):
                    await d.step()
                alarm_is_not_late(d)
        await d.engine.stop()

    asyncio.run(main())


@in_engine
async def test_an_early_alarm_is_followed_by_the_right_one(d: Driver) -> None:
    with d.clock.held():
        await d.start()
        await d.step(*TIMERS, *[start_timer(f"more{number}", 2000) for number in range(60)])
        await d.signal()
        await d.step(cancel_timer("t0"))
        early, due = d.run().armed, deadlines.next_deadline(d.run().ex)
        assert early is not None and due is not None and early < due
        d.clock.advance(early - d.clock.now())
        for _ in range(5):
            await asyncio.sleep(0)
        assert d.run().armed == due == d.run().ex.start_time + 1001 * SECOND
