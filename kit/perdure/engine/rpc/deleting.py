"""Deleting runs: history, attempts, and their rows in lists. TEMPORAL.md, section 1.2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from temporalio.api.workflowservice.v1 import (
    DeleteWorkflowExecutionRequest,
    DeleteWorkflowExecutionResponse,
)

from perdure.engine.closing import terminate_run
from perdure.engine.journal import Scope
from perdure.engine.records import ExecutionDeleted
from perdure.engine.rpc.common import Handlers, find_run
from perdure.engine.runs import Run

if TYPE_CHECKING:
    from perdure.engine.engine import Engine

_REASON: Final = "Delete workflow execution"
_EVERYTHING: Final = "TemporalNamespaceDivision IS NULL OR TemporalNamespaceDivision IS NOT NULL"


def delete(engine: Engine, run: Run) -> int:
    """Deletes a run, which is terminated first if it is open; returns the ticket of the commit."""
    turn = engine.turn(run)
    if run.ex.open:
        terminate_run(turn, _REASON, None, "history-service")
    turn.records.append(ExecutionDeleted(run.ex.run_id, turn.now))
    ticket = engine.commit(turn)
    engine.runs.forget(run)
    return ticket


async def delete_execution(engine: Engine, run: Run) -> None:
    """Deletes a run for good: returns when nothing of it is left, and its workflow id is free if it was the last."""
    ex = run.ex
    await engine.journal.durable(delete(engine, run))
    await engine.runs.forget_id(ex.namespace, ex.workflow_id, ex.division)


async def delete_all(engine: Engine, namespace: str) -> None:
    """Deletes every run of a namespace, of whatever division, and its schedules first."""
    engine.scheduler.delete_all(namespace)
    scope = Scope(namespace)
    while rows := (
        await engine.journal.list_executions(scope, _EVERYTHING, engine.limits.visibility_page)
    ).rows:
        ticket = 0
        for row in rows:
            if run := await engine.runs.get(namespace, row.workflow_id, row.run_id, row.division):
                ticket = delete(engine, run)
        if not ticket:
            return
        await engine.journal.durable(ticket)
        for key in {(row.workflow_id, row.division) for row in rows}:
            await engine.runs.forget_id(namespace, *key)


async def delete_workflow_execution(
    engine: Engine, request: DeleteWorkflowExecutionRequest, metadata: Mapping[str, str]
) -> DeleteWorkflowExecutionResponse:
    await delete_execution(engine, await find_run(engine, request.namespace, request.workflow_execution))
    return DeleteWorkflowExecutionResponse()


HANDLERS: Handlers = {"DeleteWorkflowExecution": delete_workflow_execution}
