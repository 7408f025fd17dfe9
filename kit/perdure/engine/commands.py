"""Commands of a completed workflow task -> events. TEMPORAL.md, section 6.1.

First `check` goes through the whole list against a shadow of the state; only when every command is good does `carry_out`
(`command_events`) write the first event. So a bad command never leaves half of a completion behind. What makes a single command good
stands in `command_checks`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from temporalio.api.command.v1 import Command
from temporalio.api.enums.v1 import CommandType, EventType, WorkflowTaskFailedCause
from temporalio.api.protocol.v1 import Message

from perdure.engine import command_sizes, update_messages
from perdure.engine.command_checks import CHECKS
from perdure.engine.command_shadow import BadCommand, Shadow
from perdure.engine.errors import invalid
from perdure.engine.namespaces import no_namespace
from perdure.engine.state import Execution
from perdure.engine.turn import Turn

_Cause = WorkflowTaskFailedCause

CLOSING = frozenset(
    (
        CommandType.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION,
        CommandType.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION,
        CommandType.COMMAND_TYPE_CANCEL_WORKFLOW_EXECUTION,
        CommandType.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION,
    )
)


def check_sequence(commands: Sequence[Command]) -> None:
    """Raises INVALID_ARGUMENT for unknown commands, and if one that closes the workflow is not the last."""
    for place, command in enumerate(commands):
        if _name(command) in ("Unspecified", str(command.command_type)):
            raise invalid(f"unknown command type: {_name(command)}")
        if command.command_type in CLOSING and place < len(commands) - 1:
            names = ", ".join(_name(each) for each in commands)
            raise invalid(
                f"invalid command sequence: [{names}], command {_name(command)} must be the last command."
            )


def _name(command: Command) -> str:
    """As Temporal spells it: CompleteWorkflowExecution. An unknown one's number."""
    if command.command_type not in CommandType.values():
        return str(command.command_type)
    words = CommandType.Name(command.command_type).removeprefix("COMMAND_TYPE_").split("_")
    return "".join(word.capitalize() for word in words)


def check(turn: Turn, commands: Sequence[Command], messages: Sequence[Message]) -> BadCommand | None:
    """The first command that must fail the workflow task; None when all are good.

    Raises:
        ServiceError: NOT_FOUND for a namespace that is not there.
    """
    shadow = _shadow(turn, messages)
    shadow.count = len(commands)
    for command in commands:
        name = _name(command)
        rule = CHECKS.get(command.command_type)
        if rule is None:
            text = f"{CommandType.Name(command.command_type)} is not implemented by perdure; call the other workflow as a child"
            return BadCommand(_Cause.WORKFLOW_TASK_FAILED_CAUSE_FEATURE_DISABLED, text)
        field = CommandType.Name(command.command_type).removeprefix("COMMAND_TYPE_").lower()
        field += "_command_attributes"
        if not command.HasField(field):  # type: ignore[arg-type]
            return BadCommand(rule.cause, f"{name}CommandAttributes is not set on {name}Command.")
        attributes = getattr(command, field)
        _check_namespace(turn.ex, getattr(attributes, "namespace", ""), turn.namespace_id)
        try:
            rule.check(shadow, attributes)
        except BadCommand as bad:
            return bad
        if excess := command_sizes.excess(turn.ex, command, turn.limits):
            return BadCommand(*excess, ends_run=True)
    for message in messages:
        if excess := command_sizes.excess_of_message(message, turn.limits):
            return BadCommand(*excess, ends_run=True)
    if fault := update_messages.fault(turn.ex, _in_order(commands, messages)):
        return BadCommand(_Cause.WORKFLOW_TASK_FAILED_CAUSE_BAD_UPDATE_WORKFLOW_EXECUTION_MESSAGE, fault)
    return None


def _check_namespace(ex: Execution, namespace: str, namespace_id: Callable[[str], str]) -> None:
    if namespace not in ("", ex.namespace) and not namespace_id(namespace):
        raise no_namespace(namespace)


def _in_order(commands: Sequence[Command], messages: Sequence[Message]) -> list[Message]:
    """Messages as they count: where commands name them, then the others."""
    named = [c.protocol_message_command_attributes.message_id for c in commands]
    by_id = {message.id: message for message in messages}
    return [by_id[name] for name in named if name in by_id] + [m for m in messages if m.id not in named]


def _shadow(turn: Turn, messages: Sequence[Message]) -> Shadow:
    ex = turn.ex
    ended = {
        b.event.activity_task_completed_event_attributes.scheduled_event_id
        or b.event.activity_task_failed_event_attributes.scheduled_event_id
        or b.event.activity_task_timed_out_event_attributes.scheduled_event_id
        or b.event.activity_task_canceled_event_attributes.scheduled_event_id
        for b in ex.buffer
    }
    fired = {
        b.event.timer_fired_event_attributes.timer_id
        for b in ex.buffer
        if b.event.event_type == EventType.EVENT_TYPE_TIMER_FIRED
    }
    return Shadow(
        ex=ex,
        limits=turn.limits,
        attribute_types=turn.attribute_types,
        activities=set(ex.activity_ids),
        scheduled=set(ex.activities) | (ended - {0}),
        cancelled={a.scheduled_id for a in ex.activities.values() if a.cancel_requested_id},
        timers=set(ex.timers),
        buffered_timers=fired,
        children=len(ex.children),
        child_ids=set(),
        messages={m.id for m in messages},
        search_attributes=ex.search_attributes,
    )


def unhandled_events(ex: Execution, commands: Sequence[Command]) -> bool:
    """Whether events wait in the buffer that a closing command would drop. A CancelTimer takes its fired timer back."""
    canceled = {
        c.cancel_timer_command_attributes.timer_id
        for c in commands
        if c.command_type == CommandType.COMMAND_TYPE_CANCEL_TIMER
    }
    return any(
        b.event.event_type != EventType.EVENT_TYPE_TIMER_FIRED
        or b.event.timer_fired_event_attributes.timer_id not in canceled
        for b in ex.buffer
    )
