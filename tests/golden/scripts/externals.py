"""Signals and cancel requests from one workflow to another. TEMPORAL.md, section 10."""

from __future__ import annotations

from golden.commands import (
    SUMMARY,
    cancel_external,
    complete,
    payload,
    payloads,
    signal_external,
    start_timer,
)
from golden.stage import Stage, script

NOBODYS_RUN = "01970000-0000-7000-8000-000000000000"


@script
async def external_signal(s: Stage) -> None:
    other = await s.start("other")
    await other.work(start_timer())
    f = await s.start()
    await f.work(
        signal_external(
            other.id,
            input=payloads("in"),
            header={"fields": {"h": payload("x")}},
            control="mine",
            user_metadata=SUMMARY,
        )
    )
    await f.work(complete())
    await other.work(complete())


@script
async def external_signal_to_nobody(s: Stage) -> None:
    f = await s.start()
    await f.work(signal_external(s.name("nobody"), control="mine"))
    await f.work(complete())


@script
async def external_signal_to_a_closed_run(s: Stage) -> None:
    other = await s.start("other")
    await other.work(complete())
    f = await s.start()
    await f.work(signal_external(other.id))
    await f.work(complete())


@script
async def external_signal_to_another_run(s: Stage) -> None:
    other = await s.start("other")
    f = await s.start()
    await f.work(signal_external(other.id, NOBODYS_RUN))
    await f.work(complete())
    await other.terminate()


@script
async def external_signal_to_itself(s: Stage) -> None:
    f = await s.start()
    await f.work(signal_external(f.id))
    await f.work(complete())


@script
async def external_signal_to_no_child(s: Stage) -> None:
    other = await s.start("other")
    f = await s.start()
    await f.work(signal_external(other.id, child_workflow_only=True))
    await f.work(complete())
    await other.terminate()


@script
async def external_cancel(s: Stage) -> None:
    other = await s.start("other")
    await other.work(start_timer())
    f = await s.start()
    await f.work(cancel_external(other.id, control="mine", reason="enough", user_metadata=SUMMARY))
    await f.work(complete())
    await other.work(complete())


@script
async def external_cancel_of_nobody(s: Stage) -> None:
    f = await s.start()
    await f.work(cancel_external(s.name("nobody"), control="mine"))
    await f.work(complete())


@script
async def external_cancel_of_a_closed_run(s: Stage) -> None:
    other = await s.start("other")
    await other.work(complete())
    f = await s.start()
    await f.work(cancel_external(other.id))
    await f.work(complete())


@script
async def external_cancel_of_another_run(s: Stage) -> None:
    other = await s.start("other")
    f = await s.start()
    await f.work(cancel_external(other.id, NOBODYS_RUN))
    await f.work(complete())
    await other.terminate()


@script
async def external_cancel_of_itself(s: Stage) -> None:
    f = await s.start()
    await f.work(cancel_external(f.id))
    await f.work(complete())


@script
async def external_cancel_asked_for_already(s: Stage) -> None:
    other = await s.start("other")
    await other.work(start_timer())
    await other.cancel()
    f = await s.start()
    await f.work(cancel_external(other.id))
    await f.work(complete())
    await other.work(complete())


@script
async def external_signal_while_the_other_is_at_work(s: Stage) -> None:
    other = await s.start("other")
    task = await other.poll()
    f = await s.start()
    await f.work(signal_external(other.id))
    await f.work(complete())
    await other.complete(task)
    await other.work(complete())


@script
async def external_requests_of_a_run_that_closes(s: Stage) -> None:
    """They are not sent any more."""
    other = await s.start("other")
    await other.work(start_timer())
    f = await s.start()
    await f.work(signal_external(other.id), cancel_external(other.id), complete())
    await s.pause(0.5)
    await other.terminate()
