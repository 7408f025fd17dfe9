"""What a list filter can name: Temporal's columns and search attributes, where their values lie, and what they
are compared with.

Columns are those of `journal.runs`. Search attributes lie in its `search_attributes_json`; how one is read
depends on its type.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple, TypeAlias

from temporalio.api.enums.v1 import WorkflowExecutionStatus

Value: TypeAlias = str | int | float | bool


class Column(NamedTuple):
    """Where a name's value is, and of what kind; "" when the name is a search attribute that no run has."""

    sql: str
    kind: str
    parameters: tuple[Value, ...] = ()


COLUMNS = {
    "WorkflowId": Column("workflow_id", "Keyword"),
    "RunId": Column("run_id", "Keyword"),
    "WorkflowType": Column("workflow_type", "Keyword"),
    "TaskQueue": Column("task_queue", "Keyword"),
    "ExecutionStatus": Column("status", "Status"),
    "StartTime": Column("start_time_ns", "Datetime"),
    "ExecutionTime": Column("execution_time_ns", "Datetime"),
    "CloseTime": Column("close_time_ns", "Datetime"),
    "ExecutionDuration": Column("(close_time_ns - execution_time_ns)", "Duration"),
    "HistoryLength": Column("nullif(history_length, 0)", "Int"),
    "HistorySizeBytes": Column("nullif(history_size_bytes, 0)", "Int"),
    "ParentWorkflowId": Column("nullif(parent_workflow_id, '')", "Keyword"),
    "ParentRunId": Column("nullif(parent_run_id, '')", "Keyword"),
    "TemporalNamespaceDivision": Column("nullif(division, '')", "Keyword"),
    "RootWorkflowId": Column("root_workflow_id", "Keyword"),
    "RootRunId": Column("root_run_id", "Keyword"),
    "StateTransitionCount": Column("nullif(state_transitions, 0)", "Int"),
    "TemporalWorkerDeployment": Column("(CASE WHEN version != '' THEN workflow_type END)", "Keyword"),
    "TemporalWorkerDeploymentVersion": Column("(workflow_type || ':' || nullif(version, ''))", "Keyword"),
}
DIVISION = "TemporalNamespaceDivision"
DIVISION_IS_NULL = "division = ''"

_ATTRIBUTE = "json_extract_string(search_attributes_json, ?)"
_ATTRIBUTES = {
    "Keyword": _ATTRIBUTE,
    "Text": f"regexp_extract_all(lower({_ATTRIBUTE}), '\\w+')",
    "KeywordList": "try_cast(json_extract(search_attributes_json, ?) AS VARCHAR[])",
    "Int": f"try_cast({_ATTRIBUTE} AS BIGINT)",
    "Double": f"try_cast({_ATTRIBUTE} AS DOUBLE)",
    "Bool": f"try_cast({_ATTRIBUTE} AS BOOLEAN)",
    "Datetime": f"epoch_ns(try_cast({_ATTRIBUTE} AS TIMESTAMPTZ))",
}
ORDERED = ("Keyword", "Status", "Datetime", "Duration", "Int", "Double")

_STATUSES = {
    name.removeprefix("WORKFLOW_EXECUTION_STATUS_").replace("_", "").lower(): number
    for name, number in WorkflowExecutionStatus.items()
    if number
}
_STATUS_NAMES = "Running, Completed, Failed, Canceled, Terminated, ContinuedAsNew, TimedOut, Paused"
_TIME = re.compile(r"(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)")
_GO_DURATION = re.compile(r"([+-]?)((?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h|d))+)")
_CLOCK_DURATION = re.compile(r"(\d+):([0-5]\d):([0-5]\d)")
_GO_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h|d)")
_UNITS_NS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
    "d": 86400 * 10**9,
}


def attribute(name: str, kind: str) -> Column:
    """The column of a search attribute; one of a type that is not known is read as a Keyword."""
    kind = kind if kind in _ATTRIBUTES else "Keyword"
    return Column(_ATTRIBUTES[kind], kind, ('$."' + name.replace('"', "") + '"',))


def _time_ns(value: Value) -> Value | None:
    """Nanoseconds since the epoch: given so, or as an RFC 3339 time; None for anything else."""
    if not isinstance(value, str):
        return _integer(value)
    match = _TIME.fullmatch(value)
    if match is None:
        return None
    try:
        moment = datetime.fromisoformat(match[1].upper() + match[3].upper().replace("Z", "+00:00"))
    except ValueError:
        return None
    return int(moment.timestamp()) * 10**9 + int((match[2] or "0").ljust(9, "0"))


def _duration_ns(value: Value) -> Value | None:
    """Nanoseconds: given so, as hh:mm:ss, or as Go writes durations; None for anything else."""
    if not isinstance(value, str):
        return _integer(value)
    if clock := _CLOCK_DURATION.fullmatch(value):
        return (int(clock[1]) * 3600 + int(clock[2]) * 60 + int(clock[3])) * 10**9
    if match := _GO_DURATION.fullmatch(value):
        amount = sum(float(number) * _UNITS_NS[unit] for number, unit in _GO_PART.findall(match[2]))
        return -round(amount) if match[1] == "-" else round(amount)
    return None


def _status(value: Value) -> Value | None:
    """The number of an ExecutionStatus:

    Given so, or by its name as people or protobuf write it; None for anything else.
    """
    if not isinstance(value, str):
        return _integer(value) if value in _STATUSES.values() else None
    name = value.upper().removeprefix("WORKFLOW_EXECUTION_STATUS_").replace("_", "").lower()
    return _STATUSES.get(name)


def _integer(value: Value) -> Value | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(value: Value) -> Value | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _boolean(value: Value) -> Value | None:
    return value if isinstance(value, bool) else None


def _text(value: Value) -> Value | None:
    return value if isinstance(value, str) else None


# What each kind of column is compared with: how to make it of a literal, and what to say if that fails.
VALUES: dict[str, tuple[Callable[[Value], Value | None], str]] = {
    "Status": (_status, f"one of {_STATUS_NAMES}, or its number"),
    "Keyword": (_text, "a text in quotes"),
    "KeywordList": (_text, "a text in quotes"),
    "Text": (_text, "a text in quotes"),
    "Int": (_number, "a number"),
    "Double": (_number, "a number"),
    "Bool": (_boolean, "true or false"),
    "Datetime": (_time_ns, "a time like '2024-05-01T12:00:00Z'"),
    "Duration": (_duration_ns, "a duration like '2h30m'"),
}
