"""Worker deployment versions: how a run is tied to one, and what it hands on. TEMPORAL.md, section 19. Pure.

A run's `Versioning` is a fold of its events, like the rest of its state. What stands in no event is noted when it has changed, as a line
of JSON: a transition (the run is on its way to another version, until that version has completed a workflow task), how new the
routing was that brought the run to its version, and of which target its worker was told. A definition version that perdure pins a run
to is the same thing: a pinned override that names the workflow type as deployment.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import NamedTuple

from temporalio.api.deployment.v1 import WorkerDeploymentOptions, WorkerDeploymentVersion
from temporalio.api.enums.v1 import VersioningBehavior, WorkerVersioningMode
from temporalio.api.history.v1 import (
    WorkflowExecutionStartedEventAttributes,
    WorkflowTaskCompletedEventAttributes,
)
from temporalio.api.workflow.v1 import VersioningOverride, WorkflowExecutionVersioningInfo

from perdure.engine.errors import Code, ServiceError, invalid

UNVERSIONED = "__unversioned__"
_UNSPECIFIED = VersioningBehavior.VERSIONING_BEHAVIOR_UNSPECIFIED
PINNED = VersioningBehavior.VERSIONING_BEHAVIOR_PINNED
AUTO_UPGRADE = VersioningBehavior.VERSIONING_BEHAVIOR_AUTO_UPGRADE
_PIN = VersioningOverride.PinnedOverrideBehavior.PINNED_OVERRIDE_BEHAVIOR_PINNED


class Version(NamedTuple):
    """A version of a worker deployment."""

    deployment_name: str
    build_id: str

    def __str__(self) -> str:
        return f"{self.deployment_name}:{self.build_id}"

    @property
    def dotted(self) -> str:
        """As the fields that Temporal deprecates spell it."""
        return f"{self.deployment_name}.{self.build_id}"

    def message(self) -> WorkerDeploymentVersion:
        return WorkerDeploymentVersion(deployment_name=self.deployment_name, build_id=self.build_id)


def version_of(message: WorkerDeploymentVersion) -> Version | None:
    return Version(message.deployment_name, message.build_id) if message.build_id else None


def parse_version(text: str) -> Version | None:
    """A version as text, with "." or ":"; None for the unversioned one. Raises INVALID_ARGUMENT."""
    if text == UNVERSIONED:
        return None
    places = [place for place in (text.find("."), text.find(":")) if place > 0]
    if not places or min(places) == len(text) - 1:
        raise invalid(f'invalid version string "{text}", expected format is "<deployment_name>.<build_id>"')
    place = min(places)
    return Version(text[:place], text[place + 1 :])


def dotted(version: Version | None) -> str:
    return UNVERSIONED if version is None else version.dotted


def version_of_worker(options: WorkerDeploymentOptions | None) -> Version | None:
    """The version that a worker works for; None for one that takes part in no versioning."""
    if (
        options is None
        or options.worker_versioning_mode != WorkerVersioningMode.WORKER_VERSIONING_MODE_VERSIONED
    ):
        return None
    return Version(options.deployment_name, options.build_id)


def check_options(options: WorkerDeploymentOptions) -> None:
    """Raises INVALID_ARGUMENT for deployment options that the server would refuse."""
    if options.worker_versioning_mode != WorkerVersioningMode.WORKER_VERSIONING_MODE_VERSIONED:
        return
    if not options.deployment_name or not options.build_id:
        raise invalid("Deployment name and build id must be set together.")
    check_name(options.deployment_name)


def check_name(name: str) -> None:
    for forbidden in ".:":
        if forbidden in name:
            raise invalid(f"worker deployment name cannot contain '{forbidden}'")
    if name.startswith("__"):
        raise invalid("WorkerDeploymentName cannot start with '__'")


def _version_in(pair: list[str] | None) -> Version | None:
    return Version(*pair) if pair else None


@dataclass(frozen=True, slots=True)
class Transition:
    """The run is moving to a version (None: to workers without one)."""

    version: Version | None


@dataclass(frozen=True, slots=True)
class Target:
    """Where a queue's routing leads: a version (None: workers without one), and the revision of the routing that says so."""

    version: Version | None
    revision: int = 0


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


def override_version(override: VersioningOverride) -> Version | None:
    """The version that an override (in the current form) ties the run to; None for an auto-upgrading one."""
    if override.HasField("pinned"):
        version = override.pinned.version
    elif override.HasField("one_time"):
        version = override.one_time.target_deployment_version
    else:
        return None
    return Version(version.deployment_name, version.build_id)


def is_pin(override: VersioningOverride) -> bool:
    return override.HasField("pinned")


def pin_to(version: Version) -> VersioningOverride:
    override = VersioningOverride()
    override.pinned.behavior = _PIN
    override.pinned.version.CopyFrom(version.message())
    return override


def current_form(override: VersioningOverride) -> VersioningOverride:
    """Without the fields that Temporal deprecates: what they say stands in the newer ones."""
    if override.WhichOneof("override") is not None:
        form = VersioningOverride()
        form.CopyFrom(override)
        for name in ("behavior", "deployment", "pinned_version"):
            form.ClearField(name)
        return form
    if override.behavior == AUTO_UPGRADE:
        return VersioningOverride(auto_upgrade=True)
    if override.pinned_version and (version := parse_version(override.pinned_version)):
        return pin_to(version)
    return pin_to(Version(override.deployment.series_name, override.deployment.build_id))


def with_old_fields(override: VersioningOverride) -> VersioningOverride:
    """With the deprecated fields filled too, as descriptions and histories show it."""
    form = VersioningOverride()
    form.CopyFrom(override)
    if override.HasField("pinned"):
        form.behavior = PINNED
        if version := version_of(override.pinned.version):
            form.pinned_version = version.dotted
    elif override.HasField("auto_upgrade"):
        form.behavior = AUTO_UPGRADE
    return form


def check_override(override: VersioningOverride) -> None:
    """Raises INVALID_ARGUMENT for an override that the server would refuse."""
    match override.WhichOneof("override"):
        case "auto_upgrade":
            if not override.auto_upgrade:
                raise invalid("auto-upgrade override must be true")
        case "pinned":
            if not override.pinned.HasField("version"):
                raise invalid("must provide version if override is pinned.")
            if not override.pinned.behavior:
                raise invalid("must specify pinned override behavior if override is pinned.")
        case "one_time":
            if not override.one_time.HasField("target_deployment_version"):
                raise invalid("must provide target deployment version if override is one-time.")
        case None:
            if override.behavior == PINNED:
                if override.pinned_version:
                    parse_version(override.pinned_version)
                elif not override.HasField("deployment"):
                    raise invalid(
                        "must provide deployment (deprecated) or pinned version if behavior is 'PINNED'"
                    )
            elif override.behavior == AUTO_UPGRADE:
                if override.HasField("deployment"):
                    raise invalid("only provide deployment if behavior is 'PINNED'")
                if override.pinned_version:
                    raise invalid("only provide pinned version if behavior is 'PINNED'")
            else:
                raise invalid("override behavior is required")


def not_in_queue(version: Version, queue: str) -> ServiceError:
    return ServiceError(
        Code.FAILED_PRECONDITION,
        f"Pinned version '{version}' is not present in task queue '{queue}' of type 'Workflow'",
    )
