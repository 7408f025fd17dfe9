"""Workflow tasks: scheduled, started, completed, failed, timed out; and the buffer of events that arrive meanwhile.

TEMPORAL.md, sections 6.2 and 7. Later attempts and tasks that only carry updates are *virtual*: their Scheduled and Started events
enter the history when (and if) the task completes.
"""

from __future__ import annotations

from google.protobuf.message import Message
from temporalio.api.enums.v1 import EventType, TaskQueueKind, TimeoutType, WorkflowTaskFailedCause
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import (
    HistoryEvent,
    WorkflowTaskCompletedEventAttributes,
    WorkflowTaskFailedEventAttributes,
    WorkflowTaskScheduledEventAttributes,
    WorkflowTaskStartedEventAttributes,
    WorkflowTaskTimedOutEventAttributes,
)
from temporalio.api.taskqueue.v1 import TaskQueue

from perdure.engine import problems
from perdure.engine.bounds import advice, buffer_is_full
from perdure.engine.protos import SECOND, attributes_of, duration
from perdure.engine.state import RUNNING, Execution, UpdateStage, WorkflowTask
from perdure.engine.turn import OfferTask, Turn

_LAST = frozenset(
    (
        EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED,
        EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED,
        EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT,
        EventType.EVENT_TYPE_ACTIVITY_TASK_CANCELED,
        EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED,
        EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED,
        EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED,
        EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT,
        EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED,
    )
)


def schedule_task(turn: Turn, *, original_time: int = 0, speculative: bool = False) -> None:
    """Schedules a workflow task, unless one is pending or the run is paused.

    `original_time`: of the first task in a chain of heartbeats.
    """
    ex = turn.ex
    if ex.task is not None or ex.status != RUNNING:
        return
    attempt = ex.task_attempt
    timeout = _grown_timeout(ex.task_timeout, attempt)
    sticky = bool(ex.sticky_queue) and attempt == 1
    if attempt > 1 or speculative:
        ex.first_task_time = 0
        ex.task = WorkflowTask(
            scheduled_id=ex.next_event_id,
            scheduled_time=turn.now,
            attempt=attempt,
            timeout=timeout,
            queue=ex.sticky_queue if sticky else ex.task_queue,
            sticky=sticky,
            virtual=True,
            speculative=speculative and attempt == 1,
            stamp=ex.new_stamp(),
        )
    else:
        turn.add(_scheduled(ex, sticky, timeout, attempt))
    assert ex.task is not None
    ex.task.original_scheduled_time = original_time or turn.now
    turn.effects.append(OfferTask())


def _scheduled(
    ex: Execution, sticky: bool, timeout: int, attempt: int
) -> WorkflowTaskScheduledEventAttributes:
    if sticky:
        queue = TaskQueue(
            name=ex.sticky_queue, kind=TaskQueueKind.TASK_QUEUE_KIND_STICKY, normal_name=ex.task_queue
        )
    else:
        queue = TaskQueue(name=ex.task_queue, kind=TaskQueueKind.TASK_QUEUE_KIND_NORMAL)
    return WorkflowTaskScheduledEventAttributes(
        task_queue=queue, start_to_close_timeout=duration(timeout), attempt=attempt
    )


def _grown_timeout(timeout: int, attempt: int) -> int:
    """From the fourth attempt on a workflow task gets more time: 5 s doubling, at most 10 minutes more."""
    if attempt < 4:
        return timeout
    return timeout + min(5 * SECOND << min(attempt - 4, 10), 600 * SECOND)


def unschedule_virtual(turn: Turn) -> None:
    """A virtual task that is not started leaves no trace."""
    ex = turn.ex
    if ex.task is not None and ex.task.virtual and not ex.task.started:
        ex.task = None
        ex.task_attempt = 1


def _make_ordinary(turn: Turn) -> None:
    """Before another event is written: a speculative task that is not started becomes an ordinary one.

    A later attempt becomes one when it is started, see `start_task`.
    """
    task = turn.ex.task
    if task is not None and task.speculative and not task.started:
        turn.append(_scheduled_event(turn, task))
        turn.effects.append(OfferTask())


def deliver(turn: Turn, *events: Message | HistoryEvent) -> None:
    """Events that the workflow must hear of.

    They are buffered while its task is started or being completed; else appended, and a task is scheduled.
    """
    ex = turn.ex
    made = [event if isinstance(event, HistoryEvent) else turn.event(event) for event in events]
    if turn.commanding or (ex.task is not None and ex.task.started):
        for event in made:
            turn.buffer(event)
        _relieve(turn)
        return
    waiting = ex.first_task_time > 0 and ex.task is None
    _make_ordinary(turn)
    for event in made:
        turn.append(event)
    _patch_started_ids(made)
    if not waiting:
        schedule_task(turn)


