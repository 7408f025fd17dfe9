"""Starting, steering and ending runs: policies, chains, children, parents. TEMPORAL.md, sections 10 to 12."""

from __future__ import annotations

import asyncio

import pytest
from engine_driver import (
    Driver,
    complete_workflow,
    continue_as_new,
    fail_workflow,
    in_engine,
    only,
    payload,
    schedule_activity,
    start_child,
)
from temporalio.api.common.v1 import RetryPolicy, WorkflowExecution
from temporalio.api.enums.v1 import (
    ParentClosePolicy,
    WorkflowExecutionStatus,
    WorkflowIdConflictPolicy,
    WorkflowIdReusePolicy,
)
from temporalio.api.errordetails.v1 import NamespaceNotFoundFailure, WorkflowExecutionAlreadyStartedFailure
from temporalio.api.sdk.v1 import UserMetadata
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionRequest,
    PollWorkflowTaskQueueRequest,
    RequestCancelWorkflowExecutionRequest,
    SignalWithStartWorkflowExecutionRequest,
    SignalWorkflowExecutionRequest,
    StartWorkflowExecutionRequest,
    TerminateWorkflowExecutionRequest,
    UpdateWorkflowExecutionOptionsRequest,
)

from perdure.engine.errors import Code, ServiceError
from perdure.engine.limits import Limits
from perdure.engine.project import Adopt
from perdure.engine.protos import SECOND, duration, from_duration
from perdure.engine.records import Definition
from perdure.engine.runs import Runs
from perdure.engine.starting import pin

_Conflict = WorkflowIdConflictPolicy
_Reuse = WorkflowIdReusePolicy


async def status(d: Driver, workflow_id: str = "w", run_id: str = "") -> str:
    request = DescribeWorkflowExecutionRequest(namespace="default")
    request.execution.workflow_id, request.execution.run_id = workflow_id, run_id
    info = (await d.call("DescribeWorkflowExecution", request)).workflow_execution_info
    return str(WorkflowExecutionStatus.Name(info.status)).removeprefix("WORKFLOW_EXECUTION_STATUS_")


async def terminate(d: Driver, workflow_id: str = "w") -> None:
    execution = WorkflowExecution(workflow_id=workflow_id)
    request = TerminateWorkflowExecutionRequest(
        namespace="default", workflow_execution=execution, reason="test"
    )
    await d.call("TerminateWorkflowExecution", request)


@in_engine
async def test_the_same_request_starts_once(d: Driver) -> None:
    run_id = await d.start(request_id="r")
    assert await d.start(request_id="r") == run_id
    await d.step(complete_workflow())
    assert await d.start(request_id="r") == run_id


@in_engine
async def test_an_open_run_refuses_a_second_start_and_names_itself(d: Driver) -> None:
    run_id = await d.start(request_id="first")
    with pytest.raises(ServiceError) as refused:
        await d.start()
    assert refused.value.code == Code.ALREADY_EXISTS
    detail = refused.value.detail
    assert isinstance(detail, WorkflowExecutionAlreadyStartedFailure)
    assert (detail.run_id, detail.start_request_id) == (run_id, "first")


@in_engine
async def test_conflict_policies(d: Driver) -> None:
    first = await d.start()
    use = _Conflict.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING
    assert await d.start(workflow_id_conflict_policy=use) == first
    end = _Conflict.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING
    second = await d.start(workflow_id_conflict_policy=end)
    assert second != first
    assert await status(d, run_id=first) == "TERMINATED"
    assert await status(d) == "RUNNING"


@pytest.mark.parametrize(
    "policy, after_success, after_failure",
    [
        (_Reuse.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE, True, True),
        (_Reuse.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY, False, True),
        (_Reuse.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE, False, False),
    ],
)
def test_reuse_policies(policy: int, after_success: bool, after_failure: bool) -> None:
    @in_engine
    async def test(d: Driver) -> None:
        for workflow_id, command, allowed in (
            ("good", complete_workflow(), after_success),
            ("bad", fail_workflow(), after_failure),
        ):
            await d.start(workflow_id)
            await d.step(command)
            if allowed:
                await d.start(workflow_id, workflow_id_reuse_policy=policy)
                await d.step(complete_workflow())
            else:
                with pytest.raises(ServiceError) as refused:
                    await d.start(workflow_id, workflow_id_reuse_policy=policy)
                assert refused.value.code == Code.ALREADY_EXISTS

    test()


