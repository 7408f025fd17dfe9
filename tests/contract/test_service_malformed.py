"""Requests that are refused before any run is looked at: the code, and the field by its name.

Where Temporal's words changed between servers, any of them will do; the engine has the newest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from service_calls import Service, make, new_name, payloads, start_request
from temporalio.api.common.v1 import Link, Memo, Priority, RetryPolicy, WorkflowExecution, WorkflowType
from temporalio.api.enums.v1 import WorkflowIdConflictPolicy, WorkflowIdReusePolicy
from temporalio.api.query.v1 import WorkflowQuery
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.update.v1 import Input, Meta, Request, UpdateRef, WaitPolicy
from temporalio.api.workflow.v1 import OnConflictOptions
from temporalio.api.workflowservice.v1 import ExecuteMultiOperationRequest, UpdateWorkflowExecutionRequest

LONG = "x" * 1001
NONE = WorkflowExecution(workflow_id="no-such-workflow")
NO_RUN = WorkflowExecution(workflow_id="no-such-workflow", run_id="0198a3ad-0000-7000-8000-000000000001")
NO_UUID = WorkflowExecution(workflow_id="no-such-workflow", run_id="not-a-uuid")
NAMELESS = WorkflowExecution(run_id=NO_RUN.run_id)
NEGATIVE = Duration(seconds=-1)
BIG = payloads("x" * 2_200_000)
REUSE, CONFLICT = WorkflowIdReusePolicy, WorkflowIdConflictPolicy

Refused = tuple[dict[str, Any], str | tuple[str, ...]]  # what is wrong, and the text


def said(text: str, allowed: str | tuple[str, ...]) -> bool:
    return text == allowed if isinstance(allowed, str) else text in allowed


# --- starts

START: list[Refused] = [
    ({"namespace": ""}, "Namespace is empty."),
    ({"workflow_id": ""}, "WorkflowId is not set on request."),
    ({"workflow_type": WorkflowType()}, "WorkflowType is not set on request."),
    ({"task_queue": TaskQueue()}, "taskQueue is not set"),
    (
        {"workflow_id": LONG},
        ("WorkflowId exceeds maximum allowed length (1001/1000)", "WorkflowId length exceeds limit."),
    ),
    ({"workflow_type": WorkflowType(name=LONG)}, "WorkflowType length exceeds limit."),
    ({"task_queue": TaskQueue(name=LONG)}, "taskQueue length exceeds limit"),
    ({"request_id": LONG}, "RequestId length exceeds limit."),
    ({"task_queue": TaskQueue(name="/_sys/q")}, "task queue name cannot start with reserved prefix /_sys/"),
    *(
        ({name: NEGATIVE}, f"An invalid {said}Seconds is set on request. cause: negative duration")
        for name, said in (
            ("workflow_execution_timeout", "WorkflowExecutionTimeout"),
            ("workflow_run_timeout", "WorkflowRunTimeout"),
            ("workflow_task_timeout", "WorkflowTaskTimeout"),
            ("workflow_start_delay", "WorkflowStartDelay"),
        )
    ),
    *(
        ({"retry_policy": policy}, said)
        for policy, said in (
            (
                RetryPolicy(initial_interval=NEGATIVE),
                "invalid InitialInterval set on retry policy: negative duration",
            ),
            (
                RetryPolicy(maximum_interval=NEGATIVE),
                "invalid MaximumInterval set on retry policy: negative duration",
            ),
            (
                RetryPolicy(backoff_coefficient=0.5),
                "BackoffCoefficient cannot be less than 1 on retry policy.",
            ),
            (
                RetryPolicy(initial_interval=Duration(seconds=9), maximum_interval=Duration(seconds=5)),
                "MaximumInterval cannot be less than InitialInterval on retry policy.",
            ),
            (RetryPolicy(maximum_attempts=-1), "MaximumAttempts cannot be negative on retry policy."),
            (
                RetryPolicy(non_retryable_error_types=["TemporalTimeout:Foo"]),
                "Invalid timeout type value: Foo.",
            ),
        )
    ),
    ({"cron_schedule": "at noon"}, "invalid CronSchedule."),
    (
        {"cron_schedule": "@daily", "workflow_start_delay": Duration(seconds=1)},
        "CronSchedule and WorkflowStartDelay may not be used together.",
    ),
    (
        {
            "workflow_id_reuse_policy": REUSE.WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING,
            "workflow_id_conflict_policy": CONFLICT.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
        },
        "Invalid WorkflowIDReusePolicy: WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING cannot be used together with a "
        "WorkflowIDConflictPolicy",
    ),
    (
        {
            "workflow_id_reuse_policy": REUSE.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
            "workflow_id_conflict_policy": CONFLICT.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING,
        },
        "Invalid WorkflowIDReusePolicy: WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE cannot be used together with "
        "WorkflowIdConflictPolicy WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING",
    ),
    (
        {
            "workflow_id_conflict_policy": CONFLICT.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
            "on_conflict_options": OnConflictOptions(attach_completion_callbacks=True),
        },
        "attaching request ID is required for attaching completion callbacks",
    ),
    (
        {"priority": Priority(priority_key=-1)},
        ("priority key can't be negative", "PriorityKey can't be negative"),
    ),
    (
        {"priority": Priority(fairness_key="x" * 65)},
        ("fairness key length exceeds limit", "FairnessKey length exceeds limit"),
    ),
    (
        {"links": [Link(workflow_event=Link.WorkflowEvent(namespace="n", workflow_id="w", run_id="r"))] * 11},
        "cannot attach more than 10 links per request, got 11",
    ),
    ({"links": [Link()]}, "unsupported link variant"),
    ({"input": BIG}, "Blob data size exceeds limit."),
    ({"memo": Memo(fields={"big": BIG.payloads[0]})}, "Memo size exceeds limit."),
]


@pytest.mark.parametrize(
    "wrong, text", START, ids=lambda value: "-".join(value) if isinstance(value, dict) else ""
)
def test_a_bad_start_is_refused_with_the_field(
    service: Service, wrong: dict[str, Any], text: str | tuple[str, ...]
) -> None:
    request = start_request(**wrong) if "workflow_id" not in wrong else start_request()
    for name, value in wrong.items():
        if not value or (isinstance(value, Message) and not value.ByteSize()):
            request.ClearField(name)
        elif name == "workflow_id":
            request.workflow_id = value
    refused = service.refused("StartWorkflowExecution", request)
    assert refused.code == "INVALID_ARGUMENT"
    assert said(refused.message, text), refused.message


def test_one_attempt_makes_the_rest_of_a_retry_policy_irrelevant(service: Service) -> None:
    service.start(retry_policy=RetryPolicy(maximum_attempts=1, initial_interval=NEGATIVE)).terminate()


SIGNAL_WITH_START: list[Refused] = [
    ({"workflow_id": ""}, "WorkflowId is not set on request."),
    ({"workflow_type": None}, ("workflow type not set", "WorkflowType is not set on request.")),
    ({"task_queue": None}, "taskQueue is not set"),
    ({"signal_name": ""}, ("signal not set", "SignalName is not set on request.")),
    (
        {"signal_name": LONG},
        ("signal name exceeds maximum allowed length (1001/1000)", "SignalName length exceeds limit."),
    ),
    (
        {"workflow_run_timeout": NEGATIVE},
        "An invalid WorkflowRunTimeoutSeconds is set on request. cause: negative duration",
    ),
    (
        {"workflow_id_conflict_policy": CONFLICT.WORKFLOW_ID_CONFLICT_POLICY_FAIL},
        "Invalid WorkflowIDConflictPolicy: WORKFLOW_ID_CONFLICT_POLICY_FAIL is not supported for this operation.",
    ),
]


@pytest.mark.parametrize(
    "wrong, text", SIGNAL_WITH_START, ids=lambda v: "-".join(v) if isinstance(v, dict) else ""
)
def test_a_bad_signal_with_start_is_refused(
    service: Service, wrong: dict[str, Any], text: str | tuple[str, ...]
) -> None:
    given = {
        "workflow_id": new_name("flow"),
        "workflow_type": WorkflowType(name="T"),
        "task_queue": TaskQueue(name="q"),
        "signal_name": "s",
        "request_id": new_name("request"),
    } | wrong
    refused = service.refused(
        "SignalWithStartWorkflowExecution", **{name: value for name, value in given.items() if value}
    )
    assert refused.code == "INVALID_ARGUMENT"
    assert said(refused.message, text), refused.message


# --- requests about a run

ABOUT_A_RUN = [
    ("SignalWorkflowExecution", "workflow_execution", {"signal_name": "s"}),
    ("RequestCancelWorkflowExecution", "workflow_execution", {}),
    ("TerminateWorkflowExecution", "workflow_execution", {}),
    ("DescribeWorkflowExecution", "execution", {}),
    ("GetWorkflowExecutionHistory", "execution", {}),
    ("GetWorkflowExecutionHistoryReverse", "execution", {}),
    ("ResetStickyTaskQueue", "execution", {}),
    ("QueryWorkflow", "execution", {"query": WorkflowQuery(query_type="q")}),
    (
        "UpdateWorkflowExecution",
        "workflow_execution",
        {
            "request": Request(meta=Meta(update_id="1"), input=Input(name="u")),
            "wait_policy": WaitPolicy(lifecycle_stage=2),  # type: ignore[arg-type]
        },
    ),
]


@pytest.mark.parametrize("rpc, field, more", ABOUT_A_RUN, ids=[rpc for rpc, _, _ in ABOUT_A_RUN])
def test_the_run_must_be_named_and_must_be_there(
    service: Service, rpc: str, field: str, more: dict[str, Any]
) -> None:
    def refused(execution: WorkflowExecution | None, **fields: Any) -> tuple[str, str, list[str]]:
        named = {field: execution} if execution is not None else {}
        answer = service.refused(rpc, **named, **more, **fields)
        return answer.code, answer.message, list(answer.details)

    assert refused(NONE, namespace="") == ("INVALID_ARGUMENT", "Namespace is empty.", [])
    elsewhere = ("NOT_FOUND", "Namespace elsewhere is not found.", ["NamespaceNotFoundFailure"])
    assert refused(NONE, namespace="elsewhere") == elsewhere
    assert refused(None) == ("INVALID_ARGUMENT", "Execution is not set on request.", [])
    assert refused(NAMELESS) == ("INVALID_ARGUMENT", "WorkflowId is not set on request.", [])
    assert refused(NO_UUID) == ("INVALID_ARGUMENT", "Invalid RunId.", [])
    unknown = "workflow not found for ID: no-such-workflow"
    assert refused(NONE) == ("NOT_FOUND", unknown, ["NotFoundFailure"])
    of_run = f'workflow execution not found for workflow ID "no-such-workflow" and run ID "{NO_RUN.run_id}"'
    assert refused(NO_RUN) == ("NOT_FOUND", of_run, ["NotFoundFailure"])


OTHERS: list[tuple[str, dict[str, Any], str]] = [
    ("SignalWorkflowExecution", {"workflow_execution": NONE}, "SignalName is not set on request."),
    (
        "SignalWorkflowExecution",
        {"workflow_execution": NONE, "signal_name": LONG},
        "SignalName length exceeds limit.",
    ),
    (
        "SignalWorkflowExecution",
        {"workflow_execution": NONE, "signal_name": "s", "request_id": LONG},
        "RequestId length exceeds limit.",
    ),
    (
        "SignalWorkflowExecution",
        {"workflow_execution": NONE, "signal_name": "s", "input": BIG},
        "Blob data size exceeds limit.",
    ),
    (
        "GetWorkflowExecutionHistory",
        {"execution": NONE, "next_page_token": b"junk"},
        "Invalid NextPageToken.",
    ),
    (
        "GetWorkflowExecutionHistoryReverse",
        {"execution": NONE, "next_page_token": b"junk"},
        "Invalid NextPageToken.",
    ),
    ("QueryWorkflow", {"execution": NONE}, "WorkflowQuery is not set on request."),
    ("QueryWorkflow", {"execution": NONE, "query": WorkflowQuery()}, "QueryType is not set on request."),
    ("PollWorkflowExecutionUpdate", {}, "UpdateRef is not set on request."),
    (
        "PollWorkflowExecutionUpdate",
        {"update_ref": UpdateRef(update_id="1")},
        "Can't load workflow execution.  WorkflowId not set.",
    ),
    (
        "PollWorkflowExecutionUpdate",
        {"update_ref": UpdateRef(update_id="1", workflow_execution=NO_UUID)},
        "RunId is not valid UUID.",
    ),
    *(
        (rpc, fields, text)
        for rpc in ("PollWorkflowTaskQueue", "PollActivityTaskQueue")
        for fields, text in (
            ({}, "taskQueue is not set"),
            ({"task_queue": TaskQueue(name=LONG)}, "taskQueue length exceeds limit"),
            ({"task_queue": TaskQueue(name="q"), "identity": LONG}, "Identity length exceeds limit."),
        )
    ),
    *(
        (rpc, fields, text)
        for rpc in (
            "RespondWorkflowTaskCompleted",
            "RespondWorkflowTaskFailed",
            "RespondQueryTaskCompleted",
            "RespondActivityTaskCompleted",
            "RespondActivityTaskFailed",
            "RespondActivityTaskCanceled",
            "RecordActivityTaskHeartbeat",
        )
        for fields, text in (
            ({}, "Task token not set on request."),
            ({"task_token": b"junk"}, "Error deserializing task token."),
        )
    ),
    *(
        (rpc, fields, text)
        for rpc in (
            "RespondActivityTaskCompletedById",
            "RespondActivityTaskFailedById",
            "RespondActivityTaskCanceledById",
            "RecordActivityTaskHeartbeatById",
        )
        for fields, text in (
            ({"workflow_id": "w"}, "ActivityId is not set on request."),
            ({"workflow_id": "w", "activity_id": "a", "run_id": "no-uuid"}, "RunId is not valid UUID."),
        )
    ),
]


@pytest.mark.parametrize(
    "rpc, fields, text", OTHERS, ids=[f"{rpc}-{'-'.join(fields)}" for rpc, fields, _ in OTHERS]
)
def test_a_bad_field_is_named(service: Service, rpc: str, fields: dict[str, Any], text: str) -> None:
    refused = service.refused(rpc, **fields)
    assert (refused.code, refused.message) == ("INVALID_ARGUMENT", text)


# --- updates

UPDATE: list[tuple[Request | None, str]] = [
    (None, "Update meta is not set on request."),
    (Request(input=Input(name="u")), "Update meta is not set on request."),
    (Request(meta=Meta(update_id="1")), "Update input is not set on request."),
    (Request(meta=Meta(update_id="1"), input=Input()), "Update name is not set on request."),
    (Request(meta=Meta(update_id=LONG), input=Input(name="u")), "UpdateId length exceeds limit."),
]


@pytest.mark.parametrize("asked, text", UPDATE, ids=range(len(UPDATE)))
def test_a_bad_update_is_refused(service: Service, asked: Request | None, text: str) -> None:
    refused = service.refused("UpdateWorkflowExecution", workflow_execution=NONE, request=asked)
    assert (refused.code, refused.message) == ("INVALID_ARGUMENT", text)


def test_nobody_can_wait_for_admission(service: Service) -> None:
    refused = service.refused(
        "UpdateWorkflowExecution",
        workflow_execution=NONE,
        request=Request(meta=Meta(update_id="1"), input=Input(name="u")),
        wait_policy=WaitPolicy(lifecycle_stage=1),  # type: ignore[arg-type]
    )
    assert (refused.code, list(refused.details)) == ("PERMISSION_DENIED", ["PermissionDeniedFailure"])


Change = Callable[[Any, Any], None]  # of the start and the update
Operation = ExecuteMultiOperationRequest.Operation
FIRST, SECOND = 0, 1
UPDATE_WITH_START: dict[str, tuple[Change, int, str]] = {
    "no workflow id": (lambda s, u: s.ClearField("workflow_id"), FIRST, "WorkflowId is not set on request."),
    "no type": (lambda s, u: s.ClearField("workflow_type"), FIRST, "WorkflowType is not set on request."),
    "cron": (lambda s, u: setattr(s, "cron_schedule", "@daily"), FIRST, "CronSchedule is not allowed."),
    "delay": (
        lambda s, u: s.workflow_start_delay.FromSeconds(3),
        FIRST,
        "WorkflowStartDelay is not supported.",
    ),
    "eager": (
        lambda s, u: setattr(s, "request_eager_execution", True),
        FIRST,
        "RequestEagerExecution is not supported.",
    ),
    "other id": (
        lambda s, u: setattr(u.workflow_execution, "workflow_id", "x"),
        SECOND,
        "WorkflowId is not consistent with previous operation(s).",
    ),
    "run id": (
        lambda s, u: setattr(u.workflow_execution, "run_id", NO_RUN.run_id),
        SECOND,
        "RunId is not allowed.",
    ),
    "first run id": (
        lambda s, u: setattr(u, "first_execution_run_id", NO_RUN.run_id),
        SECOND,
        "FirstExecutionRunId is not allowed.",
    ),
    "no name": (
        lambda s, u: u.request.input.ClearField("name"),
        SECOND,
        "Update name is not set on request.",
    ),
}


@pytest.mark.parametrize("change, failed, text", UPDATE_WITH_START.values(), ids=UPDATE_WITH_START)
def test_a_bad_update_with_start_says_which_operation_failed(
    service: Service, change: Change, failed: int, text: str
) -> None:
    start = start_request()
    update: UpdateWorkflowExecutionRequest = make(  # type: ignore[assignment]
        "UpdateWorkflowExecution",
        workflow_execution=WorkflowExecution(workflow_id=start.workflow_id),
        request=Request(meta=Meta(update_id="1"), input=Input(name="u")),
        wait_policy=WaitPolicy(lifecycle_stage=2),  # type: ignore[arg-type]
    )
    change(start, update)
    operations = [Operation(start_workflow=start), Operation(update_workflow=update)]
    refused = service.refused("ExecuteMultiOperation", operations=operations)
    assert (refused.code, refused.message) == ("INVALID_ARGUMENT", "Update-with-Start could not be executed.")
    statuses = refused.details["MultiOperationExecutionFailure"].statuses
    assert (statuses[failed].code, statuses[failed].message) == (3, text)
    other = statuses[1 - failed]
    assert (other.code, other.message) == (10, "Operation was aborted.")
    assert [each.type_url.rpartition(".")[2] for each in other.details] == ["MultiOperationExecutionAborted"]


def test_operations_are_a_start_and_an_update(service: Service) -> None:
    start = Operation(start_workflow=start_request())
    for operations in ([], [start], [start, start], [Operation(), Operation()]):
        refused = service.refused("ExecuteMultiOperation", operations=operations)
        assert refused.code == "INVALID_ARGUMENT"
        assert refused.message == "Operations have to be exactly [Start, Update]."


# --- lists and counts

QUERIES = [
    "garbage ((",
    "NoSuchAttribute = 'x'",
    "ExecutionStatus = 'Sleeping'",
    "StartTime > 'yesterday'",
    "WorkflowType",
    "1 = 1",
    "WorkflowId = 'a' LIMIT 3",
    "WorkflowId LIKE 'a%'",
    "WorkflowId = WorkflowId",
    "lower(WorkflowId) = 'a'",
    "WorkflowId IN ()",
    "ExecutionDuration > 'x'",
    "BuildIds = 5",
    "SELECT 1",
]


@pytest.mark.parametrize("query", QUERIES)
def test_a_bad_list_filter_is_refused(service: Service, query: str) -> None:
    for rpc in ("ListWorkflowExecutions", "CountWorkflowExecutions"):
        refused = service.refused(rpc, query=query)
        assert refused.code == "INVALID_ARGUMENT"
        assert refused.message.startswith("invalid query: ")


@pytest.mark.parametrize(
    "query", ["GROUP BY WorkflowType", "GROUP BY ExecutionStatus, WorkflowType", "GROUP BY NoSuchAttribute"]
)
def test_counts_are_grouped_by_status_only(service: Service, query: str) -> None:
    refused = service.refused("CountWorkflowExecutions", query=query)
    assert refused.code == "INVALID_ARGUMENT"
    assert refused.message.startswith("invalid query: ")
