"""Going back in a run, and holding it: what `Run.reset`, `Run.pause` and `Run.resume` ask of the service.

A reset takes a workflow task's end for its point. People think of other events ("again from where this activity was scheduled"),
so that any event stands for the last workflow task that ended at it or before.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING

from perdure.errors import RunError

if TYPE_CHECKING:
    from temporalio.api.history.v1 import HistoryEvent
    from temporalio.client import Client


def point(events: Sequence[HistoryEvent], event: int | None, to: str) -> int:
    """The id of the workflow task's end to go back to.

    Raises:
        RunError: there is no such point.
    """
    from temporalio.api.enums.v1 import EventType

    completed = [e for e in events if e.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED]
    failed = (EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED, EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT)
    if event is not None:
        if not isinstance(event, int):
            raise RunError(
                f"{event!r} is no event's number.",
                'Give a number of run.history(), or to="first" or to="last".',
            )
        if not 1 <= event <= len(events):
            raise RunError(f"There is no event {event}; the history has {len(events)}.")
        ends = [e for e in events if e in completed or e.event_type in failed]
        found = [e.event_id for e in ends if e.event_id <= event][-1:]
    elif to in ("first", "last"):
        found = [e.event_id for e in (completed[:1] if to == "first" else completed[-1:])]
    else:
        raise RunError(f"to={to!r} is no point to go back to.", 'Say "first" or "last", or name an event.')
    if not found:
        where = f"before event {event}" if event is not None else "yet"
        raise RunError(f"No workflow task has ended {where}, so there is nothing to go back to.")
    return int(found[0])


async def reset(
    client: Client, workflow_id: str, run_id: str, event: int | None, to: str, reason: str
) -> str:
    """Resets a run; returns the new run's id."""
    from temporalio.api.common.v1 import WorkflowExecution
    from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest

    handle = client.get_workflow_handle(workflow_id, run_id=run_id or None)
    events = [event async for event in handle.fetch_history_events()]
    request = ResetWorkflowExecutionRequest(
        namespace=client.namespace,
        workflow_execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id),
        workflow_task_finish_event_id=point(events, event, to),
        reason=reason,
        request_id=str(uuid.uuid4()),
    )
    response = await client.workflow_service.reset_workflow_execution(request)
    return response.run_id


async def pause(client: Client, workflow_id: str, run_id: str, reason: str) -> None:
    from temporalio.api.workflowservice.v1 import PauseWorkflowExecutionRequest

    request = PauseWorkflowExecutionRequest(**_asked(client, workflow_id, run_id, reason))
    await client.workflow_service.pause_workflow_execution(request)


async def resume(client: Client, workflow_id: str, run_id: str, reason: str) -> None:
    from temporalio.api.workflowservice.v1 import UnpauseWorkflowExecutionRequest

    request = UnpauseWorkflowExecutionRequest(**_asked(client, workflow_id, run_id, reason))
    await client.workflow_service.unpause_workflow_execution(request)


def _asked(client: Client, workflow_id: str, run_id: str, reason: str) -> dict[str, str]:
    """What both requests say."""
    return {
        "namespace": client.namespace,
        "workflow_id": workflow_id,
        "run_id": run_id,
        "reason": reason,
        "identity": client.identity,
        "request_id": str(uuid.uuid4()),
    }
