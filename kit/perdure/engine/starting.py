"""The first events of a run: by request, as a child, as the next run of a chain. TEMPORAL.md, sections 10 to 12."""

from __future__ import annotations

from collections.abc import Iterable

from temporalio.api.common.v1 import Link, Payloads, WorkflowExecution
from temporalio.api.enums.v1 import ContinueAsNewInitiator, TaskQueueKind
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import (
    StartChildWorkflowExecutionInitiatedEventAttributes,
    WorkflowExecutionContinuedAsNewEventAttributes,
    WorkflowExecutionStartedEventAttributes,
)
from temporalio.api.sdk.v1 import UserMetadata
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflow.v1 import VersioningOverride
from temporalio.api.workflowservice.v1 import StartWorkflowExecutionRequest

from perdure.engine import cron, time_skipping, virtual_time
from perdure.engine.checks import (
    check_blob,
    check_callbacks,
    check_exact_length,
    check_length,
    check_links,
    check_new_task_queue,
)
from perdure.engine.errors import invalid
from perdure.engine.limits import Limits
from perdure.engine.listed import search_attributes
from perdure.engine.priorities import check_priority, inherited
from perdure.engine.protos import duration, from_duration, timestamp
from perdure.engine.records import ExecutionStarted
from perdure.engine.retries import check_policy, fill_policy
from perdure.engine.state import Execution
from perdure.engine.turn import Turn
from perdure.engine.workflow_tasks import schedule_task


def check_start(request: StartWorkflowExecutionRequest, limits: Limits) -> None:
    """Raises INVALID_ARGUMENT for a start that the server would refuse."""
    if not request.workflow_id:
        raise invalid("WorkflowId is not set on request.")
    check_exact_length("WorkflowId", request.workflow_id, limits)
    _check_durations(request)
    check_priority(request.priority)
    if not request.workflow_type.name:
        raise invalid("WorkflowType is not set on request.")
    check_length("WorkflowType", request.workflow_type.name, limits)
    check_new_task_queue(request.task_queue.name, limits)
    check_length("RequestId", request.request_id, limits)
    check_links(request.links)
    attached = request.on_conflict_options
    if attached.attach_completion_callbacks and not attached.attach_request_id:
        raise invalid("attaching request ID is required for attaching completion callbacks")
    check_callbacks(request.completion_callbacks)
    if request.HasField("retry_policy"):
        check_policy(request.retry_policy)
    if request.HasField("time_skipping_config"):
        time_skipping.complete_config(request.time_skipping_config)
    if request.cron_schedule and from_duration(request.workflow_start_delay):
        raise invalid("CronSchedule and WorkflowStartDelay may not be used together.")
    cron.check(request.cron_schedule)
    check_blob(request.input, limits)
    if request.memo.ByteSize() > limits.memo_error:
        raise invalid("Memo size exceeds limit.")


def _check_durations(request: StartWorkflowExecutionRequest) -> None:
    for name, value in (
        ("WorkflowExecutionTimeoutSeconds", request.workflow_execution_timeout),
        ("WorkflowRunTimeoutSeconds", request.workflow_run_timeout),
        ("WorkflowTaskTimeoutSeconds", request.workflow_task_timeout),
        ("WorkflowStartDelaySeconds", request.workflow_start_delay),
    ):
        if from_duration(value) < 0:
            raise invalid(f"An invalid {name} is set on request. cause: negative duration")


