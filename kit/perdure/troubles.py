"""What keeps a run from going on, said to whoever waits for it without its picture.

A workflow whose code fails waits for a fix, one that no worker knows waits for a worker, an activity with a
bug is tried again and again: without a word, a cell that waits for such a run would seem to hang. So a wait
looks at its run after a moment, and now and then. It asks for the description, which costs next to nothing;
only when this looks like trouble is the history read, and judged as the picture judges it.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from temporalio.api.enums.v1 import PendingActivityState, PendingWorkflowTaskState
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionResponse
from temporalio.client import RPCError

from perdure.engine.errors import ServiceError
from perdure.errors import PerdureError
from perdure.history.asking import described
from perdure.view import timeline

if TYPE_CHECKING:
    from perdure.run_handle import Run

_LOOKS = (1.0, 3.0)  # seconds before the first looks
_PAUSE = 10.0  # and between the later ones
_MANY = 3  # failed attempts of an activity that may be more than bad luck


async def heed(run: Run, show: Callable[[str, str], None]) -> None:
    """Shows each trouble of `run` once, until it is cancelled. On the session's loop."""
    told: set[str] = set()
    for pause in itertools.chain(_LOOKS, itertools.repeat(_PAUSE)):
        await asyncio.sleep(pause)
        said, remedy = await trouble(run) or ("", "")
        cause = remedy + said.partition(": ")[2]  # what stands before tells of numbers and times
        if said and cause not in told:
            told.add(cause)
            show("stderr", f"perdure: {run.id}: {said}\n  → {remedy}\n")


async def trouble(run: Run) -> tuple[str, str] | None:
    """What keeps `run` from going on, and what to do; None when nothing does, or nobody can tell now."""
    try:
        client, project = run.session.client, run.session.project
        if not may_be_stuck(await described(client, run.id, run.run_id)):
            return None
        line = timeline(await project.read_run(run.id, run.run_id), time.time_ns())
    except (RPCError, ServiceError, PerdureError):
        return None
    return (line.verdict, line.remedy) if line.remedy else None


def may_be_stuck(described: DescribeWorkflowExecutionResponse) -> bool:
    """Whether the workflow's code fails or has no worker, or an activity failed often, or none has a worker."""
    task, activities = described.pending_workflow_task, described.pending_activities
    if task.attempt > 1 or task.state == PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_SCHEDULED:
        return True
    if any(each.attempt > _MANY for each in activities):
        return True
    queued = PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
    return bool(activities) and all(each.attempt <= 1 and each.state == queued for each in activities)
