"""The stage on which scripts are played: one service, and hands for the client and the worker.

A script is a client and a worker in one: it sends each request itself, so the order of all that happens is given, and the same
script can be played on Temporal's own server and on the engine. What is left of it is a `Play`: the histories of the runs that it
named, and the answers it got, in the order of its lines.

On a server time passes by itself; on the engine the clock stands still except while the script waits, and then jumps.
"""

from __future__ import annotations

import asyncio
import copy
import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Protocol

import temporalio.api.operatorservice.v1 as operatorservice
import temporalio.api.workflowservice.v1 as workflowservice
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.message import Message
from temporalio.api.command.v1 import Command
from temporalio.api.enums.v1 import EventType, HistoryEventFilterType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client
from temporalio.service import RPCError

from golden.commands import payloads
from perdure.engine.engine import Engine
from perdure.engine.errors import Code, ServiceError
from perdure.engine.journal import Journal
from perdure.engine.limits import DEFAULT
from perdure.testing import JumpingClock, MemoryJournal

NAMESPACE = "default"
_AS_RECORDED = replace(DEFAULT, history_count_suggest=50)
_WAITS = ("PollWorkflowTaskQueue", "PollActivityTaskQueue", "PollWorkflowExecutionUpdate")


class Refused(Exception):
    """An error answer."""

    def __init__(self, code: str, message: str, details: list[Packed]) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.details = details


class Service(Protocol):
    """What scripts are played on."""

    async def send(self, rpc: str, request: Message, *, meanwhile: bool = False) -> Any:
        """Sends a request. `meanwhile`: the script goes on while this one waits."""

    async def pause(self, seconds: float) -> None:
        """Lets that much time pass, and all that is due meanwhile happen."""


class Server:
    """A Temporal server, by its address."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def send(self, rpc: str, request: Message, *, meanwhile: bool = False) -> Any:
        operator = hasattr(operatorservice, f"{rpc}Request")
        service = self._client.operator_service if operator else self._client.workflow_service
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", rpc).lower()
        try:
            return await getattr(service, name)(request, retry=False, timeout=timedelta(seconds=30))
        except RPCError as error:
            details = list(error.grpc_status.details)
            raise Refused(error.status.name, error.message, details) from None

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Embedded:
    """An engine in memory, whose clock jumps while the script waits."""

    def __init__(self) -> None:
        self._clock = JumpingClock()
        self._journal: Journal = MemoryJournal()
        self._engine = Engine(self._journal, self._clock, _AS_RECORDED)

    async def __aenter__(self) -> Embedded:
        self._held = self._clock.held()
        self._held.__enter__()
        await self._engine.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._engine.stop()
        self._held.__exit__(None, None, None)

    async def send(self, rpc: str, request: Message, *, meanwhile: bool = False) -> Any:
        try:
            if not meanwhile and (rpc in _WAITS or getattr(request, "wait_new_event", False)):
                with self._clock.released():
                    return await self._engine.service.call(rpc, request)
            return await self._engine.service.call(rpc, request)
        except ServiceError as error:
            details = []
            if error.detail is not None:
                details.append(Packed())
                details[0].Pack(error.detail)
            raise Refused(Code(error.code).name, error.message, details) from None

    async def pause(self, seconds: float) -> None:
        self._clock.advance(int(seconds * 1e9))
        for _ in range(50):
            await asyncio.sleep(0)


class Crashing(Embedded):
    """An engine that dies before every request; another one takes up what was committed."""

    def __init__(self) -> None:
        super().__init__()
        self._meanwhile = 0  # requests that wait: whoever waits for one would be lost

    async def send(self, rpc: str, request: Message, *, meanwhile: bool = False) -> Any:
        if not self._meanwhile:
            await self._engine.stop()
            self._engine = Engine(copy.deepcopy(self._journal), self._clock, _AS_RECORDED)
            self._journal = self._engine.journal
            await self._engine.start()
        self._meanwhile += meanwhile
        try:
            return await super().send(rpc, request, meanwhile=meanwhile)
        finally:
            self._meanwhile -= meanwhile


@dataclass
class Play:
    """What a script left. `answers`: the RPC's name, and its answer or refusal. `histories`: by the run's name."""

    token: str
    answers: list[tuple[str, Any]] = field(default_factory=list)
    histories: dict[str, list[HistoryEvent]] = field(default_factory=dict)


class Stage:
    """What a script speaks to."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.token = secrets.token_hex(4)
        self.play = Play(self.token)
        self._flows: dict[str, Flow] = {}
        self._requests = 0

    # --- requests

    def name(self, word: str) -> str:
        """A name of this play's own: two plays on one server do not meet."""
        return f"{word}-{self.token}"

    def request_id(self) -> str:
        self._requests += 1
        return f"request-{self._requests}"

    def make(self, rpc: str, **fields: Any) -> Message:
        module: Any = operatorservice if hasattr(operatorservice, f"{rpc}Request") else workflowservice
        kind = getattr(module, f"{rpc}Request")
        for name, value in (("namespace", NAMESPACE), ("identity", "client")):
            if name in kind.DESCRIPTOR.fields_by_name:
                fields.setdefault(name, value)
        return kind(**fields)  # type: ignore[no-any-return]

    async def call(self, rpc: str, *, meanwhile: bool = False, **fields: Any) -> Any:
        """Sends a request; its answer is part of the play. Raises Refused, which is part of it, too."""
        request = self.make(rpc, **fields)
        place = len(self.play.answers)
        self.play.answers.append((rpc, None))
        try:
            answer = await self._service.send(rpc, request, meanwhile=meanwhile)
        except Refused as refused:
            self.play.answers[place] = (rpc, refused)
            raise
        self.play.answers[place] = (rpc, answer)
        return answer

    async def refused(self, rpc: str, **fields: Any) -> Refused:
        """Sends a request that must be refused."""
        try:
            answer = await self.call(rpc, **fields)
        except Refused as refused:
            return refused
        raise AssertionError(f"{rpc} was to be refused: {answer}")

    async def begin(self, rpc: str, **fields: Any) -> asyncio.Task[Any]:
        """Sends a request that waits for something which the script does later. It has arrived when this returns."""
        task = asyncio.create_task(self.call(rpc, meanwhile=True, **fields))
        await self.pause(0.2)
        return task

    async def pause(self, seconds: float) -> None:
        await self._service.pause(seconds)

    # --- runs

    async def start(self, name: str = "flow", **fields: Any) -> Flow:
        """Starts a workflow of type Flow on a task queue of its own."""
        flow = self.flow(name, fields.pop("queue", None))
        await self.call("StartWorkflowExecution", **self.start_fields(flow, **fields))
        return flow

    def start_fields(self, flow: Flow, **fields: Any) -> dict[str, Any]:
        return {
            "workflow_id": flow.id,
            "workflow_type": {"name": "Flow"},
            "task_queue": {"name": flow.queue},
            "request_id": self.request_id(),
        } | fields

    def flow(self, name: str, queue: str | None = None) -> Flow:
        """A workflow that the play will have histories of, by its name."""
        if name not in self._flows:
            self._flows[name] = Flow(self, name, self.name(name), queue or self.name(f"queue-{name}"))
        return self._flows[name]

    async def end(self) -> Play:
        """Reads the histories of all runs that are named, from the first run of each chain to the last."""
        for flow in self._flows.values():
            if flow.unheard:
                continue
            for number, events in enumerate(await flow.chain(), 1):
                self.play.histories[f"{flow.name} {number}"] = events
        return self.play


