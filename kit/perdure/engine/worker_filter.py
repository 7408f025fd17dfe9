"""The filter of ListWorkers: which workers' heartbeats are meant. `sqlglot` parses it, as it does the filter of runs.

Fields of text: =, !=, STARTS_WITH, IS NULL (which means empty); times: comparisons and BETWEEN; AND, OR and parentheses.
What cannot be asked of a worker matches none, as on Temporal's server; only what is no filter at all is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeAlias

from temporalio.api.enums.v1 import WorkerStatus
from temporalio.api.worker.v1 import WorkerHeartbeat

from perdure.engine.errors import invalid
from perdure.engine.protos import from_timestamp

Matches: TypeAlias = Callable[[WorkerHeartbeat], bool]
_Node: TypeAlias = Any  # a sqlglot expression

_STARTS_WITH = re.compile(r"\bstarts_with\b", re.IGNORECASE)


def _status(heartbeat: WorkerHeartbeat) -> str:
    name = WorkerStatus.Name(heartbeat.status).removeprefix("WORKER_STATUS_")
    return "".join(word.capitalize() for word in name.split("_"))


_TEXTS: dict[str, Callable[[WorkerHeartbeat], str]] = {
    "WorkerInstanceKey": lambda h: h.worker_instance_key,
    "WorkerIdentity": lambda h: h.worker_identity,
    "HostName": lambda h: h.host_info.host_name,
    "TaskQueue": lambda h: h.task_queue,
    "DeploymentName": lambda h: h.deployment_version.deployment_name,
    "BuildId": lambda h: h.deployment_version.build_id,
    "SdkName": lambda h: h.sdk_name,
    "SdkVersion": lambda h: h.sdk_version,
    "WorkerStatus": _status,
    "Status": _status,
    "status": _status,
}
_TIMES: dict[str, Callable[[WorkerHeartbeat], int]] = {
    "StartTime": lambda h: from_timestamp(h.start_time),
    "HeartbeatTime": lambda h: from_timestamp(h.heartbeat_time),
}
_TEXT_TESTS: dict[str, Callable[[str, str], bool]] = {
    "EQ": lambda have, want: have == want,
    "NEQ": lambda have, want: have != want,
    "Like": lambda have, want: have.startswith(want),
}
_TIME_TESTS: dict[str, Callable[[int, int], bool]] = {
    "EQ": lambda have, want: have == want,
    "NEQ": lambda have, want: have != want,
    "GT": lambda have, want: have > want,
    "GTE": lambda have, want: have >= want,
    "LT": lambda have, want: have < want,
    "LTE": lambda have, want: have <= want,
}


class _Unfit(Exception):
    """This cannot be asked of a worker."""


def compile_filter(query: str) -> Matches:
    """Raises INVALID_ARGUMENT for what is no filter."""
    if not query.strip():
        return lambda heartbeat: True
    import sqlglot  # late: it takes some time, and few ask

    if re.search(r"\blike\b", query, re.IGNORECASE):
        raise invalid("malformed query: LIKE is no operator of this filter; use STARTS_WITH")
    try:
        statement = sqlglot.parse_one(
            f"SELECT * FROM workers WHERE {_STARTS_WITH.sub('LIKE', query)}", read="mysql"
        )
    except sqlglot.errors.SqlglotError as error:
        raise invalid(f"malformed query: {str(error).splitlines()[0]}") from None
    where = statement.args.get("where")
    if where is None or {name for name, value in statement.args.items() if value} & {
        "limit",
        "order",
        "group",
    }:
        raise invalid("operation is not supported: the filter must be a condition alone")

    def matches(heartbeat: WorkerHeartbeat) -> bool:
        try:
            return _holds(where.this, heartbeat)
        except _Unfit:
            return False

    return matches


def _holds(node: _Node, heartbeat: WorkerHeartbeat) -> bool:
    kind = type(node).__name__
    if kind == "Paren":
        return _holds(node.this, heartbeat)
    if kind == "And":
        return _holds(node.this, heartbeat) and _holds(node.expression, heartbeat)
    if kind == "Or":
        return _holds(node.this, heartbeat) or _holds(node.expression, heartbeat)
    if kind == "Not":  # it belongs to an operator here; it does not negate conditions
        if type(node.this).__name__ not in ("Is", "Like", "Between"):
            raise _Unfit
        return not _answers(node.this, heartbeat)
    # newer versions of the parser keep the NOT of an operator inside it
    return _answers(node, heartbeat) != bool(node.args.get("negate"))


def _answers(node: _Node, heartbeat: WorkerHeartbeat) -> bool:
    """A single condition, without its NOT."""
    kind = type(node).__name__
    if kind == "Is":
        return _is_empty(node, heartbeat)
    if kind == "Between":
        low, high = _time(node.args["low"]), _time(node.args["high"])
        return low <= _time_of(node.this.name, heartbeat) <= high
    return _compares(kind, node, heartbeat)


def _is_empty(node: _Node, heartbeat: WorkerHeartbeat) -> bool:
    if type(node.expression).__name__ != "Null":
        raise _Unfit
    name = node.this.name
    read = _TEXTS.get(name) or _TIMES.get(name)
    if read is None:
        raise _Unfit
    return not read(heartbeat)


def _compares(kind: str, node: _Node, heartbeat: WorkerHeartbeat) -> bool:
    if type(node.this).__name__ != "Column":
        raise _Unfit
    name, value = node.this.name, node.expression
    if name in _TEXTS:
        if kind not in _TEXT_TESTS or type(value).__name__ != "Literal" or not value.name:
            raise _Unfit
        return _TEXT_TESTS[kind](_TEXTS[name](heartbeat), value.name)
    if kind not in _TIME_TESTS:
        raise _Unfit
    return _TIME_TESTS[kind](_time_of(name, heartbeat), _time(value))


def _time_of(name: str, heartbeat: WorkerHeartbeat) -> int:
    if name not in _TIMES or not (when := _TIMES[name](heartbeat)):
        raise _Unfit
    return when


def _time(value: _Node) -> int:
    try:
        return int(datetime.fromisoformat(value.name).timestamp() * 1_000_000_000)
    except ValueError:
        raise _Unfit from None
