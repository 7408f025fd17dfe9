"""One heap for all that the engine must do at a time: runs' deadlines, schedules, and whatever else asks.

An alarm has a key; setting it again moves it. The engine sleeps until the earliest one, so that nothing ever polls.
Alarms are not durable: whoever sets one can derive it again from what is.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Hashable

from perdure.engine.clock import Clock

Ring = Callable[[], None]


class Alarms:
    """Calls back at set times. Lives on the engine's loop; no locks."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[int, int, Hashable]] = []
        self._set: dict[Hashable, tuple[int, int, Ring]] = {}  # key -> when, number, callback
        self._number = 0
        self._wake = asyncio.Event()

    def set(self, key: Hashable, when: int, ring: Ring) -> None:
        """Calls `ring` at `when` (ns), instead of what was set under this key before."""
        known = self._set.get(key)
        if known is not None and known[0] == when:
            self._set[key] = (when, known[1], ring)
            return
        self._number += 1
        self._set[key] = (when, self._number, ring)
        heapq.heappush(self._heap, (when, self._number, key))
        if self._heap[0][1] == self._number:
            self._wake.set()

    def clear(self, key: Hashable) -> None:
        self._set.pop(key, None)

    async def keep(self) -> None:
        """Rings what is due, for ever. `ring` must deal with its own errors: one that escapes ends the engine's time."""
        while True:
            self._wake.clear()
            while self._heap and self._stale():
                heapq.heappop(self._heap)
            await self._clock.sleep_until(self._heap[0][0] if self._heap else None, self._wake)
            self._ring_due()
            await asyncio.sleep(0)

    def _stale(self) -> bool:
        _, number, key = self._heap[0]
        known = self._set.get(key)
        return known is None or known[1] != number

    def _ring_due(self) -> None:
        now = self._clock.now()
        while self._heap and self._heap[0][0] <= now:
            stale = self._stale()
            _, _, key = heapq.heappop(self._heap)
            if not stale:
                self._set.pop(key)[2]()