@in_engine
async def test_policies_hold_over_a_restart(d: Driver) -> None:
    await d.start()
    await d.step(complete_workflow())
    after = await d.crash()
    with pytest.raises(ServiceError):
        await after.start(workflow_id_reuse_policy=_Reuse.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE)
    await after.engine.stop()


@pytest.mark.parametrize(
    "change, said",
    [
        ({"workflow_id": ""}, "WorkflowId is not set"),
        ({"workflow_id": "x" * 1001}, "WorkflowId exceeds maximum allowed length"),
        ({"workflow_run_timeout": duration(-1 * SECOND)}, "WorkflowRunTimeoutSeconds"),
        ({"retry_policy": RetryPolicy(backoff_coefficient=0.5)}, "BackoffCoefficient"),
    ],
)
def test_a_bad_start_is_refused_with_the_field(change: dict[str, object], said: str) -> None:
    @in_engine
    async def test(d: Driver) -> None:
        request = StartWorkflowExecutionRequest(namespace="default", **{"workflow_id": "w", **change})  # type: ignore[arg-type]
        request.workflow_type.name, request.task_queue.name = "Flow", "queue"
        with pytest.raises(ServiceError, match=said) as refused:
            await d.call("StartWorkflowExecution", request)
        assert refused.value.code == Code.INVALID_ARGUMENT

    test()


@in_engine
async def test_an_unknown_namespace_and_an_unknown_rpc_are_named(d: Driver) -> None:
    with pytest.raises(ServiceError, match="elsewhere") as unknown:
        await d.call("DescribeWorkflowExecution", DescribeWorkflowExecutionRequest(namespace="elsewhere"))
    assert isinstance(unknown.value.detail, NamespaceNotFoundFailure)
    with pytest.raises(ServiceError, match="NoSuchRpc") as missing:
        await d.call("NoSuchRpc", DescribeWorkflowExecutionRequest())
    assert missing.value.code == Code.UNIMPLEMENTED


@in_engine
async def test_a_start_delay_holds_back_the_first_task_also_when_signals_come(d: Driver) -> None:
    await d.start(workflow_start_delay=duration(60 * SECOND))
    begun = d.clock.now()
    with d.clock.held():
        await d.signal()
    await d.workflow_task()
    assert d.clock.now() - begun == 60 * SECOND
    assert (await d.names())[:3] == [
        "WorkflowExecutionStarted",
        "WorkflowExecutionSignaled",
        "WorkflowTaskScheduled",
    ]


@in_engine
async def test_signal_with_start_puts_the_signal_before_the_first_task(d: Driver) -> None:
    request = SignalWithStartWorkflowExecutionRequest(namespace="default", workflow_id="w", signal_name="go")
    request.workflow_type.name, request.task_queue.name = "Flow", "queue"
    response = await d.call("SignalWithStartWorkflowExecution", request)
    assert response.started
    assert await d.names() == [
        "WorkflowExecutionStarted",
        "WorkflowExecutionSignaled",
        "WorkflowTaskScheduled",
    ]
    again = await d.call("SignalWithStartWorkflowExecution", request)
    assert (again.started, again.run_id) == (False, response.run_id)


@in_engine
async def test_a_signal_with_a_known_request_id_is_dropped(d: Driver) -> None:
    await d.start()
    await d.signal(request_id="once")
    await d.signal(request_id="once")
    assert (await d.names()).count("WorkflowExecutionSignaled") == 1


@in_engine
async def test_cancellation_is_requested_once_and_harmless_after_the_end(d: Driver) -> None:
    await d.start()
    request = RequestCancelWorkflowExecutionRequest(namespace="default")
    request.workflow_execution.workflow_id = "w"
    await d.call("RequestCancelWorkflowExecution", request)
    await d.call("RequestCancelWorkflowExecution", request)
    assert (await d.names()).count("WorkflowExecutionCancelRequested") == 1
    await terminate(d)
    await d.call("RequestCancelWorkflowExecution", request)
    with pytest.raises(ServiceError, match="already completed") as closed:
        signal = SignalWorkflowExecutionRequest(namespace="default", signal_name="go")
        signal.workflow_execution.workflow_id = "w"
        await d.call("SignalWorkflowExecution", signal)
    assert closed.value.code == Code.NOT_FOUND


