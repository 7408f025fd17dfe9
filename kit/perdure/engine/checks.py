"""What a request must be before any run is looked at. Each rule raises INVALID_ARGUMENT and names the field, in the server's words.

`check_named` and `check_request` hold for every RPC, and are called before its handler; the others are parts of what single handlers check.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any, Final

from google.protobuf.message import Message
from temporalio.api.common.v1 import Callback, Link, Payloads, WorkflowExecution

from perdure.engine.errors import Code, ServiceError, invalid
from perdure.engine.limits import Limits

MOST_LINKS: Final = 10
_RESERVED: Final = "/_sys/"  # how the server's own task queues begin
_SERVICE: Final = "temporal.api.workflowservice"
_NAMESPACE_OPTIONAL: Final = {
    "DescribeNamespace",
    "UpdateNamespace",
    "DeprecateNamespace",
    "RegisterNamespace",
}


def check_named(method: str, request: Message) -> None:
    """Whether a request names its task or its namespace, before either is looked for."""
    fields = request.DESCRIPTOR.fields_by_name
    if "task_token" in fields:  # it names the namespace, too
        if not getattr(request, "task_token"):  # noqa: B009  # Message has no such attribute
            raise invalid("Task token not set on request.")
    elif (
        "namespace" in fields
        and method not in _NAMESPACE_OPTIONAL
        and request.DESCRIPTOR.full_name.startswith(_SERVICE)
        and not getattr(request, "namespace")  # noqa: B009
    ):
        raise invalid("Namespace is empty.")


def check_request(method: str, request: Message, limits: Limits) -> None:
    """What the server refuses of any request of this kind."""
    if rule := _RULES.get(method):
        rule(request, limits)


def check_execution(execution: WorkflowExecution, given: bool = True) -> None:
    """Whether an execution is named: by a workflow id, and a run id that can be one, or none."""
    if not given:
        raise invalid("Execution is not set on request.")
    if not execution.workflow_id:
        raise invalid("WorkflowId is not set on request.")
    if execution.run_id and not is_uuid(execution.run_id):
        raise invalid("Invalid RunId.")


def is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


def check_length(name: str, text: str, limits: Limits) -> None:
    if len(text.encode()) > limits.id_length:
        raise invalid(f"{name} length exceeds limit.")


def check_exact_length(name: str, text: str, limits: Limits) -> None:
    """The same rule where the server also tells both lengths."""
    length = len(text.encode())
    if length > limits.id_length:
        raise invalid(f"{name} exceeds maximum allowed length ({length}/{limits.id_length})")


def check_task_queue(name: str, limits: Limits) -> None:
    if not name:
        raise invalid("taskQueue is not set")
    if len(name.encode()) > limits.id_length:
        raise invalid("taskQueue length exceeds limit")


def check_new_task_queue(name: str, limits: Limits) -> None:
    """The queue that a start names, which cannot be one of the server's own."""
    check_task_queue(name, limits)
    if name.startswith(_RESERVED):
        raise invalid(f"task queue name cannot start with reserved prefix {_RESERVED}")


def check_blob(payloads: Payloads, limits: Limits) -> None:
    if payloads.ByteSize() > limits.blob_error:
        raise invalid("Blob data size exceeds limit.")


def check_links(links: Sequence[Link]) -> None:
    if len(links) > MOST_LINKS:
        raise invalid(f"cannot attach more than {MOST_LINKS} links per request, got {len(links)}")
    if any(link.WhichOneof("variant") is None for link in links):
        raise invalid("unsupported link variant")


def check_callbacks(callbacks: Sequence[Callback]) -> None:
    """Refuses all: no address is configured that may be called, as on a new server."""
    for callback in callbacks:
        variant = callback.WhichOneof("variant")
        if variant is None:
            raise ServiceError(Code.UNIMPLEMENTED, "unknown callback variant: <nil>")
        if variant != "nexus":
            raise invalid(f"unsupported callback variant: *common.Callback_{variant.capitalize()}_")
        raise invalid(
            f"invalid url: url does not match any configured callback address: {callback.nexus.url}"
        )


# --- the rules of single RPCs


def _execution_in(field: str) -> Callable[[Any, Limits], None]:
    def check(request: Any, limits: Limits) -> None:
        check_execution(getattr(request, field), request.HasField(field))

    return check


def _query(request: Any, limits: Limits) -> None:
    check_execution(request.execution, request.HasField("execution"))
    if not request.HasField("query"):
        raise invalid("WorkflowQuery is not set on request.")
    if not request.query.query_type:
        raise invalid("QueryType is not set on request.")


def _update_ref(request: Any, limits: Limits) -> None:
    if not request.HasField("update_ref"):
        raise invalid("UpdateRef is not set on request.")
    execution = request.update_ref.workflow_execution
    if not execution.workflow_id:
        raise invalid("Can't load workflow execution.  WorkflowId not set.")
    if execution.run_id and not is_uuid(execution.run_id):
        raise invalid("RunId is not valid UUID.")


def _poll(request: Any, limits: Limits) -> None:
    check_length("Identity", request.identity, limits)
    check_task_queue(request.task_queue.name, limits)


def _queue(request: Any, limits: Limits) -> None:
    check_task_queue(request.task_queue.name, limits)


def _signal(request: Any, limits: Limits) -> None:
    check_execution(request.workflow_execution, request.HasField("workflow_execution"))
    if not request.signal_name:
        raise invalid("SignalName is not set on request.")
    check_length("SignalName", request.signal_name, limits)
    check_length("RequestId", request.request_id, limits)
    check_links(request.links)
    check_blob(request.input, limits)


def _activity_by_id(request: Any, limits: Limits) -> None:
    if request.run_id and not is_uuid(request.run_id):
        raise invalid("RunId is not valid UUID.")


_RULES: Final[dict[str, Callable[[Any, Limits], None]]] = {
    "SignalWorkflowExecution": _signal,
    "RequestCancelWorkflowExecution": _execution_in("workflow_execution"),
    "TerminateWorkflowExecution": _execution_in("workflow_execution"),
    "DeleteWorkflowExecution": _execution_in("workflow_execution"),
    "UpdateWorkflowExecution": _execution_in("workflow_execution"),
    "DescribeWorkflowExecution": _execution_in("execution"),
    "GetWorkflowExecutionHistory": _execution_in("execution"),
    "GetWorkflowExecutionHistoryReverse": _execution_in("execution"),
    "ResetStickyTaskQueue": _execution_in("execution"),
    "QueryWorkflow": _query,
    "PollWorkflowExecutionUpdate": _update_ref,
    "PollWorkflowTaskQueue": _poll,
    "PollActivityTaskQueue": _poll,
    "DescribeTaskQueue": _queue,
    "RespondActivityTaskCompletedById": _activity_by_id,
    "RespondActivityTaskFailedById": _activity_by_id,
    "RespondActivityTaskCanceledById": _activity_by_id,
    "RecordActivityTaskHeartbeatById": _activity_by_id,
}
