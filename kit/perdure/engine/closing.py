"""The end of a run, and what follows it: the next run of a retry policy, the parent, the children. TEMPORAL.md, sections 10, 11."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.message import Message
from temporalio.api.common.v1 import Link, Payloads
from temporalio.api.enums.v1 import ParentClosePolicy, RetryState, WorkflowTaskFailedCause
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import (
    WorkflowExecutionCompletedEventAttributes,
    WorkflowExecutionFailedEventAttributes,
    WorkflowExecutionTerminatedEventAttributes,
    WorkflowExecutionTimedOutEventAttributes,
)

from perdure.engine import cron, reset_points, updates
from perdure.engine.failures import run_timeout
from perdure.engine.protos import from_duration
from perdure.engine.records import ExecutionClosed
from perdure.engine.retries import Retry, next_retry
from perdure.engine.starting import from_cron, from_retry
from perdure.engine.state import Execution
from perdure.engine.turn import Closed, EndChild, StartRun, TellParent, Turn
from perdure.engine.workflow_tasks import fail_task, unschedule_virtual


def close_run(
    turn: Turn,
    event: Message,
    *,
    new_run: StartRun | None = None,
    command: object = None,
    by_reset: bool = False,
    links: Iterable[Link] = (),
) -> None:
    """Writes the closing event, and leaves as effects what the end of a run sets off.

    `by_reset`: another run goes on from this one; it keeps the children, and the parent waits for it.
    """
    ex = turn.ex
    children = list(ex.children.values())
    turn.add(event, command=command, links=links)  # type: ignore[arg-type]
    ex.new_run_id = new_run.run_id if new_run else ""
    turn.records.append(
        ExecutionClosed(
            *(ex.run_id, ex.status, ex.close_time, len(ex.events), ex.history_size, ex.new_run_id),
            state_transitions=ex.transitions + 1,  # this one
        )
    )
    turn.effects.append(Closed(goes_on=by_reset or new_run is not None))
    updates.abort(ex)
    if by_reset:
        return
    for child in children:
        policy = child.attributes.parent_close_policy
        if policy != ParentClosePolicy.PARENT_CLOSE_POLICY_ABANDON and child.run_id:
            cancel = policy == ParentClosePolicy.PARENT_CLOSE_POLICY_REQUEST_CANCEL
            turn.effects.append(EndChild(child.attributes.workflow_id, child.run_id, cancel))
    if new_run is not None:
        points = reset_points.passed_on(ex, turn.now, turn.limits.retention)
        new_run.attributes.prev_auto_reset_points.CopyFrom(points)
        turn.effects.append(new_run)
    elif ex.started.parent_workflow_execution.workflow_id:
        turn.effects.append(TellParent())


def complete_run(
    turn: Turn, result: Payloads | None, completed_id: int, new_run_id: str, command: object = None
) -> None:
    """The workflow completed: the next run under its cron schedule, or the end."""
    event = WorkflowExecutionCompletedEventAttributes(
        result=result, workflow_task_completed_event_id=completed_id
    )
    new_run = _next_cron(turn, result, None, new_run_id)
    if new_run is not None:
        event.new_execution_run_id = new_run.run_id
    close_run(turn, event, new_run=new_run, command=command)


def fail_run(
    turn: Turn, failure: Failure, completed_id: int, new_run_id: str, command: object = None
) -> None:
    """The workflow failed: the next attempt under its retry policy, the next run under its cron schedule, or the end."""
    retry = _retry(turn, failure)
    event = WorkflowExecutionFailedEventAttributes(
        failure=failure, retry_state=retry.state, workflow_task_completed_event_id=completed_id
    )
    new_run = _next_attempt(turn, failure, retry, None, new_run_id) or _next_cron(
        turn, _last_result(turn.ex), failure, new_run_id
    )
    if new_run is not None:
        event.new_execution_run_id = new_run.run_id
    close_run(turn, event, new_run=new_run, command=command)


def time_out_run(turn: Turn, new_run_id: str) -> None:
    """The run timeout, or the execution timeout, ran out."""
    ex = turn.ex
    _abandon_task(turn)
    chain_over = ex.execution_expiration is not None and turn.now >= ex.execution_expiration
    failure = run_timeout()
    retry = Retry(None, RetryState.RETRY_STATE_TIMEOUT) if chain_over else _retry(turn, failure)
    event = WorkflowExecutionTimedOutEventAttributes(retry_state=retry.state)
    new_run = None
    if not chain_over:
        last = _last_result(ex)
        new_run = _next_attempt(turn, failure, retry, last, new_run_id) or _next_cron(
            turn, last, failure, new_run_id
        )
    if new_run is not None:
        event.new_execution_run_id = new_run.run_id
    close_run(turn, event, new_run=new_run)


def terminate_run(
    turn: Turn,
    reason: str,
    details: Payloads | None,
    identity: str,
    *,
    by_reset: bool = False,
    links: Iterable[Link] = (),
) -> None:
    _abandon_task(turn)
    close_run(
        turn,
        WorkflowExecutionTerminatedEventAttributes(reason=reason, details=details, identity=identity),
        by_reset=by_reset,
        links=links,
    )


def replace_run(turn: Turn, new_run_id: str) -> None:
    """Terminates a run because another one of its id begins."""
    details = Payloads()
    details.payloads.add(
        metadata={"encoding": b"json/plain"}, data=f'"terminated by new runID: {new_run_id}"'.encode()
    )
    terminate_run(turn, "TerminateIfRunning WorkflowIdReusePolicy", details, "history-service")


def _abandon_task(turn: Turn) -> None:
    """A started workflow task is failed before the run is closed over its head; what waited for its end comes into the history."""
    ex = turn.ex
    unschedule_virtual(turn)
    if ex.task is not None and ex.task.started:
        fail_task(
            turn,
            WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_FORCE_CLOSE_COMMAND,
            identity="history-service",
            reschedule=False,
        )


def _retry(turn: Turn, failure: Failure) -> Retry:
    ex = turn.ex
    if not ex.started.HasField("retry_policy"):
        return Retry(None, RetryState.RETRY_STATE_RETRY_POLICY_NOT_SET)
    return next_retry(ex.started.retry_policy, ex.started.attempt, failure, turn.now, ex.execution_expiration)


def _next_attempt(
    turn: Turn, failure: Failure, retry: Retry, last: Payloads | None, new_run_id: str
) -> StartRun | None:
    if retry.delay is None:
        return None
    return StartRun(new_run_id, from_retry(turn.ex, failure, least_delay(turn, retry.delay), last))


def _next_cron(
    turn: Turn, last: Payloads | None, failure: Failure | None, new_run_id: str
) -> StartRun | None:
    delay = cron.backoff(turn.ex.started.cron_schedule, _execution_time(turn.ex), turn.now)
    if delay is None:
        return None
    return StartRun(new_run_id, from_cron(turn.ex, least_delay(turn, delay), last, failure))


def _last_result(ex: Execution) -> Payloads | None:
    """What the run itself was given as the result of an earlier one."""
    return ex.started.last_completion_result if ex.started.HasField("last_completion_result") else None


def _execution_time(ex: Execution) -> int:
    return ex.start_time + from_duration(ex.started.first_workflow_task_backoff)


def least_delay(turn: Turn, delay: int) -> int:
    """Two runs of one chain begin at least a second apart."""
    return max(delay, _execution_time(turn.ex) + turn.limits.min_run_interval - turn.now)


def enforce(turn: Turn) -> None:
    """Ends a run whose history has grown beyond all limits."""
    ex, limits = turn.ex, turn.limits
    if not ex.open:
        return
    if ex.history_size > limits.history_size_error:
        terminate_run(turn, "Workflow history size exceeds limit.", None, "history-service")
    elif len(ex.events) > limits.history_count_error:
        terminate_run(turn, "Workflow history count exceeds limit.", None, "history-service")
