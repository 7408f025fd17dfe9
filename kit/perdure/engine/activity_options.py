"""The options of an activity: their defaults, what is refused, and changing them by a field mask. TEMPORAL.md, sections 8.1 and 18."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from temporalio.api.activity.v1 import ActivityOptions
from temporalio.api.command.v1 import ScheduleActivityTaskCommandAttributes
from temporalio.api.common.v1 import Priority
from temporalio.api.enums.v1 import TaskQueueKind
from temporalio.api.history.v1 import ActivityTaskScheduledEventAttributes
from temporalio.api.taskqueue.v1 import TaskQueue

from perdure.engine.errors import ServiceError, invalid
from perdure.engine.limits import DEFAULT, Limits
from perdure.engine.priorities import check_priority
from perdure.engine.protos import duration, from_duration
from perdure.engine.retries import check_policy

TIMEOUTS = {
    "schedule_to_close_timeout": "ScheduleToCloseTimeout",
    "schedule_to_start_timeout": "ScheduleToStartTimeout",
    "start_to_close_timeout": "StartToCloseTimeout",
    "heartbeat_timeout": "HeartbeatTimeout",
}
_PLAIN = (*TIMEOUTS, "start_delay")
_PARTS = {
    "priority": ("priority_key", "fairness_key", "fairness_weight"),
    "retry_policy": ("initial_interval", "backoff_coefficient", "maximum_interval", "maximum_attempts"),
}
_WHOLE = {"priority": "Priority", "retry_policy": "RetryPolicy"}
PATHS = frozenset(
    ("task_queue.name", *_PLAIN, *_PARTS, *(f"{whole}.{part}" for whole in _PARTS for part in _PARTS[whole]))
)


class Timeouts(NamedTuple):
    """In ns, 0 for none, as a scheduled event holds them."""

    to_close: int
    to_start: int
    running: int
    heartbeat: int


def complete(to_close: int, to_start: int, running: int, heartbeat: int, run: int) -> Timeouts:
    """Fills in the timeouts that were not given, and caps all by each other and by the run timeout (8.1)."""
    if to_close:
        to_start = min(to_start or to_close, to_close)
        running = min(running or to_close, to_close)
    else:
        to_close = run
        to_start = to_start or run
    if run:
        to_close, to_start, running = (min(t, run) for t in (to_close, to_start, running))
    return Timeouts(to_close, to_start, running, min(heartbeat, running))


def mismatched(length: Duration) -> str:
    """What is wrong with a duration's parts; "" if nothing is."""
    if (length.seconds > 0 and length.nanos < 0) or (length.seconds < 0 and length.nanos > 0):
        return "mismatched signs for seconds and nanos"
    return ""


def check_duration(name: str, length: Duration) -> None:
    wrong = mismatched(length) or ("negative duration" if from_duration(length) < 0 else "")
    if wrong:
        raise invalid(f"invalid {name}: {wrong}")


def check_timeouts(options: Message, activity_id: str, activity_type: str) -> None:
    """Raises INVALID_ARGUMENT for negative timeouts, and if none bounds the activity."""
    for name, title in TIMEOUTS.items():
        check_duration(title, getattr(options, name))
    if not any(from_duration(getattr(options, f"{name}_to_close_timeout")) for name in ("schedule", "start")):
        raise invalid(
            "a valid StartToCloseTimeout or ScheduleToCloseTimeout must be set on the activity. "
            f"ActivityId={activity_id} ActivityType={activity_type}"
        )


def check_queue(queue: TaskQueue) -> None:
    if not queue.name:
        raise invalid("missing task queue name")
    if len(queue.name.encode()) > DEFAULT.id_length:
        raise invalid("taskQueue length exceeds limit")
    if queue.name.startswith("/_sys/"):
        raise invalid("task queue name cannot start with reserved prefix /_sys/")


