"""Who may take what: the groups of offers that `matching` tells apart, and which of them a poller accepts.

A poller is a perdure process, which declared what it can run; or a plain SDK worker. See `project` for the first; the second takes
any task of its queue, as in Temporal.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Literal, NamedTuple

from perdure.engine.backlog import Rank
from perdure.engine.matching import Offer, QueueKey
from perdure.engine.state import Execution

if TYPE_CHECKING:
    from perdure.engine.engine import Engine

QUERY = Rank(priority=0)


class Group(NamedTuple):
    """What decides who may take an offer.

    `version`: the definition version that the run is pinned to. `moved`: leases up to this number must not have the run.
    """

    what: Literal["workflow", "activity"]
    type: str
    workflow_type: str
    version: str
    moved: int = 0


_NOBODY = Group("workflow", "", "", "", -1)  # the run is gone


class Routing:
    """The groups of an engine's offers."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def group_of(self, offer: Offer, key: QueueKey) -> Hashable:
        run = self._engine.runs.in_memory(offer.run_id)
        if run is None:
            return _NOBODY
        ex = run.ex
        if offer.what != "activity":
            return Group("workflow", ex.workflow_type, ex.workflow_type, ex.version, run.moved)
        activity = ex.activities.get(int(offer.id))
        if activity is None:
            return _NOBODY
        return self.of_activity(ex, activity.attributes.activity_type.name)

    @staticmethod
    def of_activity(ex: Execution, activity_type: str) -> Group:
        return Group("activity", activity_type, ex.workflow_type, ex.version)

    def acceptance(self, identity: str) -> Callable[[Hashable], bool]:
        """What a poller with this identity accepts."""
        processes = self._engine.processes

        def accepts(group: Hashable) -> bool:
            if not isinstance(group, Group) or group is _NOBODY:
                return False
            if group.what == "activity":
                return processes.accepts_activity(identity, group.type, group.workflow_type, group.version)
            lease = processes.get(identity)
            if lease is not None and lease.number <= group.moved:
                return False
            return processes.accepts_workflow(identity, group.workflow_type, group.version)

        return accepts
