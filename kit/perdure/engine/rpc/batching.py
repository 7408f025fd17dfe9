"""Batch operations as callers see them. TEMPORAL.md, sections 1.5 and 22."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from temporalio.api.batch.v1 import BatchOperationInfo
from temporalio.api.enums.v1 import BatchOperationState, ResourceExhaustedCause, ResourceExhaustedScope
from temporalio.api.errordetails.v1 import (
    ResourceExhaustedFailure,
    WorkflowExecutionAlreadyStartedFailure,
)
from temporalio.api.workflowservice.v1 import (
    DescribeBatchOperationRequest,
    DescribeBatchOperationResponse,
    ListBatchOperationsRequest,
    ListBatchOperationsResponse,
    StartBatchOperationRequest,
    StartBatchOperationResponse,
    StopBatchOperationRequest,
    StopBatchOperationResponse,
)

from perdure.engine import batch
from perdure.engine.batch import OF_ACTIVITIES, TYPES, Job
from perdure.engine.errors import Code, ServiceError, invalid, not_found
from perdure.engine.journal import InvalidQueryError, MalformedQueryError
from perdure.engine.protos import timestamp
from perdure.engine.rpc import listing
from perdure.engine.rpc.common import COMPLETED, Handlers

if TYPE_CHECKING:
    from perdure.engine.engine import Engine


async def start_batch_operation(
    engine: Engine, request: StartBatchOperationRequest, metadata: Mapping[str, str]
) -> StartBatchOperationResponse:
    if request.WhichOneof("operation") in OF_ACTIVITIES and not engine.service.answers(
        "StartActivityExecution"
    ):
        raise invalid("The operation is not supported for this namespace: it has no standalone activities")
    batch.check(request)
    await _check_query(engine, request)
    jobs = engine.batches.of(request.namespace)
    if sum(job.running for job in jobs) >= engine.limits.concurrent_batches:
        raise ServiceError(
            Code.RESOURCE_EXHAUSTED,
            "Max concurrent batch operations is reached",
            ResourceExhaustedFailure(
                cause=ResourceExhaustedCause.RESOURCE_EXHAUSTED_CAUSE_CONCURRENT_LIMIT,
                scope=ResourceExhaustedScope.RESOURCE_EXHAUSTED_SCOPE_NAMESPACE,
            ),
        )
    if known := engine.batches.get(request.namespace, request.job_id):
        raise _already_finished(known)
    kept = StartBatchOperationRequest()
    kept.CopyFrom(request)
    job = Job(kept, engine.new_id(), engine.clock.now())
    await engine.journal.durable(engine.batches.start(job))
    return StartBatchOperationResponse()


async def _check_query(engine: Engine, request: StartBatchOperationRequest) -> None:
    """A query that cannot be read is refused; one that names what is not there fails the job, as with Temporal."""
    if not request.visibility_query:
        return
    try:
        await engine.journal.count_executions(
            listing.scope(engine, request.namespace), request.visibility_query
        )
    except MalformedQueryError as error:
        raise invalid(f"invalid visibility query: {error}".replace("malformed SQL query: ", "")) from None
    except InvalidQueryError:
        return


def _already_finished(job: Job) -> ServiceError:
    return ServiceError(
        Code.ALREADY_EXISTS,
        f"Workflow execution already finished. WorkflowId: {job.request.job_id}, RunId: {job.run_id}. "
        "Workflow Id reuse policy: reject duplicate workflow Id.",
        WorkflowExecutionAlreadyStartedFailure(run_id=job.run_id, first_execution_run_id=job.run_id),
    )


def _find(engine: Engine, namespace: str, job_id: str) -> Job:
    job = engine.batches.get(namespace, job_id)
    if job is None:
        raise not_found(f"workflow not found for ID: {job_id}")
    return job


async def stop_batch_operation(
    engine: Engine, request: StopBatchOperationRequest, metadata: Mapping[str, str]
) -> StopBatchOperationResponse:
    if not request.job_id:
        raise invalid("JobId is not set on request.")
    if not request.reason:
        raise invalid("Reason is not set on request.")
    job = _find(engine, request.namespace, request.job_id)
    if not job.running:
        raise not_found(COMPLETED)
    ticket = engine.batches.end(job, BatchOperationState.BATCH_OPERATION_STATE_FAILED)
    await engine.journal.durable(ticket)
    return StopBatchOperationResponse()


async def describe_batch_operation(
    engine: Engine, request: DescribeBatchOperationRequest, metadata: Mapping[str, str]
) -> DescribeBatchOperationResponse:
    if not request.job_id:
        raise invalid("JobId is not set on request.")
    job = _find(engine, request.namespace, request.job_id)
    return DescribeBatchOperationResponse(**batch.describe(job))


async def list_batch_operations(
    engine: Engine, request: ListBatchOperationsRequest, metadata: Mapping[str, str]
) -> ListBatchOperationsResponse:
    jobs = engine.batches.of(request.namespace)
    if request.next_page_token:
        ids = [job.run_id.encode() for job in jobs]
        if request.next_page_token not in ids:
            raise invalid("Invalid NextPageToken.")
        jobs = jobs[ids.index(request.next_page_token) + 1 :]
    size = (
        request.page_size
        if 0 < request.page_size <= engine.limits.visibility_page
        else engine.limits.visibility_page
    )
    return ListBatchOperationsResponse(
        operation_info=[
            BatchOperationInfo(
                job_id=job.request.job_id,
                state=job.state,
                start_time=timestamp(job.start_time),
                close_time=timestamp(job.close_time) if job.close_time else None,
                operation_type=TYPES[job.operation],
            )
            for job in jobs[:size]
        ],
        next_page_token=jobs[size - 1].run_id.encode() if len(jobs) > size else b"",
    )


HANDLERS: Handlers = {
    "StartBatchOperation": start_batch_operation,
    "StopBatchOperation": stop_batch_operation,
    "DescribeBatchOperation": describe_batch_operation,
    "ListBatchOperations": list_batch_operations,
}
