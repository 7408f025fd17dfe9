"""What perdure's own processes ask of the engine beside Temporal's API: definitions, leases, live changes, SQL.

A *process* is a kernel, a papermill run or a `perdure worker`, named by the identity string that its SDK workers poll with. While
it attends it holds a lease: the stream ends when the process does, however it dies, and its running activity attempts are then
ended as lost and tried again at once, instead of after their timeout.

A process declares the definitions that it can run. A task goes only to a poller that can run it:
workflow tasks of a pinned run to processes that declared that type in that version; activity tasks to processes that declared the
type, those that also declared the run's workflow version first. Pollers with an identity that never attended
(plain SDK workers) get any task of their queue, as in Temporal.

`LocalProject` (engine/local_project.py) is the implementation beside the engine; `RemoteProject` (frontend/remote.py)
forwards to it over gRPC.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from perdure.engine.records import Definition, Output, RunRecords

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Adopt:
    """Definitions that open runs need and no attending process has declared: load and declare them, if you can."""

    definitions: tuple[Definition, ...]


@dataclass(frozen=True, slots=True)
class Reload:
    """A run was moved to another version: forget cached workflow instances."""

    run_id: str


Notice: TypeAlias = Adopt | Reload


class Project(Protocol):
    def attend(self, process: str, *, adopts: bool) -> AsyncIterator[Notice]:
        """Takes the lease of `process`, held until the iterator is closed. `adopts`: it may be given `Adopt` notices."""
        ...

    async def declare(self, process: str, definitions: Sequence[Definition]) -> None:
        """Keeps new versions in the file (returns after the commit) and replaces what `process` can run by `definitions`."""
        ...

    async def definitions(self) -> list[Definition]:
        """Every definition version in the file, oldest first."""
        ...

    async def pinned(self, run_id: str) -> str:
        """The definition version a run is pinned to; "" if it is not pinned."""
        ...

    async def read_run(self, workflow_id: str, run_id: str = "") -> RunRecords:
        """All records of a run (the newest run of the id when `run_id` is ""). Raises ServiceError NOT_FOUND."""
        ...

    async def output(self, lines: Sequence[Output]) -> None:
        """Keeps text printed by activities; passes it on to `watch`ers."""
        ...

    def watch(self, workflow_id: str, run_id: str = "") -> AsyncIterator[tuple[Output, ...]]:
        """Yields once at first and then after each committed change of the run (bursts coalesced), with the output lines that are
        new since the last item; ends when the run is closed and everything was yielded."""
        ...

    async def sql(self, query: str) -> pd.DataFrame:
        """Runs one read-only query over the file. Raises QueryError."""
        ...
