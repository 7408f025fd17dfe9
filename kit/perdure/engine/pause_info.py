"""TemporalPauseInfo: the search attribute by which lists find paused runs, and runs with paused activities."""

from __future__ import annotations

import json
from collections.abc import Sequence

from temporalio.api.common.v1 import Payload

from perdure.engine.state import Execution

NAME = "TemporalPauseInfo"
_OF_ACTIVITY = "property:activityType="


def show(ex: Execution) -> None:
    """Sets or takes away what says that the run as a whole is paused; what is said of its activities stays."""
    entries = []
    if ex.paused is not None:
        entries.append(f"Workflow:{ex.workflow_id}")
        if ex.paused.reason:
            entries.append(f"Reason:{ex.paused.reason}")
    _set(ex, entries + [entry for entry in _entries(ex) if entry.startswith(_OF_ACTIVITY)])


def show_activities(ex: Execution, types: Sequence[str]) -> bool:
    """Names the types of the paused activities; what is said of the run as a whole stays. Whether anything has changed."""
    before = _entries(ex)
    kept = [entry for entry in before if not entry.startswith(_OF_ACTIVITY)]
    entries = kept + [_OF_ACTIVITY + activity_type for activity_type in types]
    _set(ex, entries)
    return entries != before


def _entries(ex: Execution) -> list[str]:
    fields = ex.search_attributes.indexed_fields
    entries: list[str] = json.loads(fields[NAME].data) if NAME in fields else []
    return entries


def _set(ex: Execution, entries: list[str]) -> None:
    fields = ex.search_attributes.indexed_fields
    if not entries:
        fields.pop(NAME, None)
        return
    data = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    fields[NAME].CopyFrom(Payload(metadata={"encoding": b"json/plain", "type": b"KeywordList"}, data=data))