@dataclass
class Flow:
    """One workflow id, with what is often done to it."""

    stage: Stage
    name: str
    id: str
    queue: str
    unheard: bool = False  # it has no history: it never started

    @property
    def execution(self) -> dict[str, str]:
        return {"workflow_id": self.id}

    # --- the worker's side

    async def poll(self, queue: str = "", **fields: Any) -> Any:
        """The next workflow task."""
        return await self.stage.call(
            "PollWorkflowTaskQueue", task_queue={"name": queue or self.queue}, identity="worker", **fields
        )

    async def complete(self, task: Any, *commands: Command, sticky: str = "", **fields: Any) -> Any:
        if sticky:
            fields["sticky_attributes"] = {
                "worker_task_queue": {"name": sticky, "kind": 2, "normal_name": self.queue},
                "schedule_to_start_timeout": timedelta(seconds=fields.pop("sticky_timeout", 10)),
            }
        return await self.stage.call(
            "RespondWorkflowTaskCompleted",
            task_token=task.task_token,
            commands=commands,
            identity="worker",
            **fields,
        )

    async def refused(self, task: Any, *commands: Command, **fields: Any) -> Refused:
        """Completes a workflow task in a way that must be refused."""
        try:
            await self.complete(task, *commands, **fields)
        except Refused as refused:
            return refused
        raise AssertionError("the completion was to be refused")

    async def work(self, *commands: Command, **fields: Any) -> Any:
        """Takes the next workflow task and completes it with these commands; the task."""
        task = await self.poll()
        await self.complete(task, *commands, **fields)
        return task

    async def fail(self, task: Any, **fields: Any) -> None:
        fields.setdefault("failure", {"message": "boom", "application_failure_info": {"type": "ValueError"}})
        await self.stage.call(
            "RespondWorkflowTaskFailed", task_token=task.task_token, identity="worker", **fields
        )

    async def activity(self) -> Any:
        """Takes the next activity task."""
        return await self.stage.call(
            "PollActivityTaskQueue", task_queue={"name": self.queue}, identity="worker"
        )

    async def activity_done(self, task: Any, result: str = "done") -> None:
        await self.stage.call(
            "RespondActivityTaskCompleted",
            task_token=task.task_token,
            result=payloads(result),
            identity="worker",
        )

    async def activity_failed(self, task: Any, failure: Any = None, **fields: Any) -> None:
        failure = failure or {"message": "boom", "application_failure_info": {"type": "ValueError"}}
        await self.stage.call(
            "RespondActivityTaskFailed",
            task_token=task.task_token,
            failure=failure,
            identity="worker",
            **fields,
        )

    async def activity_canceled(self, task: Any, **fields: Any) -> None:
        await self.stage.call(
            "RespondActivityTaskCanceled", task_token=task.task_token, identity="worker", **fields
        )

    async def heartbeat(self, task: Any, *details: str) -> Any:
        fields = {"details": payloads(*details)} if details else {}
        return await self.stage.call(
            "RecordActivityTaskHeartbeat", task_token=task.task_token, identity="worker", **fields
        )

    # --- the client's side

    async def signal(self, name: str = "go", *input: str, **fields: Any) -> None:
        if input:
            fields["input"] = payloads(*input)
        fields.setdefault("request_id", self.stage.request_id())
        await self.stage.call(
            "SignalWorkflowExecution", workflow_execution=self.execution, signal_name=name, **fields
        )

    async def cancel(self, **fields: Any) -> None:
        fields.setdefault("request_id", self.stage.request_id())
        await self.stage.call("RequestCancelWorkflowExecution", workflow_execution=self.execution, **fields)

    async def terminate(self, **fields: Any) -> None:
        await self.stage.call("TerminateWorkflowExecution", workflow_execution=self.execution, **fields)

    async def update(
        self, update_id: str, *, stage: int = 3, name: str = "add", **fields: Any
    ) -> asyncio.Task[Any]:
        """Sends an update, which waits for its stage (2 accepted, 3 completed)."""
        return await self.stage.begin(
            "UpdateWorkflowExecution", **self.update_fields(update_id, stage, name), **fields
        )

    def update_fields(self, update_id: str, stage: int = 3, name: str = "add") -> dict[str, Any]:
        return {
            "workflow_execution": self.execution,
            "wait_policy": {"lifecycle_stage": stage},
            "request": {
                "meta": {"update_id": update_id, "identity": "client"},
                "input": {"name": name, "args": payloads("1")},
            },
        }

    async def query(self, name: str = "state", **fields: Any) -> asyncio.Task[Any]:
        return await self.stage.begin(
            "QueryWorkflow", execution=self.execution, query={"query_type": name}, **fields
        )

    # --- what came of it

    async def ended(self) -> None:
        """Waits until the newest run is closed."""
        await self._history(
            "",
            wait_new_event=True,
            history_event_filter_type=HistoryEventFilterType.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT,
        )

    async def happened(self, name: str, count: int = 1) -> None:
        """Waits until the newest run has that many events of this type (not those that wait in the buffer)."""
        for _ in range(100):
            events = await self._history("")
            if sum(event_name(event) == name for event in events) >= count:
                return
            await self.stage.pause(0.1)
        raise AssertionError(f"{self.name} has no {name}: {[event_name(e) for e in events]}")

    async def chain(self) -> list[list[HistoryEvent]]:
        """The histories of all runs, the first one first; then those that resets made."""
        last = await self._history("")
        first = last[0].workflow_execution_started_event_attributes.first_execution_run_id
        resets = [event.workflow_task_failed_event_attributes.new_run_id for event in last]
        runs = []
        for run_id in (first, *resets):
            while run_id:
                events = await self._history(run_id)
                runs.append(events)
                attributes = getattr(events[-1], events[-1].WhichOneof("attributes") or "")
                run_id = getattr(attributes, "new_execution_run_id", "")
        return runs

    async def _history(self, run_id: str, **fields: Any) -> list[HistoryEvent]:
        answer = await self.stage._service.send(
            "GetWorkflowExecutionHistory",
            self.stage.make(
                "GetWorkflowExecutionHistory",
                execution={"workflow_id": self.id, "run_id": run_id},
                **fields,
            ),
        )
        return list(answer.history.events)


def event_name(event: HistoryEvent) -> str:
    """EVENT_TYPE_TIMER_FIRED -> TimerFired"""
    words = EventType.Name(event.event_type).removeprefix("EVENT_TYPE_").split("_")
    return "".join(word.capitalize() for word in words)


Script = Callable[[Stage], Awaitable[None]]
SCRIPTS: dict[str, Script] = {}


def script(play: Script) -> Script:
    """Makes a function one of the scripts, under its own name."""
    assert play.__name__ not in SCRIPTS, play.__name__
    SCRIPTS[play.__name__] = play
    return play


async def perform(script: Script, service: Service) -> Play:
    """Plays a script."""
    stage = Stage(service)
    await script(stage)
    return await stage.end()


async def perform_here(script: Script, kind: type[Embedded] = Embedded) -> Play:
    """Plays a script on an engine of its own."""
    async with kind() as engine:
        return await perform(script, engine)
