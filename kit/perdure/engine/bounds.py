"""How far a run may grow: when it is advised to continue as new, and when people are warned. `closing.enforce` ends it.

TEMPORAL.md, section 3.
"""

from __future__ import annotations

from temporalio.api.enums.v1 import EventType, SuggestContinueAsNewReason

from perdure.engine.limits import Limits
from perdure.engine.state import Execution
from perdure.engine.turn import Turn

_Reason = SuggestContinueAsNewReason


def advice(ex: Execution, limits: Limits) -> tuple[SuggestContinueAsNewReason.ValueType, ...]:
    """Why the workflow should continue as new; none while there is room. Asked when a workflow task starts."""
    reasons = []
    if ex.history_size >= limits.history_size_suggest:
        reasons.append(_Reason.SUGGEST_CONTINUE_AS_NEW_REASON_HISTORY_SIZE_TOO_LARGE)
    if ex.next_event_id >= limits.history_count_suggest:
        reasons.append(_Reason.SUGGEST_CONTINUE_AS_NEW_REASON_TOO_MANY_HISTORY_EVENTS)
    if len(ex.updates) * 100 >= limits.updates_total * limits.updates_suggest:
        reasons.append(_Reason.SUGGEST_CONTINUE_AS_NEW_REASON_TOO_MANY_UPDATES)
    return tuple(reasons)


def too_many_signals(ex: Execution, limits: Limits) -> bool:
    waiting = sum(b.event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED for b in ex.buffer)
    return ex.signal_count + waiting >= limits.signals


def buffer_is_full(ex: Execution, limits: Limits) -> bool:
    """Whether more waits for the end of the started workflow task than may: the task is then failed."""
    if len(ex.buffer) > limits.buffered_events:
        return True
    return sum(b.event.ByteSize() for b in ex.buffer) > limits.buffered_bytes


def warnings(turn: Turn) -> list[str]:
    """What to tell people, once, when a turn took the run over a mark."""
    ex, limits = turn.ex, turn.limits
    found = []
    if turn.size_before <= limits.history_size_warn < ex.history_size:
        found.append(
            f"history size exceeds warn limit: {ex.history_size} bytes of {limits.history_size_error}"
        )
    if turn.count_before <= limits.history_count_warn < len(ex.events):
        found.append(
            f"history count exceeds warn limit: {len(ex.events)} events of {limits.history_count_error}"
        )
    return found
