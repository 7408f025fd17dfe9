"""Workers as they tell of themselves, and how they leave. TEMPORAL.md, sections 1.3 and 22."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from temporalio.api.worker.v1 import WorkerHeartbeat, WorkerInfo, WorkerListInfo
from temporalio.api.workflowservice.v1 import (
    CountWorkersRequest,
    CountWorkersResponse,
    DescribeWorkerRequest,
    DescribeWorkerResponse,
    ListWorkersRequest,
    ListWorkersResponse,
    RecordWorkerHeartbeatRequest,
    RecordWorkerHeartbeatResponse,
    ShutdownWorkerRequest,
    ShutdownWorkerResponse,
)

from perdure.engine.errors import invalid, not_found
from perdure.engine.rpc.common import Handlers

if TYPE_CHECKING:
    from perdure.engine.engine import Engine


async def record_worker_heartbeat(
    engine: Engine, request: RecordWorkerHeartbeatRequest, metadata: Mapping[str, str]
) -> RecordWorkerHeartbeatResponse:
    engine.workers.record(request.namespace, request.worker_heartbeat)
    return RecordWorkerHeartbeatResponse()


async def list_workers(
    engine: Engine, request: ListWorkersRequest, metadata: Mapping[str, str]
) -> ListWorkersResponse:
    found = engine.workers.matching(request.namespace, request.query)
    if request.next_page_token:
        try:
            after = str(json.loads(request.next_page_token)["l"])
        except (ValueError, KeyError, TypeError):
            raise invalid("invalid next_page_token") from None
        found = [heartbeat for heartbeat in found if heartbeat.worker_instance_key > after]
    page = found[: request.page_size] if request.page_size > 0 else found
    response = ListWorkersResponse(
        workers_info=[WorkerInfo(worker_heartbeat=heartbeat) for heartbeat in page],
        workers=[_listed(heartbeat) for heartbeat in page],
    )
    if len(page) < len(found):
        token = json.dumps({"l": page[-1].worker_instance_key}, separators=(",", ":"))
        response.next_page_token = token.encode()
    return response


def _listed(heartbeat: WorkerHeartbeat) -> WorkerListInfo:
    info = WorkerListInfo(
        worker_instance_key=heartbeat.worker_instance_key,
        worker_identity=heartbeat.worker_identity,
        task_queue=heartbeat.task_queue,
        sdk_name=heartbeat.sdk_name,
        sdk_version=heartbeat.sdk_version,
        status=heartbeat.status,
        host_name=heartbeat.host_info.host_name,
        worker_grouping_key=heartbeat.host_info.worker_grouping_key,
        process_id=heartbeat.host_info.process_id,
        plugins=heartbeat.plugins,
        drivers=heartbeat.drivers,
    )
    if heartbeat.HasField("deployment_version"):
        info.deployment_version.CopyFrom(heartbeat.deployment_version)
    if heartbeat.HasField("start_time"):
        info.start_time.CopyFrom(heartbeat.start_time)
    return info


async def count_workers(
    engine: Engine, request: CountWorkersRequest, metadata: Mapping[str, str]
) -> CountWorkersResponse:
    return CountWorkersResponse(count=len(engine.workers.matching(request.namespace, request.query)))


async def describe_worker(
    engine: Engine, request: DescribeWorkerRequest, metadata: Mapping[str, str]
) -> DescribeWorkerResponse:
    heartbeat = engine.workers.get(request.namespace, request.worker_instance_key)
    if heartbeat is None:
        raise not_found(f"Worker {request.worker_instance_key} not found")
    return DescribeWorkerResponse(worker_info=WorkerInfo(worker_heartbeat=heartbeat))


async def shutdown_worker(
    engine: Engine, request: ShutdownWorkerRequest, metadata: Mapping[str, str]
) -> ShutdownWorkerResponse:
    """A worker leaves: its waiting polls end now, not in a minute, and its sticky queue is given up."""
    if request.HasField("worker_heartbeat"):
        engine.workers.record(request.namespace, [request.worker_heartbeat])
    engine.matching.end_polls(request.worker_instance_key, request.identity)
    if request.sticky_task_queue:
        engine.leave_sticky_queue(request.sticky_task_queue)
    return ShutdownWorkerResponse()


HANDLERS: Handlers = {
    "CountWorkers": count_workers,
    "DescribeWorker": describe_worker,
    "ListWorkers": list_workers,
    "RecordWorkerHeartbeat": record_worker_heartbeat,
    "ShutdownWorker": shutdown_worker,
}