def from_request(
    request: StartWorkflowExecutionRequest, run_id: str, now: int, limits: Limits
) -> WorkflowExecutionStartedEventAttributes:
    """Event 1 of a run that a client starts."""
    attributes = WorkflowExecutionStartedEventAttributes(
        workflow_id=request.workflow_id,
        workflow_type=request.workflow_type,
        task_queue=_normal(request.task_queue.name),
        input=request.input if request.HasField("input") else None,
        original_execution_run_id=run_id,
        first_execution_run_id=run_id,
        identity=request.identity,
        attempt=1,
        header=request.header if request.HasField("header") else None,
        first_workflow_task_backoff=duration(from_duration(request.workflow_start_delay)),
        cron_schedule=request.cron_schedule,
        retry_policy=fill_policy(request.retry_policy) if request.HasField("retry_policy") else None,
        memo=request.memo if request.HasField("memo") else None,
        search_attributes=request.search_attributes if request.HasField("search_attributes") else None,
        completion_callbacks=request.completion_callbacks,
        versioning_override=request.versioning_override if request.HasField("versioning_override") else None,
        priority=request.priority if request.HasField("priority") else None,
        time_skipping_config=request.time_skipping_config
        if request.HasField("time_skipping_config")
        else None,
    )
    if request.HasField("continued_failure"):
        attributes.continued_failure.CopyFrom(request.continued_failure)
    if request.HasField("last_completion_result"):
        attributes.last_completion_result.CopyFrom(request.last_completion_result)
    _set_timeouts(
        attributes,
        from_duration(request.workflow_execution_timeout),
        from_duration(request.workflow_run_timeout),
        from_duration(request.workflow_task_timeout),
        limits,
    )
    if limit := from_duration(request.workflow_execution_timeout):
        end = now + from_duration(request.workflow_start_delay) + limit
        attributes.workflow_execution_expiration_time.CopyFrom(timestamp(end))
    _wait_for_cron(attributes, now)
    return attributes


def _wait_for_cron(attributes: WorkflowExecutionStartedEventAttributes, now: int) -> None:
    """The first run of a cron workflow begins at the next time of its schedule."""
    if attributes.cron_schedule:
        attributes.initiator = ContinueAsNewInitiator.CONTINUE_AS_NEW_INITIATOR_CRON_SCHEDULE
        delay = cron.backoff(attributes.cron_schedule, now, now) or 0
        attributes.first_workflow_task_backoff.CopyFrom(duration(delay))


def _normal(name: str) -> TaskQueue:
    return TaskQueue(name=name, kind=TaskQueueKind.TASK_QUEUE_KIND_NORMAL)


def _set_timeouts(
    attributes: WorkflowExecutionStartedEventAttributes, execution: int, run: int, task: int, limits: Limits
) -> None:
    """The timeouts of event 1; an execution or run timeout that was not given stays unset."""
    run, task = capped_timeouts(execution, run, task, limits)
    if execution:
        attributes.workflow_execution_timeout.CopyFrom(duration(execution))
    if run:
        attributes.workflow_run_timeout.CopyFrom(duration(run))
    attributes.workflow_task_timeout.CopyFrom(duration(task))


def capped_timeouts(execution: int, run: int, task: int, limits: Limits) -> tuple[int, int]:
    """Run and task timeout: the first capped by the execution timeout, the second by the first and 120 s."""
    if execution:
        run = min(run or execution, execution)
    task = min(task or limits.default_task_timeout, limits.max_task_timeout)
    return run, min(task, run) if run else task