@in_engine
async def test_termination_fails_the_started_task_first(d: Driver) -> None:
    await d.start()
    await d.workflow_task()
    await d.signal()
    await terminate(d)
    assert (await d.names())[3:] == [
        "WorkflowTaskFailed",
        "WorkflowExecutionSignaled",
        "WorkflowExecutionTerminated",
    ]


@in_engine
async def test_a_run_times_out_and_its_pending_activities_are_gone(d: Driver) -> None:
    await d.start(workflow_run_timeout=duration(30 * SECOND))
    await d.step(schedule_activity(start_to_close=3600))
    task = await d.activity_task()
    run = d.run()
    while run.ex.open:
        await run.change()
    assert await status(d) == "TIMED_OUT"
    with pytest.raises(ServiceError) as gone:
        await d.complete_activity(task)
    assert gone.value.code == Code.NOT_FOUND


@in_engine
async def test_continue_as_new_begins_the_next_run_of_the_chain_in_the_same_transaction(d: Driver) -> None:
    first = await d.start(input=payload("a"))
    await d.step(continue_as_new())
    event = only(await d.history(run_id=first), "WorkflowExecutionContinuedAsNew")
    attributes = event.workflow_execution_continued_as_new_event_attributes
    second = d.run()
    assert attributes.new_execution_run_id == second.ex.run_id
    assert second.ex.started.continued_execution_run_id == first
    assert second.ex.first_run_id == first
    assert (
        from_duration(second.ex.started.first_workflow_task_backoff) == SECOND
    )  # two runs start a second apart
    assert await status(d, run_id=first) == "CONTINUED_AS_NEW"
    await d.workflow_task()


@in_engine
async def test_a_failed_workflow_is_retried_under_its_policy(d: Driver) -> None:
    first = await d.start(retry_policy=RetryPolicy(maximum_attempts=2))
    await d.step(fail_workflow())
    failed = only(
        await d.history(run_id=first), "WorkflowExecutionFailed"
    ).workflow_execution_failed_event_attributes
    second = d.run()
    assert failed.new_execution_run_id == second.ex.run_id
    assert second.ex.started.attempt == 2
    assert second.ex.started.continued_failure.message == "boom"
    await d.step(fail_workflow())
    assert d.engine.runs.open_run("default", "w") is None


@in_engine
async def test_the_parent_hears_of_its_child(d: Driver) -> None:
    await d.start()
    await d.step(start_child())
    await d.step()
    task = await d.workflow_task("children")
    assert task.workflow_type.name == "Child"
    await d.complete(task, complete_workflow("from child"))
    completed = only(await d.history(), "ChildWorkflowExecutionCompleted")
    attributes = completed.child_workflow_execution_completed_event_attributes
    assert attributes.result == payload("from child")
    started = only(await d.history(), "ChildWorkflowExecutionStarted")
    assert attributes.started_event_id == started.event_id


@in_engine
async def test_a_child_id_that_is_taken_fails_the_child_start(d: Driver) -> None:
    await d.start("child")
    await d.start()
    await d.workflow_task()
    await d.step(start_child())
    assert "StartChildWorkflowExecutionFailed" in await d.names()


@pytest.mark.parametrize(
    "policy, outcome",
    [
        (ParentClosePolicy.PARENT_CLOSE_POLICY_TERMINATE, "TERMINATED"),
        (ParentClosePolicy.PARENT_CLOSE_POLICY_ABANDON, "RUNNING"),
        (ParentClosePolicy.PARENT_CLOSE_POLICY_REQUEST_CANCEL, "RUNNING"),
    ],
)
def test_parent_close_policies(policy: int, outcome: str) -> None:
    @in_engine
    async def test(d: Driver) -> None:
        await d.start()
        await d.step(start_child(policy=policy))
        await d.step(complete_workflow())
        assert await status(d, "child") == outcome
        asked = "WorkflowExecutionCancelRequested" in await d.names("child")
        assert asked == (policy == ParentClosePolicy.PARENT_CLOSE_POLICY_REQUEST_CANCEL)

    test()


