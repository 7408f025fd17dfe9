"""Queries: asked directly and riding on a task, answered and failed, rejected, and when nobody can answer."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from service_calls import Service, Started, event_name, payloads, refusal
from temporalio.api.command.v1 import CompleteWorkflowExecutionCommandAttributes, StartTimerCommandAttributes
from temporalio.api.enums.v1 import QueryRejectCondition, QueryResultType
from temporalio.api.failure.v1 import ApplicationFailureInfo, Failure
from temporalio.api.query.v1 import WorkflowQuery, WorkflowQueryResult

ANSWERED, FAILED = QueryResultType.QUERY_RESULT_TYPE_ANSWERED, QueryResultType.QUERY_RESULT_TYPE_FAILED
NOT_OPEN = QueryRejectCondition.QUERY_REJECT_CONDITION_NOT_OPEN
NOT_CLEAN = QueryRejectCondition.QUERY_REJECT_CONDITION_NOT_COMPLETED_CLEANLY
TIMER = StartTimerCommandAttributes(timer_id="t", start_to_fire_timeout=Duration(seconds=100))
OOPS = Failure(message="oops", application_failure_info=ApplicationFailureInfo(type="X"))


def at_rest(service: Service) -> Started:
    """An open run that waits for a timer."""
    run = service.start()
    run.work(TIMER)
    return run


def ask(run: Started, **fields: Any) -> Future[Any]:
    query = WorkflowQuery(query_type="q", query_args=payloads("argument"))
    return run.service.begin("QueryWorkflow", execution=run.execution, query=query, **fields)


def answer(run: Started, **fields: Any) -> Any:
    """Takes the query's own task and answers it; the task."""
    task = run.poll()
    run.service.call("RespondQueryTaskCompleted", task_token=task.task_token, **fields)
    return task


def test_a_run_at_rest_is_asked_with_a_task_of_its_own(service: Service) -> None:
    run = at_rest(service)
    asked = ask(run)
    task = answer(run, completed_type=ANSWERED, query_result=payloads("well"))
    assert (task.query.query_type, task.query.query_args) == ("q", payloads("argument"))
    assert (task.started_event_id, task.previous_started_event_id, task.attempt) == (0, 3, 1)
    assert [event_name(event) for event in task.history.events] == run.event_types()
    assert not task.queries
    assert asked.result(10).query_result == payloads("well")
    again = service.refused("RespondQueryTaskCompleted", task_token=task.task_token, completed_type=ANSWERED)
    assert again.code == "NOT_FOUND"


def test_a_failed_query_carries_its_failure(service: Service) -> None:
    run = at_rest(service)
    asked = ask(run)
    answer(run, completed_type=FAILED, error_message="broken", failure=OOPS)
    refused = refusal(asked)
    assert (refused.code, refused.message) == ("INVALID_ARGUMENT", "broken")
    assert refused.details["QueryFailedFailure"].failure == OOPS


def test_a_failed_query_need_not_say_more_than_a_text(service: Service) -> None:
    run = at_rest(service)
    asked = ask(run)
    answer(run, completed_type=FAILED, error_message="broken")
    refused = refusal(asked)
    assert (refused.code, refused.message) == ("INVALID_ARGUMENT", "broken")
    assert not refused.details["QueryFailedFailure"].HasField("failure")


def test_an_answer_that_is_too_large_fails_the_query(service: Service) -> None:
    run = at_rest(service)
    asked = ask(run)
    task = run.poll()
    service.begin(
        "RespondQueryTaskCompleted",
        task_token=task.task_token,
        completed_type=ANSWERED,
        query_result=payloads("x" * 2_200_000),
    ).exception(20)
    refused = refusal(asked)
    assert (refused.code, refused.message) == ("INVALID_ARGUMENT", "Blob data size exceeds limit.")


@pytest.mark.parametrize("fails", [False, True])
def test_a_query_rides_on_the_task_that_is_to_come(service: Service, fails: bool) -> None:
    """Whether it reaches the service before the first task is taken, or after: it is answered once, by one of two tasks."""
    run = service.start()
    asked = ask(run)
    task = run.poll()
    outcome: dict[str, Any] = {"error_message": "broken", "failure": OOPS} if fails else {}
    kind = FAILED if fails else ANSWERED
    results = {
        key: WorkflowQueryResult(result_type=kind, answer=None if fails else payloads("well"), **outcome)
        for key in task.queries
    }
    run.complete(task, TIMER, query_results=results)
    if not results:
        result = {} if fails else {"query_result": payloads("well")}
        answer(run, completed_type=kind, **outcome, **result)
    if fails:
        assert refusal(asked).details["QueryFailedFailure"].failure == OOPS
    else:
        assert asked.result(10).query_result == payloads("well")


def test_closed_runs_can_be_excluded(service: Service) -> None:
    done = service.start()
    done.work(CompleteWorkflowExecutionCommandAttributes())
    ended = service.start()
    ended.terminate()
    for run, condition, status in ((done, NOT_OPEN, 2), (ended, NOT_OPEN, 5), (ended, NOT_CLEAN, 5)):
        answered = ask(run, query_reject_condition=condition).result(10)
        assert answered.query_rejected.status == status
        assert not answered.HasField("query_result")


def test_a_closed_run_answers(service: Service) -> None:
    run = service.start()
    run.work(CompleteWorkflowExecutionCommandAttributes())
    asked = ask(run, query_reject_condition=NOT_CLEAN)
    answer(run, completed_type=ANSWERED, query_result=payloads("well"))
    assert asked.result(10).query_result == payloads("well")


def test_a_run_that_never_had_a_task_cannot_answer(service: Service) -> None:
    run = service.start()
    run.terminate()
    refused = refusal(ask(run))
    assert refused.code == "FAILED_PRECONDITION"
    assert refused.message == "Workflow execution closed before WorkflowTaskStarted event"
    assert "WorkflowNotReadyFailure" in refused.details


def test_a_run_whose_tasks_fail_cannot_answer(service: Service) -> None:
    run = service.start()
    for _ in range(3):
        service.call("RespondWorkflowTaskFailed", task_token=run.poll().task_token)
    refused = refusal(ask(run))
    assert refused.code == "FAILED_PRECONDITION"
    assert refused.message == "Unable to query workflow due to Workflow Task in failed state."
    assert "WorkflowNotReadyFailure" in refused.details