def from_child(
    parent: Execution,
    initiated_id: int,
    initiated: StartChildWorkflowExecutionInitiatedEventAttributes,
    run_id: str,
    now: int,
    namespace_id: str,
) -> WorkflowExecutionStartedEventAttributes:
    """Event 1 of a child workflow. `namespace_id`: of the parent's."""
    root = parent.started.root_workflow_execution
    if not root.workflow_id:
        root = WorkflowExecution(workflow_id=parent.workflow_id, run_id=parent.run_id)
    attributes = WorkflowExecutionStartedEventAttributes(
        workflow_id=initiated.workflow_id,
        workflow_type=initiated.workflow_type,
        parent_workflow_namespace=parent.namespace,
        parent_workflow_namespace_id=namespace_id,
        parent_workflow_execution=WorkflowExecution(workflow_id=parent.workflow_id, run_id=parent.run_id),
        parent_initiated_event_id=initiated_id,
        root_workflow_execution=root,
        task_queue=_normal(initiated.task_queue.name),
        input=initiated.input if initiated.HasField("input") else None,
        original_execution_run_id=run_id,
        first_execution_run_id=run_id,
        attempt=1,
        header=initiated.header if initiated.HasField("header") else None,
        first_workflow_task_backoff=duration(0),
        cron_schedule=initiated.cron_schedule,
        retry_policy=initiated.retry_policy if initiated.HasField("retry_policy") else None,
        workflow_run_timeout=initiated.workflow_run_timeout,
        workflow_task_timeout=initiated.workflow_task_timeout,
        memo=initiated.memo if initiated.HasField("memo") else None,
        search_attributes=initiated.search_attributes if initiated.HasField("search_attributes") else None,
        versioning_override=initiated.versioning_override
        if initiated.HasField("versioning_override")
        else None,
        priority=inherited(parent.priority, initiated.priority)
        if initiated.HasField("priority") or parent.priority.ByteSize()
        else None,
    )
    for name in ("time_skipping_config", "time_skipping_state_propagation"):
        if initiated.HasField(name):
            getattr(attributes, name).CopyFrom(getattr(initiated, name))
    if execution := from_duration(initiated.workflow_execution_timeout):
        attributes.workflow_execution_timeout.CopyFrom(initiated.workflow_execution_timeout)
        attributes.workflow_execution_expiration_time.CopyFrom(timestamp(now + execution))
    _wait_for_cron(attributes, now)
    return attributes


def from_continue_as_new(
    ex: Execution, event: WorkflowExecutionContinuedAsNewEventAttributes, delay: int
) -> WorkflowExecutionStartedEventAttributes:
    """Event 1 of the next run of a workflow that continued as new. `delay`: of its first workflow task."""
    initiator = event.initiator or ContinueAsNewInitiator.CONTINUE_AS_NEW_INITIATOR_WORKFLOW
    attributes = _next_run(ex, initiator, 1)
    if ex.priority.ByteSize():
        attributes.priority.CopyFrom(ex.priority)
    attributes.workflow_type.CopyFrom(event.workflow_type)
    attributes.task_queue.CopyFrom(_normal(event.task_queue.name or ex.task_queue))
    attributes.ClearField("retry_policy")
    for name in ("input", "header", "memo", "search_attributes", "last_completion_result"):
        attributes.ClearField(name)
        if event.HasField(name):
            getattr(attributes, name).CopyFrom(getattr(event, name))
    if event.HasField("failure"):
        attributes.continued_failure.CopyFrom(event.failure)
    attributes.ClearField("first_workflow_task_backoff")
    if delay > 0:
        attributes.first_workflow_task_backoff.CopyFrom(duration(delay))
    attributes.workflow_run_timeout.CopyFrom(event.workflow_run_timeout)
    attributes.workflow_task_timeout.CopyFrom(event.workflow_task_timeout)
    return attributes


def from_retry(
    ex: Execution, failure: Failure, delay: int, last_result: Payloads | None
) -> WorkflowExecutionStartedEventAttributes:
    """Event 1 of the next attempt of a workflow with a retry policy."""
    attributes = _next_run(ex, ContinueAsNewInitiator.CONTINUE_AS_NEW_INITIATOR_RETRY, ex.started.attempt + 1)
    _hand_over(attributes, delay, last_result, failure)
    return attributes


def from_cron(
    ex: Execution, delay: int, last_result: Payloads | None, failure: Failure | None
) -> WorkflowExecutionStartedEventAttributes:
    """Event 1 of the next run of a workflow with a cron schedule: it knows how the run before ended."""
    attributes = _next_run(ex, ContinueAsNewInitiator.CONTINUE_AS_NEW_INITIATOR_CRON_SCHEDULE, 1)
    attributes.ClearField("completion_callbacks")
    _hand_over(attributes, delay, last_result, failure)
    return attributes


def _hand_over(
    attributes: WorkflowExecutionStartedEventAttributes,
    delay: int,
    last_result: Payloads | None,
    failure: Failure | None,
) -> None:
    attributes.first_workflow_task_backoff.CopyFrom(duration(delay))
    attributes.ClearField("last_completion_result")
    if last_result is not None:
        attributes.last_completion_result.CopyFrom(last_result)
    if failure is not None:
        attributes.continued_failure.CopyFrom(failure)


