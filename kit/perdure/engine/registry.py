"""The worker deployments of an engine: kept as documents, and looked up by task queue for every task that is offered."""

from __future__ import annotations

import json

from temporalio.api.deployment.v1 import WorkerDeploymentVersionInfo
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.workflowservice.v1 import DescribeWorkerDeploymentResponse

from perdure.engine.deployments import Deployment, create, reactivate, register
from perdure.engine.kept import Documents
from perdure.engine.queue_routing import QueueRouting, route_queue
from perdure.engine.task_queues import QueueKey
from perdure.engine.worker_versions import Version

_DEPLOYMENT = "worker deployment"
_VERSION = "worker deployment version"
_REQUESTS = "worker deployment requests"
_TYPES = {
    "workflow": TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    "activity": TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
    "nexus": TaskQueueType.TASK_QUEUE_TYPE_NEXUS,
}
_NO_ROUTING = QueueRouting()


class Registry:
    """All deployments, by namespace and name. Lives on the engine's loop; no locks."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._deployments: dict[tuple[str, str], Deployment] = {}
        self._members: dict[QueueKey, set[Version]] = {}
        self._routings: dict[QueueKey, QueueRouting] = {}  # computed when asked for, until anything changes

    def load(self) -> None:
        for namespace in self._documents.namespaces(_DEPLOYMENT):
            for name, body in self._documents.of(_DEPLOYMENT, namespace).items():
                stored = DescribeWorkerDeploymentResponse.FromString(body)
                deployment = Deployment(stored.worker_deployment_info, stored.conflict_token)
                requests = json.loads(self._documents.get(_REQUESTS, namespace, name) or b"{}")
                deployment.request_id = requests.pop("", "")
                deployment.version_requests = requests
                self._deployments[namespace, name] = deployment
            for body in self._documents.of(_VERSION, namespace).values():
                version = WorkerDeploymentVersionInfo.FromString(body)
                name, build_id = (
                    version.deployment_version.deployment_name,
                    version.deployment_version.build_id,
                )
                self._deployments[namespace, name].versions[build_id] = version
        self._index()

    def _index(self) -> None:
        self._routings.clear()
        self._members.clear()
        kinds = {number: kind for kind, number in _TYPES.items()}
        for (namespace, name), deployment in self._deployments.items():
            for build_id, version in deployment.versions.items():
                for queue in version.task_queue_infos:
                    key = QueueKey(namespace, queue.name, kinds[queue.type])  # type: ignore[arg-type]
                    self._members.setdefault(key, set()).add(Version(name, build_id))

    def get(self, namespace: str, name: str) -> Deployment | None:
        return self._deployments.get((namespace, name))

    def all(self, namespace: str) -> list[Deployment]:
        """Newest first."""
        of_namespace = [d for (ns, _), d in self._deployments.items() if ns == namespace]
        return sorted(of_namespace, key=lambda d: d.info.create_time.ToNanoseconds(), reverse=True)

    def everything(self) -> list[tuple[str, Deployment]]:
        """With their namespaces."""
        return [(namespace, deployment) for (namespace, _), deployment in self._deployments.items()]

    def save(self, namespace: str, deployment: Deployment, *build_ids: str) -> int:
        """Keeps a deployment and some of its versions as they are now, in one transaction; returns its ticket."""
        self._deployments[namespace, deployment.name] = deployment
        stored = DescribeWorkerDeploymentResponse(
            worker_deployment_info=deployment.info, conflict_token=deployment.token
        )
        requests = {"": deployment.request_id, **deployment.version_requests}
        record = self._documents.record
        kept = [
            record(_DEPLOYMENT, namespace, deployment.name, stored.SerializeToString()),
            record(_REQUESTS, namespace, deployment.name, json.dumps(requests).encode()),
        ]
        for build_id in build_ids:
            id = str(Version(deployment.name, build_id))
            if build_id in deployment.versions:
                body = deployment.versions[build_id].SerializeToString()
                kept.append(record(_VERSION, namespace, id, body))
            elif self._documents.get(_VERSION, namespace, id) is not None:
                kept.append(record(_VERSION, namespace, id, None))
        self._index()
        return self._documents.append(kept)

    def drop(self, namespace: str, name: str) -> int:
        del self._deployments[namespace, name]
        self._index()
        record = self._documents.record
        return self._documents.append(
            [record(kind, namespace, name, None) for kind in (_DEPLOYMENT, _REQUESTS)]
        )

    def forget(self, namespace: str) -> None:
        """The namespace is deleted."""
        self._deployments = {key: kept for key, kept in self._deployments.items() if key[0] != namespace}
        self._index()

    def polled(self, key: QueueKey, version: Version, now: int) -> int | None:
        """A worker of a version polls a queue; a ticket if that was not known."""
        if version in self._members.get(key, ()):
            return None
        deployment = self.get(key.namespace, version.deployment_name)
        if deployment is None:
            deployment = create(version.deployment_name, "", "", now)
        register(deployment, version.build_id, key.name, _TYPES[key.kind], now)
        return self.save(key.namespace, deployment, version.build_id)

    def needed(self, namespace: str, version: Version, now: int) -> None:
        """A run was pinned to a version; one that was out of use drains again."""
        deployment = self._deployments[namespace, version.deployment_name]
        if reactivate(deployment, version.build_id, now):
            self.save(namespace, deployment, version.build_id)

    def has(self, key: QueueKey, version: Version) -> bool:
        """Whether workers of a version ever polled a queue."""
        return version in self._members.get(key, ())

    def routing(self, key: QueueKey) -> QueueRouting:
        """Where the queue's tasks go that are not pinned."""
        members = self._members.get(key)
        if members is None:
            return _NO_ROUTING
        routing = self._routings.get(key)
        if routing is None:
            names = {version.deployment_name for version in members}
            deployments = [self._deployments[key.namespace, name] for name in names]
            routing = self._routings[key] = route_queue(deployments, members)
        return routing
