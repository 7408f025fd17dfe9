"""What the engine needs of a store. `perdure.store.Store` is the real one (a DuckDB file);
`perdure.testing.MemoryJournal` keeps everything in a dict, for tests of the engine alone.

Writing: `append` takes records in order and gives a ticket; tickets only grow. All records of one `append` become
durable together, in the order of tickets. A reply that tells anyone that something happened awaits `durable(ticket)` first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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
    """A list filter that cannot be understood; the text names the place and the rule."""


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

    async def list_executions(
        self, namespace: str, query: str, limit: int, after: tuple[int, str] | None
    ) -> list[Summary]:
        """Runs that match a Temporal list filter ("" matches all), newest start first, then by run id.

        `after` is the (start_time, run_id) of the last row of the page before. Raises InvalidQueryError.
        """
        ...

    async def count_executions(self, namespace: str, query: str) -> list[tuple[tuple[str, ...], int]]:
        """Counts of runs that match; one row with an empty tuple, or one for each group of `GROUP BY ExecutionStatus`."""
        ...
