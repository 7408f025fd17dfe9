"""Effects of a turn that reach into other runs: children started, signals and cancels delivered, parents told.

Each gives the turns that it causes; `Engine.commit` appends them in the transaction of the turn that they come from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import (
    CancelExternalWorkflowExecutionFailedCause,
    SignalExternalWorkflowExecutionFailedCause,
    WorkflowIdReusePolicy,
)
from temporalio.api.history.v1 import (
    WorkflowExecutionCancelRequestedEventAttributes,
    WorkflowExecutionSignaledEventAttributes,
    WorkflowExecutionStartedEventAttributes,
)
from temporalio.api.sdk.v1 import UserMetadata

from perdure.engine import externals, starting
from perdure.engine.bounds import too_many_signals
from perdure.engine.closing import replace_run, terminate_run
from perdure.engine.inheritance import HasVersion, inherit_as_child, inherit_in_chain
from perdure.engine.runs import Run
from perdure.engine.state import Child, Execution
from perdure.engine.task_queues import QueueKey
from perdure.engine.turn import (
    CancelExternal,
    Closed,
    Effect,
    EndChild,
    OfferActivity,
    OfferTask,
    SignalExternal,
    StartChild,
    StartRun,
    TellParent,
    Turn,
)
from perdure.engine.worker_versions import Version

if TYPE_CHECKING:
    from perdure.engine.engine import Engine

_NO_TARGET_OF_SIGNAL = SignalExternalWorkflowExecutionFailedCause.Value(
    "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_EXTERNAL_WORKFLOW_EXECUTION_NOT_FOUND"
)
_TOO_MANY_SIGNALS = SignalExternalWorkflowExecutionFailedCause.Value(
    "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_SIGNAL_COUNT_LIMIT_EXCEEDED"
)
_NO_TARGET_OF_CANCEL = CancelExternalWorkflowExecutionFailedCause.Value(
    "CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_EXTERNAL_WORKFLOW_EXECUTION_NOT_FOUND"
)


class Effects:
    """Carries out effects on the runs of an engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def carry_out(self, turn: Turn, effect: Effect) -> list[Turn]:
        match effect:
            case StartChild(initiated_id):
                return self._start_child(turn.ex, turn.ex.children.get(initiated_id))
            case SignalExternal(initiated_id):
                return self._signal_external(turn.ex, initiated_id)
            case CancelExternal(initiated_id):
                return self._cancel_external(turn.ex, initiated_id)
            case StartRun(run_id, attributes, versioning):
                has = self._has_version(turn.ex.namespace)
                inherit_in_chain(turn.ex, attributes, versioning, has)
                return [self._begin(turn.ex.namespace, run_id, attributes)]
            case TellParent():
                return self._tell_parent(turn.ex)
            case EndChild():
                return self._end_child(turn.ex, effect)
            case Closed(goes_on):
                return [] if goes_on else self._engine.scheduler.closed(turn.ex)
            case OfferTask() | OfferActivity():
                return []

    def _begin(
        self,
        namespace: str,
        run_id: str,
        attributes: WorkflowExecutionStartedEventAttributes,
        user_metadata: UserMetadata | None = None,
    ) -> Turn:
        turn = starting.begin(
            namespace,
            run_id,
            attributes,
            self._engine.clock.now(),
            self._engine.limits,
            current_version=self._engine.definitions.current_version(
                "workflow", attributes.workflow_type.name
            ),
            user_metadata=user_metadata,
        )
        starting.first_task(turn)
        self._engine.runs.add(turn.ex)
        return turn

    def _has_version(self, namespace: str) -> HasVersion:
        def has(queue: str, version: Version) -> bool:
            return self._engine.deployments.has(QueueKey(namespace, queue, "workflow"), version)

        return has

    def _start_child(self, parent: Execution, child: Child | None) -> list[Turn]:
        if child is None or not parent.open:
            return []
        turns: list[Turn] = []
        namespace, workflow_id = child.attributes.namespace, child.attributes.workflow_id
        reuse = child.attributes.workflow_id_reuse_policy
        existing = self._engine.runs.open_run(namespace, workflow_id)
        back, run_id = self._engine.turn_of(parent), self._engine.new_id()
        if existing is not None and _is_child(parent, existing.ex, child.initiated_id):
            externals.child_started(back, child, existing.ex.first_run_id)  # before its parent was reset
            return [back]
        if existing is not None:
            if reuse != WorkflowIdReusePolicy.WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING:
                externals.child_start_failed(back, child)
                return [back]
            end = self._engine.turn(existing)
            replace_run(end, run_id)
            turns.append(end)
        elif not self._engine.runs.may_reuse(namespace, workflow_id, reuse):
            externals.child_start_failed(back, child)
            return [back]
        attributes = starting.from_child(
            parent,
            child.initiated_id,
            child.attributes,
            run_id,
            back.now,
            self._engine.namespaces.id_of(parent.namespace),
        )
        if namespace == parent.namespace:
            inherit_as_child(parent, attributes, self._has_version(namespace))
        initiated = parent.events[child.initiated_id - 1]
        metadata = initiated.user_metadata if initiated.HasField("user_metadata") else None
        turns.append(self._begin(namespace, run_id, attributes, metadata))
        externals.child_started(back, child, run_id)
        return [*turns, back]

    def _target(
        self, sender: Execution, namespace: str, execution: WorkflowExecution, child_only: bool
    ) -> Run | None:
        """The open run that another one means; never itself."""
        if (namespace, execution.workflow_id) == (sender.namespace, sender.workflow_id):
            return None
        run = self._engine.runs.open_run(namespace, execution.workflow_id)
        if run is None:
            return None
        if execution.run_id and run.ex.run_id != execution.run_id and run.ex.first_run_id != execution.run_id:
            return None
        if child_only and not _is_child(sender, run.ex):
            return None
        return run

    def _signal_external(self, sender: Execution, initiated_id: int) -> list[Turn]:
        attributes = sender.signals_out.get(initiated_id)
        if attributes is None or not sender.open:
            return []
        back = self._engine.turn_of(sender)
        namespace = attributes.namespace or sender.namespace
        run = self._target(sender, namespace, attributes.workflow_execution, attributes.child_workflow_only)
        if run is None:
            externals.signal_outcome(back, initiated_id, _NO_TARGET_OF_SIGNAL)
            return [back]
        if too_many_signals(run.ex, self._engine.limits):
            externals.signal_outcome(back, initiated_id, _TOO_MANY_SIGNALS)
            return [back]
        turn = self._engine.turn(run)
        externals.signal(
            turn,
            WorkflowExecutionSignaledEventAttributes(
                signal_name=attributes.signal_name,
                input=attributes.input if attributes.HasField("input") else None,
                identity="history-service",
                header=attributes.header if attributes.HasField("header") else None,
                external_workflow_execution=WorkflowExecution(
                    workflow_id=sender.workflow_id, run_id=sender.run_id
                ),
                request_id=f"{sender.run_id}:{initiated_id}",
            ),
        )
        externals.signal_outcome(back, initiated_id, None)
        return [turn, back]

    def _cancel_external(self, sender: Execution, initiated_id: int) -> list[Turn]:
        attributes = sender.cancels_out.get(initiated_id)
        if attributes is None or not sender.open:
            return []
        back = self._engine.turn_of(sender)
        namespace, target = attributes.namespace or sender.namespace, attributes.workflow_execution
        run = self._target(sender, namespace, target, attributes.child_workflow_only)
        if run is None:
            closed = self._closed_target(sender, namespace, target)
            externals.cancel_outcome(back, initiated_id, None if closed else _NO_TARGET_OF_CANCEL)
            return [back]
        turn = self._engine.turn(run)
        externals.request_cancel(
            turn,
            WorkflowExecutionCancelRequestedEventAttributes(
                cause=attributes.reason,
                external_initiated_event_id=initiated_id,
                external_workflow_execution=WorkflowExecution(
                    workflow_id=sender.workflow_id, run_id=sender.run_id
                ),
                identity="history-service",
            ),
        )
        externals.cancel_outcome(back, initiated_id, None)
        return [turn, back]

    def _closed_target(self, sender: Execution, namespace: str, target: WorkflowExecution) -> bool:
        """Whether what cannot be canceled is closed already. A run that is named must be in memory, if there is one."""
        runs = self._engine.runs
        if (namespace, target.workflow_id) == (sender.namespace, sender.workflow_id):
            return False
        if target.run_id:
            run = runs.in_memory(target.run_id)
            return run is not None and run.ex.workflow_id == target.workflow_id and not run.ex.open
        return runs.known(namespace, target.workflow_id) and not runs.open_run(namespace, target.workflow_id)

    def _tell_parent(self, child: Execution) -> list[Turn]:
        execution = child.started.parent_workflow_execution
        run = self._engine.runs.in_memory(execution.run_id)
        if run is None or not run.ex.open:  # the parent may have been reset meanwhile
            run = self._engine.runs.open_run(child.started.parent_workflow_namespace, execution.workflow_id)
        if run is None or execution.run_id not in (run.ex.run_id, *run.ex.reset_of):
            return []
        turn = self._engine.turn(run)
        externals.child_closed(turn, child)
        return [turn]

    def _end_child(self, parent: Execution, effect: EndChild) -> list[Turn]:
        run = self._engine.runs.open_run(parent.namespace, effect.workflow_id)
        if run is None or run.ex.first_run_id != effect.first_run_id:
            return []
        turn = self._engine.turn(run)
        if effect.cancel:
            attributes = WorkflowExecutionCancelRequestedEventAttributes(
                external_workflow_execution=WorkflowExecution(
                    workflow_id=parent.workflow_id, run_id=parent.run_id
                ),
                identity="history-service",
            )
            externals.request_cancel(turn, attributes)
        else:
            terminate_run(turn, "by parent close policy", None, "history-service")
        return [turn]


def _is_child(parent: Execution, ex: Execution, initiated_id: int = 0) -> bool:
    """Whether a run is a child of this one, or of one that this one goes on from after a reset."""
    execution = ex.started.parent_workflow_execution
    return (
        execution.workflow_id == parent.workflow_id
        and execution.run_id in (parent.run_id, *parent.reset_of)
        and initiated_id in (0, ex.started.parent_initiated_event_id)
    )
