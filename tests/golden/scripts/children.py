"""Child workflows: how they begin, how they end, and what their parent's end means to them. TEMPORAL.md, section 10."""

from __future__ import annotations

from typing import Any

from golden.commands import (
    SUMMARY,
    cancel,
    cancel_external,
    complete,
    continue_as_new,
    fail,
    payload,
    payloads,
    retry,
    seconds,
    signal_external,
    start_child,
    start_timer,
)
from golden.stage import Flow, Stage, script

TERMINATE, ABANDON, REQUEST_CANCEL = 1, 2, 3


async def _family(s: Stage, **fields: Any) -> tuple[Flow, Flow]:
    """A parent that has started a child, and knows it."""
    f, child = await s.start(), s.flow("child")
    await f.work(start_child(child, **fields))
    await f.work()
    return f, child


@script
async def child_completes(s: Stage) -> None:
    f, child = await _family(
        s,
        input=payloads(1),
        header={"fields": {"h": payload("x")}},
        memo={"fields": {"m": payload(1)}},
        workflow_execution_timeout=100,
        workflow_run_timeout=50,
        workflow_task_timeout=5,
        retry_policy={"maximum_attempts": 2},
        priority={"priority_key": 2},
        user_metadata=SUMMARY,
    )
    await child.work(complete("done"))
    await f.work(complete())


@script
async def child_with_nothing_given(s: Stage) -> None:
    f, child = (
        await s.start(workflow_task_timeout=seconds(7), workflow_run_timeout=seconds(70)),
        s.flow("child"),
    )
    sticky = s.name("sticky")
    await f.work(start_timer("t", 0.2), sticky=sticky)
    await f.complete(await f.poll(sticky), start_child(child, task_queue={}), sticky=sticky)
    await f.complete(await f.poll(sticky), sticky=sticky)
    await f.work(complete())
    await f.complete(await f.poll(sticky), complete())


@script
async def child_fails(s: Stage) -> None:
    f, child = await _family(s)
    await child.work(fail(details=payloads("x")))
    await f.work(complete())


@script
async def child_is_canceled_by_its_parent(s: Stage) -> None:
    f, child = await _family(s)
    await child.work(start_timer())
    await f.signal()
    await f.work(cancel_external(child.id, child_workflow_only=True, reason="no longer"))
    await f.work()
    await child.work(cancel("ok"))
    await f.work(complete())


@script
async def child_is_signaled_by_its_parent(s: Stage) -> None:
    f, child = await _family(s)
    await child.work(start_timer())
    await f.signal("outer")
    await f.work(
        signal_external(
            child.id, child_workflow_only=True, input=payloads("in"), header={"fields": {"h": payload("x")}}
        )
    )
    await f.work()
    await child.work(complete())
    await f.work(complete())


@script
async def child_is_terminated(s: Stage) -> None:
    f, child = await _family(s)
    await child.terminate(reason="why not")
    await f.work(complete())


@script
async def child_times_out(s: Stage) -> None:
    f, child = await _family(s, workflow_run_timeout=2)
    await child.work(start_timer())
    await f.work(complete())


@script
async def child_continues_as_new(s: Stage) -> None:
    """Its parent hears of the end only."""
    f, child = await _family(s)
    await child.work(continue_as_new(workflow_type={"name": "Child"}, task_queue={"name": child.queue}))
    await child.work(complete("at last"))
    await f.work(complete())


@script
async def child_is_retried(s: Stage) -> None:
    f, child = await _family(s, retry_policy=retry(2))
    await child.work(fail(message="one"))
    await child.work(fail(message="two"))
    await f.work(complete())


@script
async def child_id_is_taken(s: Stage) -> None:
    other = await s.start("child")
    f = await s.start()
    await f.work(start_child(other))
    await f.work(complete())
    await other.terminate()


@script
async def child_id_was_used(s: Stage) -> None:
    other = await s.start("child")
    await other.work(complete())
    f = await s.start()
    await f.work(start_child(other, workflow_id_reuse_policy=3))
    await f.work(start_child(other, workflow_id_reuse_policy=2))
    await f.work(complete())


@script
async def child_replaces_a_running_one(s: Stage) -> None:
    other = await s.start("child")
    f = await s.start()
    await f.work(start_child(other, workflow_id_reuse_policy=4))
    await f.work()
    task = await other.poll()
    await other.complete(task, complete())
    await f.work(complete())


