"""The service: one method for each RPC, found by its name.

The handlers stand in `rpc`, grouped as callers meet them. Each validates, lets the pure core decide, commits, and answers after the commit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from google.protobuf.message import Message

from perdure.engine.checks import check_named, check_request
from perdure.engine.errors import Code, ServiceError
from perdure.engine.rpc import (
    activity_operators,
    activity_worker,
    batching,
    deleting,
    deployments,
    executions,
    info,
    listing,
    namespaces,
    options,
    pausing,
    queries,
    reading,
    resetting,
    schedules,
    search_attributes,
    signal_with_start,
    standalone,
    standalone_operators,
    start,
    task_queues,
    test_service,
    time_skipping,
    update_with_start,
    updating,
    workers,
    workflow_worker,
)
from perdure.engine.rpc.common import Handlers
from perdure.engine.rpc.refused import REFUSED
from perdure.errors import StoreError

if TYPE_CHECKING:
    from perdure.engine.engine import Engine

HANDLERS: Handlers = {
    **info.HANDLERS,
    **namespaces.HANDLERS,
    **search_attributes.HANDLERS,
    **deleting.HANDLERS,
    **batching.HANDLERS,
    **start.HANDLERS,
    **signal_with_start.HANDLERS,
    **update_with_start.HANDLERS,
    **executions.HANDLERS,
    **options.HANDLERS,
    **pausing.HANDLERS,
    **resetting.HANDLERS,
    **reading.HANDLERS,
    **listing.HANDLERS,
    **queries.HANDLERS,
    **updating.HANDLERS,
    **time_skipping.HANDLERS,
    **test_service.HANDLERS,
    **workflow_worker.HANDLERS,
    **workers.HANDLERS,
    **activity_worker.HANDLERS,
    **task_queues.HANDLERS,
    **activity_operators.HANDLERS,
    **deployments.HANDLERS,
    **standalone.HANDLERS,
    **standalone_operators.HANDLERS,
    **schedules.HANDLERS,
}


_OF_NO_NAMESPACE = frozenset(  # they speak of a namespace, or look for it themselves
    (*namespaces.HANDLERS, *search_attributes.HANDLERS)
)
_OF_DOCUMENTS = frozenset(  # what they tell of may be on its way to the file, by whomever it was put there
    (
        *namespaces.HANDLERS,
        *search_attributes.HANDLERS,
        *batching.HANDLERS,
        *deployments.HANDLERS,
        *schedules.HANDLERS,
        *task_queues.HANDLERS,
    )
)
_STARTS = frozenset(  # what a deprecated namespace refuses
    (
        "StartWorkflowExecution",
        "SignalWithStartWorkflowExecution",
        "ExecuteMultiOperation",
        "StartActivityExecution",
        "CreateSchedule",
        "StartBatchOperation",
    )
)


class Service:
    """`call` answers any RPC of WorkflowService, OperatorService and TestService."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @staticmethod
    def answers(method: str) -> bool:
        """Whether an RPC is carried out here."""
        return method in HANDLERS

    def resume(self) -> None:
        """At the engine's start: takes up what handlers had begun, or had set an alarm for."""
        deployments.resume_drainage(self._engine)
        namespaces.resume_deletions(self._engine)

    async def call(self, method: str, request: Message, metadata: Mapping[str, str] = {}) -> Message:
        """Answers one request.

        Args:
            method: the RPC's bare name, such as "StartWorkflowExecution".
            request: its XRequest message.
            metadata: the call's headers, lower case.

        Raises:
            ServiceError: the request is answered with an error. UNIMPLEMENTED for RPCs that perdure has not got.
        """
        handler = HANDLERS.get(method)
        if handler is None:
            reason = REFUSED.get(method, "perdure's engine does not know this RPC")
            raise ServiceError(Code.UNIMPLEMENTED, f"{method}: {reason}")
        check_named(method, request)
        namespace = getattr(request, "namespace", "")
        if namespace and isinstance(namespace, str) and method not in _OF_NO_NAMESPACE:
            self._engine.namespaces.check(namespace, starting=method in _STARTS)
        check_request(method, request, self._engine.limits)
        try:
            response = await handler(self._engine, request, metadata)
        except ServiceError:
            await self._all_durable()  # a refusal tells of what is there, too
            raise
        except StoreError:
            raise
        except Exception:
            await self._engine.mend()
            raise
        if method in _OF_DOCUMENTS:
            await self._all_durable()
        return response

    async def _all_durable(self) -> None:
        """Nobody is told what a crash may still take back. An empty append tells the newest ticket."""
        await self._engine.journal.durable(self._engine.journal.append(()))
