"""Where the worker deployments of a namespace lead the tasks of one queue: its current version, and the ramping one. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from google.protobuf.timestamp_pb2 import Timestamp

from perdure.engine.deployments import Deployment
from perdure.engine.protos import from_timestamp
from perdure.engine.worker_versions import Target, Version, version_of

NOWHERE = Target(None)


@dataclass(frozen=True, slots=True)
class QueueRouting:
    """What the deployments make of one task queue: the current version, and the one that is ramped up, if any."""

    current: Target = NOWHERE
    ramping: Target | None = None
    percentage: float = 0.0
    changed_time: Timestamp | None = None

    def target(self, workflow_id: str, *, use_ramping: bool = False) -> Target:
        """Where the tasks go of a run that is not pinned. A run stays on its side of the ramp, by its workflow id."""
        if self.ramping is None:
            return self.current
        if use_ramping and self.ramping.version is not None:
            return self.ramping
        share = 100 * zlib.crc32(workflow_id.encode()) / 2**32
        return self.ramping if self.percentage >= 100 or share < self.percentage else self.current


def route_queue(deployments: Iterable[Deployment], members: set[Version]) -> QueueRouting:
    """The routing of a queue that workers of the versions `members` poll: the latest word of any of their deployments counts."""
    current, ramping = NOWHERE, None
    percentage, current_time, ramp_time = 0.0, 0, 0
    changed: Timestamp | None = None
    for deployment in deployments:
        routing = deployment.routing
        version = version_of(routing.current_deployment_version)
        when = from_timestamp(routing.current_version_changed_time)
        if version in members and (current.version is None or when > current_time):
            current, current_time = Target(version, routing.revision_number), when
            changed = routing.current_version_changed_time
        elif version is None and current.version is None and when > current_time:
            current, current_time = Target(None, routing.revision_number), when
            changed = routing.current_version_changed_time
        if not routing.ramping_version:
            continue
        version = version_of(routing.ramping_deployment_version)
        when = from_timestamp(routing.ramping_version_percentage_changed_time)
        if (version in members or version is None) and when > ramp_time:
            ramping, ramp_time = Target(version, routing.revision_number), when
            percentage = routing.ramping_version_percentage
            if changed is None or when > from_timestamp(changed):
                changed = routing.ramping_version_percentage_changed_time
    return QueueRouting(current, ramping, percentage, changed)
