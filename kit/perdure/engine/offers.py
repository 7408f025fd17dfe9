"""What the runs' state says that workers should do, put before them: offers in the task queues.

An offer holds as long as the task or the attempt that it was made for is still the pending one, which its stamp tells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.engine.priorities import inherited, rank
from perdure.engine.state import RUNNING, Execution
from perdure.engine.task_queues import Offer, QueueKey
from perdure.engine.turn import OfferActivity, OfferTask
from perdure.engine.workflow_tasks import unstick

if TYPE_CHECKING:
    from perdure.engine.engine import Engine


class Offers:
    """Makes the offers of an engine's runs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def make(self, ex: Execution, effect: OfferTask | OfferActivity) -> None:
        if isinstance(effect, OfferActivity):
            self._activity(ex, effect.scheduled_id)
        else:
            self._task(ex)

    def _task(self, ex: Execution) -> None:
        engine, task = self._engine, ex.task
        if task is None or task.started or not ex.open:
            return
        key = QueueKey(ex.namespace, task.queue, "workflow")
        since = engine.clock.now() - engine.limits.sticky_poller_memory
        if task.sticky and (not engine.matching.attended(key, since) or engine.routing.astray(ex)):
            turn = engine.turn_of(ex)
            unstick(turn)
            engine.commit(turn)
            return
        stamp = task.stamp

        def valid() -> bool:
            now = ex.task
            return now is not None and not now.started and now.stamp == stamp

        engine.adopt("workflow", ex.workflow_type, ex.version)
        engine.matching.offer(key, Offer("workflow", ex.run_id, task.scheduled_id, valid, rank(ex.priority)))

    def _activity(self, ex: Execution, scheduled_id: int) -> None:
        activity = ex.activities.get(scheduled_id)
        if activity is None or activity.started or ex.status != RUNNING:
            return
        stamp = activity.stamp

        def valid() -> bool:
            now = ex.activities.get(scheduled_id)
            return ex.status == RUNNING and now is not None and not now.started and now.stamp == stamp

        self._engine.adopt("activity", activity.attributes.activity_type.name, "")
        key = QueueKey(ex.namespace, activity.attributes.task_queue.name, "activity")
        place = rank(inherited(ex.priority, activity.attributes.priority))
        self._engine.matching.offer(key, Offer("activity", ex.run_id, scheduled_id, valid, place))
