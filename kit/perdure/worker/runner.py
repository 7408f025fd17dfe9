"""One worker, every version: a workflow instance is made from the version that its run is pinned to.

A Temporal worker knows one class for each workflow type. Cells are edited all day, and open runs stay on
the version that they began with, so this runner asks for a run's pinned version when the SDK creates the
instance, and gives the SDK that version's definition in place of the worker's own. The SDK creates an
instance once for each run in its cache, on the worker's loop; asking therefore blocks, and must be answered
from another thread.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import temporalio.workflow
from temporalio.converter import StorageDriverStoreContext
from temporalio.worker import (
    UnsandboxedWorkflowRunner,
    WorkflowInstance,
    WorkflowInstanceDetails,
    WorkflowRunner,
)
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from perdure.errors import DefinitionError

if TYPE_CHECKING:
    from perdure.authoring.registry import Registered


def sandbox() -> SandboxedWorkflowRunner:
    """The SDK's sandbox, with the modules passed through that definitions need at run time."""
    from perdure.authoring.sandbox import runner

    return runner()


class VersionedRunner(WorkflowRunner):
    """Creates workflow instances from pinned versions, in the SDK's sandbox unless the definition opts out.

    Args:
        pinned: run id -> version, "" when the run is not pinned. Called once for each run; may block.
        find: (workflow type, version) -> the loaded definition. May block; raises DefinitionError.
        prepared: workflow classes that need no validation; those that pass it are added.
    """

    def __init__(
        self,
        pinned: Callable[[str], str],
        find: Callable[[str, str], Registered],
        prepared: set[type] | None = None,
    ) -> None:
        self._pinned = pinned
        self._find = find
        self._prepared = prepared if prepared is not None else set()
        self._versions: dict[str, str] = {}
        self._sandboxed = sandbox()
        self._plain = UnsandboxedWorkflowRunner()

    def prepare_workflow(self, defn: Any) -> None:
        """Validates a definition. To be called on a running loop, which the SDK's instances ask for."""
        if defn.cls not in self._prepared:
            self._runner(defn).prepare_workflow(defn)
            self._prepared.add(defn.cls)

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        run_id, name = det.info.run_id, det.info.workflow_type
        version = self._versions.get(run_id)
        if version is None:
            version = self._versions[run_id] = self._pinned(run_id)
        if version:
            defn = definition_of(self._find(name, version).target)
            det = dataclasses.replace(det, defn=defn)
        return _WithoutContexts(self._runner(det.defn).create_instance(det))

    def set_worker_level_failure_exception_types(self, types: Sequence[type[BaseException]]) -> None:
        self._sandboxed.set_worker_level_failure_exception_types(types)
        self._plain.set_worker_level_failure_exception_types(types)

    def detach(self) -> None:
        """Answers nothing any more, and lets go of who answered."""
        self._pinned, self._find = _closed, _closed

    def _runner(self, defn: Any) -> WorkflowRunner:
        return self._sandboxed if defn.sandboxed else self._plain


class _WithoutContexts(WorkflowInstance):
    """A workflow instance that is not asked for serialisation contexts.

    The SDK asks six times an activity, and each time enters the sandbox: a third of the worker's time. Only a data converter
    that depends on them has a use for the answer; perdure's (`authoring.payloads`) does not.
    """

    def __init__(self, inner: WorkflowInstance) -> None:
        self._inner = inner
        self._nowhere = StorageDriverStoreContext(target=None)

    def activate(self, act: Any) -> Any:
        return self._inner.activate(act)

    def get_serialization_context(self, command_info: Any) -> None:
        return None

    def get_external_store_context(self, command_info: Any) -> StorageDriverStoreContext:
        return self._nowhere

    def get_info(self) -> temporalio.workflow.Info:
        return self._inner.get_info()

    def get_thread_id(self) -> int | None:
        return self._inner.get_thread_id()


def _closed(*_: str) -> Any:
    raise DefinitionError("The session of this worker is closed.")


def definition_of(target: Any) -> Any:
    """What the SDK knows of a `@workflow.defn` class. Raises DefinitionError if it is none."""
    try:
        return temporalio.workflow._Definition.must_from_class(target)
    except ValueError as error:
        raise DefinitionError(
            f"{target!r} is no workflow: {error}", "Decorate the class with @workflow.defn."
        ) from error
