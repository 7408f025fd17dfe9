"""An engine that opens what another one has committed answers every question as that one did."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from engine_driver import QUEUE, Driver, in_engine, payload, schedule_activity, start_child, start_timer
from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload, RetryPolicy, SearchAttributes, WorkflowExecution
from temporalio.api.deployment.v1 import WorkerDeploymentVersion
from temporalio.api.enums.v1 import IndexedValueType, TaskQueueType
from temporalio.api.operatorservice import v1 as operator
from temporalio.api.protocol.v1 import Message as Protocol
from temporalio.api.taskqueue.v1 import RateLimit
from temporalio.api.update.v1 import Acceptance
from temporalio.api.workflow.v1 import VersioningOverride
from temporalio.api.workflowservice import v1 as api

from perdure.engine.errors import ServiceError
from perdure.engine.protos import SECOND, duration
from perdure.engine.records import Record
from perdure.testing import MemoryJournal

HOUR = 3600 * SECOND
DAY = duration(24 * HOUR)
HERE = {"namespace": "default"}
IDS = ("w", "child", "reset", "paused", "closed", "delayed", "pinned", "next")


@contextmanager
def ticking(d: Driver) -> Iterator[None]:
    """No two requests come at one time, from which transitions are counted."""
    call = d.call

    async def later(method: str, request: Message) -> Any:
        d.clock.advance(1000)
        return await call(method, request)

    d.call = later
    yield
    del d.call


async def ask(d: Driver, request: Message) -> Any:
    return await d.call(type(request).__name__.removesuffix("Request"), request)


def execution(workflow_id: str = "w") -> WorkflowExecution:
    return WorkflowExecution(workflow_id=workflow_id)


async def task_of(d: Driver, workflow_id: str) -> Any:
    """A workflow's own workflow task; others wait meanwhile for nothing."""
    task = await d.workflow_task()
    assert task.workflow_execution.workflow_id == workflow_id, task.workflow_execution
    return task


# --- a bit of everything


async def documents(d: Driver) -> None:
    await ask(
        d,
        api.RegisterNamespaceRequest(
            namespace="team", description="ours", workflow_execution_retention_period=DAY
        ),
    )
    await ask(d, api.DeprecateNamespaceRequest(namespace="team"))
    kinds = {"Colour": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD}
    await ask(d, operator.AddSearchAttributesRequest(namespace="default", search_attributes=kinds))
    config = api.UpdateTaskQueueConfigRequest(**HERE, task_queue="slow", identity="me")
    config.task_queue_type = TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY
    config.update_queue_rate_limit.rate_limit.CopyFrom(RateLimit(requests_per_second=3))
    await ask(d, config)
    await ask(d, api.CreateWorkerDeploymentRequest(**HERE, deployment_name="billing", request_id="r"))
    for build in ("1", "2"):
        version = WorkerDeploymentVersion(deployment_name="billing", build_id=build)
        await ask(d, api.CreateWorkerDeploymentVersionRequest(**HERE, deployment_version=version))
    where = {**HERE, "deployment_name": "billing", "allow_no_pollers": True}
    await ask(d, api.SetWorkerDeploymentCurrentVersionRequest(**where, build_id="1"))
    await ask(d, api.SetWorkerDeploymentRampingVersionRequest(**where, build_id="2", percentage=20))
    metadata = api.UpdateWorkerDeploymentVersionMetadataRequest(**HERE, deployment_version=version)
    metadata.upsert_entries["commit"].CopyFrom(Payload(data=b"abc"))
    await ask(d, metadata)


async def schedules(d: Driver) -> None:
    for number, paused in enumerate((False, True)):
        request = api.CreateScheduleRequest(**HERE, schedule_id=f"s{number}", request_id="r")
        request.schedule.spec.interval.add().interval.CopyFrom(duration(HOUR))
        request.schedule.policies.overlap_policy = 3
        request.schedule.state.paused, request.schedule.state.notes = paused, "a note"
        request.memo.fields["m"].CopyFrom(payload("x").payloads[0])
        action = request.schedule.action.start_workflow
        action.workflow_id, action.workflow_type.name, action.task_queue.name = "tick", "T", "ticks"
        await ask(d, request)
    patch = api.PatchScheduleRequest(**HERE, schedule_id="s0", request_id="p")
    for _ in range(2):
        patch.request_id += "p"
        patch.patch.trigger_immediately.overlap_policy = 3
        await ask(d, patch)


async def batches(d: Driver) -> None:
    job = api.StartBatchOperationRequest(**HERE, job_id="j", reason="why", executions=[execution("nobody")])
    job.signal_operation.signal, job.signal_operation.identity = "go", "me"
    await ask(d, job)
    running = True
    while running:
        await asyncio.sleep(0)
        job = await ask(d, api.DescribeBatchOperationRequest(**HERE, job_id="j"))
        running = not job.HasField("close_time")


