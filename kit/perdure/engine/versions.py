"""How a run is tied to a version of a worker deployment. TEMPORAL.md, section 19. Pure.

A run's `Versioning` is a fold of its events, like the rest of its state. What stands in no event is noted when it has changed, as a line
of JSON: a transition (the run is on its way to another version, until that version has completed a workflow task), how new the
routing was that brought the run to its version, and of which target its worker was told. A definition version that perdure pins a run
to is the same thing: a pinned override that names the workflow type as deployment.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from temporalio.api.enums.v1 import VersioningBehavior
from temporalio.api.history.v1 import (
    WorkflowExecutionStartedEventAttributes,
    WorkflowTaskCompletedEventAttributes,
)
from temporalio.api.workflow.v1 import VersioningOverride, WorkflowExecutionVersioningInfo

from perdure.engine.overrides import AUTO_UPGRADE, PINNED, current_form, override_version, with_old_fields
from perdure.engine.worker_versions import Target, Version, dotted, version_of

_UNSPECIFIED = VersioningBehavior.VERSIONING_BEHAVIOR_UNSPECIFIED


@dataclass(frozen=True, slots=True)
class Transition:
    """The run is moving to a version (None: to workers without one)."""

    version: Version | None


@dataclass(slots=True)
class Versioning:
    """How a run is tied to versions. `behavior` and `version`: as its last completed workflow task said, or as it inherited them.

    `notified`: the target that the worker of a pinned run was last told of; `declined`: the one that a run before was told of,
    and continued as new without taking.
    """

    behavior: int = _UNSPECIFIED
    version: Version | None = None
    override: VersioningOverride | None = None
    transition: Transition | None = None
    revision: int = 0
    initial_behavior: int = 0  # that the run before asked for when it continued as new
    own: bool = False  # tied to the version of a definition, see `fold`; worker deployments have no say
    notified: Target | None = None
    declined: Target | None = None
    deployment_name: str = ""  # of the worker that completed the last workflow task
    used: list[str] = field(default_factory=list)  # versions that completed a workflow task
    build_ids: list[str] = field(default_factory=list)
    noted: str | None = None  # what was noted last; None for a new run

    # --- what no event says

    def note(self) -> str | None:
        """The note, if it differs from the last one; it counts as noted then. A new run's first is what its first event says."""
        targets = [[each.version, each.revision] if each else None for each in (self.notified, self.declined)]
        transition = [self.transition.version] if self.transition else None
        text = json.dumps([transition, self.revision, *targets])
        if text == self.noted:
            return None
        self.noted = text
        return text

    def recall(self, text: str) -> None:
        """Takes over what was noted last."""
        transition, self.revision, notified, declined = json.loads(text)
        self.transition = Transition(_version_in(transition[0])) if transition else None
        self.notified, self.declined = (
            Target(_version_in(each[0]), each[1]) if each else None for each in (notified, declined)
        )

    @property
    def settled_behavior(self) -> int:
        """The behavior, whether or not the run is on its way elsewhere."""
        if self.override is not None:
            return PINNED if override_version(self.override) else AUTO_UPGRADE
        return self.behavior

    @property
    def settled_version(self) -> Version | None:
        if self.override is not None and (pinned := override_version(self.override)):
            return pinned
        return self.version if self.settled_behavior != _UNSPECIFIED else None

    @property
    def effective_behavior(self) -> int:
        return AUTO_UPGRADE if self.transition is not None else self.settled_behavior

    @property
    def effective_version(self) -> Version | None:
        return self.transition.version if self.transition is not None else self.settled_version

    @property
    def pinned(self) -> bool:
        return self.effective_behavior == PINNED

    # --- events

    def start(self, attributes: WorkflowExecutionStartedEventAttributes) -> None:
        if attributes.HasField("versioning_override"):
            self.override = current_form(attributes.versioning_override)
        if attributes.HasField("inherited_pinned_version"):
            self.version, self.behavior = version_of(attributes.inherited_pinned_version), PINNED
            declined = attributes.declined_target_version_upgrade
            if attributes.HasField("declined_target_version_upgrade"):
                self.declined = Target(version_of(declined.deployment_version), declined.revision_number)
        if attributes.HasField("inherited_auto_upgrade_info"):
            inherited = attributes.inherited_auto_upgrade_info
            self.revision = inherited.source_deployment_revision_number
            self.version, self.behavior = version_of(inherited.source_deployment_version), AUTO_UPGRADE
            self.initial_behavior = inherited.continue_as_new_initial_versioning_behavior
        self.deployment_name = version.deployment_name if (version := self.effective_version) else ""
        self._note_build("")

    def complete(self, attributes: WorkflowTaskCompletedEventAttributes) -> bool:
        """A workflow task was completed; True if pending activities must now be offered anew."""
        before = (self.effective_version, self.effective_behavior)
        worker = version_of(attributes.deployment_version)
        moved = self.transition is not None and self.transition.version == worker
        if moved:
            self.transition = None
        self.behavior = attributes.versioning_behavior
        self.version = worker if self.behavior != _UNSPECIFIED else None
        once = self.override is not None and self.override.HasField("one_time")
        if once and self.override is not None and override_version(self.override) == worker:
            self.override = None
        self.deployment_name = attributes.worker_deployment_name
        if worker is not None and str(worker) not in self.used:
            self.used.append(str(worker))
        self._note_build(attributes.worker_version.build_id)
        return moved or before != (self.effective_version, self.effective_behavior)

    def change_override(self, override: VersioningOverride | None) -> bool:
        """An operator set or took away the override; True if tasks must be offered anew."""
        before = (self.effective_version, self.effective_behavior)
        self.override = None if override is None else current_form(override)
        tied = self.version if self.override is None else override_version(self.override)
        if tied is not None or self.override is None:
            self.deployment_name = tied.deployment_name if tied else ""
        changed = before != (self.effective_version, self.effective_behavior)
        if changed:
            self.transition = None
            self._note_build("")
        return changed

    def _note_build(self, build_id: str) -> None:
        """Keeps the BuildIds attribute: what the run is tied to in front, then every build that worked on it."""
        kept = [b for b in self.build_ids if b != "unversioned" and not b.startswith("pinned:")]
        front: list[str] = []
        if self.settled_behavior == PINNED:
            front = [f"pinned:{self.settled_version}"]
        elif self.settled_behavior == _UNSPECIFIED and (build_id or self.build_ids):
            front = ["unversioned"]
        if build_id and (entry := f"unversioned:{build_id}") not in kept:
            kept.append(entry)
        self.build_ids = front + kept

    # --- workflow tasks

    def begin_task(self, worker: Version | None, target: Target) -> bool:
        """A worker takes a workflow task; True if it must be told that the target of its pinned run has changed."""
        if not self.own and self.effective_behavior != _UNSPECIFIED:
            self._see_target(target)
        return self.pinned and self.notified is not None

    def _see_target(self, target: Target) -> None:
        highest = max(
            seen.revision for seen in (self.notified, self.declined, Target(None)) if seen is not None
        )
        if self.override is not None:
            self.notified = self.declined = None  # the operator chooses
        elif self.effective_behavior == AUTO_UPGRADE:
            return
        elif self.effective_version == target.version and target.revision >= highest:
            self.notified = self.declined = None
        elif self.declined is not None and target.revision <= self.declined.revision:
            return
        elif target.revision >= highest:
            self.notified, self.declined = target, None

    def move_to(self, worker: Version | None, target: Target) -> bool:
        """A worker of another version has the run's workflow task: until it completes one, the run is on its way. True if so."""
        if self.own or self.pinned or worker == self.effective_version:
            return False
        self.transition = Transition(worker)
        self.revision = target.revision
        return True

    # --- for readers

    def info(self) -> WorkflowExecutionVersioningInfo | None:
        """As a description shows it; None for a run without versions."""
        info = WorkflowExecutionVersioningInfo(
            behavior=self.behavior,  # type: ignore[arg-type]
            revision_number=self.revision,
            continue_as_new_initial_versioning_behavior=self.initial_behavior,  # type: ignore[arg-type]
        )
        if self.version is not None:
            info.deployment_version.CopyFrom(self.version.message())
            info.version = self.version.dotted
        if self.override is not None:
            info.versioning_override.CopyFrom(with_old_fields(self.override))
        if self.transition is not None:
            info.version_transition.version = dotted(self.transition.version)
            if self.transition.version is not None:
                info.version_transition.deployment_version.CopyFrom(self.transition.version.message())
        return info if info.ListFields() else None

    def attributes(self) -> dict[str, str | list[str]]:
        """The search attributes that Temporal keeps of a versioned run."""
        shown: dict[str, str | list[str]] = {}
        if self.own:
            return shown
        if self.build_ids:
            shown["BuildIds"] = self.build_ids
        if self.used:
            shown["TemporalUsedWorkerDeploymentVersions"] = self.used
        if self.deployment_name:
            shown["TemporalWorkerDeployment"] = self.deployment_name
        if self.settled_behavior != _UNSPECIFIED:
            pinned = self.settled_behavior == PINNED
            shown["TemporalWorkflowVersioningBehavior"] = "Pinned" if pinned else "AutoUpgrade"
            if version := self.settled_version:
                shown["TemporalWorkerDeploymentVersion"] = str(version)
        return shown


# --- overrides


def _version_in(pair: list[str] | None) -> Version | None:
    return Version(*pair) if pair else None
