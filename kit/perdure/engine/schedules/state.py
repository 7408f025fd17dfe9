"""What the engine keeps of a schedule: values only, and their form as a document.

A schedule is one document of kind `KIND`; its last version is all of it, so that nothing needs to be folded after a restart. For lists
it is also a row among the runs, in a division of its own, with memo and search attributes. Times are ns since the epoch.
"""

from __future__ import annotations

import base64
import json
from dataclasses import astuple, dataclass, field

from google.protobuf.message import Message
from temporalio.api.common.v1 import Memo, Payloads, SearchAttributes
from temporalio.api.failure.v1 import Failure
from temporalio.api.schedule.v1 import BackfillRequest, Schedule, ScheduleInfo

KIND = "schedule"
DIVISION = "TemporalScheduler"
FIRST_TOKEN = 1


@dataclass(frozen=True, slots=True)
class Start:
    """A workflow that is to be started. `manual`: it was asked for, and does not depend on pauses and limits."""

    nominal: int
    actual: int
    overlap: int = 0  # a ScheduleOverlapPolicy; 0 for the schedule's own
    manual: bool = False


@dataclass(slots=True)
class State:
    """One schedule.

    `processed`: times up to here were looked at. `buffer`: starts that wait for their turn. `token` changes with each change of what a
    user may write. `starts` counts those that were tried; the request ids of starts come from it. `requests` are the ids of
    updates and patches that were carried out lately.
    """

    namespace: str
    schedule_id: str
    run_id: str
    request_id: str
    schedule: Schedule
    info: ScheduleInfo = field(default_factory=ScheduleInfo)
    memo: Memo = field(default_factory=Memo)
    search_attributes: SearchAttributes = field(default_factory=SearchAttributes)
    token: int = FIRST_TOKEN
    processed: int = 0
    buffer: list[Start] = field(default_factory=list)
    backfills: list[BackfillRequest] = field(default_factory=list)
    last_result: Payloads | None = None
    last_failure: Failure | None = None
    starts: int = 0
    requests: list[str] = field(default_factory=list)

    @property
    def identity(self) -> str:
        """As what the schedule starts, cancels and terminates workflows."""
        return f"temporal-scheduler-{self.namespace}-{self.schedule_id}"


_MESSAGES: dict[str, type[Message]] = {
    "schedule": Schedule,
    "info": ScheduleInfo,
    "memo": Memo,
    "search_attributes": SearchAttributes,
    "last_result": Payloads,
    "last_failure": Failure,
}
_PLAIN = ("namespace", "schedule_id", "run_id", "request_id", "token", "processed", "starts", "requests")


def encode(state: State) -> bytes:
    """The state as a document: JSON, in which Temporal's messages stand in base64."""
    messages = {name: message for name in _MESSAGES if (message := getattr(state, name)) is not None}
    return json.dumps(
        {
            **{name: getattr(state, name) for name in _PLAIN},
            **{name: _text(message) for name, message in messages.items()},
            "buffer": [astuple(start) for start in state.buffer],
            "backfills": [_text(backfill) for backfill in state.backfills],
        }
    ).encode()


def decode(document: bytes) -> State:
    fields = json.loads(document)
    for name, kind in _MESSAGES.items():
        if name in fields:
            fields[name] = kind.FromString(base64.b64decode(fields[name]))
    fields["buffer"] = [Start(*start) for start in fields["buffer"]]
    fields["backfills"] = [BackfillRequest.FromString(base64.b64decode(text)) for text in fields["backfills"]]
    return State(**fields)


def _text(message: Message) -> str:
    return base64.b64encode(message.SerializeToString()).decode()
