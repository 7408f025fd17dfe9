"""Time skipping as callers see it: the wait for a fast-forward. TEMPORAL.md, section 23."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from temporalio.api.common.v1 import TimeSkippingFastForwardInfo
from temporalio.api.enums.v1 import FastForwardPollingResult
from temporalio.api.workflowservice.v1 import (
    PollWorkflowExecutionTimeSkippingRequest,
    PollWorkflowExecutionTimeSkippingResponse,
)

from perdure.engine.errors import invalid
from perdure.engine.protos import SECOND
from perdure.engine.rpc.common import Handlers, find_run
from perdure.engine.state import Execution
from perdure.engine.virtual_time import fast_forward_info

if TYPE_CHECKING:
    from perdure.engine.engine import Engine

_COMPLETED = FastForwardPollingResult.FAST_FORWARD_POLLING_RESULT_FAST_FORWARD_COMPLETED
_FAILED = FastForwardPollingResult.FAST_FORWARD_POLLING_RESULT_FAST_FORWARD_FAILED
_TIMEOUT = FastForwardPollingResult.FAST_FORWARD_POLLING_RESULT_POLL_TIMEOUT

_OTHER_ID = "the requested fast_forward_id does not match the execution's current fast-forward"
_RESET = "the fast-forward was reset"
_ENDED = "the execution ended before the fast-forward completed"
_DISABLED = "time skipping was disabled before the fast-forward completed"


async def poll_workflow_execution_time_skipping(
    engine: Engine, request: PollWorkflowExecutionTimeSkippingRequest, metadata: Mapping[str, str]
) -> PollWorkflowExecutionTimeSkippingResponse:
    """Waits until the fast-forward of that id is over, whichever run of the chain it reaches."""
    if not request.HasField("workflow_execution"):
        raise invalid("Execution is not set on request.")
    if not request.fast_forward_id.strip():
        raise invalid("Time skipping config invalid: fast_forward_id must be set")
    end = engine.clock.now() + engine.limits.long_poll
    first: TimeSkippingFastForwardInfo | None = None
    while True:
        run = await find_run(engine, request.namespace, request.workflow_execution)
        changed = run.changed
        info = fast_forward_info(run.ex.skipping)
        result, reason = _outcome(run.ex, info, request.fast_forward_id, first)
        remaining = (end - engine.clock.now()) / SECOND
        if result == _TIMEOUT and remaining > 0:
            first = first or info
            if not changed.is_set():
                await run.change(remaining)
            continue
        await engine.journal.durable(run.ticket)
        return PollWorkflowExecutionTimeSkippingResponse(
            fast_forward_polling_result=result, failed_reason=reason, fast_forward_info=info
        )


def _outcome(
    ex: Execution,
    info: TimeSkippingFastForwardInfo | None,
    wanted: str,
    first: TimeSkippingFastForwardInfo | None,
) -> tuple[FastForwardPollingResult.ValueType, str]:
    if info is None or info.fast_forward_id != wanted:
        return _FAILED, _OTHER_ID
    if first is not None and info.target_time != first.target_time:
        return _FAILED, _RESET
    if info.has_completed:
        return _COMPLETED, ""
    if not ex.open and not ex.new_run_id:
        return _FAILED, _ENDED
    assert ex.skipping is not None and ex.skipping.config is not None
    if not ex.skipping.config.enabled:
        return _FAILED, _DISABLED
    return _TIMEOUT, ""


HANDLERS: Handlers = {"PollWorkflowExecutionTimeSkipping": poll_workflow_execution_time_skipping}
