"""A run's records as pandas DataFrames: one row an event, one row an attempt.

Times are UTC, naive, as in the file. `attributes` holds a dict with decoded payloads; the other columns are
what people filter and group by. Attempts that Temporal forgets when an activity closes are all there, with
their failures and back-offs.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any

from temporalio.api.history.v1 import HistoryEvent

from perdure.engine.records import AttemptEnded, AttemptStarted, RunRecords
from perdure.history.payloads import attributes, event_name, failure_text, values
from perdure.history.times import nanoseconds

if TYPE_CHECKING:
    import pandas as pd

_EVENT_COLUMNS = (
    "event_id",
    "time",
    "type",
    "name",
    "scheduled_event_id",
    "input",
    "result",
    "failure",
    "attributes",
)
_ATTEMPT_COLUMNS = (
    "activity",
    "activity_id",
    "scheduled_event_id",
    "attempt",
    "due",
    "started",
    "ended",
    "outcome",
    "failure",
    "worker",
    "next_due",
    "waited",
    "ran",
    "backoff",
)


def events_frame(records: RunRecords) -> pd.DataFrame:
    """The history: one row an event, in order. Buffered events have no id yet and are not in it."""
    import pandas as pd

    frame = pd.DataFrame([_event_row(event) for event in records.events], columns=list(_EVENT_COLUMNS))
    frame["time"] = pd.to_datetime(frame["time"], unit="ns")
    frame["scheduled_event_id"] = frame["scheduled_event_id"].astype("Int64")
    return frame.set_index("event_id")


def _event_row(event: HistoryEvent) -> tuple[Any, ...]:
    which = event.WhichOneof("attributes")
    held: Any = getattr(event, which) if which else event
    decoded = attributes(event)
    return (
        event.event_id,
        nanoseconds(event.event_time),
        event_name(event),
        _subject(held),
        getattr(held, "scheduled_event_id", None) or None,
        decoded.get("input"),
        _result(held),
        failure_text(held.failure) if which and _has(held, "failure") else "",
        decoded,
    )


def _subject(held: Any) -> str:
    """What an event is about: an activity's or workflow's type, a signal's name, a timer's id."""
    for name in ("activity_type", "workflow_type"):
        if _has(held, name):
            return str(getattr(held, name).name)
    for name in ("signal_name", "update_name", "timer_id", "marker_name"):
        if text := getattr(held, name, ""):
            return str(text)
    return ""


def _result(held: Any) -> Any:
    if not _has(held, "result"):
        return None
    found = values(held.result)
    return found[0] if len(found) == 1 else found


def _has(held: Any, name: str) -> bool:
    return name in held.DESCRIPTOR.fields_by_name and bool(held.HasField(name))


def attempts_frame(records: RunRecords) -> pd.DataFrame:
    """One row an attempt, in the order that they started."""
    import pandas as pd

    names = activity_names(records)
    ends: defaultdict[tuple[int, int], deque[AttemptEnded]] = defaultdict(
        deque
    )  # numbers come again after a reset
    for end in records.attempt_ends:
        ends[end.scheduled_event_id, end.attempt].append(end)
    rows = []
    for start in records.attempt_starts:
        waiting = ends[start.scheduled_event_id, start.attempt]
        rows.append(_attempt_row(names, start, waiting.popleft() if waiting else None))
    rows += [_attempt_row(names, None, end) for left in ends.values() for end in left]
    frame = pd.DataFrame(rows, columns=list(_ATTEMPT_COLUMNS))
    for column in ("due", "started", "ended", "next_due"):
        frame[column] = pd.to_datetime(frame[column].astype("Int64"), unit="ns")
    frame["waited"] = frame["started"] - frame["due"]
    frame["ran"] = frame["ended"] - frame["started"]
    frame["backoff"] = frame["next_due"] - frame["ended"]
    return frame


def activity_names(records: RunRecords) -> dict[int, tuple[str, str]]:
    """Scheduled event id -> (activity type, activity id)."""
    found = {}
    for event in records.events:
        if event.HasField("activity_task_scheduled_event_attributes"):
            held = event.activity_task_scheduled_event_attributes
            found[event.event_id] = (held.activity_type.name, held.activity_id)
    return found


def _attempt_row(
    names: dict[int, tuple[str, str]], start: AttemptStarted | None, end: AttemptEnded | None
) -> tuple[Any, ...]:
    """An attempt that ended without having started (it timed out in the queue) has no worker."""
    either = start or end
    assert either is not None
    activity, activity_id = names.get(either.scheduled_event_id, ("", ""))
    return (
        activity,
        activity_id,
        either.scheduled_event_id,
        either.attempt,
        start.scheduled_time if start else None,
        start.started_time if start else None,
        end.ended_time if end else None,
        end.outcome if end else "running",
        failure_text(end.failure) if end else "",
        start.identity if start else "",
        end.next_attempt_time if end else None,
        None,
        None,
        None,
    )
