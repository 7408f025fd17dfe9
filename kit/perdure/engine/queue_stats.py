"""How much waits in a task queue, for how long, and how fast tasks come and go: whole, by priority, by version. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from temporalio.api.taskqueue.v1 import TaskQueueStats

from perdure.engine.backlog import DEFAULT_PRIORITY
from perdure.engine.protos import duration
from perdure.engine.task_queues import Offer, TaskQueue


@dataclass(frozen=True, slots=True)
class Stats:
    whole: TaskQueueStats
    by_priority: dict[int, TaskQueueStats]


def stats(queue: TaskQueue, waiting: Iterable[Offer], now: int, version: str | None = None) -> Stats:
    """Of a queue, or of what is meant for one version in it ("": for workers without one). `waiting`: its backlog."""
    offers = [offer for offer in waiting if version is None or offer.version == version]
    tempos = {key for key in (*queue.added, *queue.dispatched) if version in (None, key[0])}
    priorities = sorted({DEFAULT_PRIORITY, *(p for _, p in tempos), *(o.rank.priority for o in offers)} - {0})
    by_priority = {}
    for priority in priorities:
        keys = [key for key in tempos if key[1] == priority]
        of_priority = [offer for offer in offers if offer.rank.priority == priority]
        if keys or of_priority or len(priorities) == 1:
            by_priority[priority] = _stats(queue, of_priority, keys, now)
    return Stats(_stats(queue, offers, tempos, now), by_priority)


def _stats(
    queue: TaskQueue, offers: list[Offer], keys: Collection[tuple[str, int]], now: int
) -> TaskQueueStats:
    oldest = min((offer.offered_time for offer in offers), default=now)
    return TaskQueueStats(
        approximate_backlog_count=len(offers),
        approximate_backlog_age=duration(now - oldest),
        tasks_add_rate=sum(queue.added[key].rate(now) for key in keys if key in queue.added),
        tasks_dispatch_rate=sum(queue.dispatched[key].rate(now) for key in keys if key in queue.dispatched),
        rate_limiting_active=bool(offers) and queue.pace.ready(now) != now,
    )
