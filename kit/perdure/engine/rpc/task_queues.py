"""Task queues as operators see and set them. TEMPORAL.md, sections 1.4 and 22."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.enums.v1 import (
    BuildIdTaskReachability,
    DescribeTaskQueueMode,
    RateLimitSource,
    TaskQueueKind,
    TaskQueueType,
)
from temporalio.api.taskqueue.v1 import (
    PollerInfo,
    TaskQueueConfig,
    TaskQueuePartitionMetadata,
    TaskQueueVersionInfo,
    TaskQueueVersioningInfo,
)
from temporalio.api.workflowservice.v1 import (
    DescribeTaskQueueRequest,
    DescribeTaskQueueResponse,
    ListTaskQueuePartitionsRequest,
    ListTaskQueuePartitionsResponse,
    UpdateTaskQueueConfigRequest,
    UpdateTaskQueueConfigResponse,
)

from perdure.engine.errors import invalid
from perdure.engine.protos import timestamp
from perdure.engine.queue_config import KEPT, check_update, document_id, kind_of, limits_of, updated
from perdure.engine.queue_routing import QueueRouting
from perdure.engine.queue_stats import Stats, stats
from perdure.engine.rpc.common import Handlers
from perdure.engine.task_queues import QueueKey, Seen, TaskQueue
from perdure.engine.worker_versions import Version, dotted, version_of_worker

if TYPE_CHECKING:
    from perdure.engine.engine import Engine

UNLIMITED = 100_000.0  # tasks per second: what Temporal says of a queue that nobody limited
_NEVER = Timestamp(seconds=-62135596800)  # Go's zero time, which Temporal gives for "not yet"


async def describe_task_queue(
    engine: Engine, request: DescribeTaskQueueRequest, metadata: Mapping[str, str]
) -> DescribeTaskQueueResponse:
    """Pollers, backlog and limits of a queue; in the enhanced mode, by version and type."""
    if not request.task_queue.name:
        raise invalid("missing task queue name")
    sticky = request.task_queue.kind == TaskQueueKind.TASK_QUEUE_KIND_STICKY
    if request.api_mode == DescribeTaskQueueMode.DESCRIBE_TASK_QUEUE_MODE_ENHANCED:
        if sticky:
            raise invalid("Enhanced DescribeTaskQueue is not valid for sticky queues.")
        return _enhanced(engine, request)
    key = QueueKey(request.namespace, request.task_queue.name, kind_of(request.task_queue_type))
    queue = engine.matching.queue(key)
    response = DescribeTaskQueueResponse(pollers=_pollers(engine, key))
    if not sticky:
        response.versioning_info.CopyFrom(_versioning(engine.deployments.routing(key)))
    _set_effective_rate(queue, response)
    waiting = engine.matching.waiting(key)
    if request.include_task_queue_status:
        response.task_queue_status.backlog_count_hint = len(waiting)
        response.task_queue_status.rate_per_second = response.effective_rate_limit.requests_per_second
        response.task_queue_status.task_id_block.start_id = 1
        response.task_queue_status.task_id_block.end_id = 100_000
    if request.report_stats:
        found = stats(queue, waiting, engine.clock.now())
        response.stats.CopyFrom(found.whole)
        for priority, each in found.by_priority.items():
            response.stats_by_priority_key[priority].CopyFrom(each)
    if request.report_config and (config := _config(engine, key)):
        response.config.CopyFrom(config)
    return response


def _pollers(engine: Engine, key: QueueKey) -> list[PollerInfo]:
    return [_poller(seen) for seen in engine.matching.pollers(key)]


def _poller(seen: Seen) -> PollerInfo:
    return PollerInfo(
        identity=seen.identity,
        last_access_time=timestamp(seen.time),
        rate_per_second=UNLIMITED if seen.rate is None else seen.rate,
        deployment_options=seen.options,
    )


def _versioning(routing: QueueRouting) -> TaskQueueVersioningInfo:
    current, ramping = routing.current.version, routing.ramping
    info = TaskQueueVersioningInfo(
        current_version=dotted(current), update_time=routing.changed_time or _NEVER
    )
    if current is not None:
        info.current_deployment_version.CopyFrom(current.message())
    if ramping is not None:
        info.ramping_version = dotted(ramping.version)
        info.ramping_version_percentage = routing.percentage
        if ramping.version is not None:
            info.ramping_deployment_version.CopyFrom(ramping.version.message())
    return info


def _set_effective_rate(queue: TaskQueue, response: DescribeTaskQueueResponse) -> None:
    effective = response.effective_rate_limit
    rate = queue.pace.rate
    effective.requests_per_second = UNLIMITED if rate is None else rate
    if rate is None:
        effective.rate_limit_source = RateLimitSource.RATE_LIMIT_SOURCE_SYSTEM
    elif queue.limits.rate is not None:
        effective.rate_limit_source = RateLimitSource.RATE_LIMIT_SOURCE_API
    else:
        effective.rate_limit_source = RateLimitSource.RATE_LIMIT_SOURCE_WORKER


def stats_of_version(engine: Engine, key: QueueKey, version: Version | None) -> Stats:
    """Of what is meant for the workers of one version."""
    label = "" if version is None else str(version)
    return stats(engine.matching.queue(key), engine.matching.waiting(key), engine.clock.now(), label)


def _enhanced(engine: Engine, request: DescribeTaskQueueRequest) -> DescribeTaskQueueResponse:
    """By version ("" for the unversioned one) and by type."""
    response = DescribeTaskQueueResponse()
    versions = list(request.versions.build_ids) if request.HasField("versions") else [""]
    if request.versions.unversioned:
        versions.append("")
    types = request.task_queue_types or [
        TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
        TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
    ]
    for version in versions:
        info = TaskQueueVersionInfo()
        if request.report_task_reachability:
            info.task_reachability = (
                BuildIdTaskReachability.BUILD_ID_TASK_REACHABILITY_UNREACHABLE
                if version
                else BuildIdTaskReachability.BUILD_ID_TASK_REACHABILITY_REACHABLE
            )
        for of_type in types:
            key = QueueKey(request.namespace, request.task_queue.name, kind_of(of_type))
            queue = engine.matching.queue(key)
            type_info = info.types_info[of_type]
            if request.report_pollers:
                type_info.pollers.extend(
                    _poller(seen)
                    for seen in engine.matching.pollers(key)
                    if _version_of_poller(seen) == version
                )
            if request.report_stats:
                waiting = engine.matching.waiting(key)
                type_info.stats.CopyFrom(stats(queue, waiting, engine.clock.now(), version).whole)
        response.versions_info[version].CopyFrom(info)
    return response


def _version_of_poller(seen: Seen) -> str:
    version = version_of_worker(seen.options)
    return "" if version is None else str(version)


# --- partitions and configuration


async def list_task_queue_partitions(
    engine: Engine, request: ListTaskQueuePartitionsRequest, metadata: Mapping[str, str]
) -> ListTaskQueuePartitionsResponse:
    """One for each type: a queue here is never divided."""
    if not request.task_queue.name:
        raise invalid("missing task queue name")
    partition = TaskQueuePartitionMetadata(key=request.task_queue.name, owner_host_name=os.uname().nodename)
    return ListTaskQueuePartitionsResponse(
        activity_task_queue_partitions=[partition], workflow_task_queue_partitions=[partition]
    )


async def update_task_queue_config(
    engine: Engine, request: UpdateTaskQueueConfigRequest, metadata: Mapping[str, str]
) -> UpdateTaskQueueConfigResponse:
    check_update(request, engine.limits)
    key = QueueKey(request.namespace, request.task_queue, kind_of(request.task_queue_type))
    config = updated(_config(engine, key) or TaskQueueConfig(), request, engine.clock.now())
    id = document_id(key.kind, key.name)
    ticket = engine.kept.put(KEPT, key.namespace, id, config.SerializeToString())
    engine.matching.limit(key, limits_of(config))
    await engine.journal.durable(ticket)
    return UpdateTaskQueueConfigResponse(config=config)


def _config(engine: Engine, key: QueueKey) -> TaskQueueConfig | None:
    body = engine.kept.get(KEPT, key.namespace, document_id(key.kind, key.name))
    return None if body is None else TaskQueueConfig.FromString(body)


HANDLERS: Handlers = {
    "DescribeTaskQueue": describe_task_queue,
    "ListTaskQueuePartitions": list_task_queue_partitions,
    "UpdateTaskQueueConfig": update_task_queue_config,
}
