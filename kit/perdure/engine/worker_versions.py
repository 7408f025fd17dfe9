"""What a version of a worker deployment is: its name in Temporal's forms, and the version of a worker that polls. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from temporalio.api.deployment.v1 import WorkerDeploymentOptions, WorkerDeploymentVersion
from temporalio.api.enums.v1 import WorkerVersioningMode

from perdure.engine.errors import invalid

UNVERSIONED = "__unversioned__"


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


@dataclass(frozen=True, slots=True)
class Target:
    """Where a queue's routing leads: a version (None: workers without one), and the revision of the routing that says so."""

    version: Version | None
    revision: int = 0
