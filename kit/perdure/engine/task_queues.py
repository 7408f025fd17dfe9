"""What matching works on: the names of task queues, what is offered, who polls, what is remembered of a queue. Values only."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from temporalio.api.deployment.v1 import WorkerDeploymentOptions

from perdure.engine.backlog import NORMAL, Backlog, Level, Rank
from perdure.engine.pace import Pace, Tempo

if TYPE_CHECKING:
    import asyncio

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
    rank: Rank = NORMAL
    level: Level | None = None
    offered_time: int = 0
    version: str = ""  # of the worker deployment that it is meant for, for statistics
    scaling: int = 0  # what the worker that takes it is advised; see `scaling`

    def __lt__(self, other: Offer) -> bool:
        return False  # levels differ; heaps ask only if they did not


@dataclass(eq=False, slots=True)
class PollRequest:
    """Who polls. `accepts`: whether it takes offers of a group. `rate`: the most tasks per second that it asks for, if it does."""

    identity: str
    instance: str  # the worker's instance key; a process may have several workers
    accepts: Callable[[Hashable], bool]
    options: WorkerDeploymentOptions | None = None
    rate: float | None = None


@dataclass(slots=True)
class Seen:
    """A poller as the queue remembers it."""

    identity: str
    time: int
    rate: float | None
    options: WorkerDeploymentOptions | None


@dataclass(eq=False, slots=True)
class Poller:
    request: PollRequest
    future: asyncio.Future[Offer | None]


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """What an operator set for a queue; see `queue_config`."""

    rate: float | None = None
    rate_per_key: float | None = None
    weights: dict[str, float] = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class TaskQueue:
    key: QueueKey
    backlog: Backlog[Offer] = field(default_factory=Backlog)
    pollers: dict[Poller, None] = field(default_factory=dict)  # waiting, the longest first
    seen: dict[tuple[str, str, str], Seen] = field(default_factory=dict)  # the last one last
    limits: QueueLimits = QueueLimits()
    pace: Pace = field(default_factory=Pace)
    paces: dict[str, Pace] = field(default_factory=dict)  # by fairness key, where each has its limit
    added: dict[tuple[str, int], Tempo] = field(default_factory=dict)  # by version and priority
    dispatched: dict[tuple[str, int], Tempo] = field(default_factory=dict)
    hints: Pace = field(default_factory=Pace)

    def weight(self, rank: Rank) -> float:
        return self.limits.weights.get(rank.fairness_key, rank.weight)
