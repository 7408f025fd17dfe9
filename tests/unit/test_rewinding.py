"""Which workflow task a reset goes back to."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from perdure.errors import RunError
from perdure.rewinding import point

_T = EventType
HISTORY = [
    HistoryEvent(event_id=number, event_type=kind)  # type: ignore[arg-type]
    for number, kind in enumerate(
        (
            _T.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED,
            _T.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED,
            _T.EVENT_TYPE_WORKFLOW_TASK_STARTED,
            _T.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
            _T.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED,
            _T.EVENT_TYPE_ACTIVITY_TASK_STARTED,
            _T.EVENT_TYPE_ACTIVITY_TASK_COMPLETED,
            _T.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED,
            _T.EVENT_TYPE_WORKFLOW_TASK_STARTED,
            _T.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
        ),
        1,
    )
]


@pytest.mark.parametrize(
    ("event", "to", "expected"),
    [(None, "first", 4), (None, "last", 10), (4, "", 4), (7, "", 4), (10, "", 10)],
)
def test_any_event_stands_for_the_workflow_task_that_ended_before_it(
    event: int | None, to: str, expected: int
) -> None:
    assert point(HISTORY, event, to) == expected


@pytest.mark.parametrize(
    ("event", "to", "text"),
    [
        ("first", "last", "'first' is no event's number"),
        (3, "", "No workflow task has ended before event 3"),
        (11, "", "no event 11"),
        (None, "x", "no point"),
    ],
)
def test_there_may_be_no_such_point(event: Any, to: str, text: str) -> None:
    with pytest.raises(RunError, match=text):
        point(HISTORY, event, to)
