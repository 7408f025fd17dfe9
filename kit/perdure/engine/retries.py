"""Retry mathematics, for activities and for workflows alike. TEMPORAL.md, section 8.3."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from temporalio.api.common.v1 import RetryPolicy
from temporalio.api.enums.v1 import RetryState, TimeoutType
from temporalio.api.failure.v1 import Failure

from perdure.engine.errors import invalid
from perdure.engine.protos import SECOND, duration, from_duration

DEFAULT_INITIAL = 1 * SECOND
DEFAULT_BACKOFF = 2.0
DEFAULT_MAXIMUM_FACTOR = 100


def fill_policy(policy: RetryPolicy) -> RetryPolicy:
    """The policy with Temporal's defaults in the fields that were not given: 1 s, x2, at most 100 x initial, unlimited."""
    filled = RetryPolicy()
    filled.CopyFrom(policy)
    if not from_duration(filled.initial_interval):
        filled.initial_interval.CopyFrom(duration(DEFAULT_INITIAL))
    if not filled.backoff_coefficient:
        filled.backoff_coefficient = DEFAULT_BACKOFF
    if not from_duration(filled.maximum_interval):
        filled.maximum_interval.CopyFrom(
            duration(DEFAULT_MAXIMUM_FACTOR * from_duration(filled.initial_interval))
        )
    return filled


def check_policy(policy: RetryPolicy, *, filled: bool = False) -> None:
    """Raises INVALID_ARGUMENT for a policy that the server would refuse. `filled`: no field stands for its default any more."""
    if policy.maximum_attempts == 1:
        return  # there is no retry: the rest does not matter
    initial = from_duration(policy.initial_interval)
    maximum = from_duration(policy.maximum_interval)
    if initial < 0:
        raise invalid("invalid InitialInterval set on retry policy: negative duration")
    if policy.backoff_coefficient < 1 and (policy.backoff_coefficient or filled):
        raise invalid("BackoffCoefficient cannot be less than 1 on retry policy.")
    if maximum < 0:
        raise invalid("invalid MaximumInterval set on retry policy: negative duration")
    if maximum and maximum < (initial or (0 if filled else DEFAULT_INITIAL)):
        raise invalid("MaximumInterval cannot be less than InitialInterval on retry policy.")
    if policy.maximum_attempts < 0:
        raise invalid("MaximumAttempts cannot be negative on retry policy.")
    for name in policy.non_retryable_error_types:
        kind = name.removeprefix("TemporalTimeout:")
        if name != kind and kind not in ("StartToClose", "ScheduleToStart", "ScheduleToClose", "Heartbeat"):
            raise invalid(f"Invalid timeout type value: {kind}.")


def is_retryable(failure: Failure, non_retryable_types: Sequence[str]) -> bool:
    """Whether a failure may be retried at all."""
    match failure.WhichOneof("failure_info"):
        case "terminated_failure_info" | "canceled_failure_info":
            return False
        case "timeout_failure_info":
            kind = failure.timeout_failure_info.timeout_type
            if kind == TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE:
                return "TemporalTimeout:StartToClose" not in non_retryable_types
            if kind == TimeoutType.TIMEOUT_TYPE_HEARTBEAT:
                return "TemporalTimeout:Heartbeat" not in non_retryable_types
            return False
        case "server_failure_info":
            return not failure.server_failure_info.non_retryable
        case "application_failure_info":
            info = failure.application_failure_info
            return not info.non_retryable and info.type not in non_retryable_types
        case _:
            return True


@dataclass(frozen=True, slots=True)
class Retry:
    """What follows a failed attempt: `delay` (ns) until the next one, or None and why there is none."""

    delay: int | None
    state: RetryState.ValueType


def next_retry(
    policy: RetryPolicy, attempt: int, failure: Failure, now: int, expiration: int | None
) -> Retry:
    """Decides whether attempt number `attempt` is followed by another.

    Args:
        policy: filled with defaults (see fill_policy).
        attempt: the one that failed, from 1.
        failure: what it failed with.
        now: ns.
        expiration: ns; no attempt may begin after it. None for never.
    """
    if not is_retryable(failure, policy.non_retryable_error_types):
        return Retry(None, RetryState.RETRY_STATE_NON_RETRYABLE_FAILURE)
    if policy.maximum_attempts and attempt >= policy.maximum_attempts:
        return Retry(None, RetryState.RETRY_STATE_MAXIMUM_ATTEMPTS_REACHED)
    info = failure.application_failure_info
    if failure.HasField("application_failure_info") and info.HasField("next_retry_delay"):
        delay = from_duration(info.next_retry_delay)
    else:
        delay = backoff(policy, attempt)
    if expiration is not None and now + delay > expiration:
        return Retry(None, RetryState.RETRY_STATE_TIMEOUT)
    return Retry(delay, RetryState.RETRY_STATE_IN_PROGRESS)


def backoff(policy: RetryPolicy, attempt: int) -> int:
    """The pause (ns) after attempt number `attempt`: initial x coefficient^(attempt - 1), at most the maximum."""
    maximum = from_duration(policy.maximum_interval)
    try:
        interval = int(from_duration(policy.initial_interval) * policy.backoff_coefficient ** (attempt - 1))
    except OverflowError:
        return maximum
    return min(interval, maximum) if maximum else interval
