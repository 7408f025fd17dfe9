"""Links that answers carry: where in which history that stands which a request brought about."""

from __future__ import annotations

from temporalio.api.common.v1 import Link
from temporalio.api.enums.v1 import EventType

from perdure.engine.state import Execution


def to_event(ex: Execution, event_id: int, event_type: EventType.ValueType) -> Link:
    link = _to_run(ex)
    link.workflow_event.event_ref.event_id = event_id
    link.workflow_event.event_ref.event_type = event_type
    return link


def to_request(ex: Execution, request_id: str, event_type: EventType.ValueType) -> Link:
    """To the event that a request led to; it may still wait in the buffer, without an id."""
    link = _to_run(ex)
    link.workflow_event.request_id_ref.request_id = request_id
    link.workflow_event.request_id_ref.event_type = event_type
    return link


def to_workflow(ex: Execution, reason: str) -> Link:
    """To a run in whose history there is nothing of the request, for the reason that is given."""
    link = Link()
    link.workflow.namespace = ex.namespace
    link.workflow.workflow_id = ex.workflow_id
    link.workflow.run_id = ex.run_id
    link.workflow.reason = reason
    return link


def _to_run(ex: Execution) -> Link:
    link = Link()
    link.workflow_event.namespace = ex.namespace
    link.workflow_event.workflow_id = ex.workflow_id
    link.workflow_event.run_id = ex.run_id
    return link
