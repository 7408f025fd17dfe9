"""Checked commands -> events: one function for each command. See `commands` for the checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import (
    CommandType,
    EventType,
    ParentClosePolicy,
    TaskQueueKind,
    WorkflowIdReusePolicy,
)
from temporalio.api.history.v1 import (
    ActivityTaskCancelRequestedEventAttributes,
    MarkerRecordedEventAttributes,
    RequestCancelExternalWorkflowExecutionInitiatedEventAttributes,
    SignalExternalWorkflowExecutionInitiatedEventAttributes,
    StartChildWorkflowExecutionInitiatedEventAttributes,
    TimerCanceledEventAttributes,
    TimerStartedEventAttributes,
    UpsertWorkflowSearchAttributesEventAttributes,
    WorkflowExecutionCanceledEventAttributes,
    WorkflowExecutionContinuedAsNewEventAttributes,
    WorkflowPropertiesModifiedEventAttributes,
)
from temporalio.api.protocol.v1 import Message
from temporalio.api.taskqueue.v1 import TaskQueue

from perdure.engine import activities, search_attributes, updates
from perdure.engine.closing import close_run, complete_run, fail_run, least_delay
from perdure.engine.protos import duration, from_duration
from perdure.engine.retries import fill_policy
from perdure.engine.starting import capped_timeouts, from_continue_as_new
from perdure.engine.turn import CancelExternal, SignalExternal, StartChild, StartRun, Turn
from perdure.engine.virtual_time import to_child


@dataclass(slots=True)
class Completion:
    """What the commands of one completion share. `eager`: activities that the worker asked to run at once."""

    turn: Turn
    completed_id: int
    messages: Mapping[str, Message]
    new_run_id: Callable[[], str]
    identity: str
    eager: list[int] = field(default_factory=list)


def carry_out(completion: Completion, command: Command) -> None:
    """Writes the events of one checked command. Commands after a closing one are ignored, as Temporal does."""
    if completion.turn.ex.open:
        _EVENTS[command.command_type](completion, command)


def _schedule_activity(c: Completion, command: Command) -> None:
    attributes = command.schedule_activity_task_command_attributes
    ex = c.turn.ex
    event = c.turn.add(activities.normalised(ex, attributes, c.completed_id), command=command)
    if attributes.request_eager_execution:
        c.eager.append(event.event_id)
    else:
        activities.offer(c.turn, ex.activities[event.event_id])


def _cancel_activity(c: Completion, command: Command) -> None:
    scheduled = command.request_cancel_activity_task_command_attributes.scheduled_event_id
    c.turn.add(
        ActivityTaskCancelRequestedEventAttributes(
            scheduled_event_id=scheduled, workflow_task_completed_event_id=c.completed_id
        ),
        command=command,
    )
    if activity := c.turn.ex.activities.get(scheduled):
        activities.request_cancel(c.turn, activity, c.identity)


def _start_timer(c: Completion, command: Command) -> None:
    attributes = command.start_timer_command_attributes
    c.turn.add(
        TimerStartedEventAttributes(
            timer_id=attributes.timer_id,
            start_to_fire_timeout=attributes.start_to_fire_timeout,
            workflow_task_completed_event_id=c.completed_id,
        ),
        command=command,
    )


def _cancel_timer(c: Completion, command: Command) -> None:
    timer_id = command.cancel_timer_command_attributes.timer_id
    ex = c.turn.ex
    taken_back = None
    started_id = ex.timers[timer_id].started_id if timer_id in ex.timers else 0
    for buffered in ex.buffer:
        fired = buffered.event.timer_fired_event_attributes
        if buffered.event.event_type == EventType.EVENT_TYPE_TIMER_FIRED and fired.timer_id == timer_id:
            taken_back, started_id = buffered, fired.started_event_id
    if taken_back is not None:
        ex.buffer.remove(taken_back)
    c.turn.add(
        TimerCanceledEventAttributes(
            timer_id=timer_id,
            started_event_id=started_id,
            workflow_task_completed_event_id=c.completed_id,
            identity=c.identity,
        ),
        command=command,
        replaces=taken_back.seq if taken_back else None,
    )


def _record_marker(c: Completion, command: Command) -> None:
    attributes = command.record_marker_command_attributes
    c.turn.add(
        MarkerRecordedEventAttributes(
            marker_name=attributes.marker_name,
            details=attributes.details,
            workflow_task_completed_event_id=c.completed_id,
            header=attributes.header if attributes.HasField("header") else None,
            failure=attributes.failure if attributes.HasField("failure") else None,
        ),
        command=command,
    )


def _upsert_search_attributes(c: Completion, command: Command) -> None:
    attributes = command.upsert_workflow_search_attributes_command_attributes.search_attributes
    c.turn.add(
        UpsertWorkflowSearchAttributesEventAttributes(
            workflow_task_completed_event_id=c.completed_id,
            search_attributes=search_attributes.typed(attributes, c.turn.attribute_types),
        ),
        command=command,
    )
    c.turn.changed()


def _modify_properties(c: Completion, command: Command) -> None:
    attributes = command.modify_workflow_properties_command_attributes
    c.turn.add(
        WorkflowPropertiesModifiedEventAttributes(
            workflow_task_completed_event_id=c.completed_id, upserted_memo=attributes.upserted_memo
        ),
        command=command,
    )
    c.turn.changed()


def _start_child(c: Completion, command: Command) -> None:
    attributes = command.start_child_workflow_execution_command_attributes
    ex = c.turn.ex
    namespace = attributes.namespace or ex.namespace
    run_timeout, task_timeout = capped_timeouts(
        from_duration(attributes.workflow_execution_timeout),
        from_duration(attributes.workflow_run_timeout),
        from_duration(attributes.workflow_task_timeout),
        c.turn.limits,
    )
    initiated = StartChildWorkflowExecutionInitiatedEventAttributes(
        namespace=namespace,
        namespace_id=c.turn.namespace_id(namespace),
        workflow_id=attributes.workflow_id,
        workflow_type=attributes.workflow_type,
        task_queue=TaskQueue(
            name=attributes.task_queue.name or ex.task_queue, kind=TaskQueueKind.TASK_QUEUE_KIND_NORMAL
        ),
        workflow_run_timeout=duration(run_timeout),
        workflow_task_timeout=duration(task_timeout),
        retry_policy=fill_policy(attributes.retry_policy) if attributes.HasField("retry_policy") else None,
        parent_close_policy=attributes.parent_close_policy or ParentClosePolicy.PARENT_CLOSE_POLICY_TERMINATE,
        control=attributes.control,
        cron_schedule=attributes.cron_schedule,
        workflow_task_completed_event_id=c.completed_id,
        workflow_id_reuse_policy=attributes.workflow_id_reuse_policy
        or WorkflowIdReusePolicy.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
        inherit_build_id=attributes.inherit_build_id,
    )
    for name in (
        "input",
        "header",
        "memo",
        "search_attributes",
        "priority",
        "versioning_override",
        "workflow_execution_timeout",
    ):
        if attributes.HasField(name):
            getattr(initiated, name).CopyFrom(getattr(attributes, name))
    config, state = to_child(ex)
    if config is not None:
        initiated.time_skipping_config.CopyFrom(config)
    if state is not None:
        initiated.time_skipping_state_propagation.CopyFrom(state)
    _set_attributes(c, initiated)
    event = c.turn.add(initiated, command=command)
    c.turn.effects.append(StartChild(event.event_id))


def _set_attributes(
    c: Completion,
    event: StartChildWorkflowExecutionInitiatedEventAttributes
    | WorkflowExecutionContinuedAsNewEventAttributes,
) -> None:
    """The search attributes of a run to come: with their types, and without those that are to be removed."""
    if event.HasField("search_attributes"):
        given = search_attributes.without_removed(event.search_attributes)
        event.search_attributes.CopyFrom(search_attributes.typed(given, c.turn.attribute_types))


def _signal_external(c: Completion, command: Command) -> None:
    attributes = command.signal_external_workflow_execution_command_attributes
    event = c.turn.add(
        SignalExternalWorkflowExecutionInitiatedEventAttributes(
            workflow_task_completed_event_id=c.completed_id,
            namespace=attributes.namespace,
            namespace_id=c.turn.namespace_id(attributes.namespace or c.turn.ex.namespace),
            workflow_execution=attributes.execution,
            signal_name=attributes.signal_name,
            input=attributes.input if attributes.HasField("input") else None,
            control=attributes.control,
            child_workflow_only=attributes.child_workflow_only,
            header=attributes.header if attributes.HasField("header") else None,
        ),
        command=command,
    )
    c.turn.effects.append(SignalExternal(event.event_id))


def _cancel_external(c: Completion, command: Command) -> None:
    attributes = command.request_cancel_external_workflow_execution_command_attributes
    event = c.turn.add(
        RequestCancelExternalWorkflowExecutionInitiatedEventAttributes(
            workflow_task_completed_event_id=c.completed_id,
            namespace=attributes.namespace,
            namespace_id=c.turn.namespace_id(attributes.namespace or c.turn.ex.namespace),
            workflow_execution=WorkflowExecution(
                workflow_id=attributes.workflow_id, run_id=attributes.run_id
            ),
            control=attributes.control,
            child_workflow_only=attributes.child_workflow_only,
            reason=attributes.reason,
        ),
        command=command,
    )
    c.turn.effects.append(CancelExternal(event.event_id))


def _complete_run(c: Completion, command: Command) -> None:
    attributes = command.complete_workflow_execution_command_attributes
    result = attributes.result if attributes.HasField("result") else None
    complete_run(c.turn, result, c.completed_id, c.new_run_id(), command)


def _fail_run(c: Completion, command: Command) -> None:
    failure = command.fail_workflow_execution_command_attributes.failure
    fail_run(c.turn, failure, c.completed_id, c.new_run_id(), command)


def _cancel_run(c: Completion, command: Command) -> None:
    attributes = command.cancel_workflow_execution_command_attributes
    event = WorkflowExecutionCanceledEventAttributes(
        workflow_task_completed_event_id=c.completed_id,
        details=attributes.details if attributes.HasField("details") else None,
    )
    close_run(c.turn, event, command=command)


def _continue_as_new(c: Completion, command: Command) -> None:
    attributes = command.continue_as_new_workflow_execution_command_attributes
    ex = c.turn.ex
    run_timeout, task_timeout = capped_timeouts(
        from_duration(ex.started.workflow_execution_timeout),
        from_duration(attributes.workflow_run_timeout) or from_duration(ex.started.workflow_run_timeout),
        from_duration(attributes.workflow_task_timeout) or ex.task_timeout,
        c.turn.limits,
    )
    event = WorkflowExecutionContinuedAsNewEventAttributes(
        new_execution_run_id=c.new_run_id(),
        workflow_type=attributes.workflow_type if attributes.workflow_type.name else ex.started.workflow_type,
        task_queue=TaskQueue(
            name=attributes.task_queue.name or ex.task_queue, kind=TaskQueueKind.TASK_QUEUE_KIND_NORMAL
        ),
        workflow_task_completed_event_id=c.completed_id,
        workflow_run_timeout=duration(run_timeout),
        workflow_task_timeout=duration(task_timeout),
        initiator=attributes.initiator,
        inherit_build_id=attributes.inherit_build_id,
    )
    for name in (
        "input",
        "failure",
        "last_completion_result",
        "header",
        "memo",
        "search_attributes",
        "backoff_start_interval",
    ):
        if attributes.HasField(name):
            getattr(event, name).CopyFrom(getattr(attributes, name))
    _set_attributes(c, event)
    delay = least_delay(c.turn, from_duration(attributes.backoff_start_interval))
    following = from_continue_as_new(ex, event, delay)
    following.cron_schedule = attributes.cron_schedule
    if attributes.HasField("retry_policy"):
        following.retry_policy.CopyFrom(fill_policy(attributes.retry_policy))
    new_run = StartRun(event.new_execution_run_id, following, attributes.initial_versioning_behavior)
    close_run(c.turn, event, new_run=new_run, command=command)


def _protocol_message(c: Completion, command: Command) -> None:
    updates.answer(c.turn, c.messages[command.protocol_message_command_attributes.message_id])


_EVENTS: dict[int, Callable[[Completion, Command], None]] = {
    CommandType.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK: _schedule_activity,
    CommandType.COMMAND_TYPE_REQUEST_CANCEL_ACTIVITY_TASK: _cancel_activity,
    CommandType.COMMAND_TYPE_START_TIMER: _start_timer,
    CommandType.COMMAND_TYPE_CANCEL_TIMER: _cancel_timer,
    CommandType.COMMAND_TYPE_RECORD_MARKER: _record_marker,
    CommandType.COMMAND_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES: _upsert_search_attributes,
    CommandType.COMMAND_TYPE_MODIFY_WORKFLOW_PROPERTIES: _modify_properties,
    CommandType.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION: _start_child,
    CommandType.COMMAND_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION: _signal_external,
    CommandType.COMMAND_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION: _cancel_external,
    CommandType.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION: _complete_run,
    CommandType.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION: _fail_run,
    CommandType.COMMAND_TYPE_CANCEL_WORKFLOW_EXECUTION: _cancel_run,
    CommandType.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION: _continue_as_new,
    CommandType.COMMAND_TYPE_PROTOCOL_MESSAGE: _protocol_message,
}
