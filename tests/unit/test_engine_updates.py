"""Updates that do not simply succeed: what ends them, what their callers get, and what workers may not say. TEMPORAL.md, section 13."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from engine_driver import (
    Driver,
    cancel_timer,
    complete_workflow,
    continue_as_new,
    in_engine,
    payload,
    start_timer,
)
from google.protobuf.any_pb2 import Any as AnyMessage
from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import CommandType, UpdateWorkflowExecutionLifecycleStage
from temporalio.api.failure.v1 import Failure
from temporalio.api.protocol.v1 import Message
from temporalio.api.update.v1 import Acceptance, Meta, Outcome, Rejection, Request, Response
from temporalio.api.workflowservice.v1 import (
    PollWorkflowTaskQueueResponse,
    TerminateWorkflowExecutionRequest,
    UpdateWorkflowExecutionRequest,
)

from perdure.engine.errors import Code, ServiceError
from perdure.engine.state import UpdateStage

_COMPLETED = UpdateWorkflowExecutionLifecycleStage.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED


async def asked(d: Driver, update_id: str = "u") -> asyncio.Task[Any]:
    """A caller who waits for the update's end."""
    request = UpdateWorkflowExecutionRequest(
        namespace="default", workflow_execution=WorkflowExecution(workflow_id="w")
    )
    request.wait_policy.lifecycle_stage = _COMPLETED
    request.request.meta.update_id, request.request.input.name = update_id, "change"
    task = asyncio.ensure_future(d.call("UpdateWorkflowExecution", request))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return task


async def refused(call: asyncio.Task[Any]) -> ServiceError:
    with pytest.raises(ServiceError) as error:
        await call
    return error.value


def say(body: Any, message_id: str, update_id: str = "u") -> Message:
    packed = AnyMessage()
    packed.Pack(body)
    return Message(id=message_id, protocol_instance_id=update_id, body=packed)


def accepted(update_id: str = "u") -> Message:
    body = Acceptance(accepted_request_message_id="m", accepted_request_sequencing_event_id=1)
    return say(body, f"{update_id}/accept", update_id)


def completed(update_id: str = "u") -> Message:
    body = Response(meta=Meta(update_id=update_id), outcome=Outcome(success=payload("done")))
    return say(body, f"{update_id}/response", update_id)


def command(message_id: str) -> Command:
    result = Command(command_type=CommandType.COMMAND_TYPE_PROTOCOL_MESSAGE)
    result.protocol_message_command_attributes.message_id = message_id
    return result


async def begun(d: Driver) -> None:
    await d.start()
    await d.step(start_timer(seconds=3600))


async def terminate(d: Driver) -> None:
    request = TerminateWorkflowExecutionRequest(
        namespace="default", workflow_execution=WorkflowExecution(workflow_id="w")
    )
    await d.call("TerminateWorkflowExecution", request)


@pytest.mark.parametrize("sent", [False, True])
def test_closing_aborts_what_was_not_accepted(sent: bool) -> None:
    @in_engine
    async def check(d: Driver) -> None:
        await begun(d)
        with d.clock.held():
            call = await asked(d)
            if sent:
                await d.workflow_task()
            await terminate(d)
            error = await refused(call)
        assert error.code == Code.NOT_FOUND
        assert error.message == "workflow update was aborted by closing workflow"

    check()


@in_engine
async def test_closing_fails_what_was_accepted(d: Driver) -> None:
    await begun(d)
    with d.clock.held():
        call = await asked(d)
        await d.complete(await d.workflow_task(), messages=[accepted()])
        await terminate(d)
        outcome = (await call).outcome
    assert outcome.failure.application_failure_info.type == "AcceptedUpdateCompletedWorkflow"


@in_engine
async def test_callers_try_again_when_the_workflow_goes_on_in_another_run(d: Driver) -> None:
    await begun(d)
    with d.clock.held():
        call = await asked(d)
        await d.complete(await d.workflow_task(), continue_as_new())
        error = await refused(call)
    assert error.code == Code.RESOURCE_EXHAUSTED
    assert error.message == "workflow operation can not be applied because workflow is closing"


