"""One service, whichever it is: calls by the RPC's name, answers and refusals as values.

The contract tests of the service are written once, and run on the engine without sockets, on the engine over gRPC, and on Temporal's own
server. A test that needs work done polls for it itself, so that nothing happens that it does not ask for.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import secrets
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import temporalio.api.operatorservice.v1 as operatorservice
import temporalio.api.workflowservice.v1 as workflowservice
from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload, Payloads, WorkflowExecution, WorkflowType
from temporalio.api.enums.v1 import CommandType, EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.client import Client
from temporalio.service import RPCError

from perdure.frontend.loops import LoopThread, submit

NAMESPACE = "default"
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error answer. `details` are the messages that came with it, by their type's name."""

    code: str
    message: str
    details: dict[str, Any]


class Service:
    """Calls one service from a test, which blocks.

    Attributes:
        kind: "local", "grpc" or "temporal".
        version: of the server, e.g. (1, 32).
    """

    def __init__(self, kind: str, connect: Callable[[], Awaitable[Client]]) -> None:
        self.kind = kind
        self._thread = LoopThread(f"calls of {kind}")
        self._client = self._thread.run(_awaited(connect), 30)
        info = self.call("GetSystemInfo")
        self.version = tuple(int(part) for part in re.findall(r"\d+", info.server_version)[:2])

    def begin(
        self, rpc: str, request: Message | None = None, /, timeout: float = 25, **fields: Any
    ) -> Future[Any]:
        """Sends a request: `request`, or one of the RPC's type with `fields`, in the namespace if it names none."""
        request = request if request is not None else make(rpc, **fields)
        return submit(self._thread.loop, self._send(rpc, request, timeout))

    def call(self, rpc: str, request: Message | None = None, /, timeout: float = 25, **fields: Any) -> Any:
        """Sends a request, and waits for its answer. Raises RPCError."""
        return self.begin(rpc, request, timeout, **fields).result(timeout + 5)

    def refused(
        self, rpc: str, request: Message | None = None, /, timeout: float = 25, **fields: Any
    ) -> Refusal:
        """Sends a request that must be refused."""
        return refusal(self.begin(rpc, request, timeout, **fields))

    async def _send(self, rpc: str, request: Message, timeout: float) -> Any:  # noqa: ASYNC109  # that of the call
        operator = hasattr(operatorservice, f"{rpc}Request")
        service = self._client.operator_service if operator else self._client.workflow_service
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", rpc).lower()
        return await getattr(service, name)(request, retry=False, timeout=timedelta(seconds=timeout))

    def close(self) -> None:
        self._thread.close()

    # --- what most tests begin with

    def start(self, workflow_id: str = "", **fields: Any) -> Started:
        """Starts a workflow of type T, on a task queue of its own unless `fields` names one."""
        request = start_request(workflow_id, **fields)
        answer = self.call("StartWorkflowExecution", request)
        return Started(self, request.workflow_id, answer.run_id, request.task_queue.name)

    def needs(self, *version: int) -> str:
        """Why a test that needs that server version is to be skipped; "" if it is not."""
        if self.version >= version:
            return ""
        return f"this Temporal server is {_dotted(self.version)}; the test needs {_dotted(version)}"


@dataclass(frozen=True, slots=True)
class Started:
    """A run that a test started, with what is often done to it."""

    service: Service
    id: str
    run_id: str
    queue: str

    @property
    def execution(self) -> WorkflowExecution:
        return WorkflowExecution(workflow_id=self.id, run_id=self.run_id)

    def poll(self, **fields: Any) -> Any:
        """The next workflow task of its queue."""
        return self.service.call(
            "PollWorkflowTaskQueue", task_queue=TaskQueue(name=self.queue), identity="worker", **fields
        )

    def complete(self, task: Any, *commands: Message, **fields: Any) -> Any:
        """Completes a workflow task with commands, each given as its attributes."""
        return self.service.call(
            "RespondWorkflowTaskCompleted",
            task_token=task.task_token,
            commands=[command(each) for each in commands],
            identity="worker",
            **fields,
        )

    def work(self, *commands: Message, **fields: Any) -> Any:
        """Takes the next workflow task and completes it; the task."""
        task = self.poll()
        self.complete(task, *commands, **fields)
        return task

    def poll_activity(self) -> Any:
        return self.service.call(
            "PollActivityTaskQueue", task_queue=TaskQueue(name=self.queue), identity="worker"
        )

    def events(self, **fields: Any) -> list[HistoryEvent]:
        answer = self.service.call("GetWorkflowExecutionHistory", execution=self.execution, **fields)
        return list(answer.history.events)

    def event_types(self) -> list[str]:
        return [event_name(event) for event in self.events()]

    def describe(self) -> Any:
        return self.service.call("DescribeWorkflowExecution", execution=self.execution)

    def terminate(self) -> None:
        self.service.call("TerminateWorkflowExecution", workflow_execution=self.execution)


