"""The workers of the moment, as they tell of themselves. TEMPORAL.md, section 22.

What a worker sends with its heartbeats is kept in memory, for five minutes after the last one: it says who is there now.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

from temporalio.api.enums.v1 import WorkerStatus
from temporalio.api.worker.v1 import WorkerHeartbeat

from perdure.engine.protos import SECOND
from perdure.engine.worker_filter import compile_filter

_REMEMBERED = 300 * SECOND


class Workers:
    """The last heartbeat of each worker. Lives on the engine's loop; no locks."""

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._seen: OrderedDict[tuple[str, str], tuple[int, WorkerHeartbeat]] = OrderedDict()

    def record(self, namespace: str, heartbeats: Iterable[WorkerHeartbeat]) -> None:
        """Takes over what workers say of themselves; one that has ended is forgotten."""
        for heartbeat in heartbeats:
            key = (namespace, heartbeat.worker_instance_key)
            self._seen.pop(key, None)
            if heartbeat.status != WorkerStatus.WORKER_STATUS_SHUTDOWN:
                self._seen[key] = (self._now(), heartbeat)
        self._forget()

    def _forget(self) -> None:
        old = self._now() - _REMEMBERED
        while self._seen and next(iter(self._seen.values()))[0] < old:
            self._seen.popitem(last=False)

    def get(self, namespace: str, key: str) -> WorkerHeartbeat | None:
        self._forget()
        seen = self._seen.get((namespace, key))
        return seen[1] if seen is not None else None

    def matching(self, namespace: str, query: str) -> list[WorkerHeartbeat]:
        """In the order of their keys. Raises INVALID_ARGUMENT for what is no filter."""
        matches = compile_filter(query)
        self._forget()
        found = [
            heartbeat
            for (of, _), (_, heartbeat) in self._seen.items()
            if of == namespace and matches(heartbeat)
        ]
        return sorted(found, key=lambda heartbeat: heartbeat.worker_instance_key)
