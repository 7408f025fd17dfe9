"""Signals the open run of a workflow id, or starts one with the signal, in one transaction. TEMPORAL.md, section 12."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from temporalio.api.enums.v1 import EventType, WorkflowIdConflictPolicy, WorkflowIdReusePolicy
from temporalio.api.history.v1 import (
    WorkflowExecutionSignaledEventAttributes,
)
from temporalio.api.workflowservice.v1 import (
    SignalWithStartWorkflowExecutionRequest,
    SignalWithStartWorkflowExecutionResponse,
    StartWorkflowExecutionRequest,
)

from perdure.engine import externals, starting
from perdure.engine.checks import check_blob, check_exact_length
from perdure.engine.errors import invalid
from perdure.engine.protos import copy_shared
from perdure.engine.rpc import links
from perdure.engine.rpc.common import Handlers
from perdure.engine.rpc.start import commit_start, decide_start
from perdure.engine.state import RUNNING

if TYPE_CHECKING:
    from perdure.engine.engine import Engine


async def signal_with_start_workflow_execution(
    engine: Engine, request: SignalWithStartWorkflowExecutionRequest, metadata: Mapping[str, str]
) -> SignalWithStartWorkflowExecutionResponse:
    """Signals the open run, or starts one with the signal right after its Started event: in one transaction."""
    _check_signal_with_start(engine, request)
    signal = WorkflowExecutionSignaledEventAttributes(
        signal_name=request.signal_name,
        input=request.signal_input if request.HasField("signal_input") else None,
        identity=request.identity,
        header=request.header if request.HasField("header") else None,
        request_id=request.request_id,
    )
    plain = StartWorkflowExecutionRequest()
    copy_shared(request, plain)
    if not plain.workflow_id_conflict_policy and (
        plain.workflow_id_reuse_policy != WorkflowIdReusePolicy.WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING
    ):
        plain.workflow_id_conflict_policy = WorkflowIdConflictPolicy.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING
    start = await decide_start(engine, plain)
    if start.run is not None and start.run.ex.open:
        externals.check_signals(start.run.ex, engine.limits)
        turn = engine.turn(start.run)
        if start.run.ex.status == RUNNING:
            start.run.ex.first_task_time = 0  # a start delay ends here
        externals.signal(turn, signal, request.links)
        engine.commit(*start.turns, turn)
        ex, ticket = start.run.ex, start.run.ticket  # of the first time, if the signal came a second time
    else:
        ex = start.turns[-1].ex if start.run is None else start.run.ex
        if start.run is None:
            turn = start.turns[-1]
            turn.append(turn.event(signal, links=request.links))
            starting.first_task(turn)
        ticket = commit_start(engine, start)
    await engine.journal.durable(ticket)
    return SignalWithStartWorkflowExecutionResponse(
        run_id=start.run_id,
        first_execution_run_id=start.first_run_id,
        started=start.run is None,
        signal_link=links.to_request(
            ex, request.request_id, EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
        ),
    )


def _check_signal_with_start(engine: Engine, request: SignalWithStartWorkflowExecutionRequest) -> None:
    """What a start is not asked, or in other words."""
    if not request.workflow_id:
        raise invalid("WorkflowId is not set on request.")
    if not request.signal_name:
        raise invalid("signal not set")
    check_exact_length("signal name", request.signal_name, engine.limits)
    if not request.workflow_type.name:
        raise invalid("workflow type not set")
    if request.workflow_id_conflict_policy == WorkflowIdConflictPolicy.WORKFLOW_ID_CONFLICT_POLICY_FAIL:
        raise invalid(
            "Invalid WorkflowIDConflictPolicy: WORKFLOW_ID_CONFLICT_POLICY_FAIL is not supported for this operation."
        )
    check_blob(request.signal_input, engine.limits)


HANDLERS: Handlers = {"SignalWithStartWorkflowExecution": signal_with_start_workflow_execution}
