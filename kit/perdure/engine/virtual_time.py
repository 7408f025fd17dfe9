"""The clock of one run: real time, and what the run has skipped of it. TEMPORAL.md, section 23.

A run with a TimeSkippingConfig jumps over the times in which it only waits. What it has skipped is kept as one offset: its
events, timers and timeouts are all in the run's own (virtual) time, and the shell subtracts the offset where it needs
real time. The offset is a fold of the run's events, like everything else; this module is that fold, and what passes to
other runs. `time_skipping` decides when to jump.
"""

from __future__ import annotations

from temporalio.api.common.v1 import (
    TimeSkippingConfig,
    TimeSkippingFastForwardInfo,
    TimeSkippingInfo,
    TimeSkippingStatePropagation,
)
from temporalio.api.history.v1 import HistoryEvent, WorkflowExecutionStartedEventAttributes

from perdure.engine.protos import duration, from_duration, from_timestamp, timestamp
from perdure.engine.state import Execution, FastForward, TimeSkipping


def begin(ex: Execution, started: WorkflowExecutionStartedEventAttributes, now: int) -> None:
    """What a run is started with: its config, and the offset that it inherits."""
    inherited = started.time_skipping_state_propagation
    if not started.HasField("time_skipping_config") and not started.HasField(
        "time_skipping_state_propagation"
    ):
        return
    config = _copy(started.time_skipping_config) if started.HasField("time_skipping_config") else None
    ex.skipping = TimeSkipping(
        config, from_duration(inherited.initial_skipped_duration), inherited.initial_skip_count
    )
    target = from_timestamp(inherited.fast_forward_target_time)
    _set_fast_forward(ex.skipping, target or None, now)


def options_updated(ex: Execution, event: HistoryEvent) -> None:
    """The config was replaced, or taken away: a new session begins, and a fast-forward counts from now."""
    attributes = event.workflow_execution_options_updated_event_attributes
    if not attributes.time_skipping_config_updated:
        return
    config = _copy(attributes.time_skipping_config) if attributes.HasField("time_skipping_config") else None
    if ex.skipping is None:
        if config is None:
            return
        ex.skipping = TimeSkipping(config)
    ex.skipping.config = config
    ex.skipping.session_skips = 0
    _set_fast_forward(ex.skipping, None, from_timestamp(event.event_time))


def transitioned(ex: Execution, event: HistoryEvent) -> None:
    """The run jumped to a time, or its fast-forward is over, or both."""
    attributes = event.workflow_execution_time_skipping_transitioned_event_attributes
    skipping = ex.skipping
    if skipping is None:
        return
    if attributes.HasField("target_time"):
        skipping.skipped += from_timestamp(attributes.target_time) - from_timestamp(event.event_time)
    skipping.session_skips += 1
    if skipping.config is None:
        return
    if attributes.disabled_after_fast_forward and skipping.fast_forward is not None:
        skipping.fast_forward.reached = True
        skipping.config.enabled = False
    if skipping.session_skips >= skipping.config.max_session_skip_count:
        skipping.config.enabled = False


def absorbed(ex: Execution, event: HistoryEvent) -> None:
    """An event of time that lies in the buffer counts already, and not a second time when it enters the history."""
    if ex.skipping is not None and _is_of_time(event):
        ex.skipping.absorbed += 1


def was_absorbed(ex: Execution, event: HistoryEvent) -> bool:
    if ex.skipping is None or not ex.skipping.absorbed or not _is_of_time(event):
        return False
    ex.skipping.absorbed -= 1
    return True


def _is_of_time(event: HistoryEvent) -> bool:
    return (
        event.HasField("workflow_execution_time_skipping_transitioned_event_attributes")
        or event.workflow_execution_options_updated_event_attributes.time_skipping_config_updated
    )


def _copy(config: TimeSkippingConfig) -> TimeSkippingConfig:
    copied = TimeSkippingConfig()
    copied.CopyFrom(config)
    return copied


def _set_fast_forward(skipping: TimeSkipping, inherited_target: int | None, now: int) -> None:
    config = skipping.config
    if config is None or not config.HasField("fast_forward_config"):
        skipping.fast_forward = None
        return
    target = inherited_target or now + from_duration(config.fast_forward_config.duration)
    reached = inherited_target is not None and target <= now
    skipping.fast_forward = FastForward(target, reached)
    if reached:
        config.enabled = False


# --- what other runs inherit


def to_next_run(ex: Execution, attributes: WorkflowExecutionStartedEventAttributes) -> None:
    """The next run of a chain goes on with the config, the offset, the session and the fast-forward of this one."""
    attributes.ClearField("time_skipping_config")
    attributes.ClearField("time_skipping_state_propagation")
    skipping = ex.skipping
    if skipping is None:
        return
    if skipping.config is not None:
        attributes.time_skipping_config.CopyFrom(skipping.config)
    if not (skipping.skipped or skipping.session_skips or skipping.fast_forward):
        return
    state = attributes.time_skipping_state_propagation
    state.initial_skip_count = skipping.session_skips
    state.initial_skipped_duration.CopyFrom(duration(skipping.skipped))
    if skipping.fast_forward is not None:
        state.fast_forward_target_time.CopyFrom(timestamp(skipping.fast_forward.target))


def to_child(ex: Execution) -> tuple[TimeSkippingConfig | None, TimeSkippingStatePropagation | None]:
    """A child shares its parent's clock; it skips, too, unless the config says that it is not to, but not to the parent's
    fast-forward."""
    skipping = ex.skipping
    if skipping is None:
        return None, None
    state = None
    if skipping.skipped:
        state = TimeSkippingStatePropagation(initial_skipped_duration=duration(skipping.skipped))
    if skipping.config is None or skipping.config.disable_propagation:
        return None, state
    config = _copy(skipping.config)
    config.ClearField("fast_forward_config")
    return config, state


# --- what callers see


def info(ex: Execution, now: int) -> TimeSkippingInfo | None:
    """For describe. `now`: in the run's time."""
    skipping = ex.skipping
    if skipping is None:
        return None
    return TimeSkippingInfo(
        current_time=timestamp(now),
        effective_config=skipping.config,
        fast_forward_info=fast_forward_info(skipping),
    )


def fast_forward_info(skipping: TimeSkipping | None) -> TimeSkippingFastForwardInfo | None:
    if skipping is None or skipping.config is None or skipping.fast_forward is None:
        return None
    config = skipping.config.fast_forward_config
    return TimeSkippingFastForwardInfo(
        fast_forward_duration=config.duration,
        fast_forward_id=config.id,
        target_time=timestamp(skipping.fast_forward.target),
        has_completed=skipping.fast_forward.reached,
    )
