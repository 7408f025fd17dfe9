"""What the engine needs of a store. `perdure.store.Store` is the real one (a DuckDB file);
`perdure.testing.MemoryJournal` keeps everything in a dict, for tests of the engine alone.

Writing: `append` takes records in order and gives a ticket; tickets only grow. All records of one `append` become
durable together, in the order of tickets. A reply that tells anyone that something happened awaits `durable(ticket)` first.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from temporalio.api.common.v1 import Memo, SearchAttributes

from perdure.engine.records import Definition, Kept, Record, RunRecords


@dataclass(frozen=True, slots=True)
class Summary:
    """A run as lists show it. Times in ns since the epoch; `status` is a WorkflowExecutionStatus."""

    namespace: str
    workflow_id: str
    run_id: str
    first_run_id: str
    workflow_type: str
    task_queue: str
    status: int
    start_time: int
    execution_time: int
    close_time: int | None
    history_length: int
    history_size_bytes: int
    version: str
    parent_workflow_id: str
    parent_run_id: str
    memo: Memo | None
    search_attributes: SearchAttributes | None
    root_workflow_id: str = ""
    root_run_id: str = ""
    division: str = ""
    state_transitions: int = 0


class InvalidQueryError(ValueError):
    """A list filter that cannot be understood; the text is Temporal's, and names the rule."""


class MalformedQueryError(InvalidQueryError):
    """One that is no filter at all, whatever its names mean."""


class InvalidTokenError(ValueError):
    """A page token that was not given out for this list."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a list looks, and what its filter may name.

    `attributes`: the types of the custom search attributes. `division`: of the runs that are meant where the filter names no
    TemporalNamespaceDivision itself. `aliases`: further names for columns, such as ActivityId for WorkflowId.
    """

    namespace: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    division: str = ""
    aliases: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows of a list; `next` is the token of the page after them, b"" after the last one."""

    rows: list[Summary]
    next: bytes = b""


Place = list[str | int | float | bool | None]  # the sort keys of a row


def page_token(scope: Scope, query: str, place: Place) -> bytes:
    """The token of the page after the row at `place`; it is for this list only."""
    return json.dumps([_list_number(scope, query), place]).encode()


def read_page_token(scope: Scope, query: str, token: bytes) -> Place | None:
    """The place that a token names; None for "". Raises InvalidTokenError."""
    if not token:
        return None
    try:
        number, place = json.loads(token)
    except (ValueError, TypeError):
        raise InvalidTokenError from None
    if number != _list_number(scope, query) or not isinstance(place, list):
        raise InvalidTokenError
    return place


def _list_number(scope: Scope, query: str) -> int:
    return zlib.crc32(json.dumps([scope.namespace, scope.division, query.strip()]).encode())


class Journal(Protocol):
    def append(self, records: Sequence[Record]) -> int:
        """Queues records for the next commit. Returns their ticket. Raises StoreError after a failed commit."""
        ...

    async def durable(self, ticket: int) -> None:
        """Returns once everything up to `ticket` is on disk; at once when it is already. Raises StoreError if it never will be."""
        ...

    @property
    def committed(self) -> int:
        """The greatest ticket that is on disk."""
        ...

    def recover(self) -> Iterable[RunRecords]:
        """Every open run, with all its records, some at a time. Called once, before anything else is appended to them."""
        ...

    def definitions(self) -> list[Definition]:
        """Every definition version ever kept; the one kept last comes last."""
        ...

    def kept(self) -> list[Kept]:
        """The newest version of every document that is not a run; those that are gone left out."""
        ...

    def workflow_ids(self) -> Iterable[tuple[str, str, str]]:
        """(namespace, division, workflow_id) of every run in the file; for the engine's filter of ids never seen."""
        ...

    async def latest_run(self, namespace: str, workflow_id: str, division: str = "") -> Summary | None:
        """The newest committed run of a workflow id, open or closed."""
        ...

    async def read_run(self, run_id: str) -> RunRecords | None:
        """All committed records of a run; None if there is none."""
        ...

    async def read_runs(self, run_ids: Sequence[str]) -> dict[str, RunRecords]:
        """Likewise for many at once; those that are not there are left out."""
        ...

    def read_run_now(self, run_id: str) -> RunRecords | None:
        """Likewise, without giving way: for decisions that reach into another run in the middle of a transaction."""
        ...

    async def list_executions(self, scope: Scope, query: str, limit: int, after: bytes = b"") -> Page:
        """Runs that match a Temporal list filter ("" matches all): open ones first, then those that closed last, then by their start.

        ORDER BY in the filter gives another order. `after` is the token of the page before.
        Raises InvalidQueryError, InvalidTokenError.
        """
        ...

    async def count_executions(self, scope: Scope, query: str) -> list[tuple[tuple[str, ...], int]]:
        """Counts of runs that match; one row with an empty tuple, or one for each group of GROUP BY."""
        ...