async def workflows(d: Driver) -> None:
    colour = SearchAttributes(indexed_fields={"Colour": payload("red").payloads[0]})
    await d.start("w", search_attributes=colour, request_id="start", workflow_run_timeout=duration(9 * HOUR))
    policy = RetryPolicy(initial_interval=duration(HOUR), backoff_coefficient=1)
    activities = [schedule_activity(str(n), policy=policy, start_to_close=100) for n in range(4)]
    child = start_child()
    child.start_child_workflow_execution_command_attributes.task_queue.name = QUEUE
    await d.complete(await task_of(d, "w"), *activities, start_timer(seconds=7200), child)
    attempts = [await d.activity_task() for _ in range(3)]
    await d.fail_activity(attempts[0])
    beat = api.RecordActivityTaskHeartbeatRequest(task_token=attempts[1].task_token, details=payload("half"))
    await ask(d, beat)
    await ask(d, api.PauseActivityRequest(**HERE, execution=execution(), id=attempts[0].activity_id))
    await ask(d, api.PauseActivityRequest(**HERE, execution=execution(), id=attempts[1].activity_id))
    await ask(d, api.ResetActivityRequest(**HERE, execution=execution(), id=attempts[2].activity_id))
    options = api.UpdateActivityOptionsRequest(**HERE, execution=execution(), match_all=True)
    options.activity_options.heartbeat_timeout.CopyFrom(duration(50 * SECOND))
    options.update_mask.paths.append("heartbeat_timeout")
    await ask(d, options)
    for _ in range(2):  # the child's, and the parent's that hears of its start
        task = await d.workflow_task()
        await d.complete(task, *([start_timer(seconds=8000)] if task.workflow_type.name == "Child" else []))
    await d.signal("known", request_id="signal")
    await accept_update(d)


async def accept_update(d: Driver) -> None:
    request = api.UpdateWorkflowExecutionRequest(**HERE, workflow_execution=execution())
    request.request.meta.update_id, request.request.input.name = "u", "change"
    request.wait_policy.lifecycle_stage = 2  # type: ignore[assignment]
    call = asyncio.create_task(ask(d, request))
    await asyncio.sleep(0)
    task = await d.workflow_task()
    accepted = Protocol(id="u/accept", protocol_instance_id="u")
    accepted.body.Pack(
        Acceptance(
            accepted_request_message_id=task.messages[0].id,
            accepted_request_sequencing_event_id=task.messages[0].event_id,
            accepted_request=request.request,
        )
    )
    await d.complete(task, messages=[accepted])
    await call


async def other_workflows(d: Driver) -> None:
    await d.start("reset")
    await d.complete(await task_of(d, "reset"), start_timer(seconds=5000))
    await d.signal(workflow_id="reset")
    reset = api.ResetWorkflowExecutionRequest(**HERE, workflow_execution=execution("reset"))
    reset.request_id, reset.workflow_task_finish_event_id, reset.reason = "r", 4, "why"
    await ask(d, reset)
    await d.complete(await task_of(d, "reset"), start_timer(seconds=6000))
    await d.start("paused")
    await d.complete(await task_of(d, "paused"), start_timer(seconds=5000))
    await ask(d, api.PauseWorkflowExecutionRequest(**HERE, workflow_id="paused", reason="why", identity="me"))
    await d.start("closed", retry_policy=RetryPolicy(maximum_attempts=1))
    await ask(d, api.TerminateWorkflowExecutionRequest(**HERE, workflow_execution=execution("closed")))
    await d.start("delayed", workflow_start_delay=duration(3 * HOUR), cron_schedule="")
    pin = VersioningOverride()
    pin.pinned.behavior = 1  # type: ignore[assignment]
    pin.pinned.version.deployment_name, pin.pinned.version.build_id = "Flow", "2"
    await d.start("pinned", workflow_start_delay=duration(3 * HOUR), versioning_override=pin)
    await d.start("next", cron_schedule="0 0 * * *")
    alone = api.StartActivityExecutionRequest(**HERE, activity_id="alone", input=payload("in"), identity="me")
    alone.activity_type.name, alone.task_queue.name = "act", QUEUE
    alone.start_to_close_timeout.CopyFrom(duration(60 * SECOND))
    await ask(d, alone)
    while (task := await d.activity_task()).workflow_execution.workflow_id:
        pass
    await ask(d, api.RecordActivityTaskHeartbeatRequest(task_token=task.task_token, details=payload("half")))
    await d.fail_activity(task)
    await ask(d, api.PauseActivityExecutionRequest(**HERE, activity_id="alone", reason="why", identity="me"))


