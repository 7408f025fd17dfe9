"""Does a history fit a version? The official Replayer decides; this module says in words where it does not.

The Replayer's own message names what its state machines did not expect. People want the event and the line,
so the commands of the replay (`perdure.replay.trace`) are laid beside the events that commands leave
behind: the first pair that differs is the place. Only when no pair differs is the Replayer's message passed
on as it is.
"""

from __future__ import annotations

import linecache
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import temporalio.worker
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from perdure.authoring.payloads import data_converter
from perdure.engine.records import RunRecords
from perdure.history.exchange import history
from perdure.history.payloads import event_name
from perdure.replay.trace import Command, Trace, TracingRunner
from perdure.worker.executor import DaemonThreads
from perdure.worker.runner import VersionedRunner, definition_of
from perdure.worker.runtime import BUILD_ID, runtime

if TYPE_CHECKING:
    from perdure.authoring.registry import Registered

# Command -> the event it leaves in the history, and its words. Others leave none, or one that core orders by itself.
_KINDS: Final[dict[str, tuple[EventType.ValueType, str]]] = {
    "schedule_activity": (EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED, "schedules activity"),
    "request_cancel_activity": (EventType.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED, "cancels an activity"),
    "start_timer": (EventType.EVENT_TYPE_TIMER_STARTED, "starts a timer"),
    "cancel_timer": (EventType.EVENT_TYPE_TIMER_CANCELED, "cancels a timer"),
    "start_child_workflow_execution": (
        EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED,
        "starts child workflow",
    ),
    "signal_external_workflow_execution": (
        EventType.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED,
        "signals another workflow:",
    ),
    "request_cancel_external_workflow_execution": (
        EventType.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED,
        "cancels another workflow",
    ),
    "complete_workflow_execution": (
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED,
        "completes the workflow",
    ),
    "fail_workflow_execution": (EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED, "fails the workflow"),
    "cancel_workflow_execution": (
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED,
        "ends the workflow as cancelled",
    ),
    "continue_as_new_workflow_execution": (
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW,
        "continues as new",
    ),
}
_EVENTS: Final = {event_type for event_type, _ in _KINDS.values()}
_NAMED_EVENT: Final = re.compile(r"HistoryEvent\(id: (\d+)")


@dataclass(frozen=True, slots=True)
class Check:
    """Whether a history fits a definition; if not, the first event and line that differ (0: unknown)."""

    fits: bool
    reason: str = ""
    event_id: int = 0
    line: int = 0


async def check(records: RunRecords, registered: Registered) -> Check:
    """Replays a run's history with a definition, in the sandbox. To be awaited on a loop that may be busy
    for a while."""
    target, label = registered.target, _label(registered)
    trace = Trace(getattr(sys.modules.get(target.__module__), "__file__", None) or "")
    inner = VersionedRunner(lambda run_id: "", lambda name, version: registered)
    threads = DaemonThreads(2, "perdure-replay")
    try:
        replayer = temporalio.worker.Replayer(
            workflows=[target],  # type: ignore[list-item]  # `_label` has checked it
            workflow_runner=TracingRunner(inner, trace),
            unsandboxed_workflow_runner=TracingRunner(inner, trace),
            workflow_task_executor=threads,
            namespace=records.started.namespace,
            build_id=BUILD_ID,
            runtime=runtime(),
            data_converter=data_converter,
        )
        result = await replayer.replay_workflow(history(records), raise_on_replay_failure=False)
    finally:
        threads.shutdown()
    if result.replay_failure is None:
        return Check(True)
    return explain(records.events, trace, label, str(result.replay_failure))


def explain(events: Sequence[HistoryEvent], trace: Trace, version: str, message: str) -> Check:
    """The first difference between a history and the commands of its replay, in words."""
    left = [event for event in events if event.event_type in _EVENTS]
    commands = [command for command in trace.commands if command.kind in _KINDS]
    for event, command in zip(left, commands, strict=False):
        if event.event_type != _KINDS[command.kind][0] or _subject(event) != command.subject:
            words = f"{version} {_words(command)} there"
            return _different(event, words, trace.file, command.line)
    if trace.failure:
        line = trace.last_line
        return Check(False, f"{version} fails: {trace.failure}", 0, line)
    if len(commands) < len(left):
        return _different(left[len(commands)], f"{version} does nothing there", trace.file, trace.last_line)
    named = _NAMED_EVENT.search(message)
    return Check(False, f"the history does not fit {version}: {message}", int(named[1]) if named else 0)


def _different(event: HistoryEvent, words: str, file: str, line: int) -> Check:
    source = _source(file, line)
    where = f", at line {line}: {source}" if source else ""
    subject = _subject(event)
    name = f"{event_name(event)} {subject}" if subject else event_name(event)
    return Check(False, f"event {event.event_id} is {name}, but {words}{where}", event.event_id, line)


def _words(command: Command) -> str:
    words = _KINDS[command.kind][1]
    return f"{words} {command.subject}" if command.subject else words


def _source(file: str, line: int) -> str:
    return linecache.getline(file, line).strip() if file and line else ""


def _subject(event: HistoryEvent) -> str:
    """What the command of this event would name: as `Command.subject`."""
    which = event.WhichOneof("attributes")
    held = getattr(event, which) if which else event
    for name in ("activity_type", "workflow_type"):
        if name in held.DESCRIPTOR.fields_by_name and event.event_type in _TYPED:
            return str(getattr(held, name).name)
    return str(getattr(held, "signal_name", "")) if event.event_type in _TYPED else ""


_TYPED: Final = {
    EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED,
    EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED,
    EventType.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW,
}


def _label(registered: Registered) -> str:
    version = registered.definition.version
    definition_of(
        registered.target
    )  # a target that is no workflow is refused here, before the Replayer words it
    return f"version {version}" if version else registered.definition.name
