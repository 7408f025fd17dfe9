"""Commands as a worker sends them, in few words. Times are in seconds; fields that are not given stay unset."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.message import Message
from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.enums.v1 import CommandType
from temporalio.api.protocol.v1 import Message as ProtocolMessage
from temporalio.api.sdk.v1 import UserMetadata
from temporalio.api.update.v1 import Acceptance, Rejection, Request, Response


def payload(value: Any) -> Payload:
    return Payload(metadata={"encoding": b"json/plain"}, data=json.dumps(value).encode())


def payloads(*values: Any) -> Payloads:
    return Payloads(payloads=[payload(value) for value in values])


SUMMARY = UserMetadata(summary=payload("in short"), details=payload("at length"))


def seconds(length: float) -> timedelta:
    return timedelta(seconds=length)


def failure(message: str = "boom", type: str = "ValueError", **info: Any) -> dict[str, Any]:
    return {"message": message, "source": "test", "application_failure_info": {"type": type, **info}}


def command(kind: str, **fields: Any) -> Command:
    """A command by its name (as in START_TIMER) and its attributes; floats in fields named *_timeout are seconds."""
    attributes = {
        name: timedelta(seconds=value)
        if name.endswith("_timeout") and isinstance(value, int | float)
        else value
        for name, value in fields.items()
        if name not in ("user_metadata", "event_group_markers")
    }
    made = Command(
        command_type=CommandType.Value(f"COMMAND_TYPE_{kind}"),
        **{f"{kind.lower()}_command_attributes": attributes},
    )
    if "user_metadata" in fields:
        made.user_metadata.CopyFrom(fields["user_metadata"])
    made.event_group_markers.extend(fields.get("event_group_markers", ()))
    return made


def schedule_activity(flow: Any, activity_id: str = "a", **fields: Any) -> Command:
    """An activity on the workflow's own task queue; start_to_close_timeout is a minute unless a timeout is given."""
    if "start_to_close_timeout" not in fields and "schedule_to_close_timeout" not in fields:
        fields["start_to_close_timeout"] = 60
    fields = {"activity_type": {"name": "act"}, "task_queue": {"name": flow.queue}} | fields
    return command("SCHEDULE_ACTIVITY_TASK", activity_id=activity_id, **fields)


def retry(attempts: int = 0, initial: float = 0.1, **fields: Any) -> dict[str, Any]:
    return {
        "initial_interval": timedelta(seconds=initial),
        "backoff_coefficient": 1,
        "maximum_attempts": attempts,
        **fields,
    }


def cancel_activity(scheduled_id: int) -> Command:
    return command("REQUEST_CANCEL_ACTIVITY_TASK", scheduled_event_id=scheduled_id)


def start_timer(timer_id: str = "t", length: float = 60, **fields: Any) -> Command:
    return command("START_TIMER", timer_id=timer_id, start_to_fire_timeout=length, **fields)


def cancel_timer(timer_id: str = "t") -> Command:
    return command("CANCEL_TIMER", timer_id=timer_id)


def complete(*result: Any) -> Command:
    return command("COMPLETE_WORKFLOW_EXECUTION", **({"result": payloads(*result)} if result else {}))


def fail(**info: Any) -> Command:
    return command("FAIL_WORKFLOW_EXECUTION", failure=failure(**info))


def cancel(*details: Any) -> Command:
    return command("CANCEL_WORKFLOW_EXECUTION", **({"details": payloads(*details)} if details else {}))


def continue_as_new(**fields: Any) -> Command:
    return command("CONTINUE_AS_NEW_WORKFLOW_EXECUTION", **fields)


def start_child(flow: Any, **fields: Any) -> Command:
    fields = {
        "workflow_id": flow.id,
        "workflow_type": {"name": "Child"},
        "task_queue": {"name": flow.queue},
    } | fields
    return command("START_CHILD_WORKFLOW_EXECUTION", **fields)


def signal_external(workflow_id: str, run_id: str = "", **fields: Any) -> Command:
    fields = {"execution": {"workflow_id": workflow_id, "run_id": run_id}, "signal_name": "go"} | fields
    return command("SIGNAL_EXTERNAL_WORKFLOW_EXECUTION", **fields)


def cancel_external(workflow_id: str, run_id: str = "", **fields: Any) -> Command:
    return command(
        "REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION", workflow_id=workflow_id, run_id=run_id, **fields
    )


def marker(name: str = "mark", **fields: Any) -> Command:
    return command("RECORD_MARKER", marker_name=name, **fields)


def upsert_attributes(**values: Payload) -> Command:
    return command("UPSERT_WORKFLOW_SEARCH_ATTRIBUTES", search_attributes={"indexed_fields": values})


def upsert_memo(**values: Payload) -> Command:
    return command("MODIFY_WORKFLOW_PROPERTIES", upserted_memo={"fields": values})


def send_message(message_id: str) -> Command:
    return command("PROTOCOL_MESSAGE", message_id=message_id)


# --- messages about updates


def _message(kind: str, update_id: str, body: Message) -> ProtocolMessage:
    packed = Packed()
    packed.Pack(body)
    return ProtocolMessage(id=f"{update_id}/{kind}", protocol_instance_id=update_id, body=packed)


def accepted(carried: ProtocolMessage) -> ProtocolMessage:
    """The acceptance of the update that a workflow task carried."""
    request = Request()
    carried.body.Unpack(request)
    return _message(
        "accept",
        carried.protocol_instance_id,
        Acceptance(
            accepted_request_message_id=carried.id,
            accepted_request_sequencing_event_id=carried.event_id,
            accepted_request=request,
        ),
    )


def rejected(carried: ProtocolMessage) -> ProtocolMessage:
    request = Request()
    carried.body.Unpack(request)
    return _message(
        "reject",
        carried.protocol_instance_id,
        Rejection(
            rejected_request_message_id=carried.id,
            rejected_request_sequencing_event_id=carried.event_id,
            rejected_request=request,
            failure=failure("no"),  # type: ignore[arg-type]
        ),
    )


def answered(update_id: str, *, failed: bool = False) -> ProtocolMessage:
    """The outcome of an update."""
    outcome = {"failure": failure("sorry")} if failed else {"success": payloads("2")}
    return _message(
        "complete",
        update_id,
        Response(meta={"update_id": update_id, "identity": "client"}, outcome=outcome),  # type: ignore[arg-type]
    )
