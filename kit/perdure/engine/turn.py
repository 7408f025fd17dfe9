"""A turn: one decision about one run, as it is being made.

Decision modules call `add` for each new event; it gets its id, is folded into the state at once, and is kept for the store.
What must happen outside the run (a task to offer, a child to start) is left as an effect, which the shell carries out within the
same transaction. A turn never fails half-way: everything is validated before the first event is added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from google.protobuf.message import Message
from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import Link
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent, WorkflowExecutionStartedEventAttributes

from perdure.engine.fold import absorb, apply
from perdure.engine.limits import DEFAULT, Limits
from perdure.engine.listed import search_attributes
from perdure.engine.protos import EVENT_BY_MESSAGE, timestamp
from perdure.engine.records import EventAppended, EventBuffered, ExecutionChanged, Record
from perdure.engine.state import Buffered, Execution


@dataclass(frozen=True, slots=True)
class OfferTask:
    """The run's workflow task is ready for a worker."""


@dataclass(frozen=True, slots=True)
class OfferActivity:
    scheduled_id: int


@dataclass(frozen=True, slots=True)
class StartChild:
    initiated_id: int


@dataclass(frozen=True, slots=True)
class SignalExternal:
    initiated_id: int


@dataclass(frozen=True, slots=True)
class CancelExternal:
    initiated_id: int


@dataclass(frozen=True, slots=True)
class StartRun:
    """The next run of the chain: continue-as-new, retry. `versioning`: how it is to begin, as the command asks."""

    run_id: str
    attributes: WorkflowExecutionStartedEventAttributes
    versioning: int = 0


@dataclass(frozen=True, slots=True)
class TellParent:
    """The chain of this child ended; its parent gets the matching event."""


@dataclass(frozen=True, slots=True)
class EndChild:
    """Parent close policy for a child that outlives this run. `cancel`: request cancellation instead of terminating."""

    workflow_id: str
    first_run_id: str
    cancel: bool


@dataclass(frozen=True, slots=True)
class Closed:
    """The run is closed: waiting callers learn it, pending updates end. `goes_on`: in another run."""

    goes_on: bool = False


Effect: TypeAlias = (
    OfferTask
    | OfferActivity
    | StartChild
    | SignalExternal
    | CancelExternal
    | StartRun
    | TellParent
    | EndChild
    | Closed
)


_IGNORABLE = frozenset(
    (
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_PAUSED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UNPAUSED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIME_SKIPPING_TRANSITIONED,
    )
)


@dataclass(slots=True)
class Turn:
    """One decision about `ex`, taken at `now` (ns)."""

    ex: Execution
    now: int
    limits: Limits = DEFAULT
    records: list[Record] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    attribute_types: Mapping[str, str] = field(
        default_factory=dict
    )  # of the namespace's custom search attributes
    namespace_id: Callable[[str], str] = lambda name: ""  # the id of a namespace, by its name
    size_before: int = 0
    count_before: int = 0
    commanding: bool = False  # while a completion's commands are carried out, what the workflow must hear of comes after them

    def __post_init__(self) -> None:
        self.size_before, self.count_before = self.ex.history_size, len(self.ex.events)

    def event(
        self,
        attributes: Message,
        *,
        when: int = 0,
        command: Command | None = None,
        links: Iterable[Link] = (),
    ) -> HistoryEvent:
        """An event without an id yet. `command`: whose user metadata and event group markers it takes over."""
        kind, name = EVENT_BY_MESSAGE[attributes.DESCRIPTOR.name]
        event = HistoryEvent(event_time=timestamp(when or self.now), event_type=kind)  # type: ignore[arg-type]
        getattr(event, name).CopyFrom(attributes)
        # the SDKs' state machines do not know these events, and refuse a history with one that may not be ignored
        event.worker_may_ignore = kind in _IGNORABLE
        if command is not None:
            if command.HasField("user_metadata"):
                event.user_metadata.CopyFrom(command.user_metadata)
            event.event_group_markers.extend(command.event_group_markers)
        event.links.extend(links)
        return event

    def add(
        self,
        attributes: Message,
        *,
        when: int = 0,
        command: Command | None = None,
        replaces: int | None = None,
        links: Iterable[Link] = (),
    ) -> HistoryEvent:
        """Appends an event to the history. `replaces`: the seq of a buffered event that it cancels out."""
        event = self.event(attributes, when=when, command=command, links=links)
        self.append(event, replaces)
        return event

    def append(self, event: HistoryEvent, buffer_seq: int | None = None) -> None:
        event.event_id = self.ex.next_event_id
        apply(self.ex, event)
        self.records.append(EventAppended(self.ex.run_id, event, buffer_seq))

    def buffer(self, event: HistoryEvent) -> None:
        """Keeps an event until the started workflow task ends."""
        self.ex.buffer_seq += 1
        self.ex.buffer.append(Buffered(self.ex.buffer_seq, event))
        absorb(self.ex, event)
        self.records.append(EventBuffered(self.ex.run_id, self.ex.buffer_seq, event))

    def changed(self) -> None:
        """Records what lists show of the run, after its memo, search attributes or version changed."""
        ex = self.ex
        memo = type(ex.memo)()
        memo.CopyFrom(ex.memo)
        attributes = search_attributes(ex)
        self.records.append(ExecutionChanged(ex.run_id, self.now, ex.version, memo, attributes, ex.status))