def normalise(options: ActivityOptions, run_timeout: int) -> None:
    """Completes the timeouts in place."""
    to_close, to_start, running, heartbeat = (from_duration(getattr(options, name)) for name in TIMEOUTS)
    whole = complete(to_close, to_start, running, heartbeat, run_timeout)
    for name, length in zip(TIMEOUTS, whole, strict=True):
        getattr(options, name).CopyFrom(duration(length))


def of(attributes: ActivityTaskScheduledEventAttributes) -> ActivityOptions:
    """The options that an activity runs by, without the errors that are not retried: nobody can change those."""
    options = ActivityOptions(
        task_queue=TaskQueue(name=attributes.task_queue.name, kind=TaskQueueKind.TASK_QUEUE_KIND_NORMAL),
        retry_policy=attributes.retry_policy,
        priority=attributes.priority if attributes.HasField("priority") else None,
    )
    options.retry_policy.ClearField("non_retryable_error_types")
    for name in TIMEOUTS:
        getattr(options, name).CopyFrom(getattr(attributes, name))
    return options


def snake(path: str) -> str:
    """A field mask's path in snake case; clients send either."""
    return re.sub(r"([A-Z])", lambda m: "_" + m[1].lower(), path)


def merge(into: ActivityOptions, source: ActivityOptions, paths: Iterable[str]) -> None:
    """Takes over what the mask names. Paths that it does not know are passed over, as Temporal does."""
    wanted = {snake(path) for path in paths}
    if "task_queue.name" in wanted:
        _require(source, "task_queue", "TaskQueue")
        into.task_queue.name = source.task_queue.name
    for name in _PLAIN:
        if name in wanted:
            _take(into, source, name)
    for whole, parts in _PARTS.items():
        if whole in wanted:
            if whole == "retry_policy":
                _require(source, whole, _WHOLE[whole])
            _take(into, source, whole)
        for part in parts:
            if f"{whole}.{part}" in wanted:
                _require(source, whole, _WHOLE[whole])
                _take(getattr(into, whole), getattr(source, whole), part)
    if any(path.startswith("retry_policy.") for path in wanted):
        check_policy(into.retry_policy, filled=True)


def _require(source: ActivityOptions, name: str, title: str) -> None:
    if not source.HasField(name):  # type: ignore[arg-type]
        raise invalid(f"{title} is not provided")


def _take(into: Message, source: Message, name: str) -> None:
    field = source.DESCRIPTOR.fields_by_name[name]
    if field.message_type is None:
        setattr(into, name, getattr(source, name))
    elif source.HasField(name):
        getattr(into, name).CopyFrom(getattr(source, name))
    else:
        into.ClearField(name)


def check(options: ActivityOptions, activity_id: str, activity_type: str) -> None:
    """Raises INVALID_ARGUMENT for options that no activity may run by."""
    check_queue(options.task_queue)
    check_timeouts(options, activity_id, activity_type)


def check_start_priority(priority: Priority) -> None:
    """Like check_priority, with the words that the start of an activity has for it."""
    try:
        check_priority(priority)
    except ServiceError as error:
        raise invalid(f"invalid priorities: {error.message}") from None


def check_command(attributes: ScheduleActivityTaskCommandAttributes, limits: Limits) -> None:
    """Raises INVALID_ARGUMENT for an activity that no workflow may schedule."""
    names = (("activityId", attributes.activity_id), ("activityType", attributes.activity_type.name))
    check_queue(attributes.task_queue)
    for name, value in names:
        if not value:
            raise invalid(f"{name} is not set")
    check_policy(attributes.retry_policy)
    for name, value in names:
        check_name_length(name, value, limits)
    check_start_priority(attributes.priority)
    check_timeouts(attributes, attributes.activity_id, attributes.activity_type.name)


def check_name_length(name: str, value: str, limits: Limits) -> None:
    length = len(value.encode())
    if length > limits.id_length:
        raise invalid(f"{name} exceeds length limit. Length={length} Limit={limits.id_length}")
