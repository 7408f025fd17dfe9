"""Starting: every policy, request ids, delays, what the first event says; with a signal; at once."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from service_calls import Service, Started, command, event_name, new_name, payloads, start_request, values
from temporalio.api.command.v1 import (
    CancelWorkflowExecutionCommandAttributes,
    CompleteWorkflowExecutionCommandAttributes,
    FailWorkflowExecutionCommandAttributes,
)
from temporalio.api.common.v1 import Header, Memo, Priority, RetryPolicy, WorkflowType
from temporalio.api.enums.v1 import EventType, WorkflowIdConflictPolicy, WorkflowIdReusePolicy
from temporalio.api.failure.v1 import ApplicationFailureInfo, Failure
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflow.v1 import OnConflictOptions

RUNNING, TERMINATED = 1, 5
REUSE, CONFLICT = WorkflowIdReusePolicy, WorkflowIdConflictPolicy


def seconds(number: float) -> Duration:
    return Duration(seconds=int(number))


def closed(service: Service, how: str) -> Started:
    """A run that has ended so."""
    run = service.start()
    match how:
        case "completed":
            run.work(CompleteWorkflowExecutionCommandAttributes())
        case "failed":
            failure = Failure(message="no", application_failure_info=ApplicationFailureInfo(type="X"))
            run.work(FailWorkflowExecutionCommandAttributes(failure=failure))
        case "cancelled":
            run.work(CancelWorkflowExecutionCommandAttributes())
        case "terminated":
            run.terminate()
    return run


def test_a_start_answers_with_the_run(service: Service) -> None:
    request = start_request()
    first, again = (service.call("StartWorkflowExecution", request) for _ in range(2))
    assert first.started and again.started, "the same request is the same start"
    assert first.run_id == again.run_id
    assert first.status == RUNNING
    link = first.link.workflow_event
    assert (link.workflow_id, link.run_id) == (request.workflow_id, first.run_id)
    assert (link.event_ref.event_id, link.event_ref.event_type) == (
        1,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED,
    )
    if not service.needs(1, 32):
        assert first.first_execution_run_id == first.run_id


def test_a_taken_id_is_refused_with_the_run_that_has_it(service: Service) -> None:
    run = service.start(request_id="the first")
    refused = service.refused("StartWorkflowExecution", start_request(run.id))
    assert refused.code == "ALREADY_EXISTS"
    assert (
        refused.message
        == f"Workflow execution is already running. WorkflowId: {run.id}, RunId: {run.run_id}."
    )
    detail = refused.details["WorkflowExecutionAlreadyStartedFailure"]
    assert (detail.run_id, detail.start_request_id) == (run.run_id, "the first")


def test_an_open_run_can_stand_for_the_start(service: Service) -> None:
    run = service.start()
    use = CONFLICT.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING
    answer = service.call("StartWorkflowExecution", start_request(run.id, workflow_id_conflict_policy=use))
    assert (answer.run_id, answer.started, answer.status) == (run.run_id, False, RUNNING)
    assert run.event_types() == ["WorkflowExecutionStarted", "WorkflowTaskScheduled"]


def test_a_request_id_can_be_attached_to_the_open_run(service: Service) -> None:
    run = service.start()
    request = start_request(
        run.id,
        workflow_id_conflict_policy=CONFLICT.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
        on_conflict_options=OnConflictOptions(attach_request_id=True),
    )
    for _ in range(2):
        assert not service.call("StartWorkflowExecution", request).started
    assert run.event_types()[2:] == ["WorkflowExecutionOptionsUpdated"], "once, however often it is asked for"
    known = run.describe().workflow_extended_info.request_id_infos[request.request_id]
    assert (known.event_id, known.event_type) == (3, EventType.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED)


@pytest.mark.parametrize(
    "policy",
    [
        {"workflow_id_conflict_policy": CONFLICT.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING},
        {"workflow_id_reuse_policy": REUSE.WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING},
    ],
    ids=["conflict", "reuse"],
)
def test_an_open_run_can_make_way(service: Service, policy: dict[str, Any]) -> None:
    run = service.start()
    answer = service.call("StartWorkflowExecution", start_request(run.id, **policy))
    assert answer.started and answer.run_id != run.run_id
    last = run.events()[-1]
    assert event_name(last) == "WorkflowExecutionTerminated"
    about = last.workflow_execution_terminated_event_attributes
    assert (about.reason, about.identity) == ("TerminateIfRunning WorkflowIdReusePolicy", "history-service")
    assert values(about.details) == [f"terminated by new runID: {answer.run_id}"]


ALLOWED = {
    "ALLOW_DUPLICATE": {"completed", "failed", "cancelled", "terminated"},
    "ALLOW_DUPLICATE_FAILED_ONLY": {"failed", "cancelled", "terminated"},
    "REJECT_DUPLICATE": set(),
}
REFUSAL = {
    "ALLOW_DUPLICATE_FAILED_ONLY": (
        "Workflow execution already finished successfully.",
        "allow duplicate workflow Id if last run failed.",
    ),
    "REJECT_DUPLICATE": ("Workflow execution already finished.", "reject duplicate workflow Id."),
}


@pytest.mark.parametrize("policy", ALLOWED)
@pytest.mark.parametrize("how", ["completed", "failed", "cancelled", "terminated"])
def test_the_reuse_policy_decides_after_the_end(service: Service, how: str, policy: str) -> None:
    run = closed(service, how)
    number = REUSE.Value(f"WORKFLOW_ID_REUSE_POLICY_{policy}")
    request = start_request(run.id, workflow_id_reuse_policy=number)
    if how in ALLOWED[policy]:
        answer = service.call("StartWorkflowExecution", request)
        assert answer.started and answer.run_id != run.run_id
    else:
        refused = service.refused("StartWorkflowExecution", request)
        said, rule = REFUSAL[policy]
        assert refused.code == "ALREADY_EXISTS"
        assert (
            refused.message
            == f"{said} WorkflowId: {run.id}, RunId: {run.run_id}. Workflow Id reuse policy: {rule}"
        )
        assert refused.details["WorkflowExecutionAlreadyStartedFailure"].run_id == run.run_id


def test_the_same_request_finds_its_run_after_the_end(service: Service) -> None:
    run = service.start(request_id="same")
    run.terminate()
    answer = service.call("StartWorkflowExecution", start_request(run.id, request_id="same"))
    assert (answer.run_id, answer.started, answer.status) == (run.run_id, True, TERMINATED)


def test_the_first_event_says_what_was_asked(service: Service) -> None:
    one = payloads("one").payloads[0]
    run = service.start(
        input=payloads(1, "two"),
        workflow_execution_timeout=seconds(100),
        workflow_run_timeout=seconds(50),
        workflow_task_timeout=seconds(7),
        retry_policy=RetryPolicy(maximum_attempts=4),
        memo=Memo(fields={"m": one}),
        header=Header(fields={"h": one}),
        priority=Priority(priority_key=2),
    )
    about = run.events()[0].workflow_execution_started_event_attributes
    assert (about.workflow_type.name, about.workflow_id, about.task_queue.name) == ("T", run.id, run.queue)
    assert values(about.input) == [1, "two"]
    timeouts = (
        about.workflow_execution_timeout,
        about.workflow_run_timeout,
        about.workflow_task_timeout,
    )
    assert [each.seconds for each in timeouts] == [100, 50, 7]
    policy = about.retry_policy
    assert (policy.initial_interval.seconds, policy.backoff_coefficient) == (1, 2.0)
    assert (policy.maximum_interval.seconds, policy.maximum_attempts) == (100, 4)
    assert (about.memo.fields["m"], about.header.fields["h"]) == (one, one)
    assert about.priority.priority_key == 2
    ids = (about.first_execution_run_id, about.original_execution_run_id)
    assert ids == (run.run_id, run.run_id)
    assert (about.attempt, about.identity) == (1, "starter")
    assert about.HasField("workflow_execution_expiration_time")


def test_what_was_not_given_is_not_in_the_first_event(service: Service) -> None:
    about = service.start().events()[0].workflow_execution_started_event_attributes
    for name in ("workflow_execution_timeout", "workflow_run_timeout", "retry_policy", "input", "memo"):
        assert not about.HasField(name) or not getattr(about, name).ByteSize(), name
    assert about.workflow_task_timeout.seconds == 10


def test_timeouts_cap_each_other(service: Service) -> None:
    run = service.start(
        workflow_execution_timeout=seconds(5),
        workflow_run_timeout=seconds(50),
        workflow_task_timeout=seconds(30),
    )
    about = run.events()[0].workflow_execution_started_event_attributes
    assert (about.workflow_run_timeout.seconds, about.workflow_task_timeout.seconds) == (5, 5)
    about = service.start(workflow_task_timeout=seconds(500)).events()[0]
    assert about.workflow_execution_started_event_attributes.workflow_task_timeout.seconds == 120


def test_a_delayed_start_has_no_task_until_a_signal_with_start(service: Service) -> None:
    run = service.start(workflow_start_delay=seconds(60))
    described = run.describe()
    info = described.workflow_execution_info
    assert info.execution_time.ToSeconds() - info.start_time.ToSeconds() == 60
    assert not described.HasField("pending_workflow_task")
    service.call("SignalWorkflowExecution", workflow_execution=run.execution, signal_name="plain")
    assert run.event_types() == ["WorkflowExecutionStarted", "WorkflowExecutionSignaled"]
    answer = signal_with_start(service, workflow_id=run.id)
    assert (answer.run_id, answer.started) == (run.run_id, False)
    assert run.event_types()[2:] == ["WorkflowExecutionSignaled", "WorkflowTaskScheduled"]


def test_an_eager_start_brings_the_first_task_along(service: Service) -> None:
    answer = service.call("StartWorkflowExecution", start_request(request_eager_execution=True))
    task = answer.eager_workflow_task
    expected = ["WorkflowExecutionStarted", "WorkflowTaskScheduled", "WorkflowTaskStarted"]
    assert [event_name(event) for event in task.history.events] == expected
    assert (task.attempt, task.started_event_id, task.previous_started_event_id) == (1, 3, 0)
    started = task.history.events[0].workflow_execution_started_event_attributes
    assert started.eager_execution_accepted


# --- with a signal


def signal_with_start(service: Service, **fields: Any) -> Any:
    given = {
        "workflow_id": new_name("flow"),
        "workflow_type": WorkflowType(name="T"),
        "task_queue": TaskQueue(name=new_name("queue")),
        "signal_name": "s",
        "signal_input": payloads("hello"),
        "request_id": new_name("request"),
        "identity": "signaller",
    }
    return service.call("SignalWithStartWorkflowExecution", **{**given, **fields})


def test_signal_with_start_signals_before_the_first_task_and_once(service: Service) -> None:
    fields = {"workflow_id": new_name("flow"), "request_id": "the same"}
    first, again = (signal_with_start(service, **fields) for _ in range(2))
    assert first.run_id == again.run_id
    assert (first.started, again.started) == (True, False)
    run = Started(service, fields["workflow_id"], first.run_id, "")
    expected = ["WorkflowExecutionStarted", "WorkflowExecutionSignaled", "WorkflowTaskScheduled"]
    assert run.event_types() == expected
    about = run.events()[1].workflow_execution_signaled_event_attributes
    assert (about.signal_name, values(about.input), about.identity) == ("s", ["hello"], "signaller")
    if not service.needs(1, 32):
        link = first.signal_link.workflow_event.request_id_ref
        assert (link.request_id, link.event_type) == (
            "the same",
            EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED,
        )


@pytest.mark.parametrize("policy", ALLOWED)
def test_signal_with_start_obeys_the_reuse_policy(service: Service, policy: str) -> None:
    run = closed(service, "completed")
    fields: dict[str, Any] = {
        "workflow_id": run.id,
        "workflow_id_reuse_policy": REUSE.Value(f"WORKFLOW_ID_REUSE_POLICY_{policy}"),
        "workflow_type": WorkflowType(name="T"),
        "task_queue": TaskQueue(name="q"),
        "signal_name": "s",
        "request_id": new_name("request"),
    }
    if policy == "ALLOW_DUPLICATE":
        assert service.call("SignalWithStartWorkflowExecution", **fields).started
    else:
        refused = service.refused("SignalWithStartWorkflowExecution", **fields)
        assert refused.code == "ALREADY_EXISTS"
        assert refused.message.startswith(REFUSAL[policy][0])


def test_signal_with_start_can_replace_the_open_run(service: Service) -> None:
    run = service.start()
    policy = CONFLICT.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING
    answer = signal_with_start(service, workflow_id=run.id, workflow_id_conflict_policy=policy)
    assert answer.started and answer.run_id != run.run_id
    assert run.event_types()[-1] == "WorkflowExecutionTerminated"


def test_a_delayed_signal_with_start_waits_until_the_next_one(service: Service) -> None:
    workflow_id = new_name("flow")
    first = signal_with_start(service, workflow_id=workflow_id, workflow_start_delay=seconds(60))
    run = Started(service, workflow_id, first.run_id, "")
    assert run.event_types() == ["WorkflowExecutionStarted", "WorkflowExecutionSignaled"]
    signal_with_start(service, workflow_id=workflow_id)
    assert run.event_types()[2:] == ["WorkflowExecutionSignaled", "WorkflowTaskScheduled"]


def test_commands_after_the_end_are_refused(service: Service) -> None:
    run = service.start()
    task = run.poll()
    end = CompleteWorkflowExecutionCommandAttributes()
    refused = service.refused(
        "RespondWorkflowTaskCompleted", task_token=task.task_token, commands=[command(end), command(end)]
    )
    assert refused.code == "INVALID_ARGUMENT"
    assert refused.message == (
        "invalid command sequence: [CompleteWorkflowExecution, CompleteWorkflowExecution], "
        "command CompleteWorkflowExecution must be the last command."
    )