def note(turn: Turn, attributes: Message | HistoryEvent) -> None:
    """An event that the workflow need not hear of: no task is scheduled for it."""
    ex = turn.ex
    event = attributes if isinstance(attributes, HistoryEvent) else turn.event(attributes)
    if ex.task is not None and ex.task.started:
        turn.buffer(event)
        _relieve(turn)
        return
    _make_ordinary(turn)
    turn.append(event)


def _relieve(turn: Turn) -> None:
    """More waits for the end of the started task than may: the task is failed, and the next attempt gets it all."""
    ex = turn.ex
    if turn.commanding or not buffer_is_full(ex, turn.limits):
        return
    assert ex.task is not None
    attempt = 1 if ex.sticky_queue else ex.task.attempt + 1
    cause = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_FORCE_CLOSE_COMMAND
    fail_task(turn, cause, identity="history-service", reschedule=False)
    ex.task_attempt = attempt
    schedule_task(turn)


def start_task(turn: Turn, identity: str, request_id: str, *, target_changed: bool = False) -> WorkflowTask:
    """A worker takes the pending task. `target_changed`: see `versions.Versioning.begin_task`."""
    ex = turn.ex
    task = ex.task
    assert task is not None and not task.started
    if (
        task.virtual and task.scheduled_id != ex.next_event_id
    ):  # events came since: it is a first attempt again
        turn.add(_scheduled(ex, task.sticky, task.timeout, 1))
        assert ex.task is not None
        task = ex.task
    reasons = advice(ex, turn.limits)
    if task.virtual:
        task.started_id = task.scheduled_id + 1
        task.started_time = turn.now
        task.identity, task.request_id = identity, request_id
        task.suggest_reasons, task.history_size = reasons, ex.history_size
        task.target_changed = target_changed
    else:
        turn.add(
            WorkflowTaskStartedEventAttributes(
                scheduled_event_id=task.scheduled_id,
                identity=identity,
                request_id=request_id,
                suggest_continue_as_new=bool(reasons),
                suggest_continue_as_new_reasons=reasons,
                target_worker_deployment_version_changed=target_changed,
                history_size_bytes=ex.history_size,
            )
        )
    return task


def virtual_events(turn: Turn, task: WorkflowTask) -> list[HistoryEvent]:
    """The Scheduled and Started events that a virtual task will have; Started only once it is started."""
    if not task.started and task.scheduled_id != turn.ex.next_event_id:
        return []
    scheduled = _scheduled_event(turn, task)
    scheduled.event_id = task.scheduled_id
    if not task.started:
        return [scheduled]
    started = turn.event(
        WorkflowTaskStartedEventAttributes(
            scheduled_event_id=task.scheduled_id,
            identity=task.identity,
            request_id=task.request_id,
            suggest_continue_as_new=bool(task.suggest_reasons),
            suggest_continue_as_new_reasons=task.suggest_reasons,
            target_worker_deployment_version_changed=task.target_changed,
            history_size_bytes=task.history_size,
        ),
        when=task.started_time,
    )
    started.event_id = task.started_id
    return [scheduled, started]


def _scheduled_event(turn: Turn, task: WorkflowTask) -> HistoryEvent:
    return turn.event(_scheduled(turn.ex, task.sticky, task.timeout, task.attempt), when=task.scheduled_time)


def materialise(turn: Turn, task: WorkflowTask) -> None:
    """Writes the events of a started virtual task."""
    if not task.virtual:
        return
    for event in virtual_events(turn, task):
        turn.append(event)
    task.virtual = False


def complete_task(turn: Turn, attributes: WorkflowTaskCompletedEventAttributes) -> int:
    """Writes Completed for the started task; returns the event's id."""
    task = turn.ex.task
    assert task is not None
    materialise(turn, task)
    attributes.scheduled_event_id = task.scheduled_id
    attributes.started_event_id = task.started_id
    problems.solved(turn)
    return turn.add(attributes).event_id


def fail_task(
    turn: Turn,
    cause: WorkflowTaskFailedCause.ValueType,
    failure: Failure | None = None,
    identity: str = "",
    *,
    reschedule: bool = True,
) -> None:
    """The started task failed: the attempt is recorded (first ones only), the buffer is flushed, the next task scheduled."""
    ex = turn.ex
    task = ex.task
    assert task is not None
    _end_attempt(
        turn,
        task,
        WorkflowTaskFailedEventAttributes(
            scheduled_event_id=task.scheduled_id,
            started_event_id=task.started_id,
            cause=cause,
            failure=failure,
            identity=identity,
        ),
        reschedule,
    )


