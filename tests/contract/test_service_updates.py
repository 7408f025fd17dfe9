"""Updates: their stages, rejection, ends of runs, limits; and together with a start."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any

import pytest
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from service_calls import (
    Service,
    Started,
    command,
    event_name,
    make,
    new_name,
    payloads,
    refusal,
    start_request,
)
from temporalio.api.command.v1 import (
    CompleteWorkflowExecutionCommandAttributes,
    ContinueAsNewWorkflowExecutionCommandAttributes,
    ProtocolMessageCommandAttributes,
    StartTimerCommandAttributes,
)
from temporalio.api.common.v1 import WorkflowExecution, WorkflowType
from temporalio.api.enums.v1 import ResourceExhaustedCause, WorkflowIdConflictPolicy, WorkflowIdReusePolicy
from temporalio.api.failure.v1 import ApplicationFailureInfo, Failure
from temporalio.api.protocol.v1 import Message as ProtocolMessage
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.update.v1 import (
    Acceptance,
    Input,
    Meta,
    Outcome,
    Rejection,
    Request,
    Response,
    UpdateRef,
    WaitPolicy,
)
from temporalio.api.workflowservice.v1 import (
    ExecuteMultiOperationRequest,
    RespondWorkflowTaskCompletedRequest,
)

ACCEPTED, COMPLETED = 2, 3
OOPS = Failure(message="oops", application_failure_info=ApplicationFailureInfo(type="X"))
OK = Outcome(success=payloads("ok"))
USE_EXISTING = WorkflowIdConflictPolicy.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING


def timer() -> StartTimerCommandAttributes:
    return StartTimerCommandAttributes(timer_id=new_name("t"), start_to_fire_timeout=Duration(seconds=100))


def stage(number: int) -> WaitPolicy:
    return WaitPolicy(lifecycle_stage=number)  # type: ignore[arg-type]


def asked(update_id: str = "u1") -> Request:
    return Request(
        meta=Meta(update_id=update_id, identity="caller"), input=Input(name="up", args=payloads(7))
    )


def at_rest(service: Service) -> Started:
    run = service.start()
    run.work(timer())
    return run


def update(run: Started, until: int = COMPLETED, request: Request | None = None) -> Future[Any]:
    return run.service.begin(
        "UpdateWorkflowExecution",
        workflow_execution=WorkflowExecution(workflow_id=run.id),
        request=request or asked(),
        wait_policy=stage(until),
    )


def poll(run: Started, update_id: str = "u1", until: int = COMPLETED) -> Future[Any]:
    ref = UpdateRef(workflow_execution=WorkflowExecution(workflow_id=run.id), update_id=update_id)
    policy = {"wait_policy": stage(until)} if until else {}
    return run.service.begin("PollWorkflowExecutionUpdate", update_ref=ref, **policy)


# --- what a worker says to an update


def message(asking: Any, kind: str, body: Message) -> ProtocolMessage:
    packed = Packed()
    packed.Pack(body)
    name = asking.protocol_instance_id
    return ProtocolMessage(id=f"{name}/{kind}", protocol_instance_id=name, body=packed)


def acceptance(asking: Any) -> ProtocolMessage:
    request = Request()
    asking.body.Unpack(request)
    return message(
        asking,
        "accept",
        Acceptance(
            accepted_request_message_id=asking.id,
            accepted_request_sequencing_event_id=asking.event_id,
            accepted_request=request,
        ),
    )


def response(asking: Any, outcome: Outcome) -> ProtocolMessage:
    meta = Meta(update_id=asking.protocol_instance_id)
    return message(asking, "complete", Response(meta=meta, outcome=outcome))


def say(run: Started, task: Any, messages: Iterable[ProtocolMessage], *more: Message, **fields: Any) -> Any:
    """Completes a task with messages, each put in order by a command."""
    messages = list(messages)
    orders = [ProtocolMessageCommandAttributes(message_id=each.id) for each in messages]
    return run.complete(task, *orders, *more, messages=messages, **fields)


def test_an_update_is_accepted_and_completed(service: Service) -> None:
    run = at_rest(service)
    waiting = update(run)
    task = run.poll()
    (asking,) = task.messages
    request = Request()
    asking.body.Unpack(request)
    assert (asking.protocol_instance_id, asking.event_id) == ("u1", task.started_event_id - 1)
    assert (request.input.name, request.input.args) == ("up", payloads(7))
    names = [event_name(event) for event in task.history.events]
    assert names[-2:] == ["WorkflowTaskScheduled", "WorkflowTaskStarted"]
    say(run, task, [acceptance(asking), response(asking, OK)])
    answer = waiting.result(10)
    assert (answer.stage, answer.outcome) == (COMPLETED, OK)
    assert (answer.update_ref.update_id, answer.update_ref.workflow_execution) == ("u1", run.execution)
    events = run.events()
    assert [event_name(event) for event in events[-2:]] == [
        "WorkflowExecutionUpdateAccepted",
        "WorkflowExecutionUpdateCompleted",
    ]
    accepted = events[-2].workflow_execution_update_accepted_event_attributes
    assert (accepted.protocol_instance_id, accepted.accepted_request) == ("u1", request)
    done = events[-1].workflow_execution_update_completed_event_attributes
    assert (done.meta.update_id, done.accepted_event_id, done.outcome) == ("u1", events[-2].event_id, OK)
    for again in (update(run), poll(run), poll(run, until=0)):
        assert (again.result(10).stage, again.result(10).outcome) == (COMPLETED, OK)


def test_an_update_without_an_id_is_given_one(service: Service) -> None:
    run = at_rest(service)
    waiting = update(run, request=Request(meta=Meta(), input=Input(name="up")))
    task = run.poll()
    (asking,) = task.messages
    say(run, task, [acceptance(asking), response(asking, OK)])
    assert waiting.result(10).update_ref.update_id == asking.protocol_instance_id != ""


def test_a_rejected_update_leaves_no_trace(service: Service) -> None:
    run = at_rest(service)
    before = run.event_types()
    waiting = update(run)
    task = run.poll()
    (asking,) = task.messages
    rejection = Rejection(
        rejected_request_message_id=asking.id,
        rejected_request_sequencing_event_id=asking.event_id,
        failure=OOPS,
    )
    discards = RespondWorkflowTaskCompletedRequest.Capabilities(
        discard_speculative_workflow_task_with_events=True
    )
    answered = run.complete(task, messages=[message(asking, "reject", rejection)], capabilities=discards)
    assert answered.reset_history_event_id == task.previous_started_event_id
    answer = waiting.result(10)
    assert (answer.stage, answer.outcome.failure) == (COMPLETED, OOPS)
    assert run.event_types() == before
    gone = refusal(poll(run))
    assert (gone.code, gone.message) == ("NOT_FOUND", 'update "u1" not found')


def test_acceptance_can_be_waited_for_and_the_outcome_later(service: Service) -> None:
    run = at_rest(service)
    waiting = update(run, ACCEPTED)
    task = run.poll()
    (asking,) = task.messages
    say(run, task, [acceptance(asking)])
    answer = waiting.result(10)
    assert answer.stage == ACCEPTED and not answer.HasField("outcome")
    assert poll(run, until=0).result(10).stage == ACCEPTED
    outcome = poll(run)
    service.call("SignalWorkflowExecution", workflow_execution=run.execution, signal_name="s")
    say(run, run.poll(), [response(asking, Outcome(failure=OOPS))])
    assert outcome.result(10).outcome.failure == OOPS


def test_an_accepted_update_fails_with_the_end_of_its_run(service: Service) -> None:
    run = at_rest(service)
    waiting = update(run, ACCEPTED)
    task = run.poll()
    say(run, task, [acceptance(task.messages[0])])
    waiting.result(10)
    outcome = poll(run)
    run.terminate()
    for answer in (outcome.result(10), poll(run).result(10), update(run).result(10)):
        failure = answer.outcome.failure
        assert (
            failure.message
            == "Workflow Update failed because the Workflow completed before the Update completed."
        )
        info = failure.application_failure_info
        assert (info.type, info.non_retryable) == ("AcceptedUpdateCompletedWorkflow", True)


@pytest.mark.parametrize("how", ["terminated", "completed by the task"])
def test_an_update_that_nobody_accepted_is_aborted_by_the_end(service: Service, how: str) -> None:
    run = at_rest(service)
    waiting = update(run)
    task = run.poll()
    if how == "terminated":
        run.terminate()
    else:
        run.complete(task, CompleteWorkflowExecutionCommandAttributes())
    refused = refusal(waiting)
    assert (refused.code, refused.message) == (
        "NOT_FOUND",
        "workflow update was aborted by closing workflow",
    )


def test_a_caller_comes_again_when_the_run_continues_as_new(service: Service) -> None:
    run = at_rest(service)
    waiting = update(run)
    again = ContinueAsNewWorkflowExecutionCommandAttributes(
        workflow_type=WorkflowType(name="T"), task_queue=TaskQueue(name=run.queue)
    )
    run.complete(run.poll(), again)
    refused = refusal(waiting)
    assert refused.code == "RESOURCE_EXHAUSTED"
    assert refused.message == "workflow operation can not be applied because workflow is closing"
    cause = refused.details["ResourceExhaustedFailure"].cause
    assert cause == ResourceExhaustedCause.RESOURCE_EXHAUSTED_CAUSE_BUSY_WORKFLOW


def test_closed_runs_and_unknown_updates_are_not_found(service: Service) -> None:
    run = service.start()
    for until in (0, ACCEPTED):
        unknown = refusal(poll(run, "nope", until))
        assert (unknown.code, unknown.message) == ("NOT_FOUND", 'update "nope" not found')
    run.terminate()
    refused = refusal(update(run))
    assert (refused.code, refused.message) == ("NOT_FOUND", "workflow execution already completed")
    other_run = "0198a3ad-0000-7000-8000-000000000001"
    chain = service.refused(
        "UpdateWorkflowExecution",
        workflow_execution=WorkflowExecution(workflow_id=run.id),
        first_execution_run_id=other_run,
        request=asked(),
        wait_policy=stage(ACCEPTED),
    )
    assert (chain.code, chain.message) == ("NOT_FOUND", "workflow execution not found")


def test_an_update_that_the_worker_does_not_answer_is_rejected(service: Service) -> None:
    run = at_rest(service)
    waiting = update(run)
    run.complete(run.poll(), timer())
    answer = waiting.result(10)
    assert answer.stage == COMPLETED
    assert answer.outcome.failure.application_failure_info.type == "UnprocessedUpdate"


def test_a_run_whose_tasks_fail_takes_no_update(service: Service) -> None:
    run = service.start()
    for _ in range(3):
        service.call("RespondWorkflowTaskFailed", task_token=run.poll().task_token)
    refused = refusal(update(run))
    assert refused.code == "FAILED_PRECONDITION"
    assert (
        refused.message == "Unable to perform workflow execution update due to Workflow Task in failed state."
    )
    assert "WorkflowNotReadyFailure" in refused.details


def test_ten_updates_may_be_under_way(service: Service) -> None:
    run = at_rest(service)
    waiting = [update(run, request=asked(f"u{number}")) for number in range(11)]
    refused = refusal(next_done(waiting))
    assert refused.code == "RESOURCE_EXHAUSTED"
    assert refused.message == "limit on number of concurrent in-flight updates has been reached (10)"
    cause = refused.details["ResourceExhaustedFailure"].cause
    assert cause == ResourceExhaustedCause.RESOURCE_EXHAUSTED_CAUSE_CONCURRENT_LIMIT
    run.terminate()
    assert sum(refusal(each).code == "NOT_FOUND" for each in waiting) == 10


def next_done(waiting: list[Future[Any]]) -> Future[Any]:
    from concurrent.futures import FIRST_COMPLETED, wait

    return wait(waiting, 20, FIRST_COMPLETED).done.pop()


# --- with a start


def both(service: Service, start: Any, until: int = COMPLETED) -> Future[Any]:
    operation = ExecuteMultiOperationRequest.Operation
    change: Any = make(
        "UpdateWorkflowExecution",
        workflow_execution=WorkflowExecution(workflow_id=start.workflow_id),
        request=asked(),
        wait_policy=stage(until),
    )
    operations = [operation(start_workflow=start), operation(update_workflow=change)]
    return service.begin("ExecuteMultiOperation", operations=operations)


def test_update_with_start_starts_and_updates_once(service: Service) -> None:
    start = start_request(workflow_id_conflict_policy=USE_EXISTING)
    waiting = both(service, start)
    run = Started(service, start.workflow_id, "", start.task_queue.name)
    task = run.poll()
    (asking,) = task.messages
    expected = ["WorkflowExecutionStarted", "WorkflowTaskScheduled", "WorkflowTaskStarted"]
    assert [event_name(event) for event in task.history.events] == expected
    say(run, task, [acceptance(asking), response(asking, OK)], timer())
    begun, updated = waiting.result(10).responses
    assert begun.start_workflow.started and begun.start_workflow.run_id == task.workflow_execution.run_id
    assert (updated.update_workflow.stage, updated.update_workflow.outcome) == (COMPLETED, OK)
    begun, updated = both(service, start).result(10).responses
    assert not begun.start_workflow.started
    assert begun.start_workflow.run_id == task.workflow_execution.run_id
    assert updated.update_workflow.outcome == OK


def test_update_with_start_takes_the_open_run(service: Service) -> None:
    run = at_rest(service)
    waiting = both(service, start_request(run.id, workflow_id_conflict_policy=USE_EXISTING))
    task = run.poll()
    (asking,) = task.messages
    say(run, task, [acceptance(asking), response(asking, OK)])
    begun, updated = waiting.result(10).responses
    assert (begun.start_workflow.run_id, begun.start_workflow.started) == (run.run_id, False)
    assert updated.update_workflow.outcome == OK


@pytest.mark.parametrize("case", ["open", "closed"])
def test_update_with_start_obeys_the_policies(service: Service, case: str) -> None:
    run = service.start()
    if case == "open":
        policy = {"workflow_id_conflict_policy": WorkflowIdConflictPolicy.WORKFLOW_ID_CONFLICT_POLICY_FAIL}
    else:
        run.work(CompleteWorkflowExecutionCommandAttributes())
        policy = {"workflow_id_reuse_policy": WorkflowIdReusePolicy.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE}
        policy["workflow_id_conflict_policy"] = USE_EXISTING
    refused = refusal(both(service, start_request(run.id, **policy)))
    assert (refused.code, refused.message) == ("ALREADY_EXISTS", "Update-with-Start could not be executed.")
    first, second = refused.details["MultiOperationExecutionFailure"].statuses
    assert (first.code, second.code) == (6, 10)
    assert first.message.startswith(
        "Workflow execution is already running." if case == "open" else "Workflow ex"
    )
    (detail,) = first.details
    assert detail.type_url.endswith("WorkflowExecutionAlreadyStartedFailure")


def test_a_worker_must_name_its_messages(service: Service) -> None:
    run = at_rest(service)
    update(run)
    task = run.poll()
    refused = service.refused(
        "RespondWorkflowTaskCompleted",
        task_token=task.task_token,
        commands=[command(ProtocolMessageCommandAttributes(message_id="no such message"))],
    )
    assert refused.code == "INVALID_ARGUMENT"
    assert refused.message.startswith("BadUpdateWorkflowExecutionMessage")
    run.terminate()
