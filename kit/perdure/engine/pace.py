"""How fast a task queue may give out tasks, and how fast it does. Values and arithmetic only."""

from __future__ import annotations

from collections import deque

from perdure.engine.protos import SECOND

_BUCKET = 5 * SECOND
_WINDOW = 30 * SECOND


class Pace:
    """A rate limit with a burst of one second's worth. A rate of 0 stops everything; None lets everything through.

    Kept is only the time at which the allowance would be full again; each task moves it on by one interval.
    """

    def __init__(self, rate: float | None = None) -> None:
        self._full = 0
        self._rate = rate

    @property
    def rate(self) -> float | None:
        return self._rate

    def change(self, rate: float | None, now: int) -> None:
        """Another limit from now on. A debt run up under a slow one is forgotten."""
        if rate != self._rate:
            self._rate = rate
            self._full = min(self._full, now)

    def ready(self, now: int) -> int | None:
        """When the next task may go (now or later); None if never."""
        if self._rate is None:
            return now
        if self._rate <= 0:
            return None
        interval = int(SECOND / self._rate)
        allowance = max(interval, SECOND)
        return max(now, self._full + interval - allowance)

    def take(self, now: int) -> None:
        """A task goes."""
        if self._rate:
            self._full = max(self._full, now) + int(SECOND / self._rate)


class Tempo:
    """Events per second over the last half minute."""

    def __init__(self, now: int) -> None:
        self._since = now
        self._counts: deque[tuple[int, int]] = deque()  # (number of the five-second bucket, events)

    def count(self, now: int) -> None:
        bucket = now // _BUCKET
        if self._counts and self._counts[-1][0] == bucket:
            self._counts[-1] = (bucket, self._counts[-1][1] + 1)
        else:
            self._counts.append((bucket, 1))
            self._forget(now)

    def _forget(self, now: int) -> None:
        while self._counts and self._counts[0][0] <= (now - _WINDOW) // _BUCKET:
            self._counts.popleft()

    def rate(self, now: int) -> float:
        self._forget(now)
        seconds = max(SECOND, min(_WINDOW, now - self._since)) / SECOND
        return sum(count for _, count in self._counts) / seconds
