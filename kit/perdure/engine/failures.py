"""Failures that the service itself writes."""

from __future__ import annotations

from temporalio.api.common.v1 import Payloads
from temporalio.api.enums.v1 import TimeoutType
from temporalio.api.failure.v1 import (
    ApplicationFailureInfo,
    CanceledFailureInfo,
    Failure,
    ServerFailureInfo,
    TerminatedFailureInfo,
    TimeoutFailureInfo,
)

_TIMEOUT_NAMES = {
    TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE: "StartToClose",
    TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_START: "ScheduleToStart",
    TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE: "ScheduleToClose",
    TimeoutType.TIMEOUT_TYPE_HEARTBEAT: "Heartbeat",
}


def activity_timeout(
    kind: TimeoutType.ValueType,
    *,
    message: str = "",
    heartbeat_details: Payloads | None = None,
    cause: Failure | None = None,
) -> Failure:
    return Failure(
        message=message or f"activity {_TIMEOUT_NAMES[kind]} timeout",
        source="Server",
        timeout_failure_info=TimeoutFailureInfo(timeout_type=kind, last_heartbeat_details=heartbeat_details),
        cause=cause,
    )


def application(message: str, type: str, *, non_retryable: bool = False) -> Failure:
    return Failure(
        message=message,
        source="Server",
        application_failure_info=ApplicationFailureInfo(type=type, non_retryable=non_retryable),
    )


def server(message: str, *, non_retryable: bool = False, cause: Failure | None = None) -> Failure:
    return Failure(
        message=message, server_failure_info=ServerFailureInfo(non_retryable=non_retryable), cause=cause
    )


def canceled(message: str, details: Payloads | None = None) -> Failure:
    return Failure(
        message=message, source="Server", canceled_failure_info=CanceledFailureInfo(details=details)
    )


def terminated(message: str) -> Failure:
    return Failure(message=message, source="Server", terminated_failure_info=TerminatedFailureInfo())


def run_timeout() -> Failure:
    """What a run that timed out leaves for the next run of its chain as last failure."""
    return Failure(
        message="workflow timeout",
        source="Server",
        timeout_failure_info=TimeoutFailureInfo(timeout_type=TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE),
    )


def truncate(failure: Failure, limit: int) -> Failure:
    """A failure small enough to keep in state between attempts: one of the server's own, with the head of the original as its cause."""
    if failure.ByteSize() <= limit:
        return failure
    return server("Failure exceeds size limit.", cause=head(failure, limit))


def head(failure: Failure, size: int, depth: int = 20) -> Failure:
    """The beginning of a failure's texts, and of its causes', that fits into about `size` bytes; the error's type goes first."""
    short, room = Failure(), size

    def cut(text: str) -> str:
        nonlocal room
        kept = text.encode()[: max(room, 0)].decode(errors="ignore")
        room -= len(kept.encode()) + (4 if kept else 0)
        return kept

    if failure.HasField("application_failure_info"):
        info = failure.application_failure_info
        short.application_failure_info.non_retryable = info.non_retryable
        short.application_failure_info.type = cut(info.type)
        room -= 8
    elif failure.HasField("server_failure_info"):
        short.server_failure_info.non_retryable = failure.server_failure_info.non_retryable
        room -= 4
    short.source = cut(failure.source)
    short.message = cut(failure.message)
    short.stack_trace = cut(failure.stack_trace)
    if failure.HasField("cause") and room > 4 and depth:
        short.cause.CopyFrom(head(failure.cause, room - 4, depth - 1))
    return short
