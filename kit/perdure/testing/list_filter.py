"""Temporal's list filter over summaries in memory, for `MemoryJournal`.

    filter     := disjunct (OR disjunct)*
    disjunct   := term (AND term)*
    term       := NOT term | "(" filter ")" | name compare value | name [NOT] IN (value, ...)
                | name [NOT] BETWEEN value AND value | name [NOT] STARTS_WITH value | name IS [NOT] NULL

The file's store translates the same language to SQL; this is a second, independent reading of it, small
enough to check by eye.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, TypeAlias

from temporalio.api.enums.v1 import WorkflowExecutionStatus

from perdure.engine.journal import InvalidQueryError, Summary

Accepts: TypeAlias = Callable[[Summary], bool]

_TOKEN = re.compile(r"\s*(?:('(?:[^']|'')*'|\"[^\"]*\")|([<>!]=|[=<>(),])|([^\s<>!=(),'\"]+))")
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: bool(a == b),
    "!=": lambda a, b: bool(a != b),
    "<": lambda a, b: a is not None and bool(a < b),
    "<=": lambda a, b: a is not None and bool(a <= b),
    ">": lambda a, b: a is not None and bool(a > b),
    ">=": lambda a, b: a is not None and bool(a >= b),
}
_FIELDS: dict[str, Callable[[Summary], Any]] = {
    "WorkflowId": lambda row: row.workflow_id,
    "WorkflowType": lambda row: row.workflow_type,
    "RunId": lambda row: row.run_id,
    "TaskQueue": lambda row: row.task_queue,
    "ExecutionStatus": lambda row: row.status,
    "StartTime": lambda row: row.start_time,
    "ExecutionTime": lambda row: row.execution_time,
    "CloseTime": lambda row: row.close_time,
    "HistoryLength": lambda row: row.history_length,
    "HistorySizeBytes": lambda row: row.history_size_bytes,
    "ParentWorkflowId": lambda row: row.parent_workflow_id or None,
    "ParentRunId": lambda row: row.parent_run_id or None,
    "RootWorkflowId": lambda row: row.root_workflow_id,
    "RootRunId": lambda row: row.root_run_id,
    "StateTransitionCount": lambda row: row.state_transitions or None,
    "TemporalNamespaceDivision": lambda row: row.division or None,
}
_TIMES = {"StartTime", "ExecutionTime", "CloseTime"}


def parse(query: str) -> Accepts:
    """A predicate for a list filter; "" accepts every workflow. Raises InvalidQueryError.

    Runs of a division are hidden from filters that do not name it.
    """
    accepts = _Parser(query).read() if query.strip() else lambda row: True
    if "TemporalNamespaceDivision" in query:
        return accepts
    return lambda row: not row.division and accepts(row)


class _Parser:
    def __init__(self, query: str) -> None:
        self._query = query
        self._tokens = list(_tokens(query))
        self._at = 0

    def read(self) -> Accepts:
        accepts = self._any()
        if self._at < len(self._tokens):
            raise self._refused("an AND, an OR or the end")
        return accepts

    def _any(self) -> Accepts:
        terms = [self._all()]
        while self._take("OR"):
            terms.append(self._all())
        return lambda row: any(term(row) for term in terms)

    def _all(self) -> Accepts:
        terms = [self._term()]
        while self._take("AND"):
            terms.append(self._term())
        return lambda row: all(term(row) for term in terms)

    def _term(self) -> Accepts:
        if self._take("NOT"):
            inner = self._term()
            return lambda row: not inner(row)
        if self._take("("):
            inside = self._any()
            self._expect(")")
            return inside
        name = self._next("a search attribute's name").strip("`")
        read = _FIELDS.get(name) or _custom(name)
        return self._comparison(name, read)

    def _comparison(self, name: str, read: Callable[[Summary], Any]) -> Accepts:
        if self._take("IS"):
            wanted = not self._take("NOT")
            self._expect("NULL")
            return lambda row: (read(row) is None) is wanted
        negated = self._take("NOT")
        accepts = self._operator(name, read)
        return (lambda row: not accepts(row)) if negated else accepts

    def _operator(self, name: str, read: Callable[[Summary], Any]) -> Accepts:
        if self._take("IN"):
            self._expect("(")
            values = [self._value(name)]
            while self._take(","):
                values.append(self._value(name))
            self._expect(")")
            return lambda row: any(_equal(read(row), value) for value in values)
        if self._take("BETWEEN"):
            low = self._value(name)
            self._expect("AND")
            high = self._value(name)
            return lambda row: read(row) is not None and low <= read(row) <= high
        if self._take("STARTS_WITH"):
            prefix = str(self._value(name))
            return lambda row: str(read(row) or "").startswith(prefix)
        sign = self._next("a comparison")
        if sign not in _COMPARE:
            self._at -= 1
            raise self._refused("=, !=, <, <=, >, >=, IN, BETWEEN, STARTS_WITH or IS")
        value, compare = self._value(name), _COMPARE[sign]
        return lambda row: compare(_like(read(row), value), value)

    def _value(self, name: str) -> Any:
        text = self._next("a value")
        quoted = text[:1] in ("'", '"')
        plain = text[1:-1].replace("''", "'") if quoted else text
        if name == "ExecutionStatus":
            return _status(plain)
        if name in _TIMES:
            return _time(plain) if quoted else int(plain)
        if quoted:
            return plain
        if plain.lower() in ("true", "false"):
            return plain.lower() == "true"
        try:
            return float(plain) if "." in plain else int(plain)
        except ValueError:
            raise InvalidQueryError(f"{plain!r} is no value; texts are written in single quotes.") from None

    def _take(self, word: str) -> bool:
        taken = self._at < len(self._tokens) and self._tokens[self._at].upper() == word
        self._at += taken
        return taken

    def _expect(self, word: str) -> None:
        if not self._take(word):
            raise self._refused(word)

    def _next(self, what: str) -> str:
        if self._at >= len(self._tokens):
            raise self._refused(what)
        self._at += 1
        return (
            self._tokens[self._at - 1].strip("`")
            if what.startswith("a search")
            else self._tokens[self._at - 1]
        )

    def _refused(self, what: str) -> InvalidQueryError:
        found = repr(self._tokens[self._at]) if self._at < len(self._tokens) else "the end"
        return InvalidQueryError(f"The list filter {self._query!r} has {found} where {what} is due.")


def _tokens(query: str) -> Iterator[str]:
    at = 0
    while query[at:].strip():
        match = _TOKEN.match(query, at)
        if match is None:
            raise InvalidQueryError(
                f"The list filter {query!r} cannot be read from {query[at:].strip()!r} on."
            )
        at = match.end()
        yield next(group for group in match.groups() if group is not None)


def _custom(name: str) -> Callable[[Summary], Any]:
    def read(row: Summary) -> Any:
        if row.search_attributes is None or name not in row.search_attributes.indexed_fields:
            return None
        return json.loads(row.search_attributes.indexed_fields[name].data)

    return read


def _like(found: Any, value: Any) -> Any:
    """A search attribute's list of keywords equals a value that it holds."""
    return value if isinstance(found, list) and value in found else found


def _equal(found: Any, value: Any) -> bool:
    return bool(_like(found, value) == value)


def _status(name: str) -> int:
    for key, value in WorkflowExecutionStatus.items():
        if (
            key.removeprefix("WORKFLOW_EXECUTION_STATUS_").replace("_", "").lower()
            == name.replace("_", "").lower()
        ):
            return int(value)
    raise InvalidQueryError(f"ExecutionStatus has no value {name!r}.")


def _time(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise InvalidQueryError(f"{text!r} is no time; write it as '2026-01-31T12:00:00Z'.") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1_000_000) * 1000
