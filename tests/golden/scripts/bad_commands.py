"""Commands that a server does not carry out: the workflow task fails with a cause of its own. TEMPORAL.md, section 6.1."""

from __future__ import annotations

from datetime import timedelta

from temporalio.api.command.v1 import Command

from golden.commands import (
    cancel_activity,
    cancel_external,
    cancel_timer,
    command,
    complete,
    continue_as_new,
    marker,
    payload,
    schedule_activity,
    send_message,
    signal_external,
    start_child,
    start_timer,
    upsert_attributes,
    upsert_memo,
)
from golden.stage import Flow, Stage, script

NOWHERE = {"name": ""}


async def _refused(s: Stage, *commands: Command, flow: Flow | None = None) -> None:
    """Each list of commands fails the first workflow task of a run; after the last one the run is terminated."""
    f = flow or await s.start()
    await f.refused(await f.poll(), *commands)
    await f.terminate()


async def _each_refused(s: Stage, *commands: Command) -> None:
    """Each command fails a first attempt of its own: a signal comes between."""
    f = await s.start()
    for place, each in enumerate(commands):
        if place:
            await f.signal()
        await f.refused(await f.poll(), start_timer("dropped"), each)
    await f.terminate()


@script
async def bad_activities(s: Stage) -> None:
    f = s.flow("flow")
    await _each_refused(
        s,
        schedule_activity(f, ""),
        schedule_activity(f, activity_type={}),
        schedule_activity(f, start_to_close_timeout=0),
        schedule_activity(f, start_to_close_timeout=-1),
        schedule_activity(f, heartbeat_timeout=-1),
        schedule_activity(f, schedule_to_close_timeout=-1),
        schedule_activity(f, schedule_to_start_timeout=-1),
        schedule_activity(f, retry_policy={"backoff_coefficient": 0.5}),
        schedule_activity(f, retry_policy={"maximum_attempts": -1}),
        schedule_activity(f, retry_policy={"initial_interval": timedelta(seconds=-1)}),
        schedule_activity(f, task_queue=NOWHERE),
        schedule_activity(f, "x" * 1001),
        schedule_activity(f, activity_type={"name": "x" * 1001}),
        Command(command_type=1),
    )


@script
async def bad_activity_of_a_duplicate_id(s: Stage) -> None:
    f = await s.start()
    await f.work(schedule_activity(f))
    await f.signal()
    await f.refused(await f.poll(), schedule_activity(f))
    await f.terminate()


@script
async def bad_activities_of_the_same_id_at_once(s: Stage) -> None:
    f = await s.start()
    await _refused(s, schedule_activity(f), schedule_activity(f), flow=f)


@script
async def bad_cancel_of_an_activity(s: Stage) -> None:
    await _each_refused(s, cancel_activity(0), cancel_activity(99), cancel_activity(1))


@script
async def bad_second_cancel_of_an_activity(s: Stage) -> None:
    f = await s.start()
    await f.work(schedule_activity(f))
    await f.activity()
    await f.signal()
    await f.work(cancel_activity(5))
    await f.signal()
    await f.refused(await f.poll(), cancel_activity(5))
    await f.terminate()


@script
async def bad_timers(s: Stage) -> None:
    await _each_refused(
        s,
        start_timer(""),
        start_timer("t", -1),
        start_timer("dropped"),
        start_timer("x" * 1001),
        cancel_timer(""),
        cancel_timer("unknown"),
        cancel_timer("x" * 1001),
        Command(command_type=5),
    )


@script
async def bad_timer_of_a_duplicate_id(s: Stage) -> None:
    f = await s.start()
    await f.work(start_timer())
    await f.signal()
    await f.refused(await f.poll(), start_timer())
    await f.terminate()


@script
async def bad_marks(s: Stage) -> None:
    await _each_refused(
        s,
        marker(""),
        marker("x" * 1001),
        upsert_memo(),
        upsert_attributes(),
        upsert_attributes(Unknown=payload("x")),
        Command(command_type=10),
        Command(command_type=14),
    )


@script
async def bad_children(s: Stage) -> None:
    f = s.flow("flow")
    await _each_refused(
        s,
        start_child(f, workflow_id=""),
        start_child(f, workflow_type={}),
        start_child(f, task_queue={}, workflow_type={"name": ""}),
        start_child(f, workflow_run_timeout=-1),
        start_child(f, workflow_execution_timeout=-1),
        start_child(f, workflow_task_timeout=-1),
        start_child(f, retry_policy={"backoff_coefficient": 0.5}),
        start_child(f, workflow_id="x" * 1001),
        start_child(f, workflow_type={"name": "x" * 1001}),
        start_child(f, cron_schedule="not a cron"),
    )


@script
async def bad_signals_and_cancels_of_others(s: Stage) -> None:
    await _each_refused(
        s,
        signal_external(""),
        signal_external("w", signal_name=""),
        signal_external("w", run_id="not-a-uuid"),
        signal_external("x" * 1001),
        cancel_external(""),
        cancel_external("w", run_id="not-a-uuid"),
        cancel_external("x" * 1001),
        Command(command_type=7),
        Command(command_type=12),
    )


@script
async def bad_cancel_of_a_child_of_the_same_task(s: Stage) -> None:
    child = s.flow("child")
    child.unheard = True
    await _refused(s, start_child(child), cancel_external(child.id, child_workflow_only=True))


@script
async def bad_ends(s: Stage) -> None:
    await _each_refused(
        s,
        command("FAIL_WORKFLOW_EXECUTION"),
        continue_as_new(workflow_run_timeout=-1),
        continue_as_new(workflow_task_timeout=-1),
        continue_as_new(retry_policy={"backoff_coefficient": 0.5}),
        continue_as_new(workflow_type={"name": "x" * 1001}),
        continue_as_new(backoff_start_interval=timedelta(seconds=-1)),
        Command(command_type=3),
        Command(command_type=4),
        Command(command_type=9),
        Command(command_type=13),
    )


@script
async def bad_message(s: Stage) -> None:
    await _each_refused(s, send_message("unknown"), send_message(""))


@script
async def bad_command_kind(s: Stage) -> None:
    f = await s.start()
    task = await f.poll()
    await f.refused(task, Command())
    await f.refused(task, Command(command_type=99))  # type: ignore[arg-type]
    await f.terminate()


@script
async def bad_command_in_a_later_attempt(s: Stage) -> None:
    """It leaves no event, and the task its time."""
    f = await s.start(workflow_task_timeout=timedelta(seconds=1))
    await f.refused(await f.poll(), start_timer(""))
    await f.refused(await f.poll(), start_timer(""))
    await f.work(complete())


@script
async def bad_command_while_a_signal_waits(s: Stage) -> None:
    f = await s.start()
    task = await f.poll()
    await f.signal()
    await f.refused(task, start_timer(""))
    await f.work(complete())


@script
async def bad_namespace(s: Stage) -> None:
    """The request is refused, and the task stays as it is."""
    f = await s.start()
    task = await f.poll()
    await f.refused(task, signal_external("w", namespace="unknown"))
    await f.refused(task, cancel_external("w", namespace="unknown"))
    await f.refused(task, start_child(s.flow("flow"), namespace="unknown"))
    await f.complete(task, complete())
