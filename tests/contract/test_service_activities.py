"""A worker's answers to activity tasks, by token and by id; stale ones; heartbeats; cancellation."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from service_calls import Service, Started, command, event_name, payloads, values
from temporalio.api.command.v1 import (
    RequestCancelActivityTaskCommandAttributes,
    ScheduleActivityTaskCommandAttributes,
)
from temporalio.api.common.v1 import ActivityType, RetryPolicy
from temporalio.api.enums.v1 import RetryState, WorkflowTaskFailedCause
from temporalio.api.failure.v1 import ApplicationFailureInfo, Failure
from temporalio.api.taskqueue.v1 import TaskQueue

GONE = "invalid activityID or activity already timed out or invoking workflow is completed"
BY_TOKEN = (
    "RespondActivityTaskCompleted",
    "RespondActivityTaskFailed",
    "RespondActivityTaskCanceled",
    "RecordActivityTaskHeartbeat",
)
SOON = RetryPolicy(maximum_attempts=3, initial_interval=Duration(nanos=10_000_000))
OOPS = Failure(message="oops", application_failure_info=ApplicationFailureInfo(type="X"))
FATAL = Failure(
    message="fatal", application_failure_info=ApplicationFailureInfo(type="X", non_retryable=True)
)


def schedule(run: Started, **fields: Any) -> ScheduleActivityTaskCommandAttributes:
    given = {
        "activity_id": "a1",
        "activity_type": ActivityType(name="act"),
        "task_queue": TaskQueue(name=run.queue),
        "start_to_close_timeout": Duration(seconds=30),
    }
    return ScheduleActivityTaskCommandAttributes(**{**given, **fields})


def scheduled(service: Service, **fields: Any) -> Started:
    """A run whose event 5 schedules an activity."""
    run = service.start()
    run.work(schedule(run, **fields))
    return run


def gone(service: Service, task: Any, text: str = GONE) -> None:
    for rpc in BY_TOKEN:
        fields = {"failure": OOPS} if rpc.endswith("Failed") else {}
        refused = service.refused(rpc, task_token=task.task_token, **fields)
        assert (refused.code, refused.message) == ("NOT_FOUND", text)
        assert "NotFoundFailure" in refused.details


def test_a_task_tells_all_of_its_activity(service: Service) -> None:
    run = scheduled(service, input=payloads("in"), heartbeat_timeout=Duration(seconds=9), retry_policy=SOON)
    task = run.poll_activity()
    assert (task.activity_id, task.activity_type.name, task.attempt) == ("a1", "act", 1)
    assert (task.workflow_execution, task.workflow_type.name) == (run.execution, "T")
    assert (values(task.input), task.start_to_close_timeout.seconds) == (["in"], 30)
    assert (task.heartbeat_timeout.seconds, task.retry_policy.maximum_attempts) == (9, 3)
    assert task.workflow_namespace == "default"
    for name in ("scheduled_time", "current_attempt_scheduled_time", "started_time"):
        assert task.HasField(name)


def test_a_result_closes_the_activity(service: Service) -> None:
    run = scheduled(service)
    task = run.poll_activity()
    service.call(
        "RespondActivityTaskCompleted", task_token=task.task_token, result=payloads("ok"), identity="w"
    )
    assert run.event_types()[5:] == ["ActivityTaskStarted", "ActivityTaskCompleted", "WorkflowTaskScheduled"]
    started, completed = run.events()[5:7]
    about = started.activity_task_started_event_attributes
    assert (about.scheduled_event_id, about.attempt, about.identity) == (5, 1, "worker")
    end = completed.activity_task_completed_event_attributes
    assert (end.scheduled_event_id, end.started_event_id, values(end.result), end.identity) == (
        5,
        6,
        ["ok"],
        "w",
    )
    gone(service, task)


def test_the_token_of_an_earlier_attempt_is_stale(service: Service) -> None:
    run = scheduled(service, retry_policy=SOON)
    task = run.poll_activity()
    service.call("RespondActivityTaskFailed", task_token=task.task_token, failure=OOPS)
    assert run.poll_activity().attempt == 2
    gone(service, task)


def test_the_end_of_the_run_makes_tokens_stale(service: Service) -> None:
    run = scheduled(service)
    task = run.poll_activity()
    run.terminate()
    gone(service, task, "workflow execution already completed")


def test_the_last_failure_closes_the_activity(service: Service) -> None:
    run = scheduled(service, retry_policy=RetryPolicy(maximum_attempts=1))
    task = run.poll_activity()
    service.call("RespondActivityTaskFailed", task_token=task.task_token, failure=OOPS, identity="w")
    last = run.events()[6].activity_task_failed_event_attributes
    assert (last.failure, last.scheduled_event_id, last.started_event_id) == (OOPS, 5, 6)
    assert last.identity == "w"
    assert last.retry_state == RetryState.RETRY_STATE_MAXIMUM_ATTEMPTS_REACHED


def test_heartbeat_details_reach_the_next_attempt(service: Service) -> None:
    run = scheduled(service, retry_policy=SOON, heartbeat_timeout=Duration(seconds=20))
    task = run.poll_activity()
    assert not task.HasField("heartbeat_details")
    beat = service.call("RecordActivityTaskHeartbeat", task_token=task.task_token, details=payloads(1))
    assert (beat.cancel_requested, beat.activity_paused, beat.activity_reset) == (False, False, False)
    service.call("RespondActivityTaskFailed", task_token=task.task_token, failure=OOPS)
    task = run.poll_activity()
    assert (task.attempt, values(task.heartbeat_details)) == (2, [1])
    service.call(
        "RespondActivityTaskFailed",
        task_token=task.task_token,
        failure=OOPS,
        last_heartbeat_details=payloads(2),
    )
    assert values(run.poll_activity().heartbeat_details) == [2]


def test_cancellation_is_told_by_the_heartbeat(service: Service) -> None:
    run = scheduled(service)
    task = run.poll_activity()
    refused = service.refused("RespondActivityTaskCanceled", task_token=task.task_token)
    assert (refused.code, refused.message) == (
        "INVALID_ARGUMENT",
        "unable to mark activity as canceled without activity being request canceled first",
    )
    service.call("SignalWorkflowExecution", workflow_execution=run.execution, signal_name="s")
    run.work(RequestCancelActivityTaskCommandAttributes(scheduled_event_id=5))
    assert service.call("RecordActivityTaskHeartbeat", task_token=task.task_token).cancel_requested
    service.call(
        "RespondActivityTaskCanceled", task_token=task.task_token, details=payloads("bye"), identity="w"
    )
    end = next(event for event in run.events() if event_name(event) == "ActivityTaskCanceled")
    about = end.activity_task_canceled_event_attributes
    assert (values(about.details), about.scheduled_event_id, about.identity) == (["bye"], 5, "w")
    assert about.latest_cancel_requested_event_id == 10


def test_a_result_that_is_too_large_fails_the_activity(service: Service) -> None:
    run = scheduled(service)
    task = run.poll_activity()
    service.call("RespondActivityTaskCompleted", task_token=task.task_token, result=payloads("x" * 2_200_000))
    failure = run.events()[6].activity_task_failed_event_attributes.failure
    assert failure.message == "Complete result exceeds size limit."
    assert failure.server_failure_info.non_retryable


# --- by id


@pytest.mark.parametrize("end", ["Completed", "Failed"])
def test_an_activity_ends_from_elsewhere(service: Service, end: str) -> None:
    run = scheduled(service)
    run.poll_activity()
    fields = {"result": payloads("ok")} if end == "Completed" else {"failure": FATAL}
    named = {"workflow_id": run.id, "activity_id": "a1", "identity": "elsewhere"}
    service.call(f"RespondActivityTask{end}ById", **named, **fields)
    assert run.event_types()[5:7] == ["ActivityTaskStarted", f"ActivityTask{end}"]
    attributes = getattr(run.events()[6], f"activity_task_{end.lower()}_event_attributes")
    assert attributes.identity == "elsewhere"
    refused = service.refused(f"RespondActivityTask{end}ById", **named, **fields)
    assert refused.code == "NOT_FOUND"


def test_a_heartbeat_comes_from_elsewhere(service: Service) -> None:
    run = scheduled(service)
    run.poll_activity()
    named = {"workflow_id": run.id, "run_id": run.run_id, "activity_id": "a1"}
    service.call("RecordActivityTaskHeartbeatById", details=payloads("half"), **named)
    (pending,) = run.describe().pending_activities
    assert values(pending.heartbeat_details) == ["half"]


def test_an_activity_that_nobody_took_can_only_be_completed(service: Service) -> None:
    for kind, fields in (
        ("RespondActivityTaskFailedById", {"failure": OOPS}),
        ("RespondActivityTaskCanceledById", {}),
        ("RecordActivityTaskHeartbeatById", {}),
    ):
        run = scheduled(service)
        refused = service.refused(kind, workflow_id=run.id, activity_id="a1", **fields)
        assert (refused.code, refused.message) == ("NOT_FOUND", GONE)
    service.call("RespondActivityTaskCompletedById", workflow_id=run.id, activity_id="a1")
    assert run.event_types()[5:7] == ["ActivityTaskStarted", "ActivityTaskCompleted"]


def test_an_unknown_activity_is_not_found(service: Service) -> None:
    run = scheduled(service)
    for rpc in BY_TOKEN:
        fields = {"failure": OOPS} if rpc.endswith("Failed") else {}
        for run_id in ("", run.run_id):
            refused = service.refused(
                f"{rpc}ById", workflow_id=run.id, run_id=run_id, activity_id="nope", **fields
            )
            assert refused.code == "NOT_FOUND"
            assert refused.message.startswith("cannot find pending activity with ActivityID nope")
    run.terminate()
    refused = service.refused("RespondActivityTaskCompletedById", workflow_id=run.id, activity_id="a1")
    assert (refused.code, refused.message) == ("NOT_FOUND", "workflow execution already completed")


# --- commands that are refused


def test_an_id_is_pending_once(service: Service) -> None:
    run = service.start()
    task = run.poll()
    twice = [command(schedule(run)), command(schedule(run))]
    refused = service.refused("RespondWorkflowTaskCompleted", task_token=task.task_token, commands=twice)
    assert refused.code == "INVALID_ARGUMENT"
    assert refused.message.startswith("ScheduleActivityDuplicateId: ")
    about = run.events()[3].workflow_task_failed_event_attributes
    assert about.cause == WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_SCHEDULE_ACTIVITY_DUPLICATE_ID
    assert about.failure.message == refused.message


def test_a_bad_activity_fails_the_workflow_task(service: Service) -> None:
    run = service.start()
    task = run.poll()
    bad = [command(schedule(run, activity_type=None))]
    refused = service.refused("RespondWorkflowTaskCompleted", task_token=task.task_token, commands=bad)
    assert refused.code == "INVALID_ARGUMENT"
    assert "activitytype is not set" in refused.message.lower()
    assert run.event_types()[3] == "WorkflowTaskFailed"