@in_engine
async def test_runs_are_pinned_to_the_current_version_and_move_by_an_event(d: Driver) -> None:
    def definition(version: str) -> Definition:
        return Definition("workflow", "Flow", version, f"m_{version}", "flow", "pass")

    d.engine.declared("p", [definition("v1")])
    await d.start()
    d.engine.declared("p", [definition("v1"), definition("v2")])
    await d.start("later")
    assert (d.run().ex.version, d.run("later").ex.version) == ("v1", "v2")
    request = UpdateWorkflowExecutionOptionsRequest(
        namespace="default", update_mask={"paths": ["versioning_override"]}
    )
    request.workflow_execution.workflow_id = "w"
    request.workflow_execution_options.versioning_override.CopyFrom(pin("Flow", "v2"))
    await d.call("UpdateWorkflowExecutionOptions", request)
    assert d.run().ex.version == "v2"
    after = await d.crash()
    assert after.run().ex.version == "v2"
    await after.engine.stop()


@in_engine
async def test_a_cell_that_goes_back_to_an_older_text_makes_that_version_current_again(d: Driver) -> None:
    def definition(version: str, when: int) -> Definition:
        return Definition("workflow", "Flow", version, f"m_{version}", "flow", "pass", defined_time=when)

    d.engine.declared("p", [definition("v1", 1)])
    d.engine.declared("p", [definition("v1", 1), definition("v2", 2)])
    assert d.engine.definitions.current_version("workflow", "Flow") == "v2"
    d.engine.declared("p", [definition("v1", 3), definition("v2", 2)])
    assert d.engine.definitions.current_version("workflow", "Flow") == "v1"
    after = await d.crash()
    assert after.engine.definitions.current_version("workflow", "Flow") == "v1"
    await after.engine.stop()


@in_engine
async def test_closed_runs_are_kept_in_memory_by_size_and_read_again_after_that(d: Driver) -> None:
    d.engine.runs = Runs(d.journal, Limits(closed_bytes=700))
    run_ids = {}
    for workflow_id in ("a", "b", "c"):
        run_ids[workflow_id] = await d.start(workflow_id)
        await d.step(complete_workflow())
    assert d.engine.runs.in_memory(run_ids["a"]) is None
    assert d.engine.runs.in_memory(run_ids["c"]) is not None
    assert await status(d, "a") == "COMPLETED"
    assert (await d.names("a"))[-1] == "WorkflowExecutionCompleted"


@in_engine
async def test_a_process_that_declares_before_it_attends_gets_its_tasks_and_adoptions(d: Driver) -> None:
    mine = Definition("workflow", "Flow", "v1", "m", "flow", "pass")
    orphan = Definition("workflow", "Orphan", "v1", "m2", "orphan", "pass")
    d.engine.declared("gone", [mine, orphan])
    await d.start()
    orphaned = StartWorkflowExecutionRequest(namespace="default", workflow_id="o")
    orphaned.workflow_type.name, orphaned.task_queue.name = "Orphan", "queue"
    await d.call("StartWorkflowExecution", orphaned)

    process = "perdure-1-0123abcd@host"
    poll = PollWorkflowTaskQueueRequest(namespace="default", identity=process)
    poll.task_queue.name = "queue"
    waiting = asyncio.create_task(d.call("PollWorkflowTaskQueue", poll))
    d.engine.declared(process, [mine])
    lease = d.engine.attend(process, adopts=True)
    assert (await asyncio.wait_for(waiting, 5)).workflow_type.name == "Flow"
    notice = lease.notices.get_nowait()
    assert isinstance(notice, Adopt) and [each.name for each in notice.definitions] == ["Orphan"]


@in_engine
async def test_what_a_run_is_said_to_be_for_stands_in_its_first_event(driver: Driver) -> None:
    metadata = UserMetadata(summary=payload("for the tests").payloads[0])
    await driver.start(user_metadata=metadata)
    command = start_child()
    command.user_metadata.CopyFrom(metadata)
    await driver.step(command)
    for workflow_id in ("w", "child"):
        assert (await driver.history(workflow_id))[0].user_metadata == metadata
