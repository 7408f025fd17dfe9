"""Task queues: what is offered meets who polls. TEMPORAL.md, sections 7.3 and 22.

A queue is (namespace, name, kind). An offer goes to the longest-waiting poller that accepts it, else into the backlog (`backlog`);
a poll takes the first task of the backlog that it accepts. What decides acceptance is the offer's *group*: the engine's `routing`
says which group an offer is of, and which groups a poller accepts. Offers may go stale (the run closed, a timeout came first):
`valid` is asked at the moment of the match. Nothing here is durable: recovery offers again what the runs' state says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from functools import partial

from perdure.engine import scaling
from perdure.engine.alarms import Alarms
from perdure.engine.backlog import Rank
from perdure.engine.clock import Clock
from perdure.engine.pace import Pace, Tempo
from perdure.engine.protos import SECOND
from perdure.engine.task_queues import Offer, Poller, PollRequest, QueueKey, QueueLimits, Seen, TaskQueue

_PACES = 2000  # limits of fairness keys that are kept; beyond it, of those that are used
_REMEMBERED = 300 * SECOND  # how long a poller is told of after its last poll


class Matching:
    """All task queues of the engine. Lives on one loop; no locks."""

    def __init__(self, clock: Clock, alarms: Alarms, group_of: Callable[[Offer, QueueKey], Hashable]) -> None:
        self._now = clock.now
        self._alarms = alarms
        self._group_of = group_of
        self._queues: dict[QueueKey, TaskQueue] = {}
        self._sweep_at = 64
        self._shut_down: set[str] = set()  # instance keys of workers that said goodbye
        self._limits: dict[QueueKey, QueueLimits] = {}

    def queue(self, key: QueueKey) -> TaskQueue:
        queue = self._queues.get(key)
        if queue is None:
            if len(self._queues) >= self._sweep_at:
                self._sweep()
            queue = self._queues[key] = TaskQueue(key, limits=self._limits.get(key, QueueLimits()))
            queue.pace.change(queue.limits.rate, self._now())
        return queue

    def _sweep(self) -> None:
        """Forgets queues that nobody uses: every worker has a sticky queue of its own."""
        old = self._now() - _REMEMBERED
        for key, queue in list(self._queues.items()):
            recent = any(seen.time >= old for seen in queue.seen.values())
            if not recent and not queue.pollers and not len(queue.backlog):
                del self._queues[key]
        self._sweep_at = max(64, 2 * len(self._queues))

    # --- offers

    def offer(self, key: QueueKey, offer: Offer) -> None:
        queue = self.queue(key)
        group = self._group_of(offer, key)
        if not offer.offered_time:
            offer.offered_time = self._now()
            self._count(queue.added, offer)
        if queue.pace.rate is None and queue.limits.rate_per_key is None:
            for poller in queue.pollers:
                if not poller.future.done() and poller.request.accepts(group):
                    self._count(queue.dispatched, offer)
                    poller.future.set_result(offer)
                    return
            self._enqueue(queue, group, offer)
        else:
            self._enqueue(queue, group, offer)
            self._serve(queue)

    def _count(self, tempos: dict[tuple[str, int], Tempo], offer: Offer) -> None:
        now = self._now()
        key = (offer.version, offer.rank.priority)
        tempo = tempos.get(key)
        if tempo is None:
            tempo = tempos[key] = Tempo(now)
        tempo.count(now)

    @staticmethod
    def _enqueue(queue: TaskQueue, group: Hashable, offer: Offer) -> None:
        if queue.limits.weights and offer.level is None:
            offer.rank = Rank(offer.rank.priority, offer.rank.fairness_key, queue.weight(offer.rank))
        queue.backlog.add(group, offer)

    async def poll(self, key: QueueKey, request: PollRequest, seconds: float) -> Offer | None:
        """The next offer for this poller; None after `seconds`, or when its polls are ended."""
        if request.instance in self._shut_down:
            return None
        queue = self.queue(key)
        self._see(queue, request)
        if key.kind == "activity":
            self._set_pace(queue, request.rate)
        if (offer := self._take(queue, request.accepts)) is not None:
            return self._advise(queue, offer)
        begun = self._now()
        poller = Poller(request, asyncio.get_running_loop().create_future())
        queue.pollers[poller] = None
        self._wait(queue)
        try:
            async with asyncio.timeout(seconds):
                offer = await poller.future
                return offer and self._advise(queue, offer, begun)
        except TimeoutError:
            return self._left(poller)
        except asyncio.CancelledError:
            if (offer := self._left(poller)) is not None:
                self.offer(key, offer)  # the caller is gone; someone else takes it
            raise
        finally:
            del queue.pollers[poller]
            if request.instance not in self._shut_down:
                self._see(queue, request)

    def _advise(self, queue: TaskQueue, offer: Offer, begun: int | None = None) -> Offer:
        """Adds what the worker is advised about its number of polls. `begun`: when its poll did, if that had to wait."""
        now = self._now()
        idle = begun is not None and now - begun >= scaling.IDLE_POLL
        queue.hints.change(float(scaling.DECISIONS_PER_SECOND * max(1, len(queue.seen))), now)
        if not idle and queue.hints.ready(now) != now:
            return offer
        offer.scaling = scaling.hint(
            poll_waited=0 if begun is None else now - begun,
            task_waited=now - offer.offered_time,
            waiting=0 if queue.pace.ready(now) != now else len(queue.backlog),
            added=sum(tempo.rate(now) for tempo in queue.added.values()),
            dispatched=sum(tempo.rate(now) for tempo in queue.dispatched.values()),
            from_backlog=begun is None,
        )
        queue.hints.take(now)
        return offer

    @staticmethod
    def _left(poller: Poller) -> Offer | None:
        """An offer that came in the instant in which the poll ended."""
        future = poller.future
        return future.result() if future.done() and not future.cancelled() else None

    def _take(self, queue: TaskQueue, accepts: Callable[[Hashable], bool]) -> Offer | None:
        now = self._now()
        if not len(queue.backlog):
            return None
        if queue.pace.ready(now) != now:
            return None
        for fairness_key in queue.backlog.held_keys():
            if self._key_pace(queue, fairness_key).ready(now) == now:
                queue.backlog.release(fairness_key)
        offer = queue.backlog.take(accepts, partial(self._may_go, queue, now))
        if offer is not None:
            queue.pace.take(now)
            if queue.limits.rate_per_key is not None:
                self._key_pace(queue, offer.rank.fairness_key, offer.rank).take(now)
            self._count(queue.dispatched, offer)
        return offer

    def _may_go(self, queue: TaskQueue, now: int, offer: Offer) -> bool:
        if queue.limits.rate_per_key is None:
            return True
        return self._key_pace(queue, offer.rank.fairness_key, offer.rank).ready(now) == now

    def _key_pace(self, queue: TaskQueue, fairness_key: str, rank: Rank | None = None) -> Pace:
        """The limit of one fairness key: the queue's for each key, times the key's weight."""
        pace = queue.paces.get(fairness_key)
        if pace is None:
            if len(queue.paces) >= _PACES:
                now = self._now()
                queue.paces = {key: each for key, each in queue.paces.items() if each.ready(now) != now}
            weight = queue.weight(rank or Rank(fairness_key=fairness_key))
            pace = queue.paces[fairness_key] = Pace((queue.limits.rate_per_key or 0) * weight)
        return pace

    # --- rate limits

    def limit(self, key: QueueKey, limits: QueueLimits) -> None:
        """What an operator set holds from now on."""
        self._limits[key] = limits
        if queue := self._queues.get(key):
            queue.limits = limits
            queue.paces.clear()
            self._set_pace(queue, None)
            queue.backlog.rebuild(lambda offer: self._group_of(offer, key))
            self._serve(queue)

    def forget_limits(self, namespace: str) -> None:
        """The namespace is deleted, with what operators set there."""
        for key in [key for key in self._limits if key.namespace == namespace]:
            self.limit(key, QueueLimits())
            del self._limits[key]

    def _set_pace(self, queue: TaskQueue, asked: float | None) -> None:
        """The operator's limit, or else the one that the last poller asked for."""
        queue.pace.change(queue.limits.rate if queue.limits.rate is not None else asked, self._now())

    def _wait(self, queue: TaskQueue) -> None:
        """Serves those who wait as soon as a limit lets the next task through."""
        now = self._now()
        whole = queue.pace.ready(now)
        if whole is None or not len(queue.backlog) or not queue.pollers:
            return
        keys = [self._key_pace(queue, key).ready(now) for key in queue.backlog.held_keys()]
        times = [max(whole, when) for when in keys if when is not None]
        if whole > now:
            times.append(whole)
        if times:
            self._alarms.set(("task queue", queue.key), min(times), partial(self._serve, queue))

    def _serve(self, queue: TaskQueue) -> None:
        """Gives what waits to those who wait."""
        for poller in list(queue.pollers):
            if poller.future.done():
                continue
            if (offer := self._take(queue, poller.request.accepts)) is not None:
                poller.future.set_result(offer)
        self._wait(queue)

    # --- pollers

    def _see(self, queue: TaskQueue, request: PollRequest) -> None:
        now = self._now()
        options = request.options
        who = (
            (request.identity, options.deployment_name, options.build_id)
            if options
            else (request.identity, "", "")
        )
        queue.seen.pop(who, None)
        queue.seen[who] = Seen(request.identity, now, request.rate, options)
        while queue.seen:
            oldest = next(iter(queue.seen))
            if queue.seen[oldest].time >= now - _REMEMBERED:
                break
            del queue.seen[oldest]

    def pollers(self, key: QueueKey) -> list[Seen]:
        """Who polled the queue in the last five minutes, the last one first."""
        queue = self._queues.get(key)
        if queue is None:
            return []
        since = self._now() - _REMEMBERED
        waiting = {poller.request.identity for poller in queue.pollers}
        seen = [each for each in queue.seen.values() if each.time >= since or each.identity in waiting]
        return seen[::-1]

    def reconsider(self) -> None:
        """What pollers accept has changed: match the backlogs again."""
        for queue in list(self._queues.values()):
            self._serve(queue)

    def regroup(self, concerned: Callable[[QueueKey], bool]) -> None:
        """What decides acceptance has changed, in these queues: group their backlogs anew, and match them again."""
        for key, queue in list(self._queues.items()):
            if len(queue.backlog) and concerned(key):
                queue.backlog.rebuild(lambda offer, key=key: self._group_of(offer, key))  # type: ignore[misc]
                self._serve(queue)

    def waiting(self, key: QueueKey) -> list[Offer]:
        """The backlog of a queue, without what has gone stale."""
        queue = self._queues.get(key)
        if queue is None or not len(queue.backlog):
            return []
        queue.backlog.rebuild(lambda offer: self._group_of(offer, key))
        return [offer for _, offer in queue.backlog]

    def end_polls(self, instance: str, identity: str = "") -> None:
        """A worker shuts down: its waiting polls end at once, later ones find nothing, and it no longer counts as a poller."""
        if not instance:
            return
        self._shut_down.add(instance)
        for queue in self._queues.values():
            ended = False
            for poller in queue.pollers:
                if poller.request.instance == instance:
                    ended = True
                    if not poller.future.done():
                        poller.future.set_result(None)
            if ended:
                for who in [who for who in queue.seen if who[0] == identity]:
                    del queue.seen[who]

    def process_gone(self, identity: str) -> set[str]:
        """A process is gone: its polls end, it no longer counts as seen. Returns the names of the queues that it polled."""
        names = set()
        for key, queue in self._queues.items():
            for who in [who for who in queue.seen if who[0] == identity]:
                del queue.seen[who]
                names.add(key.name)
            for poller in queue.pollers:
                if poller.request.identity == identity and not poller.future.done():
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
        return queue is not None and (
            bool(queue.pollers) or any(seen.time >= since for seen in queue.seen.values())
        )
