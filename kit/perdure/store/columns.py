"""What a list filter can name: Temporal's columns and search attributes, where their values lie, and what they
are compared with.

Columns are those of `journal.runs`. Search attributes lie in its `search_attributes_json`; how one is read
depends on its type.
"""

from __future__ import annotations

import re
from datetime import datetime
from difflib import get_close_matches
from typing import NamedTuple, TypeAlias

from temporalio.api.enums.v1 import WorkflowExecutionStatus

from perdure.engine.journal import Scope
from perdure.engine.search_attributes import PREDEFINED, SYSTEM

Value: TypeAlias = str | int | float | bool


class Column(NamedTuple):
    """Where a name's value is, and of which type. `name` is as the user wrote it, `field` as it is in Temporal."""

    name: str
    field: str
    type: str
    sql: str
    parameters: tuple[Value, ...] = ()


_SQL = {
    "WorkflowId": "workflow_id",
    "RunId": "run_id",
    "WorkflowType": "workflow_type",
    "TaskQueue": "task_queue",
    "ExecutionStatus": "status",
    "StartTime": "start_time_ns",
    "ExecutionTime": "execution_time_ns",
    "CloseTime": "close_time_ns",
    "ExecutionDuration": "(close_time_ns - execution_time_ns)",
    "HistoryLength": "nullif(history_length, 0)",
    "HistorySizeBytes": "nullif(history_size_bytes, 0)",
    "StateTransitionCount": "nullif(state_transitions, 0)",
    "ParentWorkflowId": "nullif(parent_workflow_id, '')",
    "ParentRunId": "nullif(parent_run_id, '')",
    "RootWorkflowId": "root_workflow_id",
    "RootRunId": "root_run_id",
    "TemporalNamespaceDivision": "nullif(division, '')",
}
_PINNED = {  # what a definition version says, where no worker deployment said anything
    "TemporalWorkerDeployment": "CASE WHEN version != '' THEN workflow_type END",
    "TemporalWorkerDeploymentVersion": "workflow_type || ':' || nullif(version, '')",
}
DIVISION = "TemporalNamespaceDivision"

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

_STATUSES = {
    name.removeprefix("WORKFLOW_EXECUTION_STATUS_").replace("_", "").lower(): number
    for name, number in WorkflowExecutionStatus.items()
}
_PLAIN = {  # how tables of runs and people name the columns
    "id": "WorkflowId",
    "workflow": "WorkflowType",
    "type": "WorkflowType",
    "status": "ExecutionStatus",
    "started": "StartTime",
    "closed": "CloseTime",
    "ended": "CloseTime",
    "took": "ExecutionDuration",
}
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


# --- names


def find(name: str, scope: Scope) -> Column | None:
    """The column that a name means: an alias, a custom attribute, then one of Temporal's, with or without its prefix."""
    if name in scope.attributes and name not in SYSTEM and name not in PREDEFINED:
        return _attribute(name, name, scope.attributes[name])
    if name in scope.aliases:
        return _temporal(name, scope.aliases[name])
    if name == "ScheduleId":
        return _temporal(name, "WorkflowId")
    for field in (name, f"Temporal{name}", name.removeprefix("Temporal")):
        if found := _temporal(name, field):
            return found
    return None


def _temporal(name: str, field: str) -> Column | None:
    type_ = SYSTEM.get(field) or PREDEFINED.get(field)
    if type_ is None:
        return None
    if field in _SQL:
        return Column(name, field, type_, _SQL[field])
    found = _attribute(name, field, type_)
    if field in _PINNED:
        return found._replace(sql=f"coalesce({found.sql}, {_PINNED[field]})")
    return found


def _attribute(name: str, field: str, type_: str) -> Column:
    type_ = type_ if type_ in _ATTRIBUTES else "Keyword"
    return Column(name, field, type_, _ATTRIBUTES[type_], ('$."' + field.replace('"', "") + '"',))


def meant(name: str, scope: Scope) -> str:
    """The name that a slip of the pen was meant to be; "" if we have no idea."""
    known = [*SYSTEM, *PREDEFINED, *scope.attributes, *scope.aliases]
    folded = {each.lower(): each for each in known}
    close = get_close_matches(name.lower(), folded, n=1, cutoff=0.85)
    return folded[close[0]] if close else _PLAIN.get(name.lower().removeprefix("workflow_"), "")


# --- values


class Unfit(ValueError):
    """A value that a column is not compared with. The text is Temporal's; an empty one stands for its usual one."""


def fitting(column: Column, value: Value) -> Value:
    """The value as the column has it: statuses as numbers, times and durations in nanoseconds. Raises Unfit."""
    if isinstance(value, bool):
        if column.type != "Bool":
            raise Unfit
        return value
    if column.field == "ExecutionStatus":
        return _status(value)
    if column.field == "ExecutionDuration":
        return _duration_ns(value)
    match column.type:
        case "Bool":
            raise Unfit
        case "Datetime":
            return _time_ns(value)
        case "Int" | "Double":
            if isinstance(value, str):
                raise Unfit
            return value
        case _:
            if not isinstance(value, str):
                raise Unfit
            return value


def _status(value: Value) -> int:
    """The number of an ExecutionStatus: given so, or by its name as people or protobuf write it."""
    if isinstance(value, float):
        raise Unfit("unexpected value type float64 for search attribute ExecutionStatus")
    if isinstance(value, int):
        if value not in _STATUSES.values():
            raise Unfit(f"invalid ExecutionStatus value {value}")
        return value
    found = _STATUSES.get(value.upper().removeprefix("WORKFLOW_EXECUTION_STATUS_").replace("_", "").lower())
    if found is None:
        raise Unfit(f"invalid ExecutionStatus value '{value}'")
    return found


def _time_ns(value: Value) -> int:
    """Nanoseconds since the epoch: given so, or as an RFC 3339 time."""
    if isinstance(value, float):
        raise Unfit
    if isinstance(value, int):
        return value
    match = _TIME.fullmatch(value)
    try:
        if match is None:
            raise ValueError
        moment = datetime.fromisoformat(match[1].upper() + match[3].upper().replace("Z", "+00:00"))
    except ValueError:
        raise Unfit(f"unable to parse datetime '{value}'") from None
    return int(moment.timestamp()) * 10**9 + int((match[2] or "0").ljust(9, "0"))


def _duration_ns(value: Value) -> int:
    """Nanoseconds: given so, as hh:mm:ss, or as Go writes durations."""
    if isinstance(value, float):
        raise Unfit("unexpected value type float64 for search attribute ExecutionDuration")
    if isinstance(value, int):
        return value
    if re.fullmatch(r"-?\d+", value):
        return int(value)
    if clock := _CLOCK_DURATION.fullmatch(value):
        return (int(clock[1]) * 3600 + int(clock[2]) * 60 + int(clock[3])) * 10**9
    if match := _GO_DURATION.fullmatch(value):
        amount = sum(float(number) * _UNITS_NS[unit] for number, unit in _GO_PART.findall(match[2]))
        return -round(amount) if match[1] == "-" else round(amount)
    raise Unfit(f"invalid duration value for search attribute ExecutionDuration: {value}")
