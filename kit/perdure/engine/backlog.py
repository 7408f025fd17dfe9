"""What waits in a task queue, in the order in which it is served.

Lower priority keys go first. Within a priority, fairness keys take turns by weight (`FairOrder`); tasks of one key keep the order in
which they came. Tasks lie in groups of those that the same pollers accept, one heap for each, so that a poll looks at the head of
each group and never at the tasks behind it. A task that has gone stale meanwhile is dropped when it comes to the head.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

DEFAULT_PRIORITY = 3
LOWEST_PRIORITY = 5


@dataclass(frozen=True, slots=True)
class Rank:
    """What the order of a task depends on. Priority 0 is the engine's own, for queries."""

    priority: int = DEFAULT_PRIORITY
    fairness_key: str = ""
    weight: float = 1.0


NORMAL = Rank()


class Level(NamedTuple):
    """A task's place: compared from left to right."""

    priority: int
    round: float
    number: int


class FairOrder:
    """Gives every fairness key of a priority its share: start-time fair queueing.

    Each task of a key starts a stride after the one before, and the stride is the shorter the more the key weighs. A key that
    comes late starts where the service stands, so that nobody saves up turns.
    """

    def __init__(self) -> None:
        self._served: dict[int, float] = {}
        self._next: dict[tuple[int, str], float] = {}
        self._number = 0

    def place(self, rank: Rank) -> Level:
        key = (rank.priority, rank.fairness_key)
        start = max(self._served.get(rank.priority, 0.0), self._next.get(key, 0.0))
        self._next[key] = start + 1 / rank.weight
        self._number += 1
        return Level(rank.priority, start, self._number)

    def serve(self, level: Level) -> None:
        self._served[level.priority] = max(self._served.get(level.priority, 0.0), level.round)

    def clear(self) -> None:
        """Nothing waits: everyone starts anew."""
        self._served.clear()
        self._next.clear()


class Waiting(Protocol):
    """A task that can wait in a backlog."""

    level: Level | None

    @property
    def valid(self) -> Callable[[], bool]: ...

    @property
    def rank(self) -> Rank: ...


W = TypeVar("W", bound=Waiting)


class Backlog(Generic[W]):
    """The waiting tasks of one queue."""

    def __init__(self) -> None:
        self._groups: dict[Hashable, list[tuple[Level, W]]] = {}
        self._held: dict[str, deque[tuple[Hashable, Level, W]]] = {}  # by fairness key: over its rate limit
        self._order = FairOrder()
        self._count = 0

    def __len__(self) -> int:
        """How many wait, those gone stale included."""
        return self._count

    def add(self, group: Hashable, task: W) -> None:
        """Puts a task in its place; one that was here before has kept it."""
        if task.level is None:
            task.level = self._order.place(task.rank)
        heapq.heappush(self._groups.setdefault(group, []), (task.level, task))
        self._count += 1

    def take(self, accepts: Callable[[Hashable], bool], may_go: Callable[[W], bool]) -> W | None:
        """The first task of an accepted group. One that `may_go` refuses is held back until its fairness key is released."""
        while True:
            best = self._first(accepts)
            if best is None:
                if not self._count:
                    self._order.clear()
                return None
            level, task = heapq.heappop(self._groups[best])
            if not may_go(task):
                self._held.setdefault(task.rank.fairness_key, deque()).append((best, level, task))
                continue
            self._count -= 1
            self._order.serve(level)
            return task

    def _first(self, accepts: Callable[[Hashable], bool]) -> Hashable | None:
        best, best_level = None, None
        for group in list(self._groups):
            heap = self._groups[group]
            while heap and not heap[0][1].valid():
                heapq.heappop(heap)
                self._count -= 1
            if not heap:
                del self._groups[group]
            elif (best_level is None or heap[0][0] < best_level) and accepts(group):
                best, best_level = group, heap[0][0]
        return best

    def held_keys(self) -> list[str]:
        return list(self._held)

    def release(self, fairness_key: str) -> None:
        """The next task of a fairness key that was over its limit may be looked at again."""
        held = self._held[fairness_key]
        group, level, task = held.popleft()
        if not held:
            del self._held[fairness_key]
        heapq.heappush(self._groups.setdefault(group, []), (level, task))

    def __iter__(self) -> Iterator[tuple[Hashable, W]]:
        for group, heap in self._groups.items():
            for _, task in heap:
                yield group, task
        for held in self._held.values():
            for group, _, task in held:
                yield group, task

    def rebuild(self, group_of: Callable[[W], Hashable]) -> None:
        """Drops what is stale, and groups the rest anew: what decides acceptance has changed."""
        tasks = [task for _, task in self]
        self._groups.clear()
        self._held.clear()
        self._count = 0
        for task in tasks:
            if task.valid():
                self.add(group_of(task), task)
