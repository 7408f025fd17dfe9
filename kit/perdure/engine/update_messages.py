"""What a worker may say of updates in the answer to a workflow task. TEMPORAL.md, section 13.3.

An update is accepted or rejected once, and completed after that. A message that breaks the order, or lacks a part, fails the task.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import TypeAlias

from temporalio.api.protocol.v1 import Message
from temporalio.api.update.v1 import Acceptance, Rejection, Response

from perdure.engine.state import Execution, UpdateStage

Body: TypeAlias = Acceptance | Rejection | Response


class _Stage(Enum):
    """Stages by the names that the service's texts give them."""

    ADMITTED = "Admitted"
    SENT = "Sent"
    ACCEPTED_NOW = "ProvisionallyAccepted"
    ACCEPTED = "Accepted"
    COMPLETED_NOW = "ProvisionallyCompleted"
    COMPLETED = "Completed"


_STAGES = {
    UpdateStage.ADMITTED: _Stage.ADMITTED,
    UpdateStage.SENT: _Stage.SENT,
    UpdateStage.ACCEPTED: _Stage.ACCEPTED,
    UpdateStage.COMPLETED: _Stage.COMPLETED,
}
_OPEN = (_Stage.ADMITTED, _Stage.SENT)


def body_of(message: Message) -> Body | None:
    for kind in (Acceptance, Rejection, Response):
        if message.body.Is(kind.DESCRIPTOR):
            body = kind()
            message.body.Unpack(body)
            return body
    return None


def fault(ex: Execution, messages: Iterable[Message]) -> str | None:
    """What is wrong with the first bad one of these messages, which are in the order in which they count; None if all are good."""
    stages = {update.update_id: _STAGES[update.stage] for update in ex.updates.values()}
    for message in messages:
        update_id, body = message.protocol_instance_id, body_of(message)
        if body is None:
            return f"Message type {message.body.type_url.rpartition('/')[2]} not supported"
        if update_id not in stages:
            if not _resurrects(body):
                return (
                    f"update {update_id} wasn't found on the server. This is most likely a transient error which will be "
                    "resolved automatically by retries"
                )
            stages[update_id] = _Stage.ADMITTED
        text = _misplaced(update_id, body, stages[update_id]) or _incomplete(update_id, body)
        if text is not None:
            return text
        stages[update_id] = _Stage.ACCEPTED_NOW if isinstance(body, Acceptance) else _Stage.COMPLETED_NOW
    return None


def _resurrects(body: Body) -> bool:
    """An update that the service has forgotten, after a restart, comes back with the worker's answer."""
    if isinstance(body, Acceptance):
        return body.HasField("accepted_request")
    return isinstance(body, Rejection) and body.HasField("rejected_request")


def _misplaced(update_id: str, body: Body, stage: _Stage) -> str | None:
    allowed = (_Stage.ACCEPTED_NOW, _Stage.ACCEPTED) if isinstance(body, Response) else _OPEN
    if stage in allowed:
        return None
    return (
        f"invalid state transition attempted for Update {update_id}: received {_kind(body)} message "
        f"while in state {stage.value}"
    )


def _incomplete(update_id: str, body: Body) -> str | None:
    missing = None
    if isinstance(body, Acceptance):
        if not body.accepted_request_sequencing_event_id:
            missing = "accepted_request_sequencing_event_id"
        elif not body.accepted_request_message_id:
            missing = "accepted_request_message_id"
    elif isinstance(body, Response):
        if not body.HasField("meta"):
            missing = "meta"
        elif not body.meta.update_id:
            missing = "meta.update_id"
        elif body.meta.update_id != update_id:
            return f"invalid {_kind(body)}: meta.update_id != {update_id}"
        elif not body.HasField("outcome"):
            missing = "outcome"
    return None if missing is None else f"invalid {_kind(body)}: {missing} is not set"


def _kind(body: Body) -> str:
    return f"*update.{type(body).__name__}"
