"""What two plays of one script must have in common: their histories and answers without what differs from play to play.

This is the only place that leaves anything out; docs/conformance.md says why, row by row.
"""

from __future__ import annotations

import json
import re
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from golden.stage import Play, Refused, event_name

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_LONG = re.compile("x{100,}")
_DROPPED = {
    "taskId", "version", "eventTime", "historySizeBytes", "stateTransitionCount", "pollerScalingDecision", "backlogCountHint",
}  # fmt: skip
_MASKED = {"taskToken"}
_ROUNDED = {"backoffStartInterval", "firstWorkflowTaskBackoff"}


def normal(play: Play) -> dict[str, Any]:
    """A play as JSON, ready to be compared."""
    histories = {name: [MessageToDict(event) for event in events] for name, events in play.histories.items()}
    document = {
        "histories": histories,
        "answers": [{rpc: _answer(answer)} for rpc, answer in play.answers],
    }
    return _Normaliser(play.token).walk(document)  # type: ignore[no-any-return]


def text(document: dict[str, Any]) -> str:
    """One line for each event and each answer."""

    def lines(items: list[Any]) -> str:
        return ",\n".join("  " + json.dumps(item, sort_keys=True) for item in items)

    histories = ",\n".join(
        f" {json.dumps(name)}: [\n{lines(events)}\n ]" for name, events in document["histories"].items()
    )
    return f'{{"histories": {{\n{histories}\n }},\n "answers": [\n{lines(document["answers"])}\n ]}}\n'


def differences(recorded: Any, played: Any, path: str = "") -> list[str]:
    """Where a play differs from the recording, each place with both values."""
    if isinstance(recorded, dict) and isinstance(played, dict):
        keys = [*recorded, *(key for key in played if key not in recorded)]
        return [
            found
            for key in keys
            for found in differences(recorded.get(key, "-"), played.get(key, "-"), f"{path}/{key}")
        ]
    if isinstance(recorded, list) and isinstance(played, list) and len(recorded) == len(played):
        pairs = enumerate(zip(recorded, played, strict=True))
        return [found for i, (one, other) in pairs for found in differences(one, other, f"{path}/{i}")]
    if recorded == played:
        return []
    return [f"{path}:\n    recorded {_short(recorded)}\n    played   {_short(played)}"]


def _short(value: Any) -> str:
    """Of a history or a list of answers, only what stands where."""
    if isinstance(value, list):
        names = [
            item.get("eventType", next(iter(item))) if isinstance(item, dict) else str(item) for item in value
        ]
        return ", ".join(name.removeprefix("EVENT_TYPE_") for name in names)
    return json.dumps(value)


def _answer(answer: Any) -> Any:
    if isinstance(answer, Refused):
        return {
            "refused": answer.code,
            "message": answer.message,
            "details": [MessageToDict(d) for d in answer.details],
        }
    assert isinstance(answer, Message), answer
    made = MessageToDict(answer)
    for field in ("history", "workflowTask", "eagerWorkflowTask"):
        if field == "history" and answer.DESCRIPTOR.fields_by_name.get(field) and field in made:
            made[field] = _names(answer.history)  # type: ignore[attr-defined]
        elif field in made and "history" in made[field]:
            inner = answer.workflow_task if field == "workflowTask" else answer.eager_workflow_task  # type: ignore[attr-defined]
            made[field]["history"] = _names(inner.history)
    return made


def _names(history: Any) -> list[str]:
    """The events that an answer carries, by id and name: what they hold stands in the histories."""
    return [f"{event.event_id} {event_name(event)}" for event in history.events]


class _Normaliser:
    def __init__(self, token: str) -> None:
        self._suffix = f"-{token}"
        self._ids: dict[str, str] = {}

    def walk(self, value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            if (
                value.get("attempt", 0) >= 4 and "startToCloseTimeout" in value
            ):  # of a workflow task: it has jitter
                value = value | {"startToCloseTimeout": "*"}
            return {
                self._text(k, ""): self.walk(v, k)
                for k, v in value.items()
                if k not in _DROPPED and not (k == "requestId" and not v.startswith("request-"))
            }
        if isinstance(value, list):
            return [self.walk(item) for item in value]
        if key in _MASKED:
            return "*"
        if isinstance(value, str):
            return self._text(value, key)
        return value

    def _text(self, value: str, key: str) -> str:
        if key in _ROUNDED:
            return f"{-(-float(value[:-1]) // 1):.0f}s"
        value = _LONG.sub(lambda found: f"x…{len(found[0])}", value)
        value = _TIME.sub("*", value.replace(self._suffix, ""))
        return _UUID.sub(lambda found: self._ids.setdefault(found[0], f"id-{len(self._ids) + 1}"), value)