def time_out_task(turn: Turn) -> None:
    """The started task was not answered in time."""
    task = turn.ex.task
    assert task is not None
    _end_attempt(turn, task, _timed_out(task), reschedule=True)


def lose_task(turn: Turn) -> None:
    """Nobody works on the started task any more, for its process is gone or it is wanted elsewhere: it is offered again at once.

    The workflow's code has not failed, so this is no failure, and the attempt keeps its number. Counted like one, some kills
    would make a run look as if its code were broken: its updates refused, the run moved to whatever version comes next.
    """
    task = turn.ex.task
    assert task is not None
    attempt, failures, task_problems = task.attempt, turn.ex.task_failures, turn.ex.task_problems
    turn.ex.task_problems = -1
    _end_attempt(turn, task, _timed_out(task), reschedule=False)
    turn.ex.task_failures, turn.ex.task_problems = failures, task_problems
    if turn.ex.task_attempt > 1:  # not so after events that came meanwhile: they make it a first one again
        turn.ex.task_attempt = attempt
    schedule_task(turn)


def _timed_out(task: WorkflowTask) -> WorkflowTaskTimedOutEventAttributes:
    return WorkflowTaskTimedOutEventAttributes(
        scheduled_event_id=task.scheduled_id,
        started_event_id=task.started_id,
        timeout_type=TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE,
    )


def _end_attempt(turn: Turn, task: WorkflowTask, attributes: Message, reschedule: bool) -> None:
    ex = turn.ex
    for update in ex.updates.values():
        if update.stage is UpdateStage.SENT:
            update.stage = UpdateStage.ADMITTED
    counts = not ex.sticky_queue
    if task.virtual and not task.speculative:
        ex.task = None
        ex.sticky_queue = ""
        ex.task_failures += 1
        ex.task_attempt = task.attempt + 1
    else:
        materialise(turn, task)
        turn.add(attributes)
    if counts:
        problems.failed(turn)
    if flush_buffer(turn):
        ex.task_attempt = 1
    if reschedule:
        schedule_task(turn)


def leave_queue(turn: Turn) -> None:
    """No worker took a sticky or speculative task in time: an ordinary one goes to the normal queue, with the same attempt."""
    ex = turn.ex
    task = ex.task
    assert task is not None and not task.started
    scheduled_id = task.scheduled_id
    if task.virtual:
        turn.append(_scheduled_event(turn, task))
    turn.add(
        WorkflowTaskTimedOutEventAttributes(
            scheduled_event_id=scheduled_id, timeout_type=TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_START
        )
    )
    schedule_task(turn)


def unstick(turn: Turn) -> None:
    """Nobody attends the sticky queue: the task goes to the normal queue without waiting, and without an event."""
    ex = turn.ex
    task = ex.task
    ex.sticky_queue = ""
    if task is not None and task.sticky and not task.started:
        task.sticky = False
        task.queue = ex.task_queue
        task.stamp = ex.new_stamp()
        turn.effects.append(OfferTask())


def offer_anew(turn: Turn) -> None:
    """Offers a task that waits for a worker once more: other workers may have to take it now."""
    task = turn.ex.task
    if task is not None and not task.started:
        task.stamp = turn.ex.new_stamp()
        turn.effects.append(OfferTask())


def flush_buffer(turn: Turn) -> bool:
    """Moves buffered events into the history: final outcomes last, references patched. True if there were any."""
    ex = turn.ex
    if not ex.buffer:
        return False
    waiting = ex.buffer
    ex.buffer = []
    ordered = [b for b in waiting if b.event.event_type not in _LAST]
    ordered += [b for b in waiting if b.event.event_type in _LAST]
    flushed: list[HistoryEvent] = []
    for buffered in ordered:
        event = HistoryEvent()
        event.CopyFrom(buffered.event)
        flushed.append(event)
        _patch_started_ids(flushed)
        turn.append(event, buffered.seq)
    return True


def _patch_started_ids(events: list[HistoryEvent]) -> None:
    """Sets started_event_id in closing events whose Started event came with them and only now has an id."""
    started: dict[tuple[str, int], int] = {}
    for event in events:
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED:
            key = ("scheduled_event_id", event.activity_task_started_event_attributes.scheduled_event_id)
            started[key] = event.event_id
        elif event.event_type == EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED:
            attributes = event.child_workflow_execution_started_event_attributes
            started["initiated_event_id", attributes.initiated_event_id] = event.event_id
        elif event.event_type in _LAST:
            closing = attributes_of(event)
            name = "scheduled_event_id" if hasattr(closing, "scheduled_event_id") else "initiated_event_id"
            if event_id := started.get((name, getattr(closing, name))):
                closing.started_event_id = event_id  # type: ignore[attr-defined]
