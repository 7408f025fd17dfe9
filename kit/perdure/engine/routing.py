"""Who may take what: the groups of offers that `matching` tells apart, and which of them a poller accepts.

A poller is a perdure process, which declared what it can run, or a plain SDK worker. A process is given runs of definition versions
that it has (see `project`). An SDK worker without versioning takes any task of its queue that is not meant for a version of a
worker deployment; one with versioning takes what is meant for its version. Which version a task is meant for is decided when it is
offered: the one that its run is pinned to, or else the one that the queue's routing names (`registry`); when the routing changes,
what waits is grouped anew.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Literal, NamedTuple

from temporalio.api.workflow.v1 import VersioningOverride

from perdure.engine.backlog import Rank
from perdure.engine.overrides import check_override, current_form, not_in_queue, override_version
from perdure.engine.processes import is_process_name
from perdure.engine.state import Execution
from perdure.engine.task_queues import Offer, QueueKey
from perdure.engine.worker_versions import Target, Version
from perdure.engine.workflow_tasks import schedule_task, unstick

if TYPE_CHECKING:
    from perdure.engine.engine import Engine
    from perdure.engine.turn import Turn

QUERY = Rank(priority=0)
_USE_RAMPING = 2  # CONTINUE_AS_NEW_VERSIONING_BEHAVIOR_USE_RAMPING_VERSION


class Group(NamedTuple):
    """What decides who may take an offer.

    `definition`: the definition version that the run is pinned to; `version`: the version of a worker deployment that the task is
    meant for. `moved`: leases up to this number must not have the run.
    """

    what: Literal["workflow", "activity", "nothing"]
    type: str = ""
    workflow_type: str = ""
    definition: str = ""
    version: Version | None = None
    moved: int = 0


NOBODY = Group(
    "nothing"
)  # the run is gone, or the activity must wait until its run has moved to another version


class Routing:
    """Where an engine's tasks go."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def group_of(self, offer: Offer, key: QueueKey) -> Hashable:
        group = self._group(offer, key)
        offer.version = str(group.version) if group.version is not None else ""
        return group

    def _group(self, offer: Offer, key: QueueKey) -> Group:
        run = self._engine.runs.in_memory(offer.run_id)
        if run is None:
            return NOBODY
        ex = run.ex
        if offer.what != "activity":
            version = self.workflow_version(ex)
            return Group("workflow", ex.workflow_type, ex.workflow_type, ex.version, version, run.moved)
        activity = ex.activities.get(int(offer.id))
        if activity is None or ex.versioning.transition is not None:
            return NOBODY
        return self._of_activity(ex, activity.attributes.activity_type.name, key)

    def _of_activity(self, ex: Execution, activity_type: str, key: QueueKey) -> Group:
        version = self._activity_version(ex, key)
        return Group("activity", activity_type, ex.workflow_type, ex.version, version)

    # --- versions

    def target(self, ex: Execution) -> Target:
        """Where the routing of its queue leads a run that is not pinned."""
        versioning = ex.versioning
        first = not ex.previous_started_id and versioning.initial_behavior == _USE_RAMPING
        key = QueueKey(ex.namespace, ex.task_queue, "workflow")
        return self._engine.deployments.routing(key).target(ex.workflow_id, use_ramping=first)

    def workflow_version(self, ex: Execution) -> Version | None:
        """The version whose workers get the run's workflow tasks."""
        if ex.versioning.own:
            return None
        return ex.versioning.effective_version if ex.versioning.pinned else self.target(ex).version

    def _activity_version(self, ex: Execution, key: QueueKey) -> Version | None:
        """An activity goes with its pinned run, where the run's version has workers for it."""
        deployments, version = self._engine.deployments, ex.versioning.effective_version
        if ex.versioning.pinned and not ex.versioning.own and version and deployments.has(key, version):
            return version
        return deployments.routing(key).target(ex.workflow_id).version

    def check_override(
        self, namespace: str, queue: str, workflow_type: str, override: VersioningOverride
    ) -> None:
        """Raises INVALID_ARGUMENT for a malformed override, FAILED_PRECONDITION for a version without workers for the queue."""
        check_override(override)
        version = override_version(current_form(override))
        if version is None or version.deployment_name == workflow_type:
            return
        if not self._engine.deployments.has(QueueKey(namespace, queue, "workflow"), version):
            raise not_in_queue(version, queue)
        self._engine.deployments.needed(namespace, version, self._engine.clock.now())

    def astray(self, ex: Execution) -> bool:
        """Whether a sticky workflow task must go to the normal queue, because another version has the run now."""
        return not ex.versioning.own and self.workflow_version(ex) != ex.versioning.effective_version

    def moves_first(self, ex: Execution, worker: Version | None) -> bool:
        """Whether the run moves to the version of a worker that polls for its activity, before the worker may have it."""
        versioning = ex.versioning
        if versioning.own or versioning.pinned or worker == versioning.effective_version:
            return False
        return self.target(ex).version == worker

    def move_first(self, turn: Turn, worker: Version | None) -> None:
        """Sends the run on its way to another version; its activities wait until that has completed a workflow task."""
        turn.ex.versioning.move_to(worker, self.target(turn.ex))
        unstick(turn)
        schedule_task(turn)

    def changed(self, namespace: str) -> None:
        """The routing of a deployment has changed: what waits is matched anew."""
        engine = self._engine
        for run in engine.runs.open():
            task = run.ex.task
            if task is not None and task.sticky and not task.started and self.astray(run.ex):
                turn = engine.turn(run)
                unstick(turn)
                engine.commit(turn)
        engine.matching.regroup(lambda key: key.namespace == namespace)

    # --- pollers

    def acceptance(self, identity: str, version: Version | None) -> Callable[[Hashable], bool]:
        """What a poller accepts. `version`: of its worker deployment, if it takes part in versioning."""

        def accepts(group: Hashable) -> bool:
            return isinstance(group, Group) and self._accepts(identity, version, group)

        return accepts

    def _accepts(self, identity: str, version: Version | None, group: Group) -> bool:
        processes = self._engine.processes
        if group.what == "nothing":
            return False
        if not is_process_name(identity) and processes.get(identity) is None:
            return version in _versions_for(group)
        if group.version is not None:
            return False
        if group.what == "activity":
            return processes.accepts_activity(identity, group.type, group.workflow_type, group.definition)
        lease = processes.get(identity)
        if lease is not None and lease.number <= group.moved:
            return False
        return processes.accepts_workflow(identity, group.workflow_type, group.definition)

    def accepts_activity(
        self, identity: str, version: Version | None, ex: Execution, scheduled_id: int
    ) -> bool:
        """Whether a worker may have an activity with the answer to its workflow task."""
        activity = ex.activities[scheduled_id].attributes
        key = QueueKey(ex.namespace, activity.task_queue.name, "activity")
        if ex.versioning.transition is not None:
            return False
        return self._accepts(identity, version, self._of_activity(ex, activity.activity_type.name, key))


def _versions_for(group: Group) -> tuple[Version | None, ...]:
    """Workers of which versions may take a group; a run that is tied to a definition is open to all that do without."""
    if group.what == "workflow" and group.definition:
        return None, Version(group.workflow_type, group.definition)
    return (group.version,)
