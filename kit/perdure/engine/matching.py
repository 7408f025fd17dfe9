"""Task queues: what is offered meets who polls. TEMPORAL.md, section 22.

A queue is (namespace, name, kind). An offer goes to the longest-waiting poller that accepts it, else into the backlog; a poll takes the
oldest task of the backlog that it accepts. Offers may go stale (the run closed, a timeout came first): `valid` is asked at the moment
of the match. Nothing here is durable: recovery offers again what the runs' state says.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Kind = Literal["workflow", "activity", "nexus"]


class QueueKey(NamedTuple):
    namespace: str
    name: str
    kind: Kind


@dataclass(eq=False, slots=True)
class Offer:
    """Something for a worker to do. `id`: the scheduled event's id, or the query's."""

    what: Literal["workflow", "activity", "query"]
    run_id: str
    id: int | str
    valid: Callable[[], bool]


@dataclass(eq=False, slots=True)
class Poller:
    identity: str
    instance: str  # the worker's instance key; a process may have several workers
    accepts: Callable[[Offer], bool]
    future: asyncio.Future[Offer | None]


@dataclass(slots=True)
class TaskQueue:
    backlog: deque[Offer] = field(default_factory=deque)
    pollers: list[Poller] = field(default_factory=list)
    seen: dict[str, int] = field(default_factory=dict)  # identity -> when it last polled (ns)


class Matching:
    """All task queues of the engine. Lives on one loop; no locks."""

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._queues: dict[QueueKey, TaskQueue] = {}
        self._shut_down: set[str] = set()  # instance keys of workers that said goodbye

    def queue(self, key: QueueKey) -> TaskQueue:
        return self._queues.setdefault(key, TaskQueue())

    def offer(self, key: QueueKey, offer: Offer) -> None:
        queue = self.queue(key)
        for poller in queue.pollers:
            if not poller.future.done() and poller.accepts(offer):
                poller.future.set_result(offer)
                return
        queue.backlog.append(offer)

    async def poll(
        self, key: QueueKey, identity: str, instance: str, accepts: Callable[[Offer], bool], seconds: float
    ) -> Offer | None:
        """The next offer for this poller; None after `seconds`, or when its polls are ended."""
        if instance in self._shut_down:
            return None
        queue = self.queue(key)
        queue.seen[identity] = self._now()
        if (offer := self._take(queue, accepts)) is not None:
            return offer
        poller = Poller(identity, instance, accepts, asyncio.get_running_loop().create_future())
        queue.pollers.append(poller)
        try:
            async with asyncio.timeout(seconds):
                return await poller.future
        except TimeoutError:
            return self._left(key, poller)
        except asyncio.CancelledError:
            if (offer := self._left(key, poller)) is not None:
                self.offer(key, offer)  # the caller is gone; someone else takes it
            raise
        finally:
            queue.pollers.remove(poller)
            queue.seen[identity] = self._now()

    @staticmethod
    def _left(key: QueueKey, poller: Poller) -> Offer | None:
        """An offer that came in the instant in which the poll ended."""
        return poller.future.result() if poller.future.done() and not poller.future.cancelled() else None

    @staticmethod
    def _take(queue: TaskQueue, accepts: Callable[[Offer], bool]) -> Offer | None:
        passed: list[Offer] = []
        found = None
        while queue.backlog and found is None:
            offer = queue.backlog.popleft()
            if not offer.valid():
                continue
            if accepts(offer):
                found = offer
            else:
                passed.append(offer)
        queue.backlog.extendleft(reversed(passed))
        return found

    def reconsider(self) -> None:
        """What pollers accept has changed: match the backlogs again."""
        for queue in self._queues.values():
            for poller in queue.pollers:
                if not poller.future.done() and (offer := self._take(queue, poller.accepts)) is not None:
                    poller.future.set_result(offer)

    def end_polls(self, instance: str) -> None:
        """A worker shuts down: its waiting polls end at once, later ones find nothing."""
        if not instance:
            return
        self._shut_down.add(instance)
        for queue in self._queues.values():
            for poller in queue.pollers:
                if poller.instance == instance and not poller.future.done():
                    poller.future.set_result(None)

    def process_gone(self, identity: str) -> set[str]:
        """A process is gone: its polls end, it no longer counts as seen. Returns the names of the queues that it polled."""
        names = set()
        for key, queue in self._queues.items():
            if queue.seen.pop(identity, None) is not None:
                names.add(key.name)
            for poller in queue.pollers:
                if poller.identity == identity and not poller.future.done():
                    poller.future.set_result(None)
        return names

    def forget(self, name: str) -> None:
        """A sticky queue is given up: nobody counts as polling it."""
        for key, queue in self._queues.items():
            if key.name == name:
                queue.seen.clear()
                for poller in queue.pollers:
                    if not poller.future.done():
                        poller.future.set_result(None)

    def attended(self, key: QueueKey, since: int) -> bool:
        """Whether somebody polls the queue now, or did after `since` (ns)."""
        queue = self._queues.get(key)
        return queue is not None and (bool(queue.pollers) or any(t >= since for t in queue.seen.values()))
