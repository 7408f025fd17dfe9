"""Resetting runs: what the new run's history holds, what comes again, what is left. TEMPORAL.md, section 15."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from engine_driver import (
    Driver,
    complete_workflow,
    continue_as_new,
    in_engine,
    name,
    only,
    schedule_activity,
    start_child,
    start_timer,
)
from temporalio.api.common.v1 import Callback, Link, WorkflowExecution
from temporalio.api.enums.v1 import WorkflowIdConflictPolicy, WorkflowTaskFailedCause
from temporalio.api.protocol.v1 import Message
from temporalio.api.update.v1 import Acceptance, Input, Meta, Request
from temporalio.api.workflow.v1 import OnConflictOptions, PostResetOperation
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionRequest,
    ResetWorkflowExecutionRequest,
    UpdateWorkflowExecutionOptionsRequest,
    UpdateWorkflowExecutionRequest,
)

from perdure.engine.errors import Code, ServiceError
from perdure.engine.protos import SECOND, duration, timestamp
from perdure.engine.updates import admit

RESET = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW


async def reset(d: Driver, event: int, run_id: str = "", **fields: Any) -> str:
    request = ResetWorkflowExecutionRequest(
        namespace="default",
        workflow_execution=WorkflowExecution(workflow_id="w", run_id=run_id),
        workflow_task_finish_event_id=event,
        reason="why",
        **{"request_id": d.engine.new_id(), **fields},
    )
    return str((await d.call("ResetWorkflowExecution", request)).run_id)


async def describe(d: Driver, run_id: str = "") -> Any:
    request = DescribeWorkflowExecutionRequest(namespace="default")
    request.execution.workflow_id, request.execution.run_id = "w", run_id
    return await d.call("DescribeWorkflowExecution", request)


def admitted(d: Driver, update_id: str) -> None:
    request = Request()
    request.meta.update_id, request.input.name = update_id, "change"
    turn = d.engine.turn(d.run())
    admit(turn, request)
    d.engine.commit(turn)


def acceptance(message: Message) -> Message:
    body = Acceptance(accepted_request_message_id=message.id, accepted_request_sequencing_event_id=1)
    answer = Message(id="accept", protocol_instance_id=message.protocol_instance_id)
    answer.body.Pack(body)
    return answer


@in_engine
async def test_the_new_run_goes_on_from_a_workflow_task(d: Driver) -> None:
    base = await d.start()
    await d.step(start_timer())
    await d.signal()
    new = await reset(d, 4)
    assert await d.names(run_id=base) == [
        "WorkflowExecutionStarted",
        "WorkflowTaskScheduled",
        "WorkflowTaskStarted",
        "WorkflowTaskCompleted",
        "TimerStarted",
        "WorkflowExecutionSignaled",
        "WorkflowTaskScheduled",
        "WorkflowExecutionTerminated",
    ]
    history = await d.history(run_id=new)
    assert [name(event) for event in history] == [
        "WorkflowExecutionStarted",
        "WorkflowTaskScheduled",
        "WorkflowTaskStarted",
        "WorkflowTaskFailed",
        "WorkflowExecutionSignaled",
        "WorkflowTaskScheduled",
    ]
    failed = history[3].workflow_task_failed_event_attributes
    assert (failed.cause, failed.base_run_id, failed.new_run_id) == (RESET, base, new)
    assert failed.failure.message == "why"
    end = (await d.history(run_id=base))[-1].workflow_execution_terminated_event_attributes
    assert (end.reason, end.identity) == ("why", "history-resetter")


@in_engine
async def test_the_new_run_is_the_current_one_and_can_be_finished(d: Driver) -> None:
    base = await d.start()
    await d.step(start_timer())
    new = await reset(d, 4)
    task = await d.workflow_task()
    assert task.workflow_execution.run_id == new
    assert task.previous_started_event_id == 0
    await d.complete(task, complete_workflow())
    described = await describe(d, base)
    assert described.workflow_extended_info.reset_run_id == new
    assert (await describe(d)).workflow_execution_info.execution.run_id == new


@in_engine
async def test_a_task_that_was_not_started_is_started_by_the_service(d: Driver) -> None:
    await d.start()
    await d.step(start_timer())
    new = await reset(d, 3)
    started = (await d.history(run_id=new))[2].workflow_task_started_event_attributes
    assert started.identity == "history-service"


@in_engine
async def test_a_closed_run_is_reset_too(d: Driver) -> None:
    base = await d.start()
    await d.step(complete_workflow())
    new = await reset(d, 4)
    assert (await d.names(run_id=base))[-1] == "WorkflowExecutionCompleted"
    await d.step(complete_workflow())
    assert (await d.names(run_id=new))[-1] == "WorkflowExecutionCompleted"


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (1, "Workflow task finish ID must be > 1"),
        (99, "Workflow task finish ID must be > 1"),
        (6, "must be at the boundary"),
        (7, "Can only reset workflow to event ID in range"),
    ],
)
def test_only_workflow_tasks_are_points(event: int, text: str) -> None:
    @in_engine
    async def check(d: Driver) -> None:
        await d.start()
        await d.step(start_timer("1"), start_timer("2"))
        await d.signal()
        with pytest.raises(ServiceError, match=text) as refused:
            await reset(d, event)
        assert refused.value.code == Code.INVALID_ARGUMENT
        assert d.run().ex.open

    check()


def excluding(check: Callable[[Driver, dict[str, Any], list[str]], Any]) -> Any:
    return pytest.mark.parametrize(
        ("fields", "again"),
        [
            ({}, ["WorkflowExecutionSignaled", "WorkflowExecutionUpdateAdmitted"]),
            ({"reset_reapply_exclude_types": [1]}, ["WorkflowExecutionUpdateAdmitted"]),
            ({"reset_reapply_exclude_types": [2]}, ["WorkflowExecutionSignaled"]),
            ({"reset_reapply_type": 1}, ["WorkflowExecutionSignaled"]),
            ({"reset_reapply_type": 2}, []),
        ],
    )(check)


@excluding
def test_what_came_from_outside_comes_again(fields: dict[str, Any], again: list[str]) -> None:
    @in_engine
    async def check(d: Driver) -> None:
        await d.start()
        await d.step(start_timer())
        await d.signal()
        admitted(d, "u")
        task = await d.workflow_task()
        await d.complete(task, messages=[acceptance(task.messages[0])])
        new = await reset(d, 4, **fields)
        assert (await d.names(run_id=new))[4:] == [*again, "WorkflowTaskScheduled"]

    check()


@in_engine
async def test_an_update_that_an_event_admitted_is_not_sent_as_a_message(d: Driver) -> None:
    await d.start()
    await d.step(start_timer())
    admitted(d, "u")
    task = await d.workflow_task()
    [message] = task.messages
    await d.complete(task, messages=[acceptance(message)])
    new = await reset(d, 4)
    task = await d.workflow_task()
    assert not task.messages
    await d.complete(task, messages=[acceptance(message)])
    accepted = only(await d.history(run_id=new), "WorkflowExecutionUpdateAccepted")
    assert not accepted.workflow_execution_update_accepted_event_attributes.HasField("accepted_request")


@in_engine
async def test_signals_of_the_runs_that_continued_as_new_come_again(d: Driver) -> None:
    base = await d.start()
    await d.step(start_timer())
    await d.signal("first")
    await d.step(continue_as_new())
    d.clock.advance(2 * SECOND)
    await d.step(start_timer())
    await d.signal("second")
    new = await reset(d, 4, run_id=base)
    signals = [e for e in await d.history(run_id=new) if name(e) == "WorkflowExecutionSignaled"]
    assert [e.workflow_execution_signaled_event_attributes.signal_name for e in signals] == [
        "first",
        "second",
    ]


@in_engine
async def test_what_waited_in_the_buffer_comes_again(d: Driver) -> None:
    await d.start()
    await d.step(start_timer())
    await d.signal()
    await d.workflow_task()
    await d.signal("buffered")
    new = await reset(d, 4)
    assert (await d.names(run_id=new)).count("WorkflowExecutionSignaled") == 2


@in_engine
async def test_children_are_kept_and_told_apart_by_their_ends(d: Driver) -> None:
    base = await d.start()
    await d.step(start_child())
    await d.step()  # hears that the child has started
    new = await reset(d, 9)
    assert d.engine.runs.open_run("default", "child") is not None
    child = await d.workflow_task("children")
    await d.complete(child, complete_workflow())
    assert (await d.names(run_id=new))[-2:] == [
        "WorkflowTaskScheduled",
        "ChildWorkflowExecutionCompleted",
    ]
    assert "ChildWorkflowExecutionCompleted" not in await d.names(run_id=base)


@in_engine
async def test_the_end_of_a_child_after_the_point_comes_again(d: Driver) -> None:
    await d.start()
    await d.step(start_child())
    await d.step()
    child = await d.workflow_task("children")
    await d.complete(child, complete_workflow())
    new = await reset(d, 9)
    history = await d.history(run_id=new)
    ended = only(
        history, "ChildWorkflowExecutionCompleted"
    ).child_workflow_execution_completed_event_attributes
    started = only(history, "ChildWorkflowExecutionStarted")
    assert ended.started_event_id == started.event_id


@in_engine
async def test_activities_that_wait_begin_anew(d: Driver) -> None:
    await d.start()
    await d.step(schedule_activity(start_to_close=0, timeouts={"schedule_to_close_timeout": 30}))
    await d.signal()
    await d.step()
    d.clock.advance(20 * SECOND)
    await reset(d, 9)
    d.clock.advance(20 * SECOND)
    [activity] = d.run().ex.activities.values()
    assert activity.expiration == d.run().ex.reset_time + 30 * SECOND
    task = await d.activity_task()
    await d.complete_activity(task)


@in_engine
async def test_time_limits_begin_anew(d: Driver) -> None:
    await d.start(workflow_execution_timeout=duration(100 * SECOND))
    await d.step(start_timer("1", 1000))
    d.clock.advance(60 * SECOND)
    await reset(d, 4)
    ex = d.run().ex
    assert ex.execution_expiration == ex.run_expiration == ex.reset_time + 100 * SECOND
    info = await describe(d)
    assert info.workflow_execution_info.start_time == timestamp(ex.reset_time)
    assert info.workflow_extended_info.original_start_time == ex.events[0].event_time


@in_engine
async def test_the_same_request_resets_once(d: Driver) -> None:
    await d.start()
    await d.step(start_timer())
    assert await reset(d, 4, request_id="r") == await reset(d, 4, request_id="r")


@in_engine
async def test_the_same_request_resets_once_over_a_crash(d: Driver) -> None:
    await d.start()
    await d.step(start_timer())
    first = await reset(d, 4, request_id="r")
    after = await d.crash()
    try:
        assert await reset(after, 4, request_id="r") == first
        second = await reset(after, 4, request_id="another")
        assert await reset(after, 4, request_id="r") == first != second
        assert after.run().ex.run_id == second
    finally:
        await after.engine.stop()


@in_engine
async def test_a_reset_run_is_recovered_as_it_was(d: Driver) -> None:
    base = await d.start()
    await d.step(schedule_activity(), start_child())
    await d.signal()
    new = await reset(d, 9)
    before = d.run().ex
    d = await d.crash()
    after = d.run().ex
    assert after.run_id == new
    assert (after.reset_time, after.start_time, after.reset_of) == (
        before.reset_time,
        before.start_time,
        [base],
    )
    assert [a.due_time for a in after.activities.values()] == [a.due_time for a in before.activities.values()]
    assert (await describe(d, base)).workflow_extended_info.reset_run_id == new
    await d.engine.stop()


@in_engine
async def test_a_point_for_each_build_id_is_kept(d: Driver) -> None:
    run_id = await d.start()
    for build_id in ("1", "1", "2"):
        task = await d.workflow_task()
        await d.complete(task, binary_checksum=build_id)
        await d.signal()
    points = (await describe(d)).workflow_execution_info.auto_reset_points.points
    assert [(p.binary_checksum, p.first_workflow_task_completed_id) for p in points] == [("1", 4), ("2", 12)]
    task = await d.workflow_task()
    await d.complete(task, continue_as_new(), binary_checksum="2")
    inherited = d.run().ex.started.prev_auto_reset_points.points
    assert [p.run_id for p in inherited] == [run_id, run_id]
    assert all(p.HasField("expire_time") for p in inherited)


@in_engine
async def test_options_are_set_after_a_reset(d: Driver) -> None:
    await d.start()
    await d.step(start_timer())
    operation = PostResetOperation()
    operation.update_workflow_options.workflow_execution_options.priority.priority_key = 2
    operation.update_workflow_options.update_mask.paths.append("priority")
    new = await reset(d, 4, post_reset_operations=[operation])
    assert (await d.names(run_id=new))[4:] == ["WorkflowExecutionOptionsUpdated", "WorkflowTaskScheduled"]
    assert d.run().ex.priority.priority_key == 2
    operation = PostResetOperation()
    operation.signal_workflow.signal_name = "go"
    with pytest.raises(ServiceError, match="unsupported post reset operation"):
        await reset(d, 4, post_reset_operations=[operation])


# --- options


async def set_options(d: Driver, *paths: str, **options: Any) -> Any:
    request = UpdateWorkflowExecutionOptionsRequest(
        namespace="default", workflow_execution=WorkflowExecution(workflow_id="w"), identity="me"
    )
    request.update_mask.paths.extend(paths)
    request.workflow_execution_options.SetInParent()
    for key, value in options.items():
        setattr(request.workflow_execution_options.priority, key, value)
    return (await d.call("UpdateWorkflowExecutionOptions", request)).workflow_execution_options


@in_engine
async def test_options_are_merged_by_the_mask(d: Driver) -> None:
    await d.start()
    await d.step(start_timer())
    await set_options(d, "priority", priority_key=2)
    await set_options(d, "priority", priority_key=2)  # no change, no event
    merged = await set_options(d, "priority.fairness_key", fairness_key="f")
    assert (merged.priority.priority_key, merged.priority.fairness_key) == (2, "f")
    updated = (await d.history())[5:]
    assert [name(event) for event in updated] == ["WorkflowExecutionOptionsUpdated"] * 2
    assert updated[0].workflow_execution_options_updated_event_attributes.unset_versioning_override


@pytest.mark.parametrize(
    ("path", "options", "text"),
    [
        ("nope", {}, 'error parsing UpdateMask: proto: invalid path "nope" for message'),
        ("priority.nope", {}, "invalid path"),
        ("versioning_override.pinned", {}, "doesn't support partial updates"),
        ("priority", {"priority_key": -1}, "priority key can't be negative"),
        ("priority", {"fairness_key": "x" * 65}, "fairness key length exceeds limit"),
        ("priority", {"fairness_weight": -1.0}, "must be greater than zero"),
    ],
)
def test_options_that_are_refused(path: str, options: dict[str, Any], text: str) -> None:
    @in_engine
    async def check(d: Driver) -> None:
        await d.start()
        with pytest.raises(ServiceError, match=text):
            await set_options(d, path, **options)

    check()


@in_engine
async def test_a_start_that_finds_a_run_may_attach_links_alone(d: Driver) -> None:
    await d.start()
    link = Link()
    link.workflow_event.namespace, link.workflow_event.workflow_id = "default", "other"
    link.workflow_event.run_id = "11111111-1111-1111-1111-111111111111"
    policy = WorkflowIdConflictPolicy.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING
    await d.start(
        request_id="second",
        workflow_id_conflict_policy=policy,
        on_conflict_options=OnConflictOptions(attach_links=True),
        links=[link],
    )
    updated = only(await d.history(), "WorkflowExecutionOptionsUpdated")
    assert list(updated.links) == [link]
    assert not updated.workflow_execution_options_updated_event_attributes.attached_request_id


@in_engine
async def test_callbacks_need_an_address_that_is_configured(d: Driver) -> None:
    callback = Callback()
    callback.nexus.url = "http://localhost/done"
    with pytest.raises(ServiceError, match="url does not match any configured callback address"):
        await d.start(completion_callbacks=[callback])


@in_engine
async def test_callbacks_of_other_kinds_and_of_updates_are_not_passed_over(d: Driver) -> None:
    internal = Callback(internal=Callback.Internal(data=b"x"))
    with pytest.raises(ServiceError, match=r"unsupported callback variant: \*common.Callback_Internal_"):
        await d.start(completion_callbacks=[internal])
    await d.start()
    update = Request(meta=Meta(update_id="u"), input=Input(name="add"), completion_callbacks=[internal])
    asked = UpdateWorkflowExecutionRequest(
        namespace="default", workflow_execution=WorkflowExecution(workflow_id="w"), request=update
    )
    with pytest.raises(ServiceError, match="request_id is required when completion_callbacks are set"):
        await d.call("UpdateWorkflowExecution", asked)
    asked.request.request_id = "r"
    with pytest.raises(ServiceError, match="unsupported callback variant"):
        await d.call("UpdateWorkflowExecution", asked)
