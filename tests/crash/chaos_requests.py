"""What the chaos driver asks of Temporal's API itself: the kernel's half of the scripts in `chaos_scripts`.

Each function does one thing for a case, by its id and a number, and gives an answer that must come out the same
however often it is asked: whoever got no answer, because the kernel or the owner of the file was killed, asks
again. So every request has a request id of its own.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from temporalio.api.common.v1 import Payloads, WorkflowExecution
from temporalio.api.deployment.v1 import WorkerDeploymentVersion
from temporalio.api.enums.v1 import (
    EventType,
    IndexedValueType,
    ScheduleOverlapPolicy,
    WorkflowExecutionStatus,
    WorkflowIdConflictPolicy,
)
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.api.workflowservice import v1 as api
from temporalio.api.workflowservice.v1 import StartWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.client import WorkflowExecutionStatus as Status
from temporalio.converter import DataConverter
from temporalio.service import RPCError, RPCStatusCode

import perdure
from perdure.engine.protos import SECOND, duration

_GONE = (RPCStatusCode.NOT_FOUND,)
_MANY = 5  # workflows of a batch
_TICKS = 4  # actions of a schedule
_PATIENCE = 25.0  # seconds that something may take which happens by itself


def payloads(*values: Any) -> Payloads:
    return Payloads(payloads=DataConverter.default.payload_converter.to_payloads(values))


class Requests:
    """Temporal's API for one case.

    Args:
        what: the request's name, which with the case's id and `n` makes its request id.
    """

    def __init__(self, client: Client, id: str, what: str, n: int) -> None:
        self.client = client
        self.id = id
        self.n = n
        self.request_id = f"{id}/{what}/{n}"

    async def call(self, rpc: str, **fields: Any) -> Any:
        """One RPC of the workflow service, about this case's workflow unless it says otherwise."""
        name = "".join(part.capitalize() for part in rpc.split("_"))
        kind: Any = getattr(api, f"{name}Request")
        known = kind.DESCRIPTOR.fields_by_name
        own: dict[str, Any] = {
            "namespace": "default",
            "request_id": self.request_id,
            "execution": WorkflowExecution(workflow_id=self.id),
            "workflow_execution": WorkflowExecution(workflow_id=self.id),
            "identity": "chaos",
        }
        given = {name: value for name, value in own.items() if name in known} | fields
        return await getattr(self.client.workflow_service, rpc)(kind(**given))

    async def again(self, rpc: str, *done: RPCStatusCode, **fields: Any) -> bool:
        """A request that its own first time may have left nothing to do for."""
        try:
            await self.call(rpc, **fields)
        except RPCError as error:
            if error.status not in done:
                raise
        return True

    def starting(self, workflow: str, *args: Any, **fields: Any) -> dict[str, Any]:
        """The fields of a start."""
        own: dict[str, Any] = {"workflow_id": self.id, "request_id": self.request_id}
        request = StartWorkflowExecutionRequest(namespace="default", input=payloads(*args), **(own | fields))
        request.workflow_type.name, request.task_queue.name = workflow, perdure.session().task_queue
        return {field.name: value for field, value in request.ListFields()}

    async def history(self, workflow_id: str = "") -> list[Any]:
        handle = self.client.get_workflow_handle(workflow_id or self.id)
        return list((await handle.fetch_history()).events)

    async def until(self, holds: Callable[[], Awaitable[Any]]) -> Any:
        """The first answer that is something."""
        end = time.monotonic() + _PATIENCE
        while True:
            if answer := await holds():
                return answer
            if time.monotonic() > end:
                raise TimeoutError(f"{self.request_id} waits for {_PATIENCE:g} s")
            await asyncio.sleep(0.1)

    async def runs(self, prefix: str = "") -> list[Any]:
        """The workflow's runs, or those of all workflows whose ids begin so; oldest first."""
        query = f"WorkflowId STARTS_WITH '{prefix}'" if prefix else f"WorkflowId = '{self.id}'"
        found = [each async for each in self.client.list_workflows(query)]
        return sorted(found, key=lambda each: each.start_time)

    async def pending(self) -> Any:
        """The workflow's one pending activity; None if it has none."""
        described = await self.call("describe_workflow_execution")
        return next(iter(described.pending_activities), None)