def ready(address: str, alive: Callable[[], bool], patience: float = 60) -> bool:
    """Returns True when a server answers at `address` and has its namespace; False when it is dead, or late."""

    async def asked() -> bool:
        loop = asyncio.get_running_loop()
        end = loop.time() + patience
        while loop.time() < end and alive():
            try:
                client = await Client.connect(address)
                request = workflowservice.ListWorkflowExecutionsRequest(namespace=NAMESPACE)
                await client.workflow_service.list_workflow_executions(request, timeout=timedelta(seconds=2))
                return True
            except (RuntimeError, RPCError):
                await asyncio.sleep(0.2)
        return False

    return asyncio.run(asked())


def make(rpc: str, **fields: Any) -> Message:
    """The request of an RPC, in the tests' namespace."""
    module: Any = operatorservice if hasattr(operatorservice, f"{rpc}Request") else workflowservice
    kind = getattr(module, f"{rpc}Request")
    if "namespace" in kind.DESCRIPTOR.fields_by_name:
        fields.setdefault("namespace", NAMESPACE)
    request: Message = kind(**fields)
    return request


def start_request(workflow_id: str = "", **fields: Any) -> Any:
    """A start with all that is required."""
    given: dict[str, Any] = {
        "workflow_id": workflow_id or new_name("flow"),
        "workflow_type": WorkflowType(name="T"),
        "request_id": new_name("request"),
        "identity": "starter",
    } | fields
    given.setdefault("task_queue", TaskQueue(name=new_name("queue")))
    return make("StartWorkflowExecution", **given)


def refusal(answer: Future[Any]) -> Refusal:
    try:
        given = answer.result(40)
    except RPCError as error:
        details = {each.type_url.rpartition(".")[2]: _unpacked(each) for each in error.grpc_status.details}
        return Refusal(error.status.name, error.message, details)
    raise AssertionError(f"this was to be refused: {given}")


def _unpacked(packed: Any) -> Any:
    import temporalio.api.errordetails.v1 as errordetails
    import temporalio.api.failure.v1 as failure

    name = packed.type_url.rpartition(".")[2]
    kind = getattr(errordetails, name, None) or getattr(failure, name, None)
    if kind is None:
        return packed
    message = kind()
    packed.Unpack(message)
    return message


def new_name(kind: str) -> str:
    return f"{kind}-{next(_numbers)}-{secrets.token_hex(4)}"


def payloads(*values: Any) -> Payloads:
    return Payloads(
        payloads=[
            Payload(metadata={"encoding": b"json/plain"}, data=json.dumps(value).encode()) for value in values
        ]
    )


def values(given: Payloads) -> list[Any]:
    return [json.loads(each.data) for each in given.payloads]


def command(attributes: Message) -> Any:
    """A command by its attributes."""
    from temporalio.api.command.v1 import Command

    made = Command()
    for field in made.DESCRIPTOR.fields:
        if field.message_type is attributes.DESCRIPTOR:
            getattr(made, field.name).CopyFrom(attributes)
            name = field.name.removesuffix("_command_attributes").upper()
            made.command_type = CommandType.Value(f"COMMAND_TYPE_{name}")
            return made
    raise AssertionError(f"no command has {attributes.DESCRIPTOR.name}")


def event_name(event: HistoryEvent) -> str:
    """The event's type as Temporal's UI names it: WorkflowExecutionStarted."""
    words = EventType.Name(event.event_type).removeprefix("EVENT_TYPE_").split("_")
    return "".join(word.capitalize() for word in words)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(part) for part in version)


async def _awaited(connect: Callable[[], Awaitable[Client]]) -> Client:
    return await connect()
