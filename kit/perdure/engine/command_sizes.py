"""How large the parts of a command may be. What is too large ends the run: to try again cannot help. TEMPORAL.md, section 6.1."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from google.protobuf.message import Message
from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import Memo, Payload
from temporalio.api.enums.v1 import CommandType, WorkflowTaskFailedCause
from temporalio.api.protocol.v1 import Message as ProtocolMessage

from perdure.engine.limits import Limits
from perdure.engine.state import Execution

_Cause = WorkflowTaskFailedCause
_SCHEDULE = _Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_SCHEDULE_ACTIVITY_ATTRIBUTES
_FAIL = _Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_FAIL_WORKFLOW_EXECUTION_ATTRIBUTES
_MARKER = _Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_RECORD_MARKER_ATTRIBUTES
_CONTINUE = _Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_CONTINUE_AS_NEW_ATTRIBUTES
_CHILD = _Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_START_CHILD_EXECUTION_ATTRIBUTES
_SIGNAL = _Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_SIGNAL_WORKFLOW_EXECUTION_ATTRIBUTES
_ATTRIBUTES = _Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_SEARCH_ATTRIBUTES
_MEMO = _Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_MODIFY_WORKFLOW_PROPERTIES_ATTRIBUTES
_MESSAGE = _Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_UPDATE_WORKFLOW_EXECUTION_MESSAGE

Part: TypeAlias = tuple[
    int, bool, str, WorkflowTaskFailedCause.ValueType
]  # size, as a memo, what is said, cause


def excess(
    ex: Execution, command: Command, limits: Limits
) -> tuple[WorkflowTaskFailedCause.ValueType, str] | None:
    """The first part of a command that is too large."""
    for size, memo, text, cause in _parts(ex, command):
        if size > (limits.memo_error if memo else limits.blob_error):
            return cause, f"{text} exceeds size limit."
    return None


def excess_of_message(
    message: ProtocolMessage, limits: Limits
) -> tuple[WorkflowTaskFailedCause.ValueType, str] | None:
    if message.body.ByteSize() <= limits.blob_error:
        return None
    kind = message.body.type_url.rpartition("/")[2]
    return _MESSAGE, f"Message type {kind} exceeds size limit."


def _parts(ex: Execution, command: Command) -> Iterator[Part]:
    if parts := _PARTS.get(command.command_type):
        yield from parts(ex, command)


def _schedule_activity(ex: Execution, command: Command) -> Iterator[Part]:
    attributes = command.schedule_activity_task_command_attributes
    yield attributes.input.ByteSize(), False, "ScheduleActivityTaskCommandAttributes.Input", _SCHEDULE


def _complete(ex: Execution, command: Command) -> Iterator[Part]:
    attributes = command.complete_workflow_execution_command_attributes
    yield attributes.result.ByteSize(), False, "CompleteWorkflowExecutionCommandAttributes.Result", _SCHEDULE


def _fail(ex: Execution, command: Command) -> Iterator[Part]:
    attributes = command.fail_workflow_execution_command_attributes
    yield attributes.failure.ByteSize(), False, "FailWorkflowExecutionCommandAttributes.Failure", _FAIL


def _marker(ex: Execution, command: Command) -> Iterator[Part]:
    details = command.record_marker_command_attributes.details
    yield _size(details), False, "RecordMarkerCommandAttributes.Details", _MARKER


def _continue_as_new(ex: Execution, command: Command) -> Iterator[Part]:
    attributes = command.continue_as_new_workflow_execution_command_attributes
    name = "ContinueAsNewWorkflowExecutionCommandAttributes"
    yield attributes.input.ByteSize(), False, f"{name}. Input", _CONTINUE
    yield attributes.memo.ByteSize(), True, f"{name}. Memo", _CONTINUE


def _start_child(ex: Execution, command: Command) -> Iterator[Part]:
    attributes = command.start_child_workflow_execution_command_attributes
    name = "StartChildWorkflowExecutionCommandAttributes"
    yield attributes.input.ByteSize(), False, f"{name}. Input", _CHILD
    yield attributes.memo.ByteSize(), True, f"{name}.Memo", _CHILD


def _signal(ex: Execution, command: Command) -> Iterator[Part]:
    attributes = command.signal_external_workflow_execution_command_attributes
    name = "SignalExternalWorkflowExecutionCommandAttributes.Input"
    yield attributes.input.ByteSize(), False, name, _SIGNAL


def _upsert(ex: Execution, command: Command) -> Iterator[Part]:
    attributes = command.upsert_workflow_search_attributes_command_attributes
    size = _size(attributes.search_attributes.indexed_fields)
    yield size, False, "UpsertWorkflowSearchAttributesCommandAttributes", _ATTRIBUTES


def _modify(ex: Execution, command: Command) -> Iterator[Part]:
    fields = command.modify_workflow_properties_command_attributes.upserted_memo.fields
    name = "ModifyWorkflowPropertiesCommandAttributes"
    yield _size(fields), False, name, _MEMO
    memo = Memo()
    memo.CopyFrom(ex.memo)
    for key, payload in fields.items():
        memo.fields[key].CopyFrom(payload)
    yield memo.ByteSize(), True, f"{name}. Memo", _MEMO


def _size(fields: Mapping[str, Message] | Mapping[str, Payload]) -> int:
    return sum(len(key.encode()) + value.ByteSize() for key, value in fields.items())


_PARTS: dict[int, Callable[[Execution, Command], Iterator[Part]]] = {
    CommandType.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK: _schedule_activity,
    CommandType.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION: _complete,
    CommandType.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION: _fail,
    CommandType.COMMAND_TYPE_RECORD_MARKER: _marker,
    CommandType.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION: _continue_as_new,
    CommandType.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION: _start_child,
    CommandType.COMMAND_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION: _signal,
    CommandType.COMMAND_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES: _upsert,
    CommandType.COMMAND_TYPE_MODIFY_WORKFLOW_PROPERTIES: _modify,
}
