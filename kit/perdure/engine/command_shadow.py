"""What the rules for commands share: the shadow that the commands so far throw on the state, and what several of them ask."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from google.protobuf.duration_pb2 import Duration
from temporalio.api.common.v1 import SearchAttributes
from temporalio.api.enums.v1 import WorkflowTaskFailedCause

from perdure.engine.activity_options import mismatched
from perdure.engine.errors import ServiceError
from perdure.engine.limits import Limits
from perdure.engine.protos import from_duration
from perdure.engine.retries import check_policy, fill_policy
from perdure.engine.state import Execution


@dataclass(frozen=True, slots=True)
class BadCommand(Exception):
    """A command that fails the workflow task."""

    cause: WorkflowTaskFailedCause.ValueType
    message: str
    ends_run: bool = False  # it is beyond a limit: the run is terminated, as trying again cannot help


@dataclass(slots=True)
class Shadow:
    """What the commands so far would have made of the state; only ids and counts."""

    ex: Execution
    limits: Limits
    attribute_types: Mapping[str, str]  # of the namespace's custom search attributes
    activities: set[str]
    scheduled: set[int]
    cancelled: set[int]
    timers: set[str]
    buffered_timers: set[str]
    children: int
    child_ids: set[str]
    messages: set[str]
    count: int = 0  # of all commands
    new_activities: int = 0
    signals: int = 0
    cancels: int = 0
    search_attributes: SearchAttributes = field(default_factory=SearchAttributes)


class Rule(NamedTuple):
    """`cause`: of a command without attributes."""

    cause: WorkflowTaskFailedCause.ValueType
    check: Callable[[Shadow, Any], None]


def require(condition: object, cause: WorkflowTaskFailedCause.ValueType, message: str) -> None:
    if not condition:
        raise BadCommand(cause, message)


def check_namespace(shadow: Shadow, cause: WorkflowTaskFailedCause.ValueType, namespace: str) -> None:
    """Temporal's `system.enableCrossNamespaceCommands` is off by default."""
    same = namespace in ("", shadow.ex.namespace)
    require(same, cause, "cross namespace commands are not allowed")


def check_lengths(
    shadow: Shadow,
    cause: WorkflowTaskFailedCause.ValueType,
    name: str,
    where: str,
    value: str,
    rest: str = "",
) -> None:
    length, limit = len(value.encode()), shadow.limits.id_length
    text = f"{name} on {where} exceeds length limit. {name}={value} Length={length} Limit={limit}{rest}"
    require(length <= limit, cause, text)


def wrong_duration(length: Duration) -> str:
    """What is wrong with a duration; "" if nothing is."""
    return mismatched(length) or ("negative duration" if from_duration(length) < 0 else "")


def check_durations(
    attributes: Any,
    names: Mapping[str, str],
    cause: WorkflowTaskFailedCause.ValueType,
    where: str,
    place: str,
) -> None:
    for name, title in names.items():
        wrong = wrong_duration(getattr(attributes, name))
        require(not wrong, cause, f"Invalid {title} on {where}: {wrong}{place}")


def check_retry(attributes: Any, cause: WorkflowTaskFailedCause.ValueType, where: str, place: str) -> None:
    if attributes.HasField("retry_policy"):
        try:
            check_policy(fill_policy(attributes.retry_policy), filled=True)
        except ServiceError as error:
            text = f"invalid WorkflowRetryPolicy on {where}: {error.message}{place}"
            raise BadCommand(cause, text) from None


def check_pending(number: int, limit: int, what: str, cause: WorkflowTaskFailedCause.ValueType) -> None:
    """Whether there is room for one more of what a run waits for."""
    text = f"the number of pending {what}, {number}, has reached the per-workflow limit of {limit}"
    require(number < limit, cause, text)
