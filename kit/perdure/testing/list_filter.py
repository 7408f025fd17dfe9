"""Temporal's list filter over summaries in memory, for `MemoryJournal`.

    query      := [filter] [GROUP BY name] [ORDER BY name [ASC | DESC] ("," ...)*]
    filter     := disjunct (OR disjunct)*
    disjunct   := term (AND term)*
    term       := NOT term | "(" filter ")" | name compare value | name [NOT] IN (value, ...)
                | name [NOT] BETWEEN value AND value | name [NOT] STARTS_WITH value | name IS [NOT] NULL

The file's store translates the same language to SQL; this is a second, independent reading of it, small
enough to check by eye. A term is true, false, or None: neither, because the run has no such value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeAlias

from temporalio.api.enums.v1 import WorkflowExecutionStatus

from perdure.engine.journal import InvalidQueryError, MalformedQueryError, Place, Scope, Summary
from perdure.engine.search_attributes import PREDEFINED, SYSTEM
from perdure.history.payloads import status_name

Test: TypeAlias = Callable[[Summary], bool | None]
Read: TypeAlias = Callable[[Summary], Any]

_TOKEN = re.compile(r"\s*(?:('(?:[^']|'')*'|\"[^\"]*\"|`[^`]*`)|([<>!]=|[=<>(),])|([^\s<>!=(),'\"`]+))")
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: bool(a == b),
    "!=": lambda a, b: bool(a != b),
    "<": lambda a, b: bool(a < b),
    "<=": lambda a, b: bool(a <= b),
    ">": lambda a, b: bool(a > b),
    ">=": lambda a, b: bool(a >= b),
}
_FIELDS: dict[str, Read] = {
    "WorkflowId": lambda row: row.workflow_id,
    "WorkflowType": lambda row: row.workflow_type,
    "RunId": lambda row: row.run_id,
    "TaskQueue": lambda row: row.task_queue,
    "ExecutionStatus": lambda row: row.status,
    "StartTime": lambda row: row.start_time,
    "ExecutionTime": lambda row: row.execution_time,
    "CloseTime": lambda row: row.close_time,
    "ExecutionDuration": lambda row: None if row.close_time is None else row.close_time - row.execution_time,
    "HistoryLength": lambda row: row.history_length if row.close_time is not None else None,
    "HistorySizeBytes": lambda row: row.history_size_bytes if row.close_time is not None else None,
    "StateTransitionCount": lambda row: row.state_transitions or None,
    "ParentWorkflowId": lambda row: row.parent_workflow_id or None,
    "ParentRunId": lambda row: row.parent_run_id or None,
    "RootWorkflowId": lambda row: row.root_workflow_id,
    "RootRunId": lambda row: row.root_run_id,
    "TemporalNamespaceDivision": lambda row: row.division or None,
}
_NEVER = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class _Name:
    field: str
    type: str
    read: Read


@dataclass(frozen=True, slots=True)
class Filter:
    """What a query asks for: which rows, in which order, grouped by what."""

    accepts: Callable[[Summary], bool]
    order: list[tuple[Read, bool]] = field(default_factory=list)  # each descending or not
    group: Callable[[Summary], str] | None = None

    def place(self, row: Summary) -> Place:
        return [read(row) for read, _ in self.order]

    def key(self, row: Summary) -> list[_Rank]:
        return self.key_of(self.place(row))

    def key_of(self, place: Place) -> list[_Rank]:
        return [_Rank(value, down) for value, (_, down) in zip(place, self.order, strict=True)]


class _Rank:
    """A sort key; nothing comes after everything."""

    def __init__(self, value: Any, descending: bool) -> None:
        self.value, self.descending = value, descending

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Rank) and bool(self.value == other.value)

    def __lt__(self, other: _Rank) -> bool:
        if self.value is None or other.value is None:
            return self.value is not None
        return bool(self.value > other.value) if self.descending else bool(self.value < other.value)


_DEFAULT_ORDER: list[tuple[Read, bool]] = [
    (lambda row: _NEVER if row.close_time is None else row.close_time, True),
    (_FIELDS["StartTime"], True),
    (_FIELDS["RunId"], False),
]


def parse(query: str, scope: Scope, *, counting: bool = False) -> Filter:
    """Reads a query; "" accepts every run of the scope. Raises InvalidQueryError."""
    return _Parser(query, scope).read(counting)


class _Parser:
    def __init__(self, query: str, scope: Scope) -> None:
        self._query = query
        self._scope = scope
        self._tokens = list(_tokens(query))
        self._at = 0
        self._names_division = False

    def read(self, counting: bool) -> Filter:
        test: Test = lambda row: True  # noqa: E731
        if self._tokens and not self._begins("GROUP") and not self._begins("ORDER"):
            test = self._any()
        group, order = None, _DEFAULT_ORDER
        if self._take("GROUP"):
            self._expect("BY")
            group = self._group()
        if self._take("ORDER"):
            if counting:
                raise self._refused("the end")
            self._expect("BY")
            order = [*self._order(), (_FIELDS["RunId"], False)]
        if self._at < len(self._tokens):
            raise self._refused("an AND, an OR or the end")
        division = self._scope.division
        if self._names_division:
            return Filter(lambda row: test(row) is True, order, group)
        return Filter(lambda row: row.division == division and test(row) is True, order, group)

    def _group(self) -> Callable[[Summary], str]:
        name = self._name()
        if name.field == "ExecutionStatus":
            return lambda row: status_name(row.status)
        if name.field == "TemporalNamespaceDivision":
            return lambda row: row.division
        raise self._refused("ExecutionStatus")

    def _order(self) -> Iterator[tuple[Read, bool]]:
        while True:
            name = self._name()
            if name.type in ("Text", "KeywordList"):
                raise self._refused("a name that can be sorted by")
            down = self._take("DESC")
            self._take("ASC")
            yield name.read, down
            if not self._take(","):
                return

    def _any(self) -> Test:
        terms = [self._all()]
        while self._take("OR"):
            terms.append(self._all())
        return lambda row: _either([term(row) for term in terms])

    def _all(self) -> Test:
        terms = [self._term()]
        while self._take("AND"):
            terms.append(self._term())
        return lambda row: _not(_either([_not(term(row)) for term in terms]))

    def _term(self) -> Test:
        if self._take("NOT"):
            inner = self._term()
            return lambda row: _not(inner(row))
        if self._take("("):
            inside = self._any()
            self._expect(")")
            return inside
        return self._comparison(self._name())

    def _name(self) -> _Name:
        written = self._next("a search attribute's name").strip("`")
        found = _find(written, self._scope)
        if found is None:
            raise InvalidQueryError(f"invalid search attribute: {written}")
        self._names_division = self._names_division or found.field == "TemporalNamespaceDivision"
        return found

    def _comparison(self, name: _Name) -> Test:
        if self._take("IS"):
            wanted = not self._take("NOT")
            self._expect("NULL")
            return lambda row: (name.read(row) is None) is wanted
        negated = self._take("NOT")
        test = self._operator(name)
        return (lambda row: _not(test(row))) if negated else test

    def _operator(self, name: _Name) -> Test:
        if self._take("IN"):
            self._only(name, "Text", "")
            self._expect("(")
            values = [self._value(name)]
            while self._take(","):
                values.append(self._value(name))
            self._expect(")")
            if name.type == "KeywordList":
                return lambda row: bool(set(name.read(row) or ()) & set(values))
            return _known(name.read, lambda found: found in values)
        if self._take("BETWEEN"):
            self._only(name, "Text", "KeywordList", "Bool")
            low = self._value(name)
            self._expect("AND")
            high = self._value(name)
            return _known(name.read, lambda found: low <= found <= high)
        if self._take("STARTS_WITH"):
            if name.type != "Keyword" or name.field == "ExecutionStatus":
                raise self._refused("another operator")
            prefix = str(self._value(name))
            return _known(name.read, lambda found: str(found).startswith(prefix))
        sign = self._next("a comparison")
        if sign not in _COMPARE:
            self._at -= 1
            raise self._refused("=, !=, <, <=, >, >=, IN, BETWEEN, STARTS_WITH or IS")
        return self._compared(name, sign)

    def _compared(self, name: _Name, sign: str) -> Test:
        value, compare = self._value(name), _COMPARE[sign]
        if name.type not in ("KeywordList", "Text"):
            return _known(name.read, lambda found: compare(found, value))
        if sign not in ("=", "!="):
            raise self._refused("= or !=")
        wanted = {value}
        if name.type == "Text":
            wanted = set(re.findall(r"\w+", value.lower()))
            if not wanted:
                raise self._refused("words")
        return lambda row: bool(set(name.read(row) or ()) & wanted) is (sign == "=")

    def _only(self, name: _Name, *refused: str) -> None:
        if name.type in refused:
            raise self._refused("another operator")

    def _value(self, name: _Name) -> Any:
        text = self._next("a value")
        quoted = text[:1] in ("'", '"')
        plain = text[1:-1].replace("''", "'") if quoted else text
        if not quoted and plain.lower() in ("true", "false"):
            if name.type != "Bool":
                raise self._refused("a value of another type")
            return plain.lower() == "true"
        if name.field == "ExecutionStatus":
            return _status(plain)
        if name.type == "Datetime":
            return _time(plain) if quoted else int(plain)
        if quoted is not (name.type in ("Keyword", "KeywordList", "Text")):
            raise InvalidQueryError(f"{text} is no value for {name.field}, of type {name.type}.")
        if quoted:
            return plain
        try:
            return float(plain) if "." in plain else int(plain)
        except ValueError:
            raise InvalidQueryError(f"{plain!r} is no value; texts are written in single quotes.") from None

    def _begins(self, word: str) -> bool:
        return self._tokens[self._at].upper() == word

    def _take(self, word: str) -> bool:
        taken = self._at < len(self._tokens) and self._begins(word)
        self._at += taken
        return taken

    def _expect(self, word: str) -> None:
        if not self._take(word):
            raise self._refused(word)

    def _next(self, what: str) -> str:
        if self._at >= len(self._tokens):
            raise self._refused(what)
        self._at += 1
        return self._tokens[self._at - 1]

    def _refused(self, what: str) -> MalformedQueryError:
        found = repr(self._tokens[self._at]) if self._at < len(self._tokens) else "the end"
        return MalformedQueryError(f"The list filter {self._query!r} has {found} where {what} is due.")


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


def _not(value: bool | None) -> bool | None:
    return None if value is None else not value


def _either(values: list[bool | None]) -> bool | None:
    return True if True in values else None if None in values else False


def _known(read: Read, test: Callable[[Any], bool]) -> Test:
    """A comparison with nothing is neither true nor false."""

    def compared(row: Summary) -> bool | None:
        found = read(row)
        return None if found is None else test(found)

    return compared


def _find(name: str, scope: Scope) -> _Name | None:
    if name in scope.attributes and name not in SYSTEM and name not in PREDEFINED:
        return _Name(name, scope.attributes[name], _custom(name, scope.attributes[name]))
    fields = (scope.aliases.get(name, name), f"Temporal{name}", name.removeprefix("Temporal"))
    for field_ in ("WorkflowId",) if name == "ScheduleId" else fields:
        if field_ in SYSTEM:
            return _Name(field_, SYSTEM[field_], _FIELDS[field_])
        if field_ in PREDEFINED:
            read = _FIELDS.get(field_) or _custom(field_, PREDEFINED[field_])
            return _Name(field_, PREDEFINED[field_], _pinned(field_, read))
    return None


def _pinned(name: str, read: Read) -> Read:
    """A definition version shows as a worker deployment, where none said anything."""
    if name == "TemporalWorkerDeployment":
        return lambda row: read(row) or (row.workflow_type if row.version else None)
    if name == "TemporalWorkerDeploymentVersion":
        return lambda row: read(row) or (f"{row.workflow_type}:{row.version}" if row.version else None)
    return read


def _custom(name: str, type_: str) -> Read:
    def read(row: Summary) -> Any:
        if row.search_attributes is None or name not in row.search_attributes.indexed_fields:
            return None
        found = json.loads(row.search_attributes.indexed_fields[name].data)
        if type_ == "KeywordList":
            return found
        if isinstance(found, list) and len(found) == 1:
            found = found[0]
        if found is not None and type_ == "Datetime":
            return _time(found)
        return re.findall(r"\w+", found.lower()) if found is not None and type_ == "Text" else found

    return read


def _status(name: str) -> int:
    for key, value in WorkflowExecutionStatus.items():
        if str(value) == name or (
            key.removeprefix("WORKFLOW_EXECUTION_STATUS_").replace("_", "").lower()
            == name.upper().removeprefix("WORKFLOW_EXECUTION_STATUS_").replace("_", "").lower()
        ):
            return int(value)
    raise InvalidQueryError(f"ExecutionStatus has no value {name!r}.")


def _time(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise InvalidQueryError(f"{text!r} is no time; write it as '2026-01-31T12:00:00Z'.") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1000
