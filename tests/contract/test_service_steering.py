"""Signal, cancel, terminate; what becomes of a task whose run is ended over its head."""

from __future__ import annotations

import pytest
from service_calls import Service, event_name, payloads, values
from temporalio.api.command.v1 import CompleteWorkflowExecutionCommandAttributes
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType, WorkflowTaskFailedCause

OTHER_RUN = "0198a3ad-0000-7000-8000-000000000001"


def test_a_signal_is_taken_once_for_each_request_id(service: Service) -> None:
    run = service.start()
    for number in range(2):
        answer = service.call(
            "SignalWorkflowExecution",
            workflow_execution=run.execution,
            signal_name="s",
            request_id="once",
            input=payloads(number),
            identity="me",
        )
    assert run.event_types()[2:] == ["WorkflowExecutionSignaled"]
    about = run.events()[2].workflow_execution_signaled_event_attributes
    assert (about.signal_name, values(about.input), about.identity) == ("s", [0], "me")
    if not service.needs(1, 32):
        link = answer.link.workflow_event.request_id_ref
        assert (link.request_id, link.event_type) == (
            "once",
            EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED,
        )
        known = run.describe().workflow_extended_info.request_id_infos["once"]
        assert (known.event_id, known.event_type) == (3, EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED)


def test_a_signal_that_comes_during_a_task_waits_for_its_end(service: Service) -> None:
    run = service.start()
    task = run.poll()
    service.call("SignalWorkflowExecution", workflow_execution=run.execution, signal_name="s")
    assert "WorkflowExecutionSignaled" not in run.event_types()
    refused = service.refused(
        "RespondWorkflowTaskCompleted",
        task_token=task.task_token,
        commands=[_complete()],
    )
    assert (refused.code, refused.message) == ("INVALID_ARGUMENT", "UnhandledCommand")
    assert run.event_types()[3:5] == ["WorkflowTaskFailed", "WorkflowExecutionSignaled"]
    about = run.events()[3].workflow_task_failed_event_attributes
    assert about.cause == WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND
    assert about.failure.message == "UnhandledCommand"
    assert about.failure.HasField("server_failure_info")


def _complete() -> object:
    from service_calls import command

    return command(CompleteWorkflowExecutionCommandAttributes())


def test_a_closed_run_takes_nothing_but_a_cancel_request(service: Service) -> None:
    run = service.start()
    run.terminate()
    for execution in (run.execution, WorkflowExecution(workflow_id=run.id)):
        for rpc, more in (
            ("SignalWorkflowExecution", {"signal_name": "s"}),
            ("TerminateWorkflowExecution", {}),
        ):
            refused = service.refused(rpc, workflow_execution=execution, **more)
            assert (refused.code, refused.message) == ("NOT_FOUND", "workflow execution already completed")
            assert "NotFoundFailure" in refused.details
        service.call("RequestCancelWorkflowExecution", workflow_execution=execution)
    assert "WorkflowExecutionCancelRequested" not in run.event_types()


def test_cancellation_is_requested_once(service: Service) -> None:
    run = service.start()
    for request_id in ("c1", "c1", "c2"):
        service.call(
            "RequestCancelWorkflowExecution",
            workflow_execution=run.execution,
            reason="why",
            identity="me",
            request_id=request_id,
        )
    assert run.event_types()[2:] == ["WorkflowExecutionCancelRequested"]
    about = run.events()[2].workflow_execution_cancel_requested_event_attributes
    assert (about.cause, about.identity) == ("why", "me")
    assert run.describe().workflow_extended_info.cancel_requested


@pytest.mark.parametrize("rpc", ["RequestCancelWorkflowExecution", "TerminateWorkflowExecution"])
def test_a_chain_is_named_by_its_first_run(service: Service, rpc: str) -> None:
    run = service.start()
    newest = WorkflowExecution(workflow_id=run.id)
    refused = service.refused(rpc, workflow_execution=newest, first_execution_run_id=OTHER_RUN)
    assert (refused.code, refused.message) == ("NOT_FOUND", "workflow execution not found")
    service.call(rpc, workflow_execution=newest, first_execution_run_id=run.run_id)


def test_termination_says_why(service: Service) -> None:
    run = service.start()
    service.call(
        "TerminateWorkflowExecution",
        workflow_execution=run.execution,
        reason="why",
        details=payloads("more"),
        identity="me",
    )
    last = run.events()[-1]
    assert event_name(last) == "WorkflowExecutionTerminated"
    about = last.workflow_execution_terminated_event_attributes
    assert (about.reason, values(about.details), about.identity) == ("why", ["more"], "me")


def test_the_task_of_a_terminated_run_is_failed_and_its_token_stale(service: Service) -> None:
    run = service.start()
    task = run.poll()
    run.terminate()
    assert run.event_types()[3:] == ["WorkflowTaskFailed", "WorkflowExecutionTerminated"]
    about = run.events()[3].workflow_task_failed_event_attributes
    assert about.cause == WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_FORCE_CLOSE_COMMAND
    assert about.identity == "history-service"
    stale = {
        "RespondWorkflowTaskCompleted": "Workflow task not found.",
        "RespondWorkflowTaskFailed": "workflow execution already completed",
    }
    for rpc, text in stale.items():
        refused = service.refused(rpc, task_token=task.task_token)
        assert (refused.code, refused.message) == ("NOT_FOUND", text)


def test_a_token_is_good_once(service: Service) -> None:
    run = service.start()
    task = run.work()
    for rpc in ("RespondWorkflowTaskCompleted", "RespondWorkflowTaskFailed"):
        refused = service.refused(rpc, task_token=task.task_token)
        assert (refused.code, refused.message) == ("NOT_FOUND", "Workflow task not found.")
        assert "NotFoundFailure" in refused.details


def test_a_failed_task_is_tried_again_without_new_events(service: Service) -> None:
    run = service.start()
    task = run.poll()
    service.call(
        "RespondWorkflowTaskFailed",
        task_token=task.task_token,
        cause=WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR,
    )
    again = run.poll()
    assert again.attempt == 2
    names = [event_name(event) for event in again.history.events]
    assert names[-3:] == ["WorkflowTaskFailed", "WorkflowTaskScheduled", "WorkflowTaskStarted"]
    assert again.started_event_id == len(names)
    pending = run.describe().pending_workflow_task
    assert pending.attempt == 2
    stale = service.refused("RespondWorkflowTaskCompleted", task_token=task.task_token)
    assert (stale.code, stale.message) == ("NOT_FOUND", "Workflow task not found.")


def test_a_sticky_queue_can_be_forgotten(service: Service) -> None:
    run = service.start()
    service.call("ResetStickyTaskQueue", execution=run.execution)
    run.terminate()
    refused = service.refused("ResetStickyTaskQueue", execution=run.execution)
    assert (refused.code, refused.message) == ("NOT_FOUND", "workflow execution already completed")