# --- resets, pauses


async def reset(ask: Requests) -> Any:
    """To the first completed workflow task (0), or the last one."""

    async def completed() -> list[int]:
        kind = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
        return [event.event_id for event in await ask.history() if event.event_type == kind]

    points = await ask.until(completed)
    response = await ask.call(
        "reset_workflow_execution", reason="chaos", workflow_task_finish_event_id=points[-1 if ask.n else 0]
    )
    return response.run_id


async def pause(ask: Requests) -> Any:
    return await ask.again("pause_workflow_execution", workflow_id=ask.id)


async def unpause(ask: Requests) -> Any:
    return await ask.again(
        "unpause_workflow_execution", RPCStatusCode.FAILED_PRECONDITION, workflow_id=ask.id
    )


async def status(ask: Requests) -> Any:
    described = await ask.call("describe_workflow_execution")
    number = described.workflow_execution_info.status
    return WorkflowExecutionStatus.Name(number).removeprefix("WORKFLOW_EXECUTION_STATUS_")


# --- updates and starts that are asked again


async def update_id(ask: Requests) -> Any:
    """The same update twice: one id, one outcome. `n` is the number that is asked."""
    handle = ask.client.get_workflow_handle(ask.id)
    return [await handle.execute_update("ask", ask.n, id=f"update-{ask.n}") for _ in range(2)]


async def signal_with_start(ask: Requests) -> Any:
    fields = ask.starting("mailbox", 1, 1)
    request = {**fields, "signal_name": "post", "signal_input": payloads(ask.n)}
    answers = [await ask.call("signal_with_start_workflow_execution", **request) for _ in range(2)]
    return len({answer.run_id for answer in answers})


async def update_with_start(ask: Requests) -> Any:
    """The update of a workflow that it may have to start; its outcome."""
    request = api.ExecuteMultiOperationRequest(namespace="default")
    conflict = WorkflowIdConflictPolicy.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING
    start = ask.starting("mailbox", 0, 1, workflow_id_conflict_policy=conflict)
    request.operations.add().start_workflow.MergeFrom(StartWorkflowExecutionRequest(**start))
    update = request.operations.add().update_workflow
    update.namespace, update.workflow_execution.workflow_id = "default", ask.id
    update.request.meta.update_id, update.request.input.name = f"update-{ask.n}", "ask"
    update.request.input.args.CopyFrom(payloads(ask.n))
    update.wait_policy.lifecycle_stage = 3
    response = await ask.client.workflow_service.execute_multi_operation(request)
    answer = response.responses[1].update_workflow.outcome.success
    return DataConverter.default.payload_converter.from_payloads(answer.payloads)[0]


# --- chains


async def start_cron(ask: Requests) -> Any:
    fields = ask.starting("chain", 2, cron_schedule="@every 1s")
    return (await ask.call("start_workflow_execution", **fields)).run_id


async def rounds(ask: Requests) -> Any:
    """Waits until the chain has some runs."""

    async def enough() -> bool:
        return len(await ask.runs()) >= ask.n

    return await ask.until(enough)


async def cancel(ask: Requests) -> Any:
    return await ask.again("request_cancel_workflow_execution")


async def terminate(ask: Requests) -> Any:
    return await ask.again("terminate_workflow_execution", *_GONE)


async def end(ask: Requests) -> Any:
    """How the chain has ended."""

    async def closed() -> str:
        last = (await ask.runs())[-1].status
        return "" if last in (Status.RUNNING, Status.CONTINUED_AS_NEW) else last.name

    return await ask.until(closed)


# --- activities


async def failed(ask: Requests) -> Any:
    """Waits until the activity waits for its second attempt, or a later one."""

    async def waits() -> bool:
        pending = await ask.pending()
        return pending is not None and pending.attempt > 1

    return await ask.until(waits)


async def pause_activity(ask: Requests) -> Any:
    return await ask.again("pause_activity", type="gate")


