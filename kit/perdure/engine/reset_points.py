"""Reset points: the first workflow task that each version of a worker completed, so that a bad version's work can be undone.

`describe` shows them, and `temporal workflow reset` by build id goes by them.
"""

from __future__ import annotations

from temporalio.api.history.v1 import HistoryEvent, WorkflowExecutionStartedEventAttributes
from temporalio.api.workflow.v1 import ResetPointInfo, ResetPoints

from perdure.engine.limits import DEFAULT
from perdure.engine.protos import from_timestamp, timestamp
from perdure.engine.state import Execution


def inherited(started: WorkflowExecutionStartedEventAttributes) -> list[ResetPointInfo]:
    """Those of the runs before, in a chain."""
    return list(started.prev_auto_reset_points.points)


def add(ex: Execution, event: HistoryEvent) -> None:
    """A workflow task was completed: a point, if it is the first one of its worker's version."""
    attributes = event.workflow_task_completed_event_attributes
    checksum = attributes.binary_checksum
    build_id = attributes.worker_version.build_id or attributes.deployment_version.build_id
    if any((p.binary_checksum, p.build_id) == (checksum, build_id) for p in ex.reset_points):
        return
    point = ResetPointInfo(
        binary_checksum=checksum,
        build_id=build_id,
        run_id=ex.run_id,
        first_workflow_task_completed_id=event.event_id,
        create_time=event.event_time,
        resettable=not (ex.children or ex.cancels_out or ex.signals_out),
    )
    ex.reset_points = [*ex.reset_points, point][-DEFAULT.reset_points :]


def passed_on(ex: Execution, now: int, retention: int) -> ResetPoints:
    """What the next run of the chain gets: this run's points hold as long as its history is kept."""
    points = ResetPoints()
    for point in ex.reset_points:
        if point.HasField("expire_time") and from_timestamp(point.expire_time) < now:
            continue
        kept = points.points.add()
        kept.CopyFrom(point)
        if point.run_id == ex.run_id:
            kept.expire_time.CopyFrom(timestamp(now + retention))
    return points
