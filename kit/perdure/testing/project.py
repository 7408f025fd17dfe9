"""A project for one test: a temporary folder, the real engine and worker, and a clock that jumps.

    with perdure.testing.session():
        run = reminder.start("pay", id="r-1")      # sleeps for 30 days, in the workflow
        assert run.result() == "sent"              # at once

Time jumps only while someone waits for a result: between two lines of a test it passes as it really does,
so that a signal can still be sent before the timer that it races with.
"""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from perdure.authoring.registry import Registry
from perdure.engine.clock import Clock
from perdure.engine.journal import Journal
from perdure.engine.limits import DEFAULT, Limits
from perdure.engine.records import Record
from perdure.frontend.stored import StoredEngine, stored_engine
from perdure.session import Session, use
from perdure.store import Store
from perdure.testing.clock import JumpingClock
from perdure.testing.flights import Flights


@contextmanager
def session(
    path: str | Path | None = None, *, jumping: bool = True, registry: Registry | None = None
) -> Iterator[Session]:
    """The default session of this process, inside: on a new file, with time that jumps.

    Args:
        path: the project's folder or file; None is a temporary folder, which is removed afterwards.
        jumping: False leaves time as it is.
        registry: the definitions that it runs; None is the process's own.
    """
    with tempfile.TemporaryDirectory(prefix="perdure-", ignore_cleanup_errors=True) as folder:
        flights = Flights()
        clock = JumpingClock(None, running=True, flights=flights if jumping else None)
        with clock.held():
            opened = Session(path or folder, registry=registry, open_engine=watched(clock, flights))
            if jumping:
                opened.awaiting = clock.released
            before = use(opened)
            try:
                yield opened
            finally:
                use(before)
                opened.close()


def watched(
    clock: Clock, flights: Flights, limits: Limits = DEFAULT
) -> Callable[[Path], Awaitable[StoredEngine]]:
    """How an engine is opened whose clock knows what is in flight."""

    def observe(records: Sequence[Record]) -> None:
        flights.observe(records)
        if isinstance(clock, JumpingClock):
            clock.stir()

    return stored_engine(clock, limits, lambda store: cast(Journal, _Watched(store, observe)))


class _Watched:
    """A journal whose appends are seen."""

    def __init__(self, journal: Store, observe: Callable[[Sequence[Record]], None]) -> None:
        self._journal = journal
        self._observe = observe

    def append(self, records: Sequence[Record]) -> int:
        ticket = self._journal.append(records)
        self._observe(records)
        return ticket

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)