async def update_activity(ask: Requests) -> Any:
    request = api.UpdateActivityOptionsRequest(type="gate")
    request.activity_options.retry_policy.initial_interval.CopyFrom(duration(SECOND // 20))
    request.update_mask.paths.append("retry_policy.initial_interval")
    fields = {field.name: value for field, value in request.ListFields()}
    return await ask.again("update_activity_options", **fields)


async def reset_activity(ask: Requests) -> Any:
    return await ask.again("reset_activity", type="gate", keep_paused=True)


async def activity(ask: Requests) -> Any:
    """What is known of it: whether it is paused, its attempt, its interval in ms."""
    pending = await ask.pending()
    interval = pending.activity_options.retry_policy.initial_interval.ToMilliseconds()
    return [pending.paused, pending.attempt, interval]


async def open_gate(ask: Requests) -> Any:
    await asyncio.to_thread(Path(f"{os.environ['CHAOS_LEDGER']}.{ask.id}").touch)
    return await ask.again("unpause_activity", type="gate")


async def start_alone(ask: Requests) -> Any:
    """A standalone activity, `climb` for 0 and else `flaky`."""
    name, args = ("flaky", (ask.n, ask.n)) if ask.n else ("climb", (6,))
    request = api.StartActivityExecutionRequest(activity_id=ask.id, input=payloads(*args))
    request.activity_type.name, request.task_queue.name = name, perdure.session().task_queue
    request.start_to_close_timeout.CopyFrom(duration(20 * SECOND))
    request.heartbeat_timeout.CopyFrom(duration(10 * SECOND))
    request.retry_policy.initial_interval.CopyFrom(duration(SECOND // 20))
    fields = {field.name: value for field, value in request.ListFields()}
    return (await ask.call("start_activity_execution", **fields)).run_id


async def result_alone(ask: Requests) -> Any:
    async def ended() -> Any:
        response = await ask.call("poll_activity_execution", activity_id=ask.id)
        result = response.outcome.result.payloads
        return DataConverter.default.payload_converter.from_payloads(result)[0][:1] if result else None

    return await ask.until(ended)


# --- schedules and batches


async def schedule(ask: Requests) -> Any:
    """A few actions, one a second."""
    request = api.CreateScheduleRequest(schedule_id=ask.id)
    request.schedule.spec.interval.add().interval.CopyFrom(duration(SECOND))
    request.schedule.policies.overlap_policy = ScheduleOverlapPolicy.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL
    request.schedule.state.limited_actions, request.schedule.state.remaining_actions = True, _TICKS
    start = ask.starting("chain", 2, workflow_id=f"{ask.id}-tick")
    for name in ("workflow_id", "workflow_type", "task_queue", "input"):
        field = getattr(request.schedule.action.start_workflow, name)
        if isinstance(field, str):
            setattr(request.schedule.action.start_workflow, name, start[name])
        else:
            field.CopyFrom(start[name])
    fields = {field.name: value for field, value in request.ListFields()}
    return await ask.again("create_schedule", **fields)


async def scheduled(ask: Requests) -> Any:
    """Waits until its actions are done; how many there were, and whether one a second."""

    async def ended() -> Any:
        info = (await ask.call("describe_schedule", schedule_id=ask.id)).info
        runs = await ask.runs(f"{ask.id}-tick")
        if info.action_count < _TICKS or any(run.status != Status.COMPLETED for run in runs):
            return None
        seconds = sorted(int(time.mktime(time.strptime(run.id[-20:], "%Y-%m-%dT%H:%M:%SZ"))) for run in runs)
        return [len(runs), info.action_count, seconds[-1] - seconds[0]]

    return await ask.until(ended)


async def unschedule(ask: Requests) -> Any:
    return await ask.again("delete_schedule", *_GONE, schedule_id=ask.id)


async def unscheduled(ask: Requests) -> Any:
    return await _is_gone(ask.call("describe_schedule", schedule_id=ask.id))


async def start_many(ask: Requests) -> Any:
    for number in range(_MANY):
        member = f"{ask.id}-m{number}"
        fields = ask.starting("mailbox", 1, 0, workflow_id=member, request_id=member)
        await ask.call("start_workflow_execution", **fields)
    return _MANY


async def batch(ask: Requests) -> Any:
    """Signals all of them, or (1) deletes them."""
    request = api.StartBatchOperationRequest(job_id=ask.request_id, reason="chaos")
    request.visibility_query = f"WorkflowId STARTS_WITH '{ask.id}-m'"
    request.max_operations_per_second = 3
    if ask.n:
        request.deletion_operation.identity = "chaos"
    else:
        request.signal_operation.signal = "post"
        request.signal_operation.input.CopyFrom(payloads(1))
    fields = {field.name: value for field, value in request.ListFields()}
    await ask.again("start_batch_operation", RPCStatusCode.ALREADY_EXISTS, **fields)

    async def ended() -> Any:
        job = await ask.call("describe_batch_operation", job_id=ask.request_id)
        counts = [job.total_operation_count, job.complete_operation_count, job.failure_operation_count]
        return counts if job.HasField("close_time") else None

    return await ask.until(ended)


async def signals(ask: Requests) -> Any:
    """How many signals each of them has got."""
    kind = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
    members = [await ask.history(f"{ask.id}-m{number}") for number in range(_MANY)]
    return [sum(event.event_type == kind for event in events) for events in members]


async def many(ask: Requests) -> Any:
    return len(await ask.runs(f"{ask.id}-m"))


# --- documents, deletion


async def namespace(ask: Requests) -> Any:
    keep = duration(24 * 3600 * SECOND)
    done = RPCStatusCode.ALREADY_EXISTS
    return await ask.again(
        "register_namespace", done, namespace=ask.id, workflow_execution_retention_period=keep
    )


async def namespace_is(ask: Requests) -> Any:
    return (await ask.call("describe_namespace", namespace=ask.id)).namespace_info.name == ask.id


async def attribute(ask: Requests) -> Any:
    kinds = {_attribute(ask): IndexedValueType.INDEXED_VALUE_TYPE_INT}
    request = AddSearchAttributesRequest(namespace="default", search_attributes=kinds)
    await ask.client.operator_service.add_search_attributes(request)
    return True


async def attribute_is(ask: Requests) -> Any:
    request = ListSearchAttributesRequest(namespace="default")
    known = (await ask.client.operator_service.list_search_attributes(request)).custom_attributes
    return known.get(_attribute(ask)) == IndexedValueType.INDEXED_VALUE_TYPE_INT


def _attribute(ask: Requests) -> str:
    return ask.id.replace("-", "_")


async def deployment(ask: Requests) -> Any:
    """Makes the deployment and a version of it, if they are not there, and makes the version the current one."""
    version = WorkerDeploymentVersion(deployment_name=ask.id, build_id=f"build-{ask.n}")
    done = RPCStatusCode.ALREADY_EXISTS
    await ask.again("create_worker_deployment", done, deployment_name=ask.id)
    await ask.again("create_worker_deployment_version", done, deployment_version=version)
    return await ask.again(
        "set_worker_deployment_current_version",
        deployment_name=ask.id,
        build_id=f"build-{ask.n}",
        allow_no_pollers=True,
    )


async def deployment_is(ask: Requests) -> Any:
    described = await ask.call("describe_worker_deployment", deployment_name=ask.id)
    routing = described.worker_deployment_info.routing_config
    return routing.current_deployment_version.build_id


async def delete(ask: Requests) -> Any:
    return await ask.again("delete_workflow_execution", *_GONE)


async def gone(ask: Requests) -> Any:
    return await _is_gone(ask.call("describe_workflow_execution"))


async def _is_gone(asked: Awaitable[Any]) -> bool:
    try:
        await asked
    except RPCError as error:
        if error.status not in _GONE:
            raise
        return True
    return False


REQUESTS: dict[str, Callable[[Requests], Awaitable[Any]]] = {
    each.__name__: each
    for each in (
        *(reset, pause, unpause, status, update_id, signal_with_start, update_with_start),
        *(start_cron, rounds, cancel, terminate, end),
        *(failed, pause_activity, update_activity, reset_activity, activity, open_gate),
        *(start_alone, result_alone, schedule, scheduled, unschedule, unscheduled),
        *(start_many, batch, signals, many, namespace, namespace_is, attribute, attribute_is),
        *(deployment, deployment_is, delete, gone),
    )
}


def request(what: str, id: str, n: int) -> Any:
    """Carries a request out on the session's loop. Raises RPCError, TimeoutError."""
    session = perdure.session()
    return session.wait(REQUESTS[what](Requests(session.client, id, what, n)))