def _next_run(
    ex: Execution, initiator: ContinueAsNewInitiator.ValueType, attempt: int
) -> WorkflowExecutionStartedEventAttributes:
    """What every next run of a chain takes over from the run before; the version is chosen anew."""
    attributes = WorkflowExecutionStartedEventAttributes()
    attributes.CopyFrom(ex.started)
    for name in ("continued_failure", "versioning_override", "original_execution_run_id", "identity"):
        attributes.ClearField(name)
    attributes.continued_execution_run_id = ex.run_id
    attributes.first_execution_run_id = ex.first_run_id
    attributes.initiator = initiator
    attributes.attempt = attempt
    attributes.eager_execution_accepted = False
    virtual_time.to_next_run(ex, attributes)
    return attributes


def begin(
    namespace: str,
    run_id: str,
    attributes: WorkflowExecutionStartedEventAttributes,
    now: int,
    limits: Limits,
    *,
    current_version: str = "",
    request_id: str = "",
    user_metadata: UserMetadata | None = None,
    links: Iterable[Link] = (),
) -> Turn:
    """A new run: its Started event. The caller adds what comes before the first workflow task, then calls `first_task`.

    Args:
        now: the real time; the run's own is that and what it inherits of skipped time.
        current_version: the definition version to pin the run to when `attributes` names no versioning override.
    """
    if not attributes.original_execution_run_id:
        attributes.original_execution_run_id = run_id
    tied = any(
        attributes.HasField(name)
        for name in ("versioning_override", "inherited_pinned_version", "inherited_auto_upgrade_info")
    )
    if current_version and not tied:
        attributes.versioning_override.CopyFrom(pin(attributes.workflow_type.name, current_version))
    now += from_duration(attributes.time_skipping_state_propagation.initial_skipped_duration)
    ex = Execution(namespace, attributes.workflow_id, run_id, attributes, now, start_request_id=request_id)
    turn = Turn(ex, now, limits)
    started = turn.event(attributes, links=links)
    if user_metadata is not None:
        started.user_metadata.CopyFrom(user_metadata)
    turn.append(started)
    turn.records.insert(0, start_record(ex))
    return turn


def pin(workflow_type: str, version: str) -> VersioningOverride:
    """The override that pins a run to a definition version: a deployment named as the workflow type, its build id the version."""
    override = VersioningOverride()
    override.pinned.behavior = VersioningOverride.PinnedOverrideBehavior.PINNED_OVERRIDE_BEHAVIOR_PINNED
    override.pinned.version.deployment_name = workflow_type
    override.pinned.version.build_id = version
    return override


def first_task(turn: Turn) -> None:
    """Schedules the first workflow task, unless it is delayed: then a timer does."""
    if turn.ex.first_task_time <= turn.now:
        schedule_task(turn)


def start_record(ex: Execution) -> ExecutionStarted:
    """What lists show of a new run."""
    started = ex.started
    attributes = search_attributes(ex)
    return ExecutionStarted(
        namespace=ex.namespace,
        workflow_id=ex.workflow_id,
        run_id=ex.run_id,
        first_run_id=ex.first_run_id,
        workflow_type=ex.workflow_type,
        task_queue=ex.task_queue,
        start_time=ex.start_time,
        execution_time=ex.start_time + from_duration(started.first_workflow_task_backoff),
        request_id=ex.start_request_id,
        version=ex.version,
        parent_workflow_id=started.parent_workflow_execution.workflow_id,
        parent_run_id=started.parent_workflow_execution.run_id,
        memo=started.memo if started.HasField("memo") else None,
        search_attributes=attributes if attributes.indexed_fields else None,
        root_workflow_id=started.root_workflow_execution.workflow_id or ex.workflow_id,
        root_run_id=started.root_workflow_execution.run_id or ex.run_id,
        division=ex.division,
    )