@in_engine
async def test_a_rejection_counts_even_when_the_same_task_closes_the_run(d: Driver) -> None:
    await begun(d)
    with d.clock.held():
        call = await asked(d)
        rejection = say(Rejection(failure=Failure(message="no")), "u/reject")
        await d.complete(await d.workflow_task(), complete_workflow(), messages=[rejection])
        assert (await call).outcome.failure.message == "no"


@in_engine
async def test_a_failed_task_keeps_the_update_and_a_nonsensical_answer_ends_it(d: Driver) -> None:
    await begun(d)
    with d.clock.held():
        call = await asked(d)
        task = await d.workflow_task()
        with pytest.raises(ServiceError, match="BadCancelTimerAttributes"):
            await d.complete(task, cancel_timer("nope"))
        error = await refused(call)
    assert error.code == Code.FAILED_PRECONDITION
    assert "unexpected workflow task failure" in error.message
    assert "u" not in d.run().ex.updates


@in_engine
async def test_a_heartbeat_carries_the_update_once_more(d: Driver) -> None:
    await begun(d)
    with d.clock.held():
        call = await asked(d)
        await d.complete(await d.workflow_task(), force_create_new_workflow_task=True)
        task = await d.workflow_task()
        assert [message.protocol_instance_id for message in task.messages] == ["u"]
        await d.complete(task, messages=[accepted(), completed()])
        assert (await call).outcome.success == payload("done")


Say = tuple[list[Command], list[Message]]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (([command("u/response")], [completed()]), "received *update.Response message while in state Sent"),
        (([], [accepted(), accepted()]), "*update.Acceptance message while in state ProvisionallyAccepted"),
        (([command("nope")], []), "ProtocolMessageCommand referenced absent message ID nope"),
        (([], [say(Acceptance(), "1")]), "accepted_request_sequencing_event_id is not set"),
        (([], [accepted(), say(Response(), "2")]), "invalid *update.Response: meta is not set"),
        (([], [accepted("other")]), "update other wasn't found on the server"),
    ],
)
def test_answers_that_workers_may_not_give(answer: Say, text: str) -> None:
    @in_engine
    async def check(d: Driver) -> None:
        await begun(d)
        with d.clock.held():
            call = await asked(d)
            task: PollWorkflowTaskQueueResponse = await d.workflow_task()
            with pytest.raises(ServiceError) as error:
                await d.complete(task, *answer[0], messages=answer[1])
            await refused(call)
        assert error.value.message.startswith("BadUpdateWorkflowExecutionMessage: ")
        assert text in error.value.message

    check()


@in_engine
async def test_an_answer_brings_back_an_update_that_was_forgotten(d: Driver) -> None:
    await begun(d)
    await d.signal()
    task = await d.workflow_task()
    request = Request(meta=Meta(update_id="u"))
    request.input.name = "change"
    body = Acceptance(
        accepted_request_message_id="m",
        accepted_request_sequencing_event_id=1,
        accepted_request=request,
    )
    await d.complete(task, messages=[say(body, "1"), completed()])
    assert d.run().ex.updates["u"].stage is UpdateStage.COMPLETED


@pytest.mark.parametrize(
    ("limits", "code", "text"),
    [
        ({"updates_in_flight": 1}, Code.RESOURCE_EXHAUSTED, "concurrent in-flight updates"),
        ({"updates_in_flight_bytes": 20}, Code.RESOURCE_EXHAUSTED, "total payload size of in-flight updates"),
        ({"updates_total": 1}, Code.FAILED_PRECONDITION, "total number of distinct updates"),
    ],
)
def test_limits(limits: dict[str, Any], code: Code, text: str) -> None:
    @in_engine
    async def check(d: Driver) -> None:
        d.engine.limits = replace(d.engine.limits, **limits)
        await begun(d)
        with d.clock.held():
            await asked(d)
            error = await refused(await asked(d, "other"))
        assert error.code == code
        assert text in error.message
        await terminate(d)

    check()


@in_engine
async def test_a_run_that_is_about_to_close_takes_no_updates(d: Driver) -> None:
    await begun(d)
    await d.signal()
    task = await d.workflow_task()
    await d.signal()
    with pytest.raises(ServiceError, match="UnhandledCommand"):
        await d.complete(task, complete_workflow())
    await d.workflow_task()
    assert (await refused(await asked(d))).code == Code.RESOURCE_EXHAUSTED
