"""A schedule as users see it: described, listed, and with the times that match it."""

from __future__ import annotations

from temporalio.api.schedule.v1 import ScheduleListEntry, ScheduleListInfo
from temporalio.api.workflowservice.v1 import DescribeScheduleResponse

from perdure.engine.protos import from_timestamp, timestamp
from perdure.engine.schedules.decisions import calendar, next_time
from perdure.engine.schedules.spec import filled
from perdure.engine.schedules.state import State

_FUTURE, _FUTURE_LISTED, _RECENT_LISTED = 10, 5, 5
_SPEC_LISTED = 10  # of each kind in a specification
_MATCHING = 1000


def token(state: State) -> bytes:
    return state.token.to_bytes(8, "big")


def described(state: State, now: int) -> DescribeScheduleResponse:
    response = DescribeScheduleResponse(
        schedule=state.schedule,
        info=state.info,
        conflict_token=token(state),
        memo=state.memo if state.memo.fields else None,
        search_attributes=state.search_attributes if state.search_attributes.indexed_fields else None,
    )
    response.schedule.spec.CopyFrom(filled(state.schedule.spec))
    response.info.buffer_size = len(state.buffer)
    response.info.future_action_times.extend(map(timestamp, future_times(state, now, _FUTURE)))
    return response


def listed(state: State, now: int) -> ScheduleListEntry:
    spec = filled(state.schedule.spec)
    spec.ClearField("timezone_data")
    for name in ("structured_calendar", "exclude_structured_calendar", "interval"):
        del getattr(spec, name)[_SPEC_LISTED:]
    info = ScheduleListInfo(
        spec=spec,
        notes=state.schedule.state.notes,
        paused=state.schedule.state.paused,
        recent_actions=state.info.recent_actions[-_RECENT_LISTED:],
        future_action_times=map(timestamp, future_times(state, now, _FUTURE_LISTED)),
    )
    if state.schedule.action.HasField("start_workflow"):
        info.workflow_type.CopyFrom(state.schedule.action.start_workflow.workflow_type)
    return ScheduleListEntry(
        schedule_id=state.schedule_id,
        info=info,
        memo=state.memo if state.memo.fields else None,
        search_attributes=state.search_attributes if state.search_attributes.indexed_fields else None,
    )


def future_times(state: State, now: int, most: int) -> list[int]:
    """When the schedule acts next; no more often than its limited actions allow."""
    limits = state.schedule.state
    if limits.limited_actions:
        most = min(most, limits.remaining_actions)
    after = max(state.processed, now, from_timestamp(state.info.update_time) - 1)
    found: list[int] = []
    while len(found) < most and (due := next_time(state, after)) is not None:
        after = due.actual
        found.append(after)
    return found


def matching_times(state: State, start: int, end: int) -> list[int]:
    """The times after `start` up to `end`. Raises TooManyExclusionsError."""
    found: list[int] = []
    while len(found) < _MATCHING and (due := calendar(state).next(start)) is not None and due.actual <= end:
        start = due.actual
        found.append(start)
    return found
