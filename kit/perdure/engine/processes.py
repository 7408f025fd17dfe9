"""Leases: which perdure processes live, and which definitions each can run. See `project` for what a process is."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from perdure.engine.project import Adopt, Notice
from perdure.engine.records import Definition

_NAME = re.compile(r"perdure-(?P<pid>\d+)-[0-9a-f]{8}@(?P<host>.+)")


def is_process_name(identity: str) -> bool:
    """Whether an identity is that of a perdure process, rather than of a plain SDK worker."""
    return _NAME.fullmatch(identity) is not None


def is_own(identity: str) -> bool:
    """Whether that process is this one: it shares the engine's fate, and may be told before the commit."""
    match = _NAME.fullmatch(identity)
    return match is not None and int(match["pid"]) == os.getpid() and match["host"] == os.uname().nodename


def may_live(identity: str) -> bool:
    """False when the process is known to be gone: one of this machine whose pid is no longer there."""
    match = _NAME.fullmatch(identity)
    if match is None or match["host"] != os.uname().nodename:
        return True
    try:
        os.kill(int(match["pid"]), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(int(match["pid"]))


def _is_zombie(pid: int) -> bool:
    """Whether a process has died and only waits for its parent to notice, as a killed kernel does for some seconds."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False  # no /proc here, or gone this instant: the lease's grace decides
    return stat.rpartition(")")[2].split()[0] in "ZX"


@dataclass(slots=True)
class Lease:
    process: str
    adopts: bool
    number: int = 0  # leases are counted as they are taken
    workflows: set[tuple[str, str]] = field(default_factory=set)  # (type, version)
    workflow_types: set[str] = field(default_factory=set)
    activities: set[str] = field(default_factory=set)
    asked: set[tuple[str, str, str]] = field(default_factory=set)  # adoptions asked for already
    notices: asyncio.Queue[Notice] = field(default_factory=asyncio.Queue)

    def declare(self, definitions: Iterable[Definition]) -> None:
        self.workflows.clear()
        self.workflow_types.clear()
        self.activities.clear()
        for definition in definitions:
            if definition.kind == "workflow":
                self.workflows.add((definition.name, definition.version))
                self.workflow_types.add(definition.name)
            else:
                self.activities.add(definition.name)

    def runs_workflow(self, workflow_type: str, version: str) -> bool:
        if not version:
            return workflow_type in self.workflow_types
        return (workflow_type, version) in self.workflows

    def runs_activity(self, activity_type: str) -> bool:
        return activity_type in self.activities


class Processes:
    """The leases of the moment."""

    def __init__(self) -> None:
        self._leases: dict[str, Lease] = {}
        self.newest = 0  # the number of the last lease
        self._early: dict[
            str, list[Definition]
        ] = {}  # declared by processes whose attendance is still on its way

    def attend(self, process: str, adopts: bool) -> Lease:
        self.newest += 1
        lease = self._leases[process] = Lease(process, adopts, self.newest)
        lease.declare(self._early.pop(process, ()))
        return lease

    def declare(self, process: str, definitions: Iterable[Definition]) -> None:
        """What a process can run. Attending and declaring are two requests, which may arrive in either order."""
        lease = self._leases.get(process)
        if lease is not None:
            lease.declare(definitions)
        else:
            self._early[process] = list(definitions)

    def leave(self, lease: Lease) -> bool:
        """Ends a lease; False if the process has attended anew meanwhile."""
        if self._leases.get(lease.process) is not lease:
            return False
        del self._leases[lease.process]
        return True

    def get(self, process: str) -> Lease | None:
        return self._leases.get(process)

    def __iter__(self) -> Iterator[Lease]:
        return iter(self._leases.values())

    def accepts_workflow(self, identity: str, workflow_type: str, version: str) -> bool:
        lease = self._leases.get(identity)
        if lease is None:
            return not is_process_name(identity)
        return lease.runs_workflow(workflow_type, version)

    def accepts_activity(self, identity: str, activity_type: str, workflow_type: str, version: str) -> bool:
        """A process that also holds the run's own version goes first, so that two notebooks on one file keep to their own."""
        lease = self._leases.get(identity)
        if lease is None:
            return not is_process_name(identity)
        if not lease.runs_activity(activity_type):
            return False
        if not version or lease.runs_workflow(workflow_type, version):
            return True
        return not any(
            other.runs_activity(activity_type) and other.runs_workflow(workflow_type, version)
            for other in self._leases.values()
        )

    def ask_adoption(self, definition: Definition) -> None:
        """Asks a process that adopts to load a definition that nobody has declared; once for each."""
        key = (definition.kind, definition.name, definition.version)
        for lease in self._leases.values():
            if lease.adopts:
                if key not in lease.asked:
                    lease.asked.add(key)
                    lease.notices.put_nowait(Adopt((definition,)))
                return