@script
async def child_is_terminated_with_its_parent(s: Stage) -> None:
    f, child = await _family(s)
    await child.work(start_timer())
    await f.signal()
    await f.work(complete())
    await child.ended()


@script
async def child_is_canceled_with_its_parent(s: Stage) -> None:
    f, child = await _family(s, parent_close_policy=REQUEST_CANCEL)
    await child.work(start_timer())
    await f.terminate()
    await child.work(cancel())


@script
async def child_is_left_by_its_parent(s: Stage) -> None:
    f, child = await _family(s, parent_close_policy=ABANDON)
    await child.work(start_timer())
    await f.signal()
    await f.work(complete())
    await s.pause(0.3)
    await child.signal()
    await child.work(complete())


@script
async def child_ends_with_a_parent_that_continues(s: Stage) -> None:
    """Continue-as-new is the end of the parent's run, too."""
    f, child = await _family(s)
    await child.work(start_timer())
    await f.signal()
    await s.pause(1.2)
    await f.work(continue_as_new(workflow_type={"name": "Flow"}, task_queue={"name": f.queue}))
    await child.ended()
    await f.work(complete())


@script
async def child_is_not_started_when_the_parent_closes_at_once(s: Stage) -> None:
    """Not even one that would be left alone."""
    f, child = await s.start(), s.flow("child")
    child.unheard = True
    await f.work(start_child(child), start_child(child, parent_close_policy=ABANDON), complete())
    await s.pause(0.5)
    await s.refused("DescribeWorkflowExecution", execution=child.execution)


@script
async def child_ends_while_the_parents_task_is_started(s: Stage) -> None:
    f, child = await _family(s)
    await f.signal("one")
    task = await f.poll()
    await child.work(complete("done"))
    await s.pause(0.3)
    await f.signal("two")
    await f.complete(task)
    await f.work(complete())


@script
async def child_begins_and_ends_while_the_parents_task_is_started(s: Stage) -> None:
    f, child = await s.start(), s.flow("child")
    task = await f.poll()
    await f.signal()
    answer = await f.complete(task, start_child(child), return_new_workflow_task=True)
    await child.work(complete("done"))
    await s.pause(0.3)
    await f.complete(answer.workflow_task)
    await f.work(complete())


@script
async def child_of_a_child(s: Stage) -> None:
    """The root goes along."""
    f, child = await _family(s)
    grandchild = s.flow("grandchild")
    await child.work(start_child(grandchild))
    await child.work()
    await grandchild.work(complete())
    await child.work(complete())
    await f.work(complete())


@script
async def child_named_as_its_parent(s: Stage) -> None:
    f = await s.start()
    await f.work(start_child(f))
    await f.work(complete())


@script
async def child_ends_with_a_parent_that_is_retried(s: Stage) -> None:
    f, child = await s.start(retry_policy=retry(2)), s.flow("child")
    await f.work(start_child(child))
    await f.work()
    await child.work(start_timer())
    await f.signal()
    await s.pause(1.2)
    await f.work(fail())
    await child.ended()
    await f.work(complete())


@script
async def child_is_terminated_while_its_task_is_started(s: Stage) -> None:
    f, child = await _family(s)
    await child.poll()
    await f.terminate()
    await child.ended()


@script
async def child_is_asked_to_cancel_while_its_task_is_started(s: Stage) -> None:
    f, child = await _family(s, parent_close_policy=REQUEST_CANCEL)
    task = await child.poll()
    await f.terminate()
    await s.pause(0.5)
    await child.complete(task)
    await child.work(cancel())


@script
async def child_signals_its_parent(s: Stage) -> None:
    f, child = await _family(s)
    await child.work(signal_external(f.id))
    await child.work(complete())
    await f.happened("ChildWorkflowExecutionCompleted")
    await f.work(complete())


@script
async def child_of_a_kind_without_a_policy_for_its_id(s: Stage) -> None:
    """A failed one's id may be used again, even where only those may."""
    other = await s.start("child")
    await other.work(fail())
    f = await s.start()
    await f.work(start_child(other, workflow_id_reuse_policy=2))
    await f.work()
    await other.work(complete())
    await f.work(complete())
