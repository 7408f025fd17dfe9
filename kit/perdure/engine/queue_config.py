"""What operators set for a task queue: rate limits, and the weights of fairness keys. Pure; kept as Temporal's own message."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import ConfigMetadata, RateLimitConfig, TaskQueueConfig
from temporalio.api.workflowservice.v1 import UpdateTaskQueueConfigRequest

from perdure.engine.errors import ServiceError, invalid
from perdure.engine.limits import Limits
from perdure.engine.priorities import check_fairness_key
from perdure.engine.protos import timestamp
from perdure.engine.task_queues import Kind, QueueKey, QueueLimits

if TYPE_CHECKING:
    from perdure.engine.kept import Documents

KEPT = "task queue config"
_OVERRIDES = 1000
KIND_OF_TYPE: dict[int, Kind] = {
    TaskQueueType.TASK_QUEUE_TYPE_UNSPECIFIED: "workflow",
    TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW: "workflow",
    TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY: "activity",
    TaskQueueType.TASK_QUEUE_TYPE_NEXUS: "nexus",
}


def kind_of(task_queue_type: int) -> Kind:
    """Raises INVALID_ARGUMENT for a number that is no type of task queue."""
    if task_queue_type not in KIND_OF_TYPE:
        raise invalid(f"task_queue_type {task_queue_type} is no type of task queue")
    return KIND_OF_TYPE[task_queue_type]


def document_id(kind: Kind, queue: str) -> str:
    return f"{kind}:{queue}"


def check_update(request: UpdateTaskQueueConfigRequest, limits: Limits) -> None:
    """Raises INVALID_ARGUMENT for a change that the server would refuse."""
    if not request.task_queue:
        raise invalid("missing task queue name")
    for field, what, label in (
        ("update_queue_rate_limit", "rate limit", "UpdateQueueRateLimit"),
        (
            "update_fairness_key_rate_limit_default",
            "fairness key rate limit",
            "UpdateFairnessKeyRateLimitDefault",
        ),
    ):
        update: UpdateTaskQueueConfigRequest.RateLimitUpdate = getattr(request, field)
        if not update.HasField("rate_limit"):
            continue
        if request.task_queue_type == TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW:
            raise invalid(f"Setting {what} on workflow task queues is not allowed.")
        if update.rate_limit.requests_per_second < 0:
            raise invalid(f"RequestsPerSecond for {label} rate limit must be non-negative.")
        if len(update.reason) > limits.id_length:
            raise invalid(f"{label}.Reason field too long (max {limits.id_length} characters).")
    if len(request.identity) > limits.id_length:
        raise invalid(f"Identity field too long (max {limits.id_length} characters).")
    _check_weights(dict(request.set_fairness_weight_overrides), list(request.unset_fairness_weight_overrides))


def _check_weights(set_: dict[str, float], unset: list[str]) -> None:
    if len(set_) + len(unset) > _OVERRIDES:
        raise invalid(
            f"too many fairness weight overrides in request: got {len(set_) + len(unset)}, maximum {_OVERRIDES}"
        )
    for key in (*set_, *unset):
        if not key:
            raise invalid("fairness weight override key must not be empty")
        check_fairness_key(key)
        if set_.get(key, 1) <= 0:
            raise invalid(f'invalid fairness weight weight for key "{key}": must be greater than zero')
    for key in unset:
        if key in set_:
            raise invalid(f'fairness weight override key "{key}" present in both set and unset lists')


def updated(old: TaskQueueConfig, request: UpdateTaskQueueConfigRequest, now: int) -> TaskQueueConfig:
    """The configuration after a change. Raises INVALID_ARGUMENT when it would hold too many weights."""
    config = TaskQueueConfig()
    config.CopyFrom(old)
    if request.HasField("update_queue_rate_limit"):
        config.queue_rate_limit.CopyFrom(_limit(request.update_queue_rate_limit, request.identity, now))
    if request.HasField("update_fairness_key_rate_limit_default"):
        config.fairness_keys_rate_limit_default.CopyFrom(
            _limit(request.update_fairness_key_rate_limit_default, request.identity, now)
        )
    for key in request.unset_fairness_weight_overrides:
        config.fairness_weight_overrides.pop(key, None)
    config.fairness_weight_overrides.update(request.set_fairness_weight_overrides)
    if len(config.fairness_weight_overrides) > _OVERRIDES:
        raise _too_many()
    return config


def _too_many() -> ServiceError:
    return invalid(
        f"fairness weight overrides update rejected: would exceed the maximum of {_OVERRIDES} overrides"
    )


def _limit(update: UpdateTaskQueueConfigRequest.RateLimitUpdate, identity: str, now: int) -> RateLimitConfig:
    """A limit that is taken away leaves behind who did it, when and why."""
    return RateLimitConfig(
        rate_limit=update.rate_limit if update.HasField("rate_limit") else None,
        metadata=ConfigMetadata(reason=update.reason, update_identity=identity, update_time=timestamp(now)),
    )


def limits_of(config: TaskQueueConfig) -> QueueLimits:
    """What matching makes of a configuration."""
    return QueueLimits(
        _rate(config.queue_rate_limit),
        _rate(config.fairness_keys_rate_limit_default),
        dict(config.fairness_weight_overrides),
    )


def kept_limits(documents: Documents) -> Iterator[tuple[QueueKey, QueueLimits]]:
    """The limits of all queues that were ever configured, for the engine's start."""
    for namespace in documents.namespaces(KEPT):
        for id, body in documents.of(KEPT, namespace).items():
            kind, _, name = id.partition(":")
            yield QueueKey(namespace, name, kind), limits_of(TaskQueueConfig.FromString(body))  # type: ignore[arg-type]


def _rate(limit: RateLimitConfig) -> float | None:
    return limit.rate_limit.requests_per_second if limit.HasField("rate_limit") else None