def questions() -> Iterator[Message]:
    for workflow_id in IDS:
        yield api.DescribeWorkflowExecutionRequest(**HERE, execution=execution(workflow_id))
        yield api.GetWorkflowExecutionHistoryRequest(**HERE, execution=execution(workflow_id))
    for query in ("", "Colour = '\"red\"'", "ExecutionStatus = 'Paused'", "TemporalPauseInfo IS NOT NULL"):
        yield api.ListWorkflowExecutionsRequest(**HERE, query=query)
        yield api.CountWorkflowExecutionsRequest(**HERE, query=query)
    for name in ("default", "team"):
        yield api.DescribeNamespaceRequest(namespace=name)
        yield operator.ListSearchAttributesRequest(namespace=name)
    yield api.ListNamespacesRequest()
    for number in range(2):
        yield api.DescribeScheduleRequest(**HERE, schedule_id=f"s{number}")
    yield api.ListSchedulesRequest(**HERE)
    yield api.DescribeBatchOperationRequest(**HERE, job_id="j")
    yield api.ListBatchOperationsRequest(**HERE)
    yield api.DescribeWorkerDeploymentRequest(**HERE, deployment_name="billing")
    for build in ("1", "2"):
        version = WorkerDeploymentVersion(deployment_name="billing", build_id=build)
        yield api.DescribeWorkerDeploymentVersionRequest(**HERE, deployment_version=version)
    yield api.ListWorkerDeploymentsRequest(**HERE)
    config = api.DescribeTaskQueueRequest(**HERE, report_config=True)
    config.task_queue.name, config.task_queue_type = "slow", 2  # type: ignore[assignment]
    yield config
    yield api.DescribeActivityExecutionRequest(
        **HERE,
        activity_id="alone",
        include_input=True,
        include_heartbeat_details=True,
        include_last_failure=True,
    )
    yield api.ListActivityExecutionsRequest(**HERE)


async def answer_to(d: Driver, question: Message) -> Any:
    answer = await ask(d, question)
    if isinstance(answer, api.DescribeActivityExecutionResponse):
        answer.ClearField("long_poll_token")  # it names the engine that gave it
    return answer


@in_engine
async def test_every_answer_is_the_same_after_a_crash(d: Driver) -> None:
    with d.clock.held():
        with ticking(d):
            for happen in (documents, schedules, batches, workflows, other_workflows):
                await happen(d)
        before = [(question, await answer_to(d, question)) for question in questions()]
        after = await d.crash()
        try:
            wrong = []
            for question, answer in before:
                again = await answer_to(after, question)
                if answer != again:
                    wrong.append(f"{type(question).__name__} {question}: {_differences(answer, again)}")
            assert not wrong, "\n".join(wrong)
        finally:
            await after.engine.stop()


def _differences(one: Message, other: Message) -> str:
    """The lines that only one of them has."""
    lines = [str(one).splitlines(), str(other).splitlines()]
    gone = [f"- {line.strip()}" for line in lines[0] if line not in lines[1]]
    new = [f"+ {line.strip()}" for line in lines[1] if line not in lines[0]]
    return "; ".join([*gone, *new]) or f"another order: {one} {other}"


async def answer_or_refusal(d: Driver, question: Message) -> Any:
    try:
        return await answer_to(d, question)
    except ServiceError as refusal:
        return refusal


@in_engine
async def test_an_engine_may_end_after_any_commit(d: Driver) -> None:
    """Whatever is done in several commits is sound between them, too."""
    files: list[MemoryJournal] = []

    def observe(records: Sequence[Record]) -> None:
        if records:
            files.append(copy.deepcopy(d.journal))

    with d.clock.held():
        d.journal.observe = observe
        for happen in (documents, schedules, batches, workflows, other_workflows, ends):
            await happen(d)
        d.journal.observe = None
        for file in files:
            file.observe = None
            after = Driver(file, d.clock, d.limits)
            await after.engine.start()
            for question in questions():
                await answer_or_refusal(after, question)
            await after.engine.stop()
    assert len(files) > 60


async def ends(d: Driver) -> None:
    """What was made goes again."""
    version = WorkerDeploymentVersion(deployment_name="idle", build_id="1")
    await ask(d, api.CreateWorkerDeploymentRequest(**HERE, deployment_name="idle", request_id="r"))
    await ask(d, api.CreateWorkerDeploymentVersionRequest(**HERE, deployment_version=version))
    await ask(d, api.DeleteWorkerDeploymentVersionRequest(**HERE, deployment_version=version))
    await ask(d, api.DeleteWorkerDeploymentRequest(**HERE, deployment_name="idle"))
    await ask(d, api.DeleteScheduleRequest(**HERE, schedule_id="s0"))
    await ask(d, operator.RemoveSearchAttributesRequest(namespace="default", search_attributes=["Colour"]))
    await ask(d, operator.DeleteNamespaceRequest(namespace="team"))
    await ask(d, api.DeleteActivityExecutionRequest(**HERE, activity_id="alone"))
    for workflow_id in IDS:
        await ask(d, api.DeleteWorkflowExecutionRequest(**HERE, workflow_execution=execution(workflow_id)))
