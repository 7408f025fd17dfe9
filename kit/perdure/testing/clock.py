"""A clock that jumps to the next due time when all is idle, so that no test sleeps.

The engine sleeps in `sleep_until`. A jump happens when nobody holds the clock, no task is in flight
(`perdure.testing.flights`), and the loop has had some turns without anything new: worker threads and their
sockets are covered by the count of tasks in flight, coroutines of the engine's loop by the turns. Then the
clock moves to the earliest time that any sleeper waits for.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from perdure.testing.flights import Flight, Flights

NEW_YEAR_2026 = 1_767_225_600_000_000_000
_TURNS = 25  # of the loop, without news, before a jump: an answer to one event needs a handful
_PATIENCE = 1.0  # real seconds that a task may lie untaken while time is made to pass


class JumpingClock:
    """Time for tests.

    Args:
        start: the first time that it shows, in nanoseconds since the epoch; None is now.
        running: whether real time also passes between jumps.
        flights: tells which tasks are in flight; None when nothing but the engine's own loop is at work.
    """

    def __init__(
        self,
        start: int | None = 1_767_225_600_000_000_000,
        *,
        running: bool = False,
        flights: Flights | None = None,
    ) -> None:
        self._shown = time.time_ns() if start is None else start
        self._since = time.monotonic_ns() if running else None
        self._flights = flights
        self._holds = 0
        self._lock = threading.Lock()
        self._sleepers: list[int] = []
        self._stirs: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self.jumps = 0

    def now(self) -> int:
        return self._shown if self._since is None else self._shown + time.monotonic_ns() - self._since

    def advance(self, nanoseconds: int) -> None:
        """Moves the clock on, whoever is busy or holds it."""
        with self._lock:
            self._shown += nanoseconds
        self.stir()

    def hold(self) -> None:
        """No jumps from here on, until the matching `release`."""
        self._hold(1)

    def release(self) -> None:
        """Takes back one `hold`."""
        self._hold(-1)

    async def pass_time(self, nanoseconds: int) -> None:
        """Lets so much time pass now, stopping at each time that something is due.

        Activities that were in flight before do not hold the clock: one of them may be the caller, who says that time passes. Workflow
        tasks, and what begins on the way, are waited for.
        """
        end = self.now() + nanoseconds
        excused = {flight for flight in self._in_flight() if not flight.workflow}
        await self._settled(excused)
        while self.now() < end:
            stop = min(end, *self._sleepers) if self._sleepers else end
            with self._lock:
                self._shown += max(0, stop - self.now())
            self.stir()
            await self._settled(excused)

    @contextmanager
    def held(self) -> Iterator[None]:
        """No jumps inside; `advance` still works."""
        self._hold(1)
        try:
            yield
        finally:
            self._hold(-1)

    @contextmanager
    def released(self) -> Iterator[None]:
        """Takes back one `held`, inside."""
        self._hold(-1)
        try:
            yield
        finally:
            self._hold(1)

    def stir(self) -> None:
        """Makes sleepers look again: something they wait for may have changed. From any thread."""
        for loop, event in tuple(self._stirs):
            loop.call_soon_threadsafe(event.set)

    async def sleep_until(self, when: int | None, wake: asyncio.Event) -> None:
        stirred = asyncio.Event()
        entry = (asyncio.get_running_loop(), stirred)
        self._stirs.add(entry)
        if when is not None:
            self._sleepers.append(when)
        try:
            while not wake.is_set() and (when is None or self.now() < when):
                if when is not None and await self._stays_idle(wake) and not wake.is_set():
                    self._jump()
                    continue
                stirred.clear()
                await self._first(wake, stirred, when)
        finally:
            self._stirs.discard(entry)
            if when is not None:
                self._sleepers.remove(when)

    def _hold(self, change: int) -> None:
        with self._lock:
            self._holds += change
        self.stir()

    def _idle(self) -> bool:
        return self._holds <= 0 and (self._flights is None or self._flights.count(self.now()) == 0)

    def _in_flight(self) -> set[Flight]:
        return self._flights.under_way(self.now()) if self._flights else set()

    async def _settled(self, excused: set[Flight]) -> None:
        """Returns when what has begun has ended; or nobody has taken it for a while: nobody may be there."""
        patience = time.monotonic() + _PATIENCE
        changes = -1
        quiet = 0
        while quiet < _TURNS:
            await asyncio.sleep(0)
            quiet += 1
            flying = self._in_flight() - excused
            seen = self._flights.changes if self._flights else 0
            if seen != changes:
                changes, quiet, patience = seen, 0, time.monotonic() + _PATIENCE
            elif flying and (any(flight.taken for flight in flying) or time.monotonic() < patience):
                quiet = 0
                await asyncio.sleep(0.005)

    async def _stays_idle(self, wake: asyncio.Event) -> bool:
        changes = self._flights.changes if self._flights else 0
        for _ in range(_TURNS):
            if wake.is_set() or not self._idle():
                return False
            await asyncio.sleep(0)
        return self._idle() and changes == (self._flights.changes if self._flights else 0)

    def _jump(self) -> None:
        with self._lock:
            ahead = min(self._sleepers) - self.now()
            if ahead > 0:
                self._shown += ahead
                self.jumps += 1
        self.stir()

    async def _first(self, wake: asyncio.Event, stirred: asyncio.Event, when: int | None) -> None:
        """Returns when either event is set, or, on a running clock, when `when` has come."""
        delay = None
        if self._since is not None and when is not None:
            delay = max(0.0, (when - self.now()) / 1e9)
        waiters = [asyncio.ensure_future(event.wait()) for event in (wake, stirred)]
        try:
            await asyncio.wait(waiters, timeout=delay, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiter in waiters:
                waiter.cancel()
